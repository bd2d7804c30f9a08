/**
 * Two event topics under faults: workers run the jobs of both and forward the emits of the source's job to the target,
 * which also has a schedule of each catch-up rule. Processes end and start again; now and then all of them are away for
 * minutes. The topics are on one server, which may restart without its newest writes, or on two, of which each may be
 * replaced by another without them. `run` ends when everything that was appended has arrived.
 */
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { readTask } from "../../engine/stream/commit.js";
import { lastEmitEntry } from "../../engine/stream/emits.js";
import type { NewEvent, TopicEvent } from "../../engine/stream/event-entry.js";
import { type EventTopic, type EventTopicOptions, eventTopic } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import type { Emit, Job } from "../../engine/stream/job.js";
import { eventKeys, partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { partitionOf } from "../../engine/stream/partition.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import type { Route } from "../../engine/stream/route.js";
import { every, type Schedule, type ScheduleState } from "../../engine/stream/schedule.js";
import { ENTRY_CURSOR, forwarderSink } from "../../engine/stream/sinks.js";
import { Worker } from "../../engine/stream/worker.js";
import { type FaultSource, FaultyRedis, type Operation } from "./faulty-redis.js";
import type { ForwardingPlan } from "./forwarding-plan.js";
import { SavedRedis } from "./saved-redis.js";
import type { SimulatedProcess } from "./simulated-process.js";
import { VirtualTime } from "./virtual-time.js";

export const SOURCE = "src";
export const TARGET = "dst";
export const SCHEDULES: readonly Schedule[] = [
  { name: "each", due: every(20_000), catchUp: "every" },
  { name: "newest", due: every(30_000, 7_000), catchUp: "last" },
  { name: "present", due: every(90_000, 1_000), catchUp: "none" },
];
const START_MS = Date.UTC(2026, 5, 17, 15, 58);
const MAX_STEPS = 60_000;
const REST_CHECK_STEPS = 20;
const RESTART_MAX_MS = 3_000;
const ZONE = zoneOf("Asia/Shanghai");

/** Errors that the engine's loops may report under faults; any other fails the run. */
const EXPECTED_ERRORS =
  /Connection is closed|Command timed out|STALE_(EPOCH|RUN|FENCE)|another server than the one of the lease|entry \d+: no word/;

/** Emits up to three times for each event, and once more by a timer. */
const sourceJob: Job<TopicEvent, { count: number }> = {
  name: "source.1",
  key: ({ key }) => key,
  initial: () => ({ count: 0 }),
  onEvent(state, { id, clockMs }, context) {
    state.count++;
    const n = Number(id.slice(1));
    for (let i = 0; i < n % 4; i++)
      context.emit(["said", "bad", "unheard"][(n + i) % 3] as string, [id, state.count, i]);
    if (n % 5 === 0) context.setTimer(clockMs + 3_000);
  },
  onTimer(state, atMs, context) {
    context.emit("said", ["timer", state.count, atMs]);
  },
};

interface TargetState {
  count: number;
  last: string;
}

/** Counts what arrives for each key. */
export const targetJob: Job<TopicEvent, TargetState> = {
  name: "target.1",
  key: ({ key }) => key,
  initial: () => ({ count: 0, last: "" }),
  onEvent(state, { id }) {
    state.count++;
    state.last = id;
  },
};

/** `bad` emits cannot be mapped. */
export const route: Route = {
  from: SOURCE,
  kinds: ["said", "bad"],
  event({ kind, key, payload }: Emit) {
    if (kind === "bad") throw new Error(`no word for ${key}`);
    return { key: `of-${key}`, kind: "said", payload };
  },
};

export class ForwardingWorld {
  readonly plan: ForwardingPlan;
  readonly prefix: string;
  readonly net: FaultyRedis;
  readonly time = new VirtualTime(START_MS);
  /** Reads and writes either server by the key. */
  readonly client: RedisClient;
  /** By partition of the source: numbers of commits that its server has lost, as ranges. */
  readonly lost: { after: number; upTo: number }[][];
  steps = 0;
  readonly #random;
  readonly #servers: readonly SavedRedis[];
  readonly #feeder: EventTopic;
  #toAppend: NewEvent[][] = [];
  #appended = 0;
  #starts = 0;
  #awayUntilMs = 0;
  #lostMs = Number.NEGATIVE_INFINITY;
  #alive = new Set<SimulatedProcess>();
  #failure: unknown;
  #isQuiet = false;

  constructor(
    clients: readonly [RedisClient, RedisClient],
    prefix: string,
    seed: number,
    plan: ForwardingPlan,
    faults: FaultSource,
    isVerbose = false,
  ) {
    this.plan = plan;
    this.prefix = prefix;
    this.lost = Array.from({ length: plan.partitions }, () => []);
    this.#random = seededRandom(seed);
    const [first, second] = clients;
    this.client = plan.servers === 1 ? first : byKey(first, second);
    this.#servers = clients.slice(0, plan.servers).map((client) => new SavedRedis(client, prefix));
    this.#feeder = this.#topic(SOURCE, this.client, { clock: this.time });
    this.net = new FaultyRedis({
      client: this.client,
      time: this.time,
      random: seededRandom(seed ^ 0x5eed),
      faults: (operation, number) => (this.#isQuiet ? undefined : faults(operation, number)),
      observer: { before: () => undefined, after: () => {}, loseWrites: () => this.#loseWrites() },
      timeoutMs: plan.timeoutMs,
      longestMs: plan.leaseMs * 4,
      isVerbose,
    });
  }

  async run(): Promise<void> {
    const { plan } = this;
    for (let i = 0; i < plan.workers; i++) this.#start(`worker-${i + 1}`);
    this.#feedLater();
    if (plan.outageMs > 0) this.time.after(this.#random.below(30_000), () => this.#goAway());
    while (this.#appended < plan.appends || this.time.now() < this.#awayUntilMs) await this.#step();
    this.#isQuiet = true;
    for (let calm = 0; ; calm++) {
      await this.#step();
      if (!this.net.hasLate && calm % REST_CHECK_STEPS === 0 && (await this.#isAtRest())) return;
    }
  }

  end(): void {
    this.net.end();
  }

  async #step(): Promise<void> {
    if (this.steps++ > MAX_STEPS) throw new Error(`no rest after ${MAX_STEPS} steps`);
    if (this.plan.losesWrites && !this.#isQuiet && this.steps % this.plan.saveSteps === 0)
      for (const server of this.#servers) await server.save();
    for (const events of this.#toAppend.splice(0)) await this.#append(events);
    await this.net.step();
    if (this.#failure) throw this.#failure;
  }

  /** Whether the jobs have processed both logs, all emits are forwarded, and no schedule is due. */
  async #isAtRest(): Promise<boolean> {
    // A forwarder with nothing to forward notices a loss of its target when it renews its lease, and its successor when
    // the lease of a dead one has expired.
    if (this.time.now() - this.#lostMs < 2 * this.plan.leaseMs) return false;
    for (const { name } of SCHEDULES) {
      const keys = eventKeys(this.prefix, TARGET, partitionOf(name, this.plan.partitions));
      const state = await this.client.hget(keys.schedules, name);
      if (state === null || (JSON.parse(state) as ScheduleState).dueMs <= this.time.now()) return false;
    }
    for (let partition = 0; partition < this.plan.partitions; partition++) {
      for (const [topic, job] of [
        [SOURCE, sourceJob.name],
        [TARGET, targetJob.name],
      ] as const) {
        const keys = partitionKeys(this.prefix, topic, partition);
        const offset = Number((await this.client.hget(keys.head, "offset")) ?? 0);
        if (((await readTask(this.client, keys)).cursors.get(job) ?? 0) < offset) return false;
      }
      const task = await readTask(this.client, partitionKeys(this.prefix, SOURCE, partition));
      const sink = await readTask(this.client, sinkKeys(this.prefix, SOURCE, partition, forwarderSink(TARGET)));
      if ((sink.cursors.get(ENTRY_CURSOR) ?? 0) < lastEmitEntry(task)) return false;
    }
    return true;
  }

  // ---- events

  #feedLater(): void {
    if (this.#appended === this.plan.appends) return;
    this.time.after(1 + this.#random.below(this.plan.pauseMs), () => {
      const count = 1 + this.#random.below(4);
      const from = this.#appended++ * 4;
      const eventOf = (n: number): NewEvent => ({ id: `n${n}`, key: `k${n % 7}`, kind: "noted", payload: null });
      this.#toAppend.push(Array.from({ length: count }, (_, i) => eventOf(from + i)));
      this.#feedLater();
    });
  }

  async #append(events: NewEvent[]): Promise<void> {
    await this.#feeder.append(events);
    for (let partition = 0; partition < this.plan.partitions; partition++) {
      const { head, log } = eventKeys(this.prefix, SOURCE, partition);
      const offset = await this.client.hget(head, "offset");
      if (offset !== null) this.net.appended(log, Number(offset));
    }
  }

  /** Without a clock of its own, a call gets the time at which it arrives, as from a server's clock. */
  #topic(name: string, redis: RedisClient, more: Partial<EventTopicOptions> = {}) {
    const { partitions } = this.plan;
    return eventTopic({ name, partitions, redis, prefix: this.prefix, zone: ZONE, wall: this.time, ...more });
  }

  // ---- processes

  #start(name: string): void {
    const { plan, prefix } = this;
    const process = this.net.process(`${name}.${++this.#starts}`);
    this.#alive.add(process);
    const redis = this.net.connect(process);
    const shared = {
      prefix,
      redis,
      openReader: () => this.net.connect(process),
      owner: process.name,
      clock: process,
      leaseMs: plan.leaseMs,
      onTrouble: (message: string) => {
        this.net.record(`${process.name}: ${message.replaceAll(prefix, "")}`);
        if (!EXPECTED_ERRORS.test(message)) this.#failure ??= new Error(`${process.name}: ${message}`);
      },
    };
    const source = this.#topic(SOURCE, redis);
    const target = this.#topic(TARGET, redis, { routes: [route], schedules: SCHEDULES });
    const ofWorkers = { ...shared, tickMs: plan.tickMs, retentionMs: 0, withViews: false };
    const parts = [
      new Worker<TopicEvent>({ ...ofWorkers, topic: source, jobs: [sourceJob] }),
      new Worker<TopicEvent>({ ...ofWorkers, topic: target, jobs: [targetJob] }),
      new Forwarders({ ...shared, target, partitions: plan.partitions }),
    ];
    process.onStop = () =>
      void Promise.all(parts.map((part) => part.stop())).then(
        () => process.end(),
        (thrown) => {
          this.#failure ??= thrown;
        },
      );
    process.onEnd(() => {
      this.#alive.delete(process);
      const awayMs = Math.max(0, this.#awayUntilMs - this.time.now());
      this.time.after(awayMs + 1 + this.#random.below(RESTART_MAX_MS), () => this.#start(name));
    });
    for (const part of parts) part.start();
  }

  /** Ends all processes for a time. */
  #goAway(): void {
    if (this.#isQuiet) return;
    const { outageMs } = this.plan;
    this.#awayUntilMs = this.time.now() + 1 + this.#random.below(outageMs);
    for (const process of [...this.#alive]) process.end();
    this.time.after(this.#awayUntilMs - this.time.now() + this.#random.below(60_000), () => this.#goAway());
  }

  // ---- what Redis does

  async #loseWrites(): Promise<(operation: Operation) => boolean> {
    const { loser } = this.plan;
    const chosen = loser === "any" ? this.#random.below(this.#servers.length) : loser === "source" ? 0 : 1;
    const before = chosen === 0 ? await this.#commits() : [];
    this.#lostMs = this.time.now();
    await this.#servers[chosen]?.restore();
    const isOfServer = ({ method, args }: Operation): boolean =>
      this.plan.servers === 1 || isOfTarget(method, args) === (chosen === 1);
    if (chosen > 0) return isOfServer;
    for (const [partition, after] of (await this.#commits()).entries())
      this.lost[partition]?.push({ after, upTo: before[partition] as number });
    return isOfServer;
  }

  /** By partition of the source: the number of its last commit. */
  #commits(): Promise<number[]> {
    const keys = this.lost.map((_, partition) => partitionKeys(this.prefix, SOURCE, partition));
    return Promise.all(keys.map(async ({ task }) => Number((await this.client.hget(task, "commit")) ?? 0)));
  }
}

/** A client that sends each call to the server of its key: the target's is the second. */
function byKey(first: RedisClient, second: RedisClient): RedisClient {
  return new Proxy({} as RedisClient, {
    get: (_, method) => {
      if (typeof method !== "string" || method === "then") return undefined;
      return (...args: unknown[]) => {
        const client = isOfTarget(method, args) ? second : first;
        return (client as unknown as Record<string, (...args: unknown[]) => unknown>)[method]?.(...args);
      };
    },
  });
}

/** Whether the key of a call is the target's. */
function isOfTarget(method: string, args: readonly unknown[]): boolean {
  const streams = method.startsWith("xread") ? args[args.indexOf("STREAMS") + 1] : args[0];
  const key = /^(fcall|eval)/.test(method) ? (args[2] as string[])[0] : streams;
  return String(key).includes(`{${TARGET}:`);
}
