/**
 * What the fault tests run on: one redis-server with its append-only file in a temporary directory, and product
 * processes (`serve`) beside it, each of which can be killed, frozen, woken, stopped and started again while the
 * others go on. A process that ends is started again, as by a supervisor; one that ends without a stop is
 * a crash, and is reported to the test. Whatever happens, everything ends with the test's own process: each
 * child is bound to its parent where the system can do that, and is ended by its own number.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { expect } from "vitest";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { type RedisServer, startRedis } from "../../engine/redis/embedded.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { type StockKeys, stockKeys } from "../../engine/stream/keys.js";

export type Role = "api" | "worker" | "api,worker";

/** What every product process is started with, beside what the bed needs. */
export interface ProductArguments {
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface BedSettings {
  partitions: number;
  leaseMs: number;
  tickMs?: number;
  appendfsync: "always" | "everysec";
  /** How long logs are kept; left out: until the jobs have processed them. */
  retention?: string;
  /** More arguments and environment of every product process; files that they name may be made in the folder. */
  productArguments?: (dir: string) => Promise<ProductArguments>;
  /** More arguments of every product process that serves. */
  apiArguments?: readonly string[];
  /** The command line of the product; left out: the one of this build. */
  cli?: string;
  /** More of redis-server's environment. */
  environment?: Readonly<Record<string, string>>;
}

const PREFIX = "shuiwei";
export const TOKEN = "a-token-of-the-fault-tests";
/** The product as it was built here. */
export const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
/** A start takes about a second; beside a loading Redis and other tests it may take longer. */
const START_LIMIT_MS = 120_000;
const RESTART_PAUSE_MS = 100;
/** On Linux a child ends with its parent, however that one ends. */
const BOUND =
  spawnSync("setpriv", ["--pdeathsig", "KILL", "true"]).status === 0 ? ["setpriv", "--pdeathsig", "KILL"] : [];

/** The seed of a plan: of SHUIWEI_SEED, or a new one. */
export const planSeed = (): number => Number(process.env["SHUIWEI_SEED"] ?? Date.now() % 1_000_000);

/** A process of the product under a supervisor. */
export class Product {
  readonly role: Role;
  readonly port: number;
  readonly name: string;
  /** Everything that it has written to stderr, over all its starts. */
  readonly complaints: string[] = [];
  /** Ends that were not requested. */
  readonly crashes: string[] = [];
  /** Starts that came to nothing, because Redis was away. */
  giveUps = 0;
  readonly #args: readonly string[];
  #cli: string;
  #child: ChildProcess | undefined;
  #ready = false;
  #isStopping = false;
  #keepsGoing = true;
  #life: Promise<void>;

  readonly #environment: Readonly<Record<string, string>>;

