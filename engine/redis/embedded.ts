/**
 * A private redis-server: started for one directory, reachable over a unix socket only, ended with its parent. Two
 * servers never share a directory: the server holds a kernel lock, which leaves nothing stale after a crash. Where
 * flock and setpriv (util-linux, so any Linux) are missing, only the socket is checked, and a parent that is killed
 * leaves its server running. It starts no replica, no Sentinel and no Cluster, and it does not install Redis:
 * engine/boot/setup.mjs does.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { chmod, lstat, mkdir, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { sleep, stopwatch } from "../kernel/clock.js";
import { assert, EngineError, messageOf } from "../kernel/errors.js";
import { makeFolder, pathFault } from "../kernel/folder.js";

export interface RedisSettings {
  /** Holds the log, the lock and the append-only files; made when missing. One server a directory. */
  dir: string;
  /** Keeps data in an append-only file, and loads it at the next start. Default true. */
  persistence?: boolean;
  /** When the append-only file reaches the disk. Default `everysec`: a power cut may cost the last second. */
  appendfsync?: "always" | "everysec" | "no";
  /** Share of the machine's memory, or of the container's, past which Redis rejects writes. Default 0.5. */
  redisMemoryShare?: number;
  /** Aborts the start; a server that has started is ended by `stop`. */
  signal?: AbortSignal;
  /** More arguments for redis-server; they override the engine's. */
  extraArgs?: readonly string[];
}

export interface RedisServer {
  readonly socketPath: string;
  readonly pid: number;
  /** Resolves when the server has ended, by `stop` or by itself, with the last line of its log; never rejects. */
  readonly ended: Promise<string>;
  /** Ends the server; all writes are on disk when this resolves. May be called again. */
  stop(): Promise<void>;
}

/** sun_path is 104 bytes on macOS and 108 on Linux, its closing zero included. */
const SOCKET_PATH_LIMIT = 103;
/** The first PING is answered in 10–50 ms, also by a server that is loading its data, which may take minutes. */
const ANSWER_LIMIT_MS = 15_000;
const LOADING_LIMIT_MS = 600_000;
const POLL_MS = 15;
/** How long a server whose parent was killed may need to write its log and free the directory. */
const LOCK_WAIT_S = 2;
const STOP_LIMIT_MS = 5_000;
const KILL_LIMIT_MS = 5_000;
const LOCKED_STATUS = 75;
const LOG_TAIL_BYTES = 4_096;
/** Redis' own name for it. */
const APPEND_ONLY_DIR = "appendonlydir";
const [LOCK_FILE, LOG_FILE, PID_FILE] = ["redis.lock", "redis.log", "redis.pid"];
/** Everything that the engine, Redis or an installation may have put into the directory. */
const OWN_NAMES = new Set([
  LOCK_FILE,
  LOG_FILE,
  PID_FILE,
  APPEND_ONLY_DIR,
  "redis.sock",
  "dump.rdb",
  "objects",
  "demo",
]);
const OWN_NAME_PATTERN = /^(redis\.log\.probe|setup\.lock.*|temp-.*\.(aof|rdb))$/;
/** The files hold orders and personal data of buyers: no other user of the machine may read them. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Runs a program whose files only its owner can read; the shell is replaced by the program, so the pid stays. */
const WITH_PRIVATE_FILES = ["sh", "-c", 'umask 077; exec "$@"', "sh"];
/** The rest is for the engine's views and states, and for pages that Redis copies while it rewrites its file. */
const MEMORY_SHARE = 0.5;

/** A block of any usual file system. */
const PROBE_BYTES = 4_096;

const OP = "redis.start";
const INSTALL = "install Redis 7.0 or newer (apt-get install redis-server, dnf install redis, brew install redis)";

/**
 * Starts a redis-server and waits until it answers. Call it on the main thread: the server ends with the thread that
 * started it.
 * @throws EngineError `redis_missing` when there is no such program, `redis_dir_in_use` when a live server owns the
 *   directory, `redis_failed` with the server's own message otherwise
 */
export async function startRedis(settings: RedisSettings): Promise<RedisServer> {
  await makeFolder(settings.dir, "--dir", FOLDER_MODE);
  const dir = await realpath(settings.dir);
  await closeToOthers(dir);
  const socketPath = await socketPathFor(dir);
  const lockPath = join(dir, LOCK_FILE);
  const logPath = join(dir, LOG_FILE);
  const pidPath = join(dir, PID_FILE);
  const guard = await guardWith(lockPath);
  if (!guard.includes("flock") && (await answerOf(socketPath)) !== "") throw inUse(dir, pidPath);

  const [program, ...args] = [
    ...WITH_PRIVATE_FILES,
    ...guard,
    "redis-server",
    ...argumentsOf(settings, dir, socketPath, pidPath),
  ];
  const logFile = openForAppending(logPath, settings.dir);
  // A session of its own: Ctrl-C reaches the engine only, which drains and then stops this server.
  const child = spawn(program as string, args, { detached: true, stdio: ["ignore", logFile, logFile] });
  closeSync(logFile);
  const exit = exitOf(child);
  const ended = exit.then(() => lastLine(logPath));

  try {
    await untilReady(child, socketPath, pidPath, exit, settings.signal);
  } catch (thrown) {
    await end(child, exit);
    // The log's last line is not the reason then.
    if (settings.signal?.aborted) throw settings.signal.reason;
    throw await explain(thrown, dir, pidPath, logPath);
  }
  let stopping: Promise<void> | undefined;
  return {
    socketPath,
    pid: child.pid as number,
    ended,
    stop: () => {
      stopping ??= end(child, exit);
      return stopping;
    },
  };
}

