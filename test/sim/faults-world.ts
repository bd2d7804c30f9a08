/**
 * A small shop under faults: workers that run the real jobs, order services, and clients that repeat each request
 * until it is answered. Processes end and are started again under another name; clients do not. `run` ends when every
 * request has been answered, every late call has arrived and every job has processed the whole log. While it runs,
 * the owner and the number of each commit are checked.
 */
import { ManualClock } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { lineId, type Order } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { StockEvent } from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { readTask } from "../../engine/stream/commit.js";
import { stockKeys } from "../../engine/stream/keys.js";
import type { LogEntry } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Worker } from "../../engine/stream/worker.js";
import { Clients, type Services } from "./faults-clients.js";
import { jobsOf, type Plan, RETENTION_DAYS, START_MS } from "./faults-plan.js";
import { type FaultSource, FaultyRedis, type Operation } from "./faulty-redis.js";
import { SavedRedis } from "./saved-redis.js";
import type { SimulatedProcess } from "./simulated-process.js";
import { VirtualTime } from "./virtual-time.js";

/** A run with more steps fails: the longest ones take some 6,000. */
const MAX_STEPS = 60_000;
/** How often the tasks are read to see whether they have processed everything. */
const REST_CHECK_STEPS = 20;
const RESTART_MAX_MS = 3_000;
/** Redis loses the writes of at most this number of steps. */
const SAVE_STEPS = 60;

interface ServiceProcess extends Services {
  process: SimulatedProcess;
  /** Rejects when the process ends. */
  ended: Promise<never>;
}

/** A commit as Redis has applied it. */
export interface AppliedCommit {
  number: number;
  epoch: number;
}

/** Errors that the engine's loops may report under faults; any other fails the run. */
const EXPECTED_ERRORS =
  /Connection is closed|Command timed out|STALE_EPOCH|STALE_RUN|became a dead letter: .*: (bad event|bad timer)( \(and \d+ more\))?$|contended|at the same time/;

export class World {
  readonly plan: Plan;
  readonly prefix: string;
  readonly seed: number;
  readonly net: FaultyRedis;
  readonly time = new VirtualTime(START_MS);
  readonly clients: Clients;
  /** Commits in the order they were applied, by task. */
  readonly commits = new Map<string, AppliedCommit[]>();
  /** Entries that were trimmed, by stream. */
  readonly trimmed = new Map<string, LogEntry[]>();
  /** Every bucket of ids that a call has named. */
  readonly buckets = new Set<string>();
  steps = 0;
  /** Lines granted to a request that its client had given up, after the client had received a refusal. */
  grantedLate = 0;
  readonly #client: RedisClient;
  readonly #server: SavedRedis;
  readonly #random: Random;
  readonly #fixedClock = new ManualClock(START_MS);
  readonly #services: (ServiceProcess | undefined)[] = [];
  readonly #epochs = new Map<string, number>();
  readonly #underWay = new Map<Promise<unknown>, SimulatedProcess>();
  #starts = 0;
  #clientsLeft = 0;
  #failure: unknown;
  #isQuiet = false;

