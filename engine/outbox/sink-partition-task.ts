/**
 * Delivers the emits of one partition while this process owns it: reads the log of emits, passes the deliveries to the
 * sender, and has the committer write the cursor, fenced by the lease's epoch and the server's run: a process that has
 * lost the lease, or has read from a server that lost it, changes nothing. What was delivered after the last commit is
 * delivered again by the next owner, under the same ids.
 */
import { setMaxListeners } from "node:events";
import { messageOf } from "../kernel/errors.js";
import type { LogFields, OnTrouble } from "../kernel/logger.js";
import { readTask, type Task } from "../stream/commit.js";
import { trimDeadLetters } from "../stream/dead-letter.js";
import { EmitReader, lastEmitEntry } from "../stream/emits.js";
import type { PartitionKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { areReplicated } from "../stream/replicated-reads.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";
import { agreedMs, renewalMs, serverNowMs } from "../stream/server-clock.js";
import type { Share } from "../stream/share.js";
import { EMIT_CURSOR, ENTRY_CURSOR, registerSink } from "../stream/sinks.js";
import { UnwantedKinds } from "../stream/unwanted-kinds.js";
import { Backlog, type Pending } from "./backlog.js";
import { DeadLetterReplay } from "./dead-letter-replay.js";
import { boundReached, DEFAULT_EMIT_BOUNDS, oldestAfter, pinnedBytes } from "./emit-bounds.js";
import { type OverdueRules, overflowOldest, overflowUnread } from "./overdue-entries.js";
import type { Sender, Source } from "./sender.js";
import { Signal } from "./signal.js";
import { SinkCommitter, type SinkCommitterOptions } from "./sink-committer.js";

export interface SinkPartitionTaskOptions extends SinkCommitterOptions {
  sender: Sender;
  topic: string;
  share?: Share;
  replicas?: ReplicationBarrier;
  onTrouble: OnTrouble;
}

/** What a partition's tasks have done since the outbox started. */
export interface SinkTaskStats {
  /** Deliveries in memory that are not settled. */
  waiting: number;
  /** Entries that have not been read yet, at the last check; a commit without deliveries may count. */
  lagEntries: number;
  /** The age of the oldest commit that is not delivered, at the last check; 0: none is waiting. */
  behindMs: number;
  /** Bytes of emits that are kept for this sink, at the last check. */
  pinnedBytes: number;
  delivered: number;
  retries: number;
  throttled: number;
  /** Deliveries that the receiver has refused. */
  deadLetters: number;
  /** Deliveries that waited too long and became dead letters; of them those that are stored, at the last check. */
  overflowed: number;
  overflowStored: number;
  /** Deliveries whose dead letters were removed to make room. */
  dropped: number;
}

/** A partition's figures since its outbox started. */
export interface OutboxStats extends Readonly<SinkTaskStats> {
  readonly owned: boolean;
  readonly leaseChanges: number;
}

/** Entries of one read: each may hold some thousands of emits. */
const READ_ENTRIES = 16;
const BLOCK_MS = 500;
/** The cursor is committed at this interval; what was delivered since is sent again after a crash. */
const WRITE_EVERY_MS = 50;
/** The interval of commits that only pass unwanted emits, and of the checks of what changes slowly. */
const CHECK_EVERY_MS = 1_000;
const TRIM_EVERY_MS = 60_000;
/** How long the end waits for requests under way; then the next owner repeats them. */
const DRAIN_MS = 5_000;

export class SinkPartitionTask implements Source {
  readonly #options: SinkPartitionTaskOptions;
  readonly #partition: number;
  readonly #keys: PartitionKeys;
  readonly #outKeys: PartitionKeys;
  readonly #task: Task;
  readonly #reader: RedisClient;
  readonly #stats: SinkTaskStats;
  readonly #backlog: Backlog;
  readonly #committer: SinkCommitter;
  readonly #replay: DeadLetterReplay;
  readonly #abort = new AbortController();
  /** Set when there is room to read again, when there is something to commit, when a request has ended. */
  readonly #room = new Signal();
  readonly #writing = new Signal();
  readonly #ended = new Signal();
  readonly #unwanted = new UnwantedKinds();
  readonly #wants = (kind: string): boolean => this.#options.receiver.wants(kind);
  #isEnding = false;
  /** Whether too few replicas have the entries that were read. */
  #isUnreplicated = false;
  /** Whether more than the bounds allow waits because outcomes cannot be recorded: then it ends. */
  isStuck = false;
  #underWay = 0;
  #checkedMs = 0;
  #trimmedMs: number;

  /**
   * @param keys of the sink, and of the partition that it delivers from
   * @param task the sink's, just acquired
   * @param reader a connection to the server that gave the lease; ended here
   * @param askedMs when the lease was asked for
   */
  constructor(
    options: SinkPartitionTaskOptions,
    partition: number,
    keys: { sink: PartitionKeys; partition: PartitionKeys },
    task: Task,
    reader: RedisClient,
    stats: SinkTaskStats,
    askedMs: number,
  ) {
    this.#options = options;
    this.#partition = partition;
    this.#keys = keys.sink;
    this.#outKeys = keys.partition;
    this.#task = task;
    this.#reader = reader;
    this.#stats = stats;
    // At the first check, too: a server after a failover may not have this sink yet.
    this.#trimmedMs = askedMs - TRIM_EVERY_MS;
    const cursor = { entry: task.cursors.get(ENTRY_CURSOR) ?? 0, emits: task.cursors.get(EMIT_CURSOR) ?? 0 };
    const place = `${options.topic}/${String(partition).padStart(2, "0")}`;
    const orderOf = options.receiver.orderOf?.bind(options.receiver);
    this.#backlog = new Backlog(cursor, (commit, index) => `${place}/${commit}.${index}`, orderOf);
    const context = {
      partition,
      keys: keys.sink,
      partitionKeys: keys.partition,
      task,
      backlog: this.#backlog,
      stats,
      signal: this.#abort.signal,
      isEnding: () => this.#isEnding,
      report: (message: string, fields?: LogFields) => this.#report(message, fields),
    };
    this.#committer = new SinkCommitter(options, context, askedMs);
    this.#replay = new DeadLetterReplay({
      redis: options.redis,
      keys: keys.sink,
      backlog: this.#backlog,
      wants: this.#wants,
      onReady: (ready) => options.sender.offer(ready, this),
      onNeedless: (id) => this.#committer.addNeedless(id),
    });
    // Every request and every pause of a delivery listens to it.
    setMaxListeners(0, this.#abort.signal);
  }

  /**
   * Delivers until `signal` aborts or the partition is to be released; then waits for requests under way and commits
   * their outcome.
   * @throws EngineError `stale_epoch`, `stale_run`, or an error of Redis: the partition has to be acquired anew
   */
  async run(signal: AbortSignal): Promise<void> {
    const end = () => this.#end();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    let fault: unknown;
    const guarded = async (loop: Promise<void>) => {
      try {
        await loop;
      } catch (thrown) {
        // The end aborts the waiting read with an error.
        if (!this.#isEnding) fault = thrown;
      } finally {
        end();
      }
    };
    try {
      await Promise.all([guarded(this.#readLoop()), guarded(this.#writeLoop())]);
      await this.#drain();
      await this.#committer.write().catch((thrown) => {
        fault ??= thrown;
      });
    } finally {
      signal.removeEventListener("abort", end);
      this.#abort.abort();
      this.#stats.waiting = 0;
    }
    if (fault !== undefined) throw fault;
  }

  // ---- the sender's calls

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * False for good once the lease may have ended, even if no other process has taken it: the sender drops its
   * deliveries.
   */
  maySend(nowMs: number): boolean {
    const holdsLease = this.#committer.holdsLease(nowMs);
    // The write loop ends the task.
    if (!holdsLease) this.#writing.notify();
    return holdsLease && !this.#isEnding;
  }

  get isBlocked(): boolean {
    return this.#backlog.isBlocked;
  }

  onSent(): void {
    this.#underWay++;
  }

  onEnded(): void {
    this.#underWay--;
    if (this.#isEnding) this.#ended.notify();
  }

  onDelivered(pending: Pending, receipt: unknown, atMs: number): void {
    this.#committer.addDelivered(pending, receipt, atMs);
    this.#stats.delivered++;
    this.#settle(pending);
  }

  onGivenUp(pending: Pending, reason: string, brief: string): void {
    // Otherwise it is a dead letter already.
    if (!pending.isOverflowed) this.#committer.addGivenUp(pending, reason, brief);
    this.#settle(pending);
  }

  onRetry(throttled: boolean): void {
    this.#stats.retries++;
    if (throttled) this.#stats.throttled++;
  }

  #settle(pending: Pending): void {
    const next = this.#backlog.settle(pending);
    this.#stats.waiting = this.#backlog.size;
    if (next) this.#options.sender.offer([next], this);
    this.#room.notify();
    this.#writing.notify();
  }

  // ---- reading

  async #readLoop(): Promise<void> {
    const { clock, sender, receiver } = this.#options;
    const reader = new EmitReader(this.#reader, this.#outKeys);
    while (!this.#isEnding) {
      if (!this.#backlog.hasRoom || this.#committer.isFull) {
        await this.#room.wait(clock, CHECK_EVERY_MS);
        continue;
      }
      const entries = await reader.readLazily(this.#backlog.readUpTo, READ_ENTRIES, BLOCK_MS);
      if (!entries || !(await this.#areReplicated())) continue;
      for (const entry of entries) {
        // One entry may hold some thousands: the rest is read once more when there is room.
        if (!this.#backlog.hasRoom) break;
        const { previous } = entry;
        const last = this.#backlog.readUpTo;
        // Given up meanwhile.
        if (entry.commit <= last) continue;
        if (last > 0 && previous > last) {
          this.#report(`the emits after entry ${last} and up to ${previous} were deleted before they were sent`);
        }
        this.#unwanted.add(entry.emits, receiver);
        sender.offer(this.#backlog.add(entry, this.#wants), this);
      }
      this.#stats.waiting = this.#backlog.size;
      this.#writing.notify();
    }
  }

  async #areReplicated(): Promise<boolean> {
    const { replicas, clock, serverClock, leaseMs } = this.#options;
    const result = await areReplicated({
      replicas,
      taskKey: this.#keys.task,
      task: this.#task,
      leaseMs,
      serverClock,
      clock,
      isEnding: () => this.#isEnding,
      signal: this.#abort.signal,
      onMissing: (reason) => {
        this.#isUnreplicated = true;
        this.#report(`${reason}: nothing is sent until they have`);
      },
    });
    this.#isUnreplicated = false;
    return result;
  }

  // ---- writing

  async #writeLoop(): Promise<void> {
    const { clock, share, leaseMs } = this.#options;
    while (!this.#isEnding && !share?.isSurplus(this.#partition)) {
      await this.#writing.wait(clock, Math.min(CHECK_EVERY_MS, leaseMs / 4));
      if (this.#isEnding) return;
      this.#committer.assertLease();
      const nowMs = clock.now();
      const isCheckDue = nowMs - this.#checkedMs >= CHECK_EVERY_MS;
      // Settled deliveries are committed soon; entries without wanted emits are not.
      if (this.#committer.hasSettled || isCheckDue) await this.#committer.write();
      await this.#committer.renewIfDue();
      if (this.isStuck) return;
      if (isCheckDue) {
        this.#checkedMs = nowMs;
        await this.#check();
      }
      if (isCheckDue || this.#replay.isDue) await this.#replay.fill();
      // Signals that come meanwhile count as one.
      await clock.sleep(Math.max(0, WRITE_EVERY_MS - (clock.now() - nowMs)), this.#abort.signal);
    }
  }

  // ---- what changes slowly

  async #check(): Promise<void> {
    const { redis, clock, serverClock } = this.#options;
    const [partitionTask, nowMs] = await Promise.all([readTask(redis, this.#outKeys), serverNowMs(redis, serverClock)]);
    const lastEntry = lastEmitEntry(partitionTask);
    this.#stats.lagEntries = Math.max(0, lastEntry - this.#backlog.readUpTo);
    await this.#holdBounds(partitionTask, agreedMs(nowMs, serverClock));
    const oldestMs = this.#backlog.oldest?.committedMs;
    this.#stats.behindMs = oldestMs === undefined ? 0 : Math.max(0, nowMs - oldestMs);
    if (this.#backlog.size === 0 && this.#committer.writtenEntry === lastEntry) {
      await this.#options.receiver.idle?.(this.#partition).catch((thrown) => this.#report(messageOf(thrown)));
    }
    if (this.#committer.isFull) {
      const kept = await this.#committer.count();
      if (this.#committer.isFull) {
        this.#report(
          `too many dead letters (${kept}): nothing more is delivered; list them (dead-letters list), then replay or remove them`,
          { level: "error" },
        );
      } else this.#room.notify();
    }
    if (clock.now() - this.#trimmedMs < TRIM_EVERY_MS) return;
    this.#trimmedMs = clock.now();
    await registerSink(redis, this.#outKeys, this.#options.receiver.name, renewalMs(nowMs, serverClock));
    await trimDeadLetters(redis, this.#keys);
    await this.#committer.count();
  }

  /** Gives up what is beyond a bound, and measures what is held back. */
  async #holdBounds({ emits }: Task, nowMs: number | undefined): Promise<void> {
    const { bounds = DEFAULT_EMIT_BOUNDS, redis, sender, receiver } = this.#options;
    if (!emits) return;
    await this.#unwanted.store(redis, this.#keys, receiver);
    const rules: OverdueRules = {
      isOverdue: (entry) => boundReached(entry, bounds, emits.bytes ?? 0, nowMs),
      isEnding: () => this.#isEnding,
      onReady: (ready) => sender.offer(ready, this),
    };
    await overflowOldest(this.#backlog, this.#committer, rules);
    if (!this.#backlog.hasRoom || this.#committer.isFull || this.#isUnreplicated) {
      const reader = new EmitReader(redis, this.#outKeys, this.#backlog.readUpTo >= emits.from - 1);
      const read = (after: number) => reader.read(after, READ_ENTRIES, 0);
      await overflowUnread(this.#backlog, this.#committer, rules, read, this.#wants);
    }
    this.#room.notify();
    // An operator may have removed some.
    if (this.#stats.overflowStored > 0) await this.#committer.count();
    this.#stats.waiting = this.#backlog.size;
    const { oldest, readUpTo } = this.#backlog;
    const next =
      oldest ?? (emits.last > readUpTo ? await oldestAfter(redis, this.#outKeys, emits, readUpTo) : undefined);
    this.#stats.pinnedBytes = pinnedBytes(emits, next);
    if (!this.#committer.isStuck) return;
    const unwritten = await oldestAfter(redis, this.#outKeys, emits, this.#committer.writtenEntry);
    this.isStuck = unwritten !== undefined && rules.isOverdue(unwritten) !== undefined;
  }

  #report(message: string, fields: LogFields = {}): void {
    const { topic, receiver, onTrouble } = this.#options;
    onTrouble(message, { topic, partition: this.#partition, sink: receiver.name, ...fields });
  }

  // ---- the end

  #end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // Ends the waiting read; a read never changes anything.
    this.#reader.disconnect();
    this.#room.notify();
    this.#writing.notify();
  }

  async #drain(): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.now() + DRAIN_MS;
    for (let leftMs = DRAIN_MS; this.#underWay > 0 && leftMs > 0; leftMs = untilMs - clock.now()) {
      await this.#ended.wait(clock, leftMs);
    }
  }
}
