/**
 * Forwards the emits of one partition of a topic to an event topic while this process has the lease: reads them from
 * its cursor, applies the routes, appends the events to the partitions of the target, then commits the cursor. An event
 * is appended once, across crashes, take-overs, repeated and late calls: each partition of the target skips what it has
 * taken and refuses an earlier owner. What a failed-over server has lost is found by comparison and forwarded again, so
 * nothing is skipped. An emit that cannot be mapped becomes a dead letter; the others go on.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import type { LogFields, OnTrouble } from "../kernel/logger.js";
import { readTask, type Task } from "./commit.js";
import { type StoredDeadLetter, trimDeadLetters } from "./dead-letter.js";
import { EmitRouter, emptyBatch, type RoutedBatch } from "./emit-router.js";
import { type EmitEntry, EmitReader, lastEmitEntry } from "./emits.js";
import { digestOf, EventProducer, markName, resumeAfter, type Taken } from "./event-producer.js";
import type { EventTopic } from "./event-topic.js";
import { ForwarderCursor, WRITE_EVERY_MS } from "./forwarder-cursor.js";
import { eventKeys, type PartitionKeys } from "./keys.js";
import { type Lease, openLeasedReader } from "./leased-loop.js";
import type { RedisClient } from "./redis.js";
import { areReplicated } from "./replicated-reads.js";
import type { ReplicationBarrier } from "./replication-barrier.js";
import { RequestedReplays } from "./requested-replays.js";
import type { Route } from "./route.js";
import { renewalMs, serverNowMs } from "./server-clock.js";
import type { Share } from "./share.js";
import { registerSink } from "./sinks.js";
import { UnwantedKinds } from "./unwanted-kinds.js";

export interface ForwarderOptions {
  /** With its routes. */
  target: EventTopic;
  prefix: string;
  redis: RedisClient;
  /** Opens the connection that waits for new emits; it ends with the server that it reads from. The task closes it. */
  openReader(log: string): RedisClient | Promise<RedisClient>;
  /** For pauses and intervals in this process. */
  clock: Scheduler;
  /** For leases and commits; left out: the Redis server's own clock. */
  serverClock?: Clock;
  leaseMs: number;
  /** An emit is forwarded when replicas have it, and passed when they have its event; left out: at once. */
  replicas?: ReplicationBarrier;
  onTrouble: OnTrouble;
}

/** Figures of one partition of a source since its forwarder started. */
export interface ForwarderStats {
  /** Commits of the source after the last entry read, at the last check; a commit without emits may count. */
  lagEntries: number;
  /** The age of the oldest entry of emits after it, at the last check; 0: there is none. */
  behindMs: number;
  /** Events appended to the target; after a restart some may count twice. */
  forwarded: number;
  deadLetters: number;
}

/** What a task works on. */
export interface ForwarderPlace {
  /** The topic whose emits are forwarded. */
  readonly source: string;
  readonly partition: number;
  readonly routes: readonly Route[];
  /** The name of the sink that forwards. */
  readonly sink: string;
  readonly keys: { readonly sink: PartitionKeys; readonly source: PartitionKeys };
  readonly share: Share;
}

/** Entries of one read; each is decoded in its turn. */
const READ_ENTRIES = 16;
/** Emits that are forwarded together, unless an entry has more. */
const BATCH_EMITS = 1_000;
const BLOCK_MS = 500;
const CHECK_EVERY_MS = 1_000;
const TRIM_EVERY_MS = 60_000;

export class ForwarderTask {
  readonly #options: ForwarderOptions;
  readonly #place: ForwarderPlace;
  readonly #lease: Lease;
  readonly #stats: ForwarderStats;
  readonly #signal: AbortSignal;
  readonly #clock: Scheduler;
  /** Of each partition of the target. */
  readonly #producers: readonly EventProducer[];
  readonly #router: EmitRouter;
  readonly #requested: RequestedReplays;
  readonly #cursor: ForwarderCursor;
  readonly #unwanted = new UnwantedKinds();
  #checkedMs: number;
  #trimmedMs: number;
  /** Whether too few replicas have what was read, for longer than a lease. */
  #isUnreplicated = false;

