/**
 * A redis-server on a loopback port, as nodes of a Cluster, replicas and Sentinels need one: in a directory of its
 * own, killed with the process that started it, found by its own process id only. It keeps nothing unless asked.
 * Ports leave room for a Cluster's bus, which lies 10,000 above; a port that another process takes at the same moment
 * makes the start fail, and nothing else.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { sleep } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";

/** Below the ports that Linux gives to outgoing connections, the bus included. */
const FIRST_PORT = 16_000;
const PORTS = 6_000;
const BUS_OFFSET = 10_000;
const WAIT_MS = 20_000;
/** One that is frozen answers nothing. */
const ANSWER_MS = 1_000;

export class Server {
  readonly port: number;
  readonly #dir: string;
  readonly #arguments: readonly string[];
  readonly #password: string | undefined;
  readonly #environment: Record<string, string>;
  #child: ChildProcess | undefined;
  #exit: Promise<unknown> = Promise.resolve();
  #client: Redis | undefined;

  private constructor(
    port: number,
    dir: string,
    password: string | undefined,
    more: readonly string[],
    environment: Record<string, string>,
  ) {
    this.port = port;
    this.#dir = dir;
    this.#password = password;
    this.#environment = environment;
    this.#arguments = [join(dir, "redis.conf"), ...more];
  }

  /**
   * Starts one and waits until it answers.
   * @param settings lines of its configuration file
   * @param more arguments after the file's name, such as `--sentinel`
   * @param environment variables beside those of this process
   */
  static async start(
    settings: Record<string, string>,
    more: readonly string[] = [],
    environment: Record<string, string> = {},
  ): Promise<Server> {
    const dir = await mkdtemp(join(tmpdir(), "shuiwei-server-"));
    const server = new Server(await freePort(), dir, settings["requirepass"], more, environment);
    const lines = { port: String(server.port), bind: "127.0.0.1", dir, daemonize: "no", ...settings };
    await writeFile(
      join(dir, "redis.conf"),
      Object.entries(lines)
        .map(([name, value]) => `${name} ${value}\n`)
        .join(""),
    );
    await server.restart();
    return server;
  }

  /** Starts it again where it was, after `kill`. */
  async restart(): Promise<void> {
    const logPath = join(this.#dir, "log");
    const log = openSync(logPath, "a");
    const guard = process.platform === "linux" ? ["setpriv", "--pdeathsig", "KILL"] : [];
    const [program, ...args] = [...guard, "redis-server", ...this.#arguments];
    const child = spawn(program as string, args, {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...this.#environment },
    });
    closeSync(log);
    this.#child = child;
    this.#exit = once(child, "exit");
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended: ${readFileSync(logPath, "utf8")}`);
      return (await this.client.ping().catch(() => "")) === "PONG";
    }, `the redis-server at port ${this.port}`);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#child?.pid as number;
  }

  /** A client of this server alone, whatever role it has. */
  get client(): Redis {
    if (!this.#client) {
      this.#client = new Redis(this.port, "127.0.0.1", {
        maxRetriesPerRequest: 0,
        commandTimeout: ANSWER_MS,
        retryStrategy: () => 50,
        ...(this.#password === undefined ? {} : { password: this.#password }),
      });
      this.#client.on("error", () => {});
    }
    return this.#client;
  }

  /** A field of INFO. */
  async info(section: string, field: string): Promise<string> {
    return new RegExp(`^${field}:(.*?)\r?$`, "m").exec(await this.client.info(section))?.[1] ?? "";
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#exit;
  }

  /** Stops it answering without closing anything. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    this.#client?.disconnect();
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.kill();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = FIRST_PORT + (secureBytes(4).readUInt32LE() % PORTS);
    if ((await isFree(port)) && (await isFree(port + BUS_OFFSET))) return port;
  }
  throw new Error("no free port");
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Asks every 20 ms until it is so. */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let waitedMs = 0; !(await isSo()); waitedMs += 20) {
    if (waitedMs > WAIT_MS) throw new Error(`waited in vain for ${what}`);
    await sleep(20);
  }
}