  constructor(client: RedisClient, prefix: string, seed: number, plan: Plan, faults: FaultSource, isVerbose = false) {
    this.plan = plan;
    this.prefix = prefix;
    this.seed = seed;
    this.#client = client;
    this.#server = new SavedRedis(client, prefix);
    this.#random = seededRandom(seed);
    this.clients = new Clients({
      plan,
      seed,
      time: this.time,
      fixedClock: this.#fixedClock,
      request: (random, what) => this.#request(random, what),
    });
    this.net = new FaultyRedis({
      client,
      time: this.time,
      random: seededRandom(seed ^ 0x5eed),
      faults: (operation, number) => (this.#isQuiet ? undefined : faults(operation, number)),
      observer: {
        before: (operation) => this.#before(operation),
        after: (...call) => this.#after(...call),
        loseWrites: () => this.#loseWrites(),
      },
      timeoutMs: plan.timeoutMs,
      longestMs: plan.leaseMs * 4,
      isVerbose,
    });
  }

  async run(): Promise<void> {
    const { plan } = this;
    if (plan.hasWarehouse) {
      const options = { redis: this.#client, prefix: this.prefix, partitions: plan.partitions, keepSeconds: 0 };
      await new OrderStore(options).waiting.begin();
    }
    for (let i = 0; i < plan.workers; i++) this.#startWorker(`worker-${i + 1}`);
    for (let i = 0; i < plan.services; i++) this.#startService(i);
    for (const client of this.clients.start()) this.#watch(client);
    while (this.#clientsLeft > 0) await this.#step();
    this.#isQuiet = true;
    for (let calm = 0; ; calm++) {
      await this.#step();
      if (this.#underWay.size > 0 || this.net.hasLate) continue;
      if (calm % REST_CHECK_STEPS === 0 && (await this.#isAtRest())) return;
    }
  }

  /** Ends every process of this shop. */
  end(): void {
    this.net.end();
  }

  async #step(): Promise<void> {
    if (this.steps++ > MAX_STEPS) throw new Error(`no rest after ${MAX_STEPS} steps`);
    if (this.plan.losesWrites && !this.#isQuiet && this.steps % SAVE_STEPS === 0) await this.#server.save();
    await this.net.step();
    if (this.#failure) throw this.#failure;
  }

  /** Whether every job has processed the whole log. */
  async #isAtRest(): Promise<boolean> {
    for (let partition = 0; partition < this.plan.partitions; partition++) {
      const keys = stockKeys(this.prefix, partition);
      const offset = Number((await this.#client.hget(keys.head, "offset")) ?? 0);
      const { cursors } = await readTask(this.#client, keys);
      if (jobsOf(this.plan).some(({ name }) => (cursors.get(name) ?? 0) < offset)) return false;
    }
    return true;
  }

  // ---- processes

  #startWorker(name: string): void {
    const { plan, prefix } = this;
    const process = this.net.process(`${name}.${++this.#starts}`);
    const redis = this.net.connect(process);
    const isFixed = plan.kind === "fixed";
    const { tick, ...topic } = stockTopic(new Ledger({ redis, prefix, partitions: plan.partitions }));
    const worker = new Worker<StockEvent>({
      // In a fixed shop only the client advances the time.
      topic: isFixed || !tick ? topic : { ...topic, tick },
      jobs: jobsOf(plan),
      prefix,
      redis,
      openReader: () => this.net.connect(process),
      owner: process.name,
      clock: process,
      leaseMs: plan.leaseMs,
      tickMs: plan.tickMs,
      retentionMs: plan.retentionMs,
      withViews: true,
      onTrouble: (message) => {
        this.net.record(`${process.name}: ${message.replaceAll(prefix, "")}`);
        if (!EXPECTED_ERRORS.test(message)) this.#failure ??= new Error(`${process.name}: ${message}`);
      },
    });
    process.onStop = () =>
      void worker.stop().then(
        () => process.end(),
        (thrown) => this.#fail(thrown),
      );
    process.onEnd(() => this.#later(() => this.#startWorker(name)));
    worker.start();
  }

  #startService(position: number): void {
    const { plan, prefix } = this;
    const { partitions } = plan;
    const process = this.net.process(`service-${position + 1}.${++this.#starts}`);
    const redis = this.net.connect(process);
    const ledger = new Ledger({
      redis,
      prefix,
      partitions,
      idRetentionDays: RETENTION_DAYS,
      ...(plan.kind === "fixed" && { clock: this.#fixedClock }),
    });
    const orderStore = new OrderStore({ redis, prefix, partitions, keepSeconds: 0 });
    const ended = new Promise<never>((_, reject) => {
      process.onEnd(() => {
        reject(new Error("the order service has ended"));
        this.#services[position] = undefined;
        for (const [work, owner] of this.#underWay) if (owner === process) this.#underWay.delete(work);
        this.#later(() => this.#startService(position));
      });
    });
    ended.catch(() => {});
    this.#services[position] = { process, ledger, orders: new OrderService(ledger, orderStore, process), ended };
  }

  #later(start: () => void): void {
    this.time.after(1 + this.#random.below(RESTART_MAX_MS), start);
  }

  // ---- clients

  #watch(client: Promise<void>): void {
    this.#clientsLeft++;
    client.then(
      () => this.#clientsLeft--,
      (thrown) => this.#fail(thrown),
    );
  }

  #fail(thrown: unknown): void {
    this.#failure ??= thrown;
  }

  /** Sends a request to a random order service, and repeats it until there is an answer. */
  async #request<Answer>(random: Random, what: (services: Services) => Promise<Answer>): Promise<Answer> {
    for (;;) {
      const service = random.pick(this.#services.map((each) => [each]))[0];
      if (service) {
        try {
          const work = what(service);
          this.#underWay.set(work, service.process);
          const over = () => void this.#underWay.delete(work);
          work.then(over, over);
          return await Promise.race([work, service.ended, this.#timeOut(random)]);
        } catch (thrown) {
          const again =
            (thrown instanceof EngineError && thrown.retryable) ||
            /^(Connection is closed\.|Command timed out|the order service has ended|no answer)$/.test(
              messageOf(thrown),
            );
          if (!again) throw thrown;
        }
      }
      await this.time.sleep(20 + random.below(1_500));
    }
  }

  async #timeOut(random: Random): Promise<never> {
    await this.time.sleep(this.plan.clientTimeoutMs + random.below(1_000));
    throw new Error("no answer");
  }

  // ---- what Redis does

  /** Another server takes over with what was saved last. */
  async #loseWrites(): Promise<() => boolean> {
    const client = this.#client;
    await this.#server.restore();
    for (const [task, commits] of this.commits) {
      const [commit, epoch] = await client.hmget(task, "commit", "epoch");
      commits.length = Number(commit ?? 0);
      this.#epochs.set(task, Number(epoch ?? 0));
    }
    this.clients.voidAnswers();
    return () => true;
  }

  async #before({ name, args }: Operation): Promise<void> {
    if (name !== "xtrim") return;
    const [key, , id] = args as [string, string, string];
    const kept = this.trimmed.get(key) ?? [];
    this.trimmed.set(key, kept);
    for (const entry of await entriesOf(this.#client, key, `(${id}`)) {
      if (entry.offset > (kept.at(-1)?.offset ?? 0)) kept.push(entry);
    }
  }

  #after({ name, args }: Operation, reply: unknown): void {
    if (name === "task_acquire") {
      const [taken, detail] = reply as [number, string[]];
      if (taken === 1)
        this.#epochs.set((args[2] as string[])[0] as string, Number(detail[detail.indexOf("epoch") + 1]));
    } else if (name === "task_commit" && reply === 1) {
      const task = (args[2] as string[])[0] as string;
      const [epoch, , number] = (args[3] as unknown[]).map(Number) as [number, number, number];
      const commits = this.commits.get(task) ?? [];
      this.commits.set(task, commits);
      if (epoch !== this.#epochs.get(task))
        throw new Error(`${task}: epoch ${epoch} has committed while ${this.#epochs.get(task)} owned it`);
      if (number !== commits.length + 1) throw new Error(`${task}: commit ${number} follows ${commits.length}`);
      commits.push({ number, epoch });
    } else if (name === "stock_apply") for (const key of (args[2] as string[]).slice(5)) this.buckets.add(key);
  }
}

/** Entries of a stream from its beginning, up to an id. */
export async function entriesOf(client: RedisClient, key: string, until = "+"): Promise<LogEntry[]> {
  const raw = await client.xrangeBuffer(key, "-", until);
  return raw.map(([id, fields]) => ({ offset: Number.parseInt(id.toString("latin1"), 10), fields }));
}

/** Ids of an order's lines. */
export const linesOf = (order: Order): string[] => order.lines.map((_, i) => lineId(order.id, i));