  constructor(
    options: ForwarderOptions,
    place: ForwarderPlace,
    lease: Lease,
    stats: ForwarderStats,
    signal: AbortSignal,
  ) {
    const { target, redis, prefix, replicas, clock } = options;
    const { task, askedMs } = lease;
    this.#options = options;
    this.#place = place;
    this.#lease = lease;
    this.#stats = stats;
    this.#signal = signal;
    this.#clock = clock;
    const report = (message: string) => this.#report(message);
    this.#cursor = new ForwarderCursor(options, { keys: place.keys.sink, lease, stats, signal, report });
    this.#checkedMs = askedMs - CHECK_EVERY_MS;
    this.#trimmedMs = askedMs - TRIM_EVERY_MS;
    const source = `${place.source}/${String(place.partition).padStart(2, "0")}`;
    this.#router = new EmitRouter({ source, routes: place.routes, partitions: target.partitions });
    this.#requested = new RequestedReplays(redis, place.keys.sink);
    this.#producers = Array.from(
      { length: target.partitions },
      (_, partition) =>
        new EventProducer({
          redis,
          ...(replicas ? { replicas } : {}),
          keys: eventKeys(prefix, target.name, partition),
          source,
          task,
          clockArgument: () => target.clockArgument(),
        }),
    );
  }

  /**
   * Forwards until the signal aborts or the partition is to be released.
   * @throws EngineError `stale_epoch`, `stale_run`, `stale_fence`, or an error of Redis: it has to start again
   */
  async run(): Promise<void> {
    const { openReader, redis } = this.#options;
    const { keys } = this.#place;
    // Before anything that may fail for long: a route may be new.
    await this.#unwanted.store(redis, keys.sink, this.#router);
    await this.#cursor.countDeadLetters();
    if (this.#cursor.isFull && (await this.#requested.next()).length === 0) return this.#waitForRoom();
    // One attempt: before they have what is there, nothing new can be forwarded.
    if (!(await this.#areReplicated(0))) return this.#giveBack(this.#options.leaseMs);
    const taken = await this.#open();
    const reader = await openLeasedReader(openReader, keys.sink, this.#lease.task);
    // Ends the waiting read; a read never changes anything.
    const end = (): void => reader.disconnect();
    this.#signal.addEventListener("abort", end, { once: true });
    try {
      await this.#begin(reader, taken);
      const emits = new EmitReader(reader, keys.source);
      do {
        await this.#checkIfDue();
        if (this.#cursor.isFull) break;
        await this.#forwardNext(emits);
        if (this.#isUnreplicated) break;
        await this.#renewIfDue();
      } while (!this.#isEnding);
    } catch (thrown) {
      // Stopping ends the waiting read with an error; what is forwarded is committed all the same.
      if (!this.#signal.aborted) throw thrown;
    } finally {
      this.#signal.removeEventListener("abort", end);
      reader.disconnect();
    }
    if (this.#cursor.hasUnwritten) await this.#cursor.write([], []);
    if (this.#cursor.isFull && !this.#signal.aborted) await this.#waitForRoom();
    else if (this.#isUnreplicated) await this.#giveBack(this.#options.leaseMs);
  }

  get #isEnding(): boolean {
    const { share, partition } = this.#place;
    return this.#signal.aborted || share.isSurplus(partition);
  }

  /** Nothing is forwarded while there are too many dead letters. */
  async #waitForRoom(): Promise<void> {
    this.#report(
      "too many dead letters: nothing more is forwarded; list them (dead-letters list), then replay or remove them",
      { level: "error" },
    );
    await this.#giveBack(CHECK_EVERY_MS);
  }

  /** Leaves the lease free for a while, so that another process can hold the bounds on what waits. */
  async #giveBack(waitMs: number): Promise<void> {
    const { redis, serverClock } = this.#options;
    const { keys, sink } = this.#place;
    const [task, serverMs] = await Promise.all([readTask(redis, keys.source), serverNowMs(redis, serverClock)]);
    await this.#updateLag(task, serverMs);
    await registerSink(redis, keys.source, sink, renewalMs(serverMs, serverClock));
    await trimDeadLetters(redis, keys.sink);
    this.#lease.waitAfter(waitMs);
  }

  // ---- the beginning

  /** Excludes earlier owners at every partition of the target. */
  async #open(): Promise<Taken[]> {
    const { redis, serverClock } = this.#options;
    const { keys } = this.#place;
    const nowMs = renewalMs(await serverNowMs(redis, serverClock), serverClock);
    await registerSink(redis, keys.source, this.#place.sink, nowMs);
    const taken = await Promise.all(this.#producers.map((producer) => producer.open()));
    // The lease still holds after the openings: whoever acquires it later opens later, too.
    await this.#cursor.renew();
    return taken;
  }

  /**
   * Finds where to begin. A source that has failed over may have lost commits that were forwarded and used their
   * numbers again: each partition of the target goes back to the last commit that both have. A partition of the target
   * may have lost events that the cursor has passed: then the cursor goes back. Entries that were given up are left
   * out: their dead letters are replayed where they are lacking.
   */
  async #begin(reader: RedisClient, taken: readonly Taken[]): Promise<void> {
    const digests = await this.#digestsUpTo(reader, Math.max(...taken.map(({ last }) => last)));
    const lasts = taken.map((each) => resumeAfter(each, this.#cursor.position, digests));
    const lacking = taken.flatMap(({ mayLack }, i) => (mayLack ? [lasts[i] as number] : []));
    const from = Math.min(this.#cursor.position, ...lacking);
    await this.#cursor.readGivenUp();
    await this.#cursor.begin(from);
    const begins = taken.map(({ marks, overflowed }, i) => {
      // Some partitions may have taken an entry before it was given up, because another one could not be reached.
      const known = new Set(overflowed.map(markName));
      const more = marks.filter((mark) => this.#cursor.isGivenUp(mark.commit) && !known.has(markName(mark)));
      return (this.#producers[i] as EventProducer).begin(lasts[i] as number, [...overflowed, ...more]);
    });
    await Promise.all(begins);
  }

  /** Digests of the source's entries of emits after the cursor, up to a commit. */
  async #digestsUpTo(reader: RedisClient, last: number): Promise<Map<number, Buffer>> {
    const digests = new Map<number, Buffer>();
    const emits = new EmitReader(reader, this.#place.keys.source);
    for (let after = this.#cursor.position; after < last; ) {
      const entries = await emits.read(after, READ_ENTRIES, 0);
      if (entries.length === 0) break;
      for (const { commit, stored } of entries) digests.set(commit, digestOf(stored));
      after = (entries.at(-1) as EmitEntry).commit;
    }
    return digests;
  }

  // ---- forwarding

  async #forwardNext(emits: EmitReader): Promise<void> {
    const cursor = this.#cursor;
    const blockMs = cursor.hasUnwritten ? WRITE_EVERY_MS : BLOCK_MS;
    const entries = await emits.readLazily(cursor.position, READ_ENTRIES, blockMs);
    if (!entries) {
      if (cursor.hasUnwritten) await cursor.write([], []);
    } else if (await this.#areReplicated(this.#options.leaseMs)) await this.#forward(entries);
    else this.#isUnreplicated = !this.#isEnding;
  }

  /** One entry is decoded at a time: each may hold some thousands of emits. */
  async #forward(entries: Iterable<EmitEntry>): Promise<void> {
    const cursor = this.#cursor;
    let batch = emptyBatch();
    let last: EmitEntry | undefined;
    let read = 0;
    const flush = async (): Promise<void> => {
      if (!last) return;
      await this.#send(batch);
      await cursor.pass(last, batch.deadLetters);
      this.#lease.progressed();
      [batch, last, read] = [emptyBatch(), undefined, 0];
    };
    for (const entry of entries) {
      const before = last?.commit ?? cursor.position;
      if (cursor.passed > 0 && entry.previous > Math.max(cursor.passed, before))
        this.#report(
          `the emits after entry ${before} and up to ${entry.previous} were deleted before they were forwarded`,
        );
      this.#unwanted.add(entry.emits, this.#router);
      if (!cursor.isGivenUp(entry.commit)) this.#router.add(batch, entry, cursor.settledOf(entry));
      last = entry;
      read += entry.emits.length;
      if (batch.deadLetters.length === 0 && read < BATCH_EMITS) continue;
      await flush();
      if (cursor.isFull || this.#signal.aborted) return;
      await this.#renewIfDue();
    }
    await flush();
    await cursor.writeIfDue();
  }

  async #send({ commits, events }: RoutedBatch): Promise<void> {
    const calls = [...commits].map(([partition, own]) => (this.#producers[partition] as EventProducer).forward(own));
    await allSettled(calls);
    this.#stats.forwarded += events;
  }

  #areReplicated(patienceMs: number): Promise<boolean> {
    const { replicas, serverClock, leaseMs } = this.#options;
    return areReplicated({
      replicas,
      taskKey: this.#place.keys.sink.task,
      task: this.#lease.task,
      leaseMs,
      serverClock,
      clock: this.#clock,
      patienceMs,
      isEnding: () => this.#isEnding,
      signal: this.#signal,
      onMissing: (reason) => this.#report(`${reason}: nothing is forwarded until they have`),
    });
  }

  // ---- the lease

  async #renewIfDue(): Promise<void> {
    if (!(await this.#cursor.renewIfDue())) return;
    // A partition of the target that has lost events reports it, also when there is nothing to forward.
    await allSettled(this.#producers.map((producer) => producer.forward([])));
  }

  // ---- what changes slowly

  async #checkIfDue(): Promise<void> {
    const { redis, serverClock } = this.#options;
    const { keys, sink } = this.#place;
    const nowMs = this.#clock.now();
    if (nowMs - this.#checkedMs < CHECK_EVERY_MS) return;
    this.#checkedMs = nowMs;
    const [task, serverMs] = await Promise.all([readTask(redis, keys.source), serverNowMs(redis, serverClock)]);
    await this.#updateLag(task, serverMs);
    await this.#unwanted.store(redis, keys.sink, this.#router);
    const requested = await this.#requested.next();
    if (requested.length > 0) {
      await this.#replay(requested);
      await this.#cursor.countDeadLetters();
    }
    if (nowMs - this.#trimmedMs < TRIM_EVERY_MS) return;
    this.#trimmedMs = nowMs;
    await registerSink(redis, keys.source, sink, renewalMs(serverMs, serverClock));
    await trimDeadLetters(redis, keys.sink);
  }

  async #updateLag(task: Task, serverMs: number): Promise<void> {
    const lag = Math.max(0, lastEmitEntry(task) - this.#cursor.position);
    const emits = new EmitReader(this.#options.redis, this.#place.keys.source);
    // The task has the time of the newest commit only.
    const [oldest] = lag === 0 ? [] : await emits.read(this.#cursor.position, 1, 0);
    this.#stats.lagEntries = lag;
    this.#stats.behindMs = oldest ? Math.max(0, serverMs - oldest.committedMs) : 0;
  }

  /** Forwards dead letters once more that an operator has requested. */
  async #replay(requested: readonly StoredDeadLetter[]): Promise<void> {
    const { calls, deadLetters, done } = this.#router.replayOf(requested);
    const tried = new Set(done);
    for (const { id } of requested) if (!tried.has(id)) this.#requested.pass(id);
    if (done.length === 0) return;
    await allSettled([...calls].map(([partition, own]) => (this.#producers[partition] as EventProducer).replay(own)));
    await this.#cursor.write(deadLetters, done);
  }

  #report(message: string, fields: LogFields = {}): void {
    const { source: topic, partition, sink } = this.#place;
    this.#options.onTrouble(message, { topic, partition, sink, ...fields });
  }
}

/** Waits for all, also after one has failed: nothing is under way when it returns. @throws the first error */
async function allSettled(calls: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason;
}
