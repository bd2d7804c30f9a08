/**
 * A private PostgreSQL for the benchmarks: made in a directory of its own, reached over a unix socket only, ended by
 * its own pid and with its parent. Its settings are those of a database that is to be quick and loses nothing it
 * should not: room for what is read, few checkpoints, no log for replicas that are not there; fsync and full pages
 * stay on. It installs nothing: without a PostgreSQL on this machine there is none.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, chown, mkdir, readdir } from "node:fs/promises";
import { totalmem } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";

const run = promisify(execFile);

export interface PostgresServer {
  /** Directory of the socket, as a client's `host`. */
  readonly host: string;
  readonly user: string;
  /** Ends the server; may be called again. Its directory stays. */
  stop(): Promise<void>;
}

const USER = "bench";
/** Where Debian and its kin keep what is not in PATH. */
const VERSIONS = "/usr/lib/postgresql";
const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 10_000;
const POLL_MS = 50;
const GIB = 2 ** 30;

/** The directory of `postgres` and `initdb`; undefined when this machine has none. */
export async function findPostgres(path: string): Promise<string | undefined> {
  const versions = (await readdir(VERSIONS).catch(() => [])).sort((a, b) => Number(b) - Number(a));
  const places = [...path.split(delimiter), ...versions.map((version) => join(VERSIONS, version, "bin"))];
  for (const place of places) {
    const found = await Promise.all(
      ["postgres", "initdb"].map((program) =>
        access(join(place, program), constants.X_OK).then(
          () => true,
          () => false,
        ),
      ),
    );
    if (found.every(Boolean)) return place;
  }
  return undefined;
}

/**
 * Starts a server and waits until it takes connections.
 * @param programs directory of `postgres` and `initdb`
 * @param directory is its own from now on: when root asks, it is given to `nobody`, for PostgreSQL refuses to run as
 *   root
 * @throws EngineError `postgres_failed` with the end of its log
 */
export async function startPostgres(programs: string, directory: string): Promise<PostgresServer> {
  const owner = await ownerOf(directory);
  const data = join(directory, "data");
  await mkdir(directory, { recursive: true });
  await run(
    join(programs, "initdb"),
    ["-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
    {
      ...owner,
      cwd: directory,
    },
  ).catch((cause: unknown) => {
    throw failed("initdb has failed", cause);
  });
  const [program, ...args] = [...(await guard()), join(programs, "postgres"), "-D", data, ...settings(directory)];
  const child = spawn(program as string, args, {
    ...owner,
    cwd: directory,
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-LOG_TAIL);
  });
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const elapsedMs = stopwatch();
  while (!log.includes("ready to accept connections")) {
    if (child.exitCode !== null || elapsedMs() > START_LIMIT_MS) {
      await end(child, ended);
      throw failed(`postgres does not start: ${log}`);
    }
    await sleep(POLL_MS);
  }
  return { host: directory, user: USER, stop: () => end(child, ended) };
}

const LOG_TAIL = 2_000;

function settings(directory: string): string[] {
  const table: Record<string, string> = {
    listen_addresses: "",
    unix_socket_directories: directory,
    // A quarter of the memory is the usual advice; more than the tables need brings nothing.
    shared_buffers: `${Math.min(4, Math.max(1, Math.floor(totalmem() / GIB / 4)))}GB`,
    wal_buffers: "64MB",
    min_wal_size: "2GB",
    max_wal_size: "8GB",
    checkpoint_timeout: "30min",
    wal_level: "minimal",
    max_wal_senders: "0",
    jit: "off",
    max_connections: "32",
  };
  return Object.entries(table).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

/** The user that the programs run as; for root `nobody`, which then owns the directory. */
async function ownerOf(directory: string): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const [uid, gid] = await Promise.all(
    ["-u", "-g"].map(async (flag) => Number((await run("id", [flag, "nobody"])).stdout)),
  );
  await chown(directory, uid as number, gid as number);
  return { uid: uid as number, gid: gid as number };
}

/** On Linux setpriv becomes the server and has it ended with its parent. */
async function guard(): Promise<string[]> {
  const setpriv = ["setpriv", "--pdeathsig", "INT"];
  return run("setpriv", [...setpriv.slice(1), "true"]).then(
    () => setpriv,
    () => [],
  );
}

async function end(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  // SIGINT ends it at once and in order; SIGQUIT leaves the rest to a next start, which there is none of.
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    child.kill(signal);
    const timer = new AbortController();
    const hasEnded = await Promise.race([ended.then(() => true), sleep(STOP_LIMIT_MS, timer.signal).then(() => false)]);
    timer.abort();
    if (hasEnded) return;
  }
}

const failed = (message: string, cause?: unknown): EngineError =>
  new EngineError(message, { op: "postgres.start", code: "postgres_failed", retryable: false }, { cause });
