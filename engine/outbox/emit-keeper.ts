/**
 * Holds the bounds on waiting emits for sinks without an owner: it acquires a sink's lease when it is free, turns
 * what is beyond a bound into dead letters as the sink's own process would, and releases the lease. One is enough for
 * each partition: a process checks the partitions whose jobs it runs. It has no receiver: it keeps emits of every kind
 * that the sink is not recorded to ignore, and cannot call the receiver's `deadLettered`.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { RepeatedTurns } from "../kernel/repeated-turns.js";
import { acquireTask, commitTask, readTask, releaseTask, type Task } from "../stream/commit.js";
import { type EmitEntry, EmitReader } from "../stream/emits.js";
import { GivenUpEntries } from "../stream/given-up-entries.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { agreedMs, nowArgument, serverNowMs } from "../stream/server-clock.js";
import { activeSinks, EMIT_CURSOR, ENTRY_CURSOR } from "../stream/sinks.js";
import { readUnwantedKinds } from "../stream/unwanted-kinds.js";
import {
  boundReached,
  DEFAULT_EMIT_BOUNDS,
  type EmitBounds,
  EmitOverflow,
  type OverflowEntry,
  OverflowReport,
  oldestAfter,
} from "./emit-bounds.js";

export interface EmitKeeperOptions {
  topic: string;
  partitions: number;
  prefix: string;
  redis: RedisClient;
  /** Names this process in leases. */
  owner: string;
  clock: Scheduler;
  /** For leases and the age of emits; left out: the Redis server's own. */
  serverClock?: Clock;
  leaseMs: number;
  /** Left out: the default. */
  bounds?: EmitBounds;
  /** Whether this process runs a partition's jobs now. */
  isOwned(partition: number): boolean;
  onTrouble: OnTrouble;
}

/** Deliveries since the start. */
export interface EmitKeeperFigures {
  readonly overflowed: number;
  readonly dropped: number;
}

const NOTHING: EmitKeeperFigures = { overflowed: 0, dropped: 0 };
const sumOf = (a: EmitKeeperFigures, b: EmitKeeperFigures): EmitKeeperFigures => ({
  overflowed: a.overflowed + b.overflowed,
  dropped: a.dropped + b.dropped,
});

/** Why an entry may not wait any longer; undefined: it may. */
type ReasonFor = (entry: EmitEntry) => string | undefined;

const RETIRING = "no process has run the sink for 13 days";
/** What a partition may hold beyond a bound is what it emits in this time. */
const EVERY_MS = 10_000;
/** Entries of one commit: a record is about as large as one commit of jobs. */
const ENTRIES_AT_ONCE = 64;

export class EmitKeeper {
  readonly #options: EmitKeeperOptions;
  readonly #turns: RepeatedTurns;
  /** By partition and sink. */
  readonly #reports = new Map<string, OverflowReport>();
  readonly #figures = new Map<string, EmitKeeperFigures>();

  constructor(options: EmitKeeperOptions) {
    this.#options = options;
    this.#turns = new RepeatedTurns(() => this.#checkOwned(), EVERY_MS, options.clock);
  }

  /** By sink. */
  get figuresOfSinks(): ReadonlyMap<string, EmitKeeperFigures> {
    return this.#figures;
  }

  /** Of all sinks. */
  get figures(): EmitKeeperFigures {
    return [...this.#figures.values()].reduce(sumOf, NOTHING);
  }

  start(): void {
    void this.#turns.start();
  }

  stop(): Promise<void> {
    return this.#turns.stop();
  }

  async #checkOwned(): Promise<void> {
    const { topic, partitions, isOwned, onTrouble } = this.#options;
    const { signal } = this.#turns;
    for (let partition = 0; partition < partitions; partition++) {
      if (signal.aborted || !isOwned(partition)) continue;
      try {
        await this.check(partition);
      } catch (thrown) {
        if (!signal.aborted) onTrouble(`the bounds of waiting emits: ${messageOf(thrown)}`, { topic, partition });
      }
    }
  }

