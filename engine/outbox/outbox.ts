/**
 * Delivers what a topic's jobs emit to one receiver: effectively once, in order for each key, as fast as the receiver
 * takes it. Several processes may do so at once; each partition is owned by one, with a lease of the sink's own, and
 * all share one rate limiter. Nothing is lost when the receiver or a process is down: the cursor is in Redis, and
 * `out` is not trimmed past it. A delivery is sent again when its answer was lost or its owner died: a receiver that
 * recognizes its key accepts it once.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { assert, EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { type Random, secureBytes, seededRandom } from "../kernel/random.js";
import { acquireTask, isSameRun, readTask, releaseTask, type Task } from "../stream/commit.js";
import { type PartitionKeys, partitionKeys, rateLimiterKey, sinkKeys, workersKey } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";
import { Share } from "../stream/share.js";
import { registerSink } from "../stream/sinks.js";
import { Circuit, type CircuitState } from "./circuit.js";
import { RateLimiter } from "./rate-limiter.js";
import type { Receiver } from "./receiver.js";
import { Sender } from "./sender.js";
import { type OutboxStats, SinkPartitionTask, type SinkPartitionTaskOptions } from "./sink-partition-task.js";

export interface OutboxOptions {
  receiver: Receiver;
  topic: string;
  partitions: number;
  prefix: string;
  redis: RedisClient;
  /**
   * Opens the connection that waits for new entries of a log; it ends with the server that it reads from. The outbox
   * closes it.
   */
  openReader(log: string): RedisClient | Promise<RedisClient>;
  /** Names this process in leases and in the pace. */
  owner: string;
  /** By which it waits and measures. */
  clock: Scheduler;
  /** What time it is when a delivery has been taken; left out: the same. */
  wall?: Clock;
  /** What leases, commits and the pace go by; left out: the Redis server's own. */
  serverClock?: Clock;
  leaseMs: number;
  /** What the receiver takes; all workers together stay below it. */
  limitPerSecond: number;
  /**
   * Requests under way at most, of all workers together; fewer when the limit is so low that it could not be kept
   * otherwise.
   */
  inFlight: number;
  /** For the pauses between tries; left out: seeded by the system. */
  random?: Random;
  /** Left out: a delivery may be sent before any replica has its commit. */
  replicas?: ReplicationBarrier;
  /** Called with faults that the loops survive, and with their end, in words. */
  onTrouble: OnTrouble;
}

export interface OutboxFigures {
  readonly circuit: CircuitState;
  /** The rate of all workers together now. */
  readonly ratePerSecond: number;
  readonly inFlight: number;
  /** In order. */
  readonly partitions: readonly OutboxStats[];
}

/** 10 in a row by chance would need a receiver that fails nearly always. */
const CIRCUIT = { failures: 10, firstPauseMs: 500, longestPauseMs: 10_000 };
/** How often a worker with room checks whether a partition that another is to release is free. */
const TAKE_EVERY_MS = 200;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

export class Outbox {
  readonly #name: string;
  readonly #share: Share;
  readonly #sender: Sender;
  readonly #owners: PartitionOwner[];