  constructor(role: Role, name: string, port: number, { arguments: args, environment }: ProductArguments, cli = CLI) {
    this.#cli = cli;
    this.#environment = environment;
    this.role = role;
    this.name = name;
    this.port = port;
    this.#args = args;
    this.#life = this.#live();
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get isReady(): boolean {
    return this.#ready;
  }

  kill(): void {
    this.#signal("SIGKILL");
  }

  freeze(): void {
    if (this.#child?.exitCode === null) process.kill(this.pid, "SIGSTOP");
  }

  wake(): void {
    if (this.#child?.exitCode === null) process.kill(this.pid, "SIGCONT");
  }

  /** Ends it as an operator would, and starts another release in its place, at the same port. */
  async replace(cli: string): Promise<void> {
    this.#cli = cli;
    const child = this.#child;
    this.#signal("SIGTERM");
    if (child && child.exitCode === null && child.signalCode === null) await once(child, "exit");
    await this.#untilStarted(child);
  }

  /** Kills it; its supervisor starts the same release again. */
  async restart(): Promise<void> {
    const child = this.#child;
    this.kill();
    await this.#untilStarted(child);
  }

  /** Ends it for good as an operator would, and waits. @returns its status */
  async stop(): Promise<number | null> {
    this.#keepsGoing = false;
    const child = this.#child;
    if (this.#ready) this.#signal("SIGTERM");
    else this.#signal("SIGKILL");
    await this.#life;
    return child?.exitCode ?? null;
  }

  /** Ends it for good by force, and waits. */
  async end(): Promise<void> {
    this.#keepsGoing = false;
    this.#signal("SIGKILL");
    await this.#life;
  }

  async untilReady(): Promise<void> {
    const elapsed = stopwatch();
    while (!this.#ready) {
      if (elapsed() > START_LIMIT_MS) throw new Error(`${this.name} does not start: ${this.complaints.join("")}`);
      await sleep(20);
    }
  }

  /** Waits until another process than `child` is ready. */
  async #untilStarted(child: ChildProcess | undefined): Promise<void> {
    for (const elapsed = stopwatch(); this.#child === child; await sleep(20))
      if (elapsed() > START_LIMIT_MS) throw new Error(`${this.name} does not end`);
    await this.untilReady();
  }

  #signal(signal: NodeJS.Signals): void {
    const child = this.#child;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    this.#isStopping = true;
    child.kill(signal);
    // A frozen process takes no other signal than these two.
    child.kill("SIGCONT");
  }

  async #live(): Promise<void> {
    while (this.#keepsGoing) {
      const serve = [this.#cli, "serve", "--drain-delay", "0", ...this.#args];
      const [program, ...args] = [...BOUND, process.execPath, ...serve] as [string, ...string[]];
      const { LD_PRELOAD: _, ...environment } = process.env;
      const child = spawn(program, args, {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...environment, ...this.#environment, SHUIWEI_TOKENS: TOKEN },
      });
      this.#child = child;
      this.#isStopping = false;
      child.stderr?.on("data", (text: Buffer) => this.complaints.push(text.toString()));
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
        if (/serving at|working on/.test(line)) this.#ready = true;
      });
      const [status, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
      // Before it is ready a process may end because Redis is away: the supervisor starts it again.
      if (!this.#isStopping && !this.#ready) this.giveUps++;
      else if (!this.#isStopping)
        this.crashes.push(`${this.name} ended with ${signal ?? status}: ${this.complaints.slice(-5).join("")}`);
      this.#ready = false;
      if (this.#keepsGoing) await sleep(RESTART_PAUSE_MS);
    }
  }
}

export class Bed {
  readonly dir: string;
  readonly settings: BedSettings;
  readonly products: Product[] = [];
  readonly #clients: Redis[] = [];
  #more: ProductArguments | undefined;
  #server: RedisServer | undefined;
  #redis: Redis | undefined;

  private constructor(dir: string, settings: BedSettings) {
    this.dir = dir;
    this.settings = settings;
  }

  static async open(settings: BedSettings): Promise<Bed> {
    const bed = new Bed(await mkdtemp(join(tmpdir(), "shuiwei-faults-")), settings);
    await bed.startRedis();
    await loadStreamLibrary(bed.redis);
    return bed;
  }

  /** Ends everything that was started, and removes what it left. */
  async close(): Promise<void> {
    await Promise.all(this.products.map((product) => product.end()));
    for (const client of this.#clients) client.disconnect();
    if (this.#server) {
      process.kill(this.#server.pid, "SIGCONT");
      await this.#server.stop();
    }
    await rm(this.dir, { recursive: true, force: true });
  }

  get socketPath(): string {
    return join(this.dir, "redis.sock");
  }

  /** A client to read with. It waits for a server that is away. */
  get redis(): Redis {
    this.#redis ??= this.connect();
    return this.#redis;
  }

  /** A client that is closed with the bed. */
  connect(): Redis {
    const client = new Redis(this.socketPath, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
    client.on("error", () => {});
    this.#clients.push(client);
    return client;
  }

  /** Starts redis-server on what its directory holds. */
  async startRedis(): Promise<void> {
    const { appendfsync, environment = {} } = this.settings;
    Object.assign(process.env, environment);
    try {
      this.#server = await startRedis({ dir: this.dir, appendfsync });
    } finally {
      for (const name of Object.keys(environment)) delete process.env[name];
    }
  }

  /** Kills redis-server and waits until it has ended. */
  async killRedis(): Promise<void> {
    const server = this.#server as RedisServer;
    this.#server = undefined;
    process.kill(server.pid, "SIGKILL");
    await server.ended;
  }

  freezeRedis(): void {
    process.kill((this.#server as RedisServer).pid, "SIGSTOP");
  }

  wakeRedis(): void {
    process.kill((this.#server as RedisServer).pid, "SIGCONT");
  }

  /** Starts a product process; with a port it can be found again after a restart. */
  async start(role: Role): Promise<Product> {
    const { partitions, leaseMs, tickMs = 200, retention = "0", apiArguments = [], cli } = this.settings;
    const serves = role !== "worker";
    const port = serves ? await freePort() : 0;
    this.#more ??= (await this.settings.productArguments?.(this.dir)) ?? { arguments: [], environment: {} };
    const { arguments: more, environment } = this.#more;
    const name = `${role} ${this.products.filter((other) => other.role === role).length + 1}`;
    const args = [
      ...["--redis-url", this.socketPath, "--roles", role, "--partitions", String(partitions)],
      ...["--lease", String(leaseMs), "--tick", String(tickMs), "--retention", retention],
      ...(serves ? ["--port", String(port), ...apiArguments] : []),
      ...more,
    ];
    const product = new Product(role, name, port, { arguments: args, environment }, cli);
    this.products.push(product);
    return product;
  }

  async startAll(roles: readonly Role[]): Promise<Product[]> {
    const products: Product[] = [];
    for (const role of roles) products.push(await this.start(role));
    await Promise.all(products.map((product) => product.untilReady()));
    return products;
  }

  of(role: Role): Product[] {
    return this.products.filter((product) => product.role === role);
  }

  get apis(): string[] {
    return this.products.filter(({ role }) => role !== "worker").map(({ port }) => `http://127.0.0.1:${port}`);
  }

  /** A ledger for audits; nothing is written through it. */
  ledger(): Ledger {
    return new Ledger({ redis: this.redis, prefix: PREFIX, partitions: this.settings.partitions });
  }

  partitions(): number[] {
    return Array.from({ length: this.settings.partitions }, (_, partition) => partition);
  }

  keysOf(partition: number): StockKeys {
    return stockKeys(PREFIX, partition);
  }

  /** Progress of every partition's jobs. */
  tasks(): Promise<Awaited<ReturnType<typeof readTask>>[]> {
    return Promise.all(this.partitions().map((partition) => readTask(this.redis, this.keysOf(partition))));
  }

  /** The time by Redis' clock. */
  async redisNow(): Promise<number> {
    const [seconds, micros] = (await this.redis.time()).map(Number) as [number, number];
    return seconds * 1_000 + micros / 1_000;
  }

  /** Who holds each partition's lease now: the process's number, or 0. */
  async owners(): Promise<number[]> {
    const nowMs = await this.redisNow();
    return Promise.all(
      this.partitions().map(async (partition) => {
        const [owner, until] = await this.redis.hmget(this.keysOf(partition).task, "owner", "until");
        return Number(until ?? 0) > nowMs ? Number(owner?.split("/").at(-2) ?? 0) : 0;
      }),
    );
  }

  /** Waits until the jobs have seen all that the logs hold. */
  async untilCaughtUp(limitMs = 30_000): Promise<void> {
    const elapsed = stopwatch();
    for (;;) {
      const heads = await Promise.all(this.partitions().map((p) => this.redis.hget(this.keysOf(p).head, "offset")));
      const tasks = await this.tasks();
      const behind = tasks.filter(
        ({ cursors }, p) =>
          Number(heads[p] ?? 0) > 0 && (cursors.size === 0 || Math.min(...cursors.values()) < Number(heads[p])),
      );
      if (behind.length === 0) return;
      if (elapsed() > limitMs) throw new Error(`the jobs of ${behind.length} partitions do not catch up`);
      await sleep(50);
    }
  }

  /** Ends every product process as an operator would; all must end well. */
  async stopProducts(): Promise<void> {
    const statuses = await Promise.all(this.products.map((product) => product.stop()));
    expect(statuses).toEqual(this.products.map(() => 0));
  }

  /** Fails when a product process has ended by itself, or has reported something unexpected. */
  expectNoCrash(): void {
    expect(this.products.flatMap(({ crashes }) => crashes)).toEqual([]);
    const unforeseen = /urn:shuiwei:instance|TypeError|RangeError|Assertion|at file:|log_gap|are gone/;
    expect(
      this.products.flatMap(({ name, complaints }) =>
        complaints.filter((text) => unforeseen.test(text)).map((text) => `${name}: ${text}`),
      ),
    ).toEqual([]);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