  /** Checks a partition once. */
  async check(partition: number): Promise<void> {
    const { prefix, topic, redis, serverClock } = this.#options;
    const keys = partitionKeys(prefix, topic, partition);
    const task = await readTask(redis, keys);
    if (!task.emits) return;
    const nowMs = agreedMs(await serverNowMs(redis, serverClock), serverClock);
    // The last commit may have been written while the server's clock was ahead.
    const retiredMs = nowMs === undefined ? undefined : Math.min(nowMs, task.committedMs);
    const { emits } = task;
    for (const { name: sink, isRetiring } of await activeSinks(redis, keys, retiredMs)) {
      const ofSink = sinkKeys(prefix, topic, partition, sink);
      const { cursors } = await readTask(redis, ofSink);
      const oldest = await oldestAfter(redis, keys, emits, cursors.get(ENTRY_CURSOR) ?? 0);
      const reasonFor = (entry: EmitEntry): string | undefined =>
        isRetiring
          ? RETIRING
          : boundReached(entry, this.#options.bounds ?? DEFAULT_EMIT_BOUNDS, emits.bytes ?? 0, nowMs);
      if (oldest && reasonFor(oldest) !== undefined) await this.#hold(keys, ofSink, reasonFor, { partition, sink });
    }
  }

  async #hold(
    keys: PartitionKeys,
    ofSink: PartitionKeys,
    reasonFor: ReasonFor,
    place: { partition: number; sink: string },
  ): Promise<void> {
    const { redis, owner, leaseMs, serverClock } = this.#options;
    // Another name than that of this process's own outbox, whose lease it would acquire otherwise.
    const lease = await acquireTask(redis, ofSink, `${owner}/keeper`, leaseMs, nowArgument(serverClock));
    if (!("epoch" in lease)) return;
    try {
      await this.#giveUp(keys, ofSink, reasonFor, lease, place);
    } finally {
      await releaseTask(redis, ofSink, lease.epoch);
    }
  }

  async #giveUp(
    keys: PartitionKeys,
    ofSink: PartitionKeys,
    reasonFor: ReasonFor,
    lease: Task,
    place: { partition: number; sink: string },
  ): Promise<void> {
    const { redis, leaseMs, serverClock } = this.#options;
    const reader = new EmitReader(redis, keys);
    const overflow = new EmitOverflow(redis, ofSink);
    const unwanted = await readUnwantedKinds(redis, ofSink);
    // A forwarder may have gone back: these have their dead letters.
    const givenUp = await GivenUpEntries.read(redis, ofSink);
    let entry = lease.cursors.get(ENTRY_CURSOR) ?? 0;
    let settled = lease.cursors.get(EMIT_CURSOR) ?? 0;
    for (let number = lease.commit + 1; !this.#turns.signal.aborted; number++) {
      const found = await reader.read(entry, ENTRIES_AT_ONCE, 0);
      const given: OverflowEntry[] = [];
      const before = entry;
      for (const each of found) {
        const reason = reasonFor(each);
        if (reason === undefined) break;
        // The emits that the cursor counts are of an entry that was deleted.
        if (each.previous > entry) settled = 0;
        const indexes = [...each.emits.keys()].filter(
          (index) => index >= settled && !unwanted.has(each.emits[index]?.kind as string),
        );
        if (indexes.length > 0 && !givenUp.has(each.commit))
          given.push({ commit: each.commit, indexes, reason, stored: each.stored });
        entry = each.commit;
        settled = 0;
      }
      if (entry === before) return;
      const { deadLetters, resolvedDeadLetters, fields, overflowed, dropped } = await overflow.changes(given, []);
      const cursors = new Map([
        [ENTRY_CURSOR, entry],
        [EMIT_CURSOR, settled],
      ]);
      const { watermarkMs, events, epoch, run } = lease;
      const nothing = { states: [], timersSet: [], timersRemoved: [], out: undefined };
      const body = { ...nothing, watermarkMs, events, cursors, deadLetters, resolvedDeadLetters, fields };
      const commit = { epoch, run, number, leaseMs, lastOut: 0 };
      await commitTask(redis, ofSink, commit, body, nowArgument(serverClock));
      this.#report(overflowed, dropped, place);
    }
  }

  #report(overflowed: number, dropped: number, { partition, sink }: { partition: number; sink: string }): void {
    const { clock, topic, onTrouble } = this.#options;
    this.#figures.set(sink, sumOf(this.#figures.get(sink) ?? NOTHING, { overflowed, dropped }));
    const name = `${partition} ${sink}`;
    const report = this.#reports.get(name) ?? new OverflowReport(clock);
    this.#reports.set(name, report);
    report.add(overflowed, dropped);
    const message = report.takeMessage();
    if (message !== undefined)
      onTrouble(`${message}; no process delivers to it`, { level: "error", topic, partition, sink });
  }
}