function openForAppending(logPath: string, dir: string): number {
  try {
    return openSync(logPath, "a", FILE_MODE);
  } catch (thrown) {
    throw pathFault("--dir", dir, thrown);
  }
}

/** The socket of the server that runs in a directory; undefined when there is none. */
export async function runningSocket(dir: string): Promise<string | undefined> {
  const real = await realpath(dir).catch(() => undefined);
  if (real === undefined) return undefined;
  const socketPath = await socketPathFor(real);
  return (await answerOf(socketPath)) === "" ? undefined : socketPath;
}

/** Whether a directory holds a server's data. */
export const holdsData = (dir: string): Promise<boolean> => exists(join(dir, APPEND_ONLY_DIR));

/** Sends PING without a client and returns the answer's first line, or "" when there is none. */
function answerOf(socketPath: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = createConnection(socketPath, () => socket.write("PING\r\n"));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.on("data", (bytes) => {
      answer += bytes.toString();
      if (answer.includes("\r\n")) socket.destroy();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(answer.split("\r\n")[0] ?? ""));
  });
}

function argumentsOf(settings: RedisSettings, dir: string, socketPath: string, pidPath: string): string[] {
  const table: Record<string, string> = {
    port: "0",
    unixsocket: socketPath,
    unixsocketperm: "700",
    dir,
    pidfile: pidPath,
    logfile: "",
    daemonize: "no",
    databases: "1",
    save: "",
    appendonly: (settings.persistence ?? true) ? "yes" : "no",
    appendfsync: settings.appendfsync ?? "everysec",
    maxmemory: String(memoryFor(settings.redisMemoryShare ?? MEMORY_SHARE)),
    "maxmemory-policy": "noeviction",
  };
  return [...Object.entries(table).flatMap(([name, value]) => [`--${name}`, value]), ...(settings.extraArgs ?? [])];
}

/** A share of the memory that this process may use: the machine's, or the container's limit. */
function memoryFor(share: number): number {
  const limit = process.constrainedMemory();
  const machine = totalmem();
  // Without a limit it is 0, or more than the machine has.
  return Math.floor(share * (limit > 0 ? Math.min(limit, machine) : machine));
}

/** Removes other users' access to a server's files, also to those of an older release that left them readable. */
async function closeToOthers(dir: string): Promise<void> {
  // A directory that also holds other files keeps its mode; the server's own files in it are still closed.
  if (!(await holdsData(dir)) && !(await exists(join(dir, LOCK_FILE)))) return;
  const names = await readdir(dir);
  if (names.every((name) => OWN_NAMES.has(name) || OWN_NAME_PATTERN.test(name))) await chmod(dir, FOLDER_MODE);
  const own = [LOCK_FILE, LOG_FILE, PID_FILE].map((name) => join(dir, name));
  const appendOnly = join(dir, APPEND_ONLY_DIR);
  if (await holdsData(dir)) {
    await chmod(appendOnly, FOLDER_MODE);
    own.push(...(await readdir(appendOnly)).map((name) => join(appendOnly, name)));
  }
  for (const path of own) await closeFile(path);
}

/** Does nothing when there is no such file: a server that is ending deletes its files meanwhile. */
async function closeFile(path: string): Promise<void> {
  try {
    await chmod(path, FILE_MODE);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
  }
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/**
 * The programs that run before redis-server (each execs the next, so the pid stays): setpriv ends the server with its
 * parent, flock locks the directory as long as the server runs.
 */
async function guardWith(lockPath: string): Promise<string[]> {
  if (process.platform !== "linux") return [];
  const setpriv = ["setpriv", "--pdeathsig", "TERM"];
  const flock = [
    "flock",
    "--no-fork",
    "--wait",
    String(LOCK_WAIT_S),
    "--conflict-exit-code",
    String(LOCKED_STATUS),
    lockPath,
  ];
  const usable = await Promise.all([runs([...setpriv, "true"]), runs(["flock", "--no-fork", "--version"])]);
  return [...(usable[0] ? setpriv : []), ...(usable[1] ? flock : [])];
}

function runs([program, ...args]: string[]): Promise<boolean> {
  return new Promise((resolve) =>
    execFile(program as string, args, { timeout: 2_000 }, (error) => resolve(error === null)),
  );
}

/** In the directory itself when its path is short enough, otherwise in a private temporary one, which is kept. */
async function socketPathFor(dir: string): Promise<string> {
  const beside = join(dir, "redis.sock");
  if (Buffer.byteLength(beside) <= SOCKET_PATH_LIMIT) return beside;
  const owner = process.getuid?.() ?? 0;
  const short = join(tmpdir(), `shuiwei-${owner}-${createHash("sha256").update(dir).digest("hex").slice(0, 12)}`);
  await mkdir(short, { recursive: true, mode: FOLDER_MODE });
  // Any user may write to the temporary directory: check that the folder belongs to this user.
  const found = await lstat(short);
  if (!found.isDirectory() || found.uid !== owner) {
    throw new EngineError(`${short} belongs to another user`, { op: OP, code: "redis_failed", retryable: false });
  }
  await chmod(short, FOLDER_MODE);
  const socketPath = join(short, "redis.sock");
  assert(Buffer.byteLength(socketPath) <= SOCKET_PATH_LIMIT, `no short directory for a socket: ${short}`);
  return socketPath;
}

interface Exit {
  error?: NodeJS.ErrnoException;
  status: number | null;
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ error, status: null }));
    child.once("exit", (status) => resolve({ status }));
  });
}