  constructor(options: OutboxOptions) {
    const { receiver, topic, partitions, prefix, clock, onTrouble } = options;
    assert(/^[a-z0-9-]{1,32}$/.test(receiver.name), `${receiver.name} is no name of a receiver`);
    this.#name = receiver.name;
    const key = workersKey(prefix, `${topic}:${receiver.name}`);
    this.#share = new Share({ ...options, key, partitions });
    this.#sender = new Sender({
      receiver,
      clock,
      ...(options.wall ? { wall: options.wall } : {}),
      onTrouble,
      rateLimiter: new RateLimiter({ ...options, key: rateLimiterKey(prefix, receiver.name) }),
      circuit: new Circuit(CIRCUIT),
      random: options.random ?? seededRandom(secureBytes(4).readUInt32LE()),
    });
    const shared = { ...options, share: this.#share, sender: this.#sender };
    this.#owners = Array.from({ length: partitions }, (_, partition) => new PartitionOwner(partition, shared));
  }

  start(): void {
    this.#share.start();
    this.#sender.start();
    for (const owner of this.#owners) owner.start();
  }

  /** Sends nothing new, waits some seconds at most for requests under way, and commits the cursor. */
  async stop(): Promise<void> {
    await this.#share.leave();
    await Promise.all(this.#owners.map((owner) => owner.stop()));
    await this.#sender.stop();
  }

  /** Warnings for an operator, in words. */
  warnings(): string[] {
    const warnings: string[] = [];
    if (this.#sender.circuit !== "closed") warnings.push(`${this.#name} takes no deliveries: they wait until it does`);
    if (this.#sender.unmetDependency !== undefined)
      warnings.push(`deliveries to ${this.#name} wait: ${this.#sender.unmetDependency}`);
    for (const fault of this.#sender.faults) warnings.push(`${this.#name} refuses ${fault}`);
    const deadLetters = this.#owners.reduce((sum, { stats }) => sum + stats.deadLetters, 0);
    if (deadLetters > 0)
      warnings.push(`${deadLetters} deliveries were refused by ${this.#name} for good and are set aside`);
    return warnings;
  }

  stats(): OutboxFigures {
    const { circuit, ratePerSecond, underWay } = this.#sender;
    return { circuit, ratePerSecond, inFlight: underWay, partitions: this.#owners.map(({ stats }) => stats) };
  }
}

type PartitionOptions = OutboxOptions & SinkPartitionTaskOptions & { share: Share };

interface Lease {
  readonly task: Task;
  /** When it was requested: it runs from then at the earliest. */
  readonly askedMs: number;
}

/** One partition: takes the lease, delivers until the lease is lost or released, and starts again. */
class PartitionOwner {
  readonly stats: OutboxStats = {
    owned: false,
    waiting: 0,
    lagEntries: 0,
    behindMs: 0,
    delivered: 0,
    retries: 0,
    throttled: 0,
    deadLetters: 0,
    leaseChanges: 0,
  };
  readonly #partition: number;
  readonly #options: PartitionOptions;
  readonly #keys: { sink: PartitionKeys; partition: PartitionKeys };
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(partition: number, options: PartitionOptions) {
    this.#partition = partition;
    this.#options = options;
    const { prefix, topic, receiver } = options;
    this.#keys = {
      sink: sinkKeys(prefix, topic, partition, receiver.name),
      partition: partitionKeys(prefix, topic, partition),
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { redis, receiver, topic, clock, share, onTrouble } = this.#options;
    const place = { topic, partition: this.#partition, sink: receiver.name };
    let backoffMs = BACKOFF_FIRST_MS;
    let isRegistered = false;
    while (!signal.aborted) {
      try {
        if (!isRegistered) await registerSink(redis, this.#keys.partition, receiver.name, await this.#serverNowMs());
        isRegistered = true;
        const lease = await this.#take();
        if (!lease) continue;
        this.stats.leaseChanges++;
        this.stats.owned = true;
        const deliveredBefore = this.stats.delivered;
        let givesBack = false;
        try {
          await this.#own(lease);
          givesBack = true;
        } finally {
          if (this.stats.delivered > deliveredBefore) backoffMs = BACKOFF_FIRST_MS;
          // After trouble it is taken anew, by whoever comes first.
          if (givesBack || signal.aborted) await releaseTask(redis, this.#keys.sink, lease.task.epoch);
        }
      } catch (thrown) {
        if (signal.aborted) break;
        onTrouble(`${messageOf(thrown)}; starting over in ${backoffMs} ms`, place);
        await clock.sleep(backoffMs, signal);
        backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
      } finally {
        share.release(this.#partition);
        this.stats.owned = false;
      }
    }
  }

  /** Takes the lease if this process' share allows it and it is free; else waits a while and returns undefined. */
  async #take(): Promise<Lease | undefined> {
    const { redis, owner, leaseMs, clock, serverClock, share } = this.#options;
    const { signal } = this.#stop;
    if (!(await share.reserve(this.#partition))) {
      await clock.sleep(TAKE_EVERY_MS, signal);
      return undefined;
    }
    let task: Task | { heldForMs: number } | undefined;
    const askedMs = clock.now();
    try {
      const now = serverClock ? String(serverClock.now()) : "";
      task = await acquireTask(redis, this.#keys.sink, owner, leaseMs, now);
    } finally {
      share.settle(this.#partition, task !== undefined && !("heldForMs" in task));
    }
    if (!("heldForMs" in task)) return { task, askedMs };
    await clock.sleep(Math.min(task.heldForMs, TAKE_EVERY_MS), signal);
    return undefined;
  }

  async #own({ task, askedMs }: Lease): Promise<void> {
    const reader = await this.#options.openReader(this.#keys.sink.log);
    try {
      const { run } = await readTask(reader, this.#keys.sink);
      if (!isSameRun(task.run, run)) throw this.#otherServer();
      const partitionTask = new SinkPartitionTask(
        this.#options,
        this.#partition,
        this.#keys,
        task,
        reader,
        this.stats,
        askedMs,
      );
      await partitionTask.run(this.#stop.signal);
    } finally {
      reader.disconnect();
    }
  }

  /** What commits are dated by. */
  async #serverNowMs(): Promise<number> {
    const { redis, serverClock } = this.#options;
    if (serverClock) return serverClock.now();
    const [seconds] = await redis.time();
    return Number(seconds) * 1_000;
  }

  #otherServer(): EngineError {
    const place = this.#keys.sink.log;
    return new EngineError(`${place}: the reader is connected to another server than the one that granted the lease`, {
      op: "outbox.read",
      code: "stale_run",
      retryable: true,
      input: place,
    });
  }
}
