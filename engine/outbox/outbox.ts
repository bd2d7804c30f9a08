/**
 * Delivers what a topic's jobs emit to one receiver: effectively once, in order for each key, as fast as the receiver
 * takes it. Several processes may do so at once; each partition is owned by one, with a lease of the sink's own, and
 * all share one rate limiter. When the receiver or a process is down, deliveries wait: the cursor is in Redis, and
 * emits are not trimmed past it, within the bounds of emit-bounds.ts; beyond them they become dead letters. A delivery
 * is sent again when its answer was lost or its owner died: a receiver that recognises its key accepts it once.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { assert } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { type Random, secureBytes, seededRandom } from "../kernel/random.js";
import { type PartitionKeys, partitionKeys, rateLimiterKey, sinkKeys, workersKey } from "../stream/keys.js";
import { type Lease, LeasedLoop, openLeasedReader } from "../stream/leased-loop.js";
import type { RedisClient } from "../stream/redis.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";
import { renewalMs, serverNowMs } from "../stream/server-clock.js";
import { Share } from "../stream/share.js";
import { registerSink } from "../stream/sinks.js";
import { Circuit, type CircuitState } from "./circuit.js";
import type { EmitBounds } from "./emit-bounds.js";
import { RateLimiter } from "./rate-limiter.js";
import type { Receiver } from "./receiver.js";
import { Sender } from "./sender.js";
import {
  type OutboxStats,
  SinkPartitionTask,
  type SinkPartitionTaskOptions,
  type SinkTaskStats,
} from "./sink-partition-task.js";

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
  /** Names this process in leases and at the rate limiter. */
  owner: string;
  /** By which it waits and measures. */
  clock: Scheduler;
  /** What time it is when a delivery has been taken; left out: the same. */
  wall?: Clock;
  /** The clock of leases, commits and the rate limiter; left out: the Redis server's own. */
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
  /** How much of a partition's emits the receiver may hold back; left out: the default. */
  bounds?: EmitBounds;
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

export class Outbox {
  readonly #name: string;
  readonly #share: Share;
  readonly #sender: Sender;
  readonly #owners: PartitionOwner[];

  constructor(options: OutboxOptions) {
    const { receiver, topic, partitions, prefix, clock, onTrouble } = options;
    assert(/^[a-z0-9-]{1,32}$/.test(receiver.name), `${receiver.name} is no name of a receiver`);
    const { deliveries = 1 } = receiver.batch ?? {};
    assert(deliveries >= 1 && Boolean(receiver.batch) === Boolean(receiver.deliverBatch), `${receiver.name}: no batch`);
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
    const sum = (figure: "deadLetters" | "overflowStored" | "dropped") =>
      this.#owners.reduce((total, { stats }) => total + stats[figure], 0);
    const deadLetters = sum("deadLetters");
    if (deadLetters > 0)
      warnings.push(`${deadLetters} deliveries became dead letters since the start: ${this.#name} refused them`);
    const overflowed = sum("overflowStored");
    if (overflowed > 0) warnings.push(`${overflowed} deliveries to ${this.#name} waited too long and are dead letters`);
    const dropped = sum("dropped");
    if (dropped > 0)
      warnings.push(`${dropped} deliveries to ${this.#name} were removed: there was no room for their dead letters`);
    return warnings;
  }

  stats(): OutboxFigures {
    const { circuit, ratePerSecond, underWay } = this.#sender;
    return { circuit, ratePerSecond, inFlight: underWay, partitions: this.#owners.map(({ stats }) => stats) };
  }
}

type PartitionOptions = OutboxOptions & SinkPartitionTaskOptions & { share: Share };

/** One partition: delivers while this process has the lease of the sink there. */
class PartitionOwner {
  readonly #stats: SinkTaskStats = {
    waiting: 0,
    lagEntries: 0,
    behindMs: 0,
    pinnedBytes: 0,
    delivered: 0,
    retries: 0,
    throttled: 0,
    deadLetters: 0,
    overflowed: 0,
    overflowStored: 0,
    dropped: 0,
  };
  readonly #partition: number;
  readonly #options: PartitionOptions;
  readonly #keys: { sink: PartitionKeys; partition: PartitionKeys };
  readonly #loop: LeasedLoop;

  constructor(partition: number, options: PartitionOptions) {
    this.#partition = partition;
    this.#options = options;
    const { prefix, topic, receiver, redis, serverClock } = options;
    const sink = receiver.name;
    this.#keys = {
      sink: sinkKeys(prefix, topic, partition, sink),
      partition: partitionKeys(prefix, topic, partition),
    };
    this.#loop = new LeasedLoop({
      ...options,
      keys: this.#keys.sink,
      partition,
      place: { topic, partition, sink },
      // Its owner reports them.
      away: () => Object.assign(this.#stats, { lagEntries: 0, behindMs: 0, pinnedBytes: 0, overflowStored: 0 }),
      prepare: async () => {
        const nowMs = renewalMs(await serverNowMs(redis, serverClock), serverClock);
        await registerSink(redis, this.#keys.partition, sink, nowMs);
      },
      work: (lease, signal) => this.#work(lease, signal),
    });
  }

  get stats(): OutboxStats {
    const { isOwned, leaseChanges } = this.#loop;
    return { ...this.#stats, owned: isOwned, leaseChanges };
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #work({ task, askedMs, progressed, waitAfter }: Lease, signal: AbortSignal): Promise<void> {
    const reader = await openLeasedReader(this.#options.openReader, this.#keys.sink, task);
    const deliveredBefore = this.#stats.delivered;
    try {
      const partitionTask = new SinkPartitionTask(
        this.#options,
        this.#partition,
        this.#keys,
        task,
        reader,
        this.#stats,
        askedMs,
      );
      await partitionTask.run(signal);
      // Meanwhile the lease is free, and another process can hold the bounds.
      if (partitionTask.isStuck) waitAfter(this.#options.leaseMs);
    } finally {
      reader.disconnect();
      if (this.#stats.delivered > deliveredBefore) progressed();
    }
  }
}