async function untilReady(
  child: ChildProcess,
  socketPath: string,
  pidPath: string,
  exit: Promise<Exit>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const elapsedMs = stopwatch();
  let exited: Exit | undefined;
  void exit.then((reason) => {
    exited = reason;
  });
  let limitMs = ANSWER_LIMIT_MS;
  while (elapsedMs() < limitMs) {
    // Loading a large file takes minutes; a stop must not wait for it.
    signal?.throwIfAborted();
    if (exited !== undefined) throw exited;
    // Until the pid file names our server, the socket may be that of an old server for whose lock ours waits.
    const ours = (await readFile(pidPath, "utf8").catch(() => "")).trim() === String(child.pid);
    const answer = ours ? await answerOf(socketPath) : "";
    if (answer === "+PONG") return;
    if (answer.startsWith("-LOADING")) limitMs = LOADING_LIMIT_MS;
    await sleep(POLL_MS);
  }
  throw new Error(`no answer within ${limitMs} ms`);
}

async function end(child: ChildProcess, exit: Promise<Exit>): Promise<void> {
  // On SIGTERM redis-server writes and syncs its append-only file and removes its socket and pid file before it
  // releases the lock. Nothing is removed here: the socket may already be that of the next server.
  for (const [signal, limitMs] of [
    ["SIGTERM", STOP_LIMIT_MS],
    ["SIGKILL", KILL_LIMIT_MS],
  ] as const) {
    child.kill(signal);
    const timer = new AbortController();
    const hasExited = await Promise.race([exit.then(() => true), sleep(limitMs, timer.signal).then(() => false)]);
    timer.abort();
    if (hasExited) return;
  }
}

async function explain(thrown: unknown, dir: string, pidPath: string, logPath: string): Promise<EngineError> {
  const exit = thrown as Partial<Exit>;
  if (exit.status === LOCKED_STATUS) return inUse(dir, pidPath);
  if (exit.error?.code === "ENOENT" || exit.status === 127 || !(await runs(["redis-server", "--version"]))) {
    return new EngineError(`there is no redis-server: ${INSTALL}`, { op: OP, code: "redis_missing", retryable: false });
  }
  const fault = await writingFault(dir);
  if (fault) return fault;
  const reason = "status" in exit ? `redis-server ended with status ${exit.status}` : messageOf(thrown);
  const message = `redis-server does not start in ${dir}: ${(await lastLine(logPath)) || reason}`;
  return new EngineError(message, { op: OP, code: "redis_failed", retryable: false }, { cause: thrown });
}

/**
 * The error when the directory cannot be written to. On a full disk the server's own message is lost, because its log
 * is in the same directory.
 */
async function writingFault(dir: string): Promise<EngineError | undefined> {
  const probe = join(dir, `${LOG_FILE}.probe`);
  try {
    await writeFile(probe, Buffer.alloc(PROBE_BYTES), { mode: FILE_MODE });
    return undefined;
  } catch (thrown) {
    const fault = pathFault("--dir", dir, thrown);
    return fault instanceof EngineError ? fault : undefined;
  } finally {
    await rm(probe, { force: true });
  }
}

function inUse(dir: string, pidPath: string): EngineError {
  let owner = "";
  try {
    owner = ` (process ${readFileSync(pidPath, "utf8").trim()})`;
  } catch {
    // A server that is starting has not written it yet.
  }
  const message = `another Redis${owner} uses ${dir}: stop it, or choose another directory`;
  return new EngineError(message, { op: OP, code: "redis_dir_in_use", retryable: false });
}

/** The log's last line, without its time; a faulty directive is on the line before. */
async function lastLine(logPath: string): Promise<string> {
  const text = (await readFile(logPath, "utf8").catch(() => "")).slice(-LOG_TAIL_BYTES);
  const lines = text.split("\n").map((line) => line.replace(/^\d+:[A-Z] .{10,40}? [#*.-] /, "").trim());
  const [before = "", last = ""] = lines.filter((line) => line !== "").slice(-2);
  return before.startsWith(">>>") ? `${before.slice(4)}: ${last}` : last || before;
}
