/**
 * Delivers the emits of one partition while this process owns it: reads the log of emits, passes the deliveries to the
 * sender, and commits the cursor. Cursor, dead letters and completed replays are one commit, fenced by the lease's
 * epoch and the server's run: a process that has lost the lease, or has read from a server that lost it, changes
 * nothing. What was delivered after the last commit is delivered again by the next owner, under the same ids.
 */
import { setMaxListeners } from "node:events";
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { LogFields, OnTrouble } from "../kernel/logger.js";
import { type CommitBody, commitWithRetries, renewTask, type Task } from "../stream/commit.js";
import {
  countDeadLetters,
  type DeadLetter,
  isDeadLetterLimitReached,
  requestedReplays,
  type StoredDeadLetter,
  trimDeadLetters,
} from "../stream/dead-letter.js";
import type { PartitionKeys } from "../stream/keys.js";
import { field, type LogEntry, readLog } from "../stream/log.js";
import { decodeOut } from "../stream/out-record.js";
import type { RedisClient } from "../stream/redis.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";
import type { Share } from "../stream/share.js";
import { EMIT_CURSOR, ENTRY_CURSOR, registerSink } from "../stream/sinks.js";
import { Backlog, type Cursor, type Pending } from "./backlog.js";
import { emitOf, onlyEmit } from "./delivery-dead-letter.js";
import type { Delivered, Receiver } from "./receiver.js";
import type { Sender, Source } from "./sender.js";
import { Signal } from "./signal.js";

export interface SinkPartitionTaskOptions {
  receiver: Receiver;
  sender: Sender;
  topic: string;
  redis: RedisClient;
  clock: Scheduler;
  serverClock?: Clock;
  share?: Share;
  leaseMs: number;
  replicas?: ReplicationBarrier;
  onTrouble: OnTrouble;
}

/** A partition's figures since its outbox started. */
export interface OutboxStats {
  owned: boolean;
  /** Deliveries in memory that are not settled. */
  waiting: number;
  /** Entries that have not been read yet, at the last check; a commit without deliveries may count. */
  lagEntries: number;
  /** The age of the oldest commit that is not delivered, at the last check; 0: none is waiting. */
  behindMs: number;
  delivered: number;
  retries: number;
  throttled: number;
  deadLetters: number;
  leaseChanges: number;
}

/** Entries of one read: each may hold some thousands of emits. */
const READ_ENTRIES = 16;
const BLOCK_MS = 500;
/** The cursor is committed at this interval; what was delivered since is sent again after a crash. */
const WRITE_EVERY_MS = 50;
/** The interval of commits that only pass unwanted emits, and of the checks of what changes slowly. */
const CHECK_EVERY_MS = 1_000;
const TRIM_EVERY_MS = 60_000;
/** Of one call of `delivered`. */
const DELIVERED_AT_ONCE = 1_000;
/** Dead letters of one check that are tried again. */
const REPLAY_LIMIT = 256;
/** How long the end waits for requests under way; then the next owner repeats them. */
const DRAIN_MS = 5_000;
/** After the receiver's bookkeeping failed. */
const TROUBLE_PAUSE_MS = 500;
/** Characters of a reported reason; the dead letter's may be longer. */
const REASON_LIMIT = 200;

/** A delivery that is not tried again: the reason, and the same without a quotation of the receiver. */
interface GivenUp {
  readonly pending: Pending;
  readonly reason: string;
  readonly brief: string;
}

export class SinkPartitionTask implements Source {
  readonly #options: SinkPartitionTaskOptions;
  readonly #partition: number;
  readonly #keys: PartitionKeys;
  readonly #outKeys: PartitionKeys;
  readonly #task: Task;
  readonly #reader: RedisClient;
  readonly #stats: OutboxStats;
  readonly #backlog: Backlog;
  readonly #abort = new AbortController();
  /** Set when there is room to read again, when there is something to commit, when a request has ended. */
  readonly #room = new Signal();
  readonly #writing = new Signal();
  readonly #ended = new Signal();
  #isEnding = false;
  #underWay = 0;
  #leaseUntilMs: number;
  #renewedMs: number;
  #isFull = false;
  #hasLapsed = false;
  #done: Delivered[] = [];
  #refused: GivenUp[] = [];
  #deadLettersDone: string[] = [];
  #commit: number;
  #written: Cursor;
  #settled: number;
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
    stats: OutboxStats,
    askedMs: number,
  ) {
    this.#options = options;
    this.#partition = partition;
    this.#keys = keys.sink;
    this.#outKeys = keys.partition;
    this.#task = task;
    this.#reader = reader;
    this.#stats = stats;
    this.#renewedMs = askedMs;
    // At the first check, too: a server after a failover may not have this sink yet.
    this.#trimmedMs = askedMs - TRIM_EVERY_MS;
    this.#leaseUntilMs = askedMs + options.leaseMs;
    this.#commit = task.commit;
    this.#settled = task.events;
    this.#written = { entry: task.cursors.get(ENTRY_CURSOR) ?? 0, emits: task.cursors.get(EMIT_CURSOR) ?? 0 };
    const place = `${options.topic}/${String(partition).padStart(2, "0")}`;
    this.#backlog = new Backlog(this.#written, (commit, index) => `${place}/${commit}.${index}`);
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
      await this.#write().catch((thrown) => {
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
    if (nowMs >= this.#leaseUntilMs && !this.#hasLapsed) {
      this.#hasLapsed = true;
      this.#writing.notify();
    }
    return !this.#isEnding && !this.#hasLapsed;
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
    this.#done.push({ delivery: pending.delivery, receipt, atMs });
    this.#stats.delivered++;
    if (pending.deadLetter) this.#deadLettersDone.push(pending.deadLetter.id);
    this.#settle(pending);
  }

  onGivenUp(pending: Pending, reason: string, brief: string): void {
    this.#refused.push({ pending, reason, brief });
    this.#settle(pending);
  }

  onRetry(throttled: boolean): void {
    this.#stats.retries++;
    if (throttled) this.#stats.throttled++;
  }

  #settle(pending: Pending): void {
    const next = this.#backlog.settle(pending);
    this.#settled++;
    this.#stats.waiting = this.#backlog.size;
    if (next) this.#options.sender.offer([next], this);
    this.#room.notify();
    this.#writing.notify();
  }

  // ---- reading

  async #readLoop(): Promise<void> {
    const { clock, sender, receiver } = this.#options;
    while (!this.#isEnding) {
      if (!this.#backlog.hasRoom || this.#isFull) {
        await this.#room.wait(clock, CHECK_EVERY_MS);
        continue;
      }
      const entries = await readLog(this.#reader, this.#keys.log, this.#backlog.readUpTo, READ_ENTRIES, BLOCK_MS);
      if (entries.length === 0 || !(await this.#areReplicated())) continue;
      for (const entry of entries) {
        // One entry may hold some thousands: the rest is read once more when there is room.
        if (!this.#backlog.hasRoom) break;
        const bytes = field(entry, "r") as Buffer;
        const { previous, emits } = decodeOut(bytes);
        const last = this.#backlog.readUpTo;
        if (last > 0 && previous > last) {
          this.#report(`the emits after entry ${last} and up to ${previous} were deleted before they were sent`);
        }
        const committedMs = Number(field(entry, "m")?.toString("latin1"));
        const out = { commit: entry.offset, previous, committedMs, bytes: bytes.length, emits };
        sender.offer(
          this.#backlog.add(out, (kind) => receiver.wants(kind)),
          this,
        );
      }
      this.#stats.waiting = this.#backlog.size;
      this.#writing.notify();
    }
  }

  /**
   * With a replication barrier: waits until the replicas have what has been read. A write after the read proves it,
   * because it comes later in replication, too.
   */
  async #areReplicated(): Promise<boolean> {
    const { replicas, clock, serverClock, leaseMs } = this.#options;
    if (!replicas) return true;
    const { epoch, run } = this.#task;
    while (!this.#isEnding) {
      try {
        await replicas.call(
          "task_renew",
          [this.#keys.task],
          [epoch, run, leaseMs, serverClock ? serverClock.now() : ""],
        );
        return true;
      } catch (thrown) {
        if (!(thrown instanceof EngineError && thrown.code === "not_replicated")) throw thrown;
        this.#report(`${thrown.message}: nothing is sent until they have`);
        await clock.sleep(thrown.retryAfterMs ?? CHECK_EVERY_MS, this.#abort.signal);
      }
    }
    return false;
  }

  // ---- writing

  async #writeLoop(): Promise<void> {
    const { clock, redis, serverClock, share, leaseMs } = this.#options;
    while (!this.#isEnding && !share?.isSurplus(this.#partition)) {
      await this.#writing.wait(clock, Math.min(CHECK_EVERY_MS, leaseMs / 4));
      if (this.#isEnding) return;
      if (this.#hasLapsed) throw this.#lapsed();
      const nowMs = clock.now();
      const isCheckDue = nowMs - this.#checkedMs >= CHECK_EVERY_MS;
      // Settled deliveries are committed soon; entries without wanted emits are not.
      if (this.#done.length + this.#refused.length > 0 || isCheckDue) await this.#write();
      if (clock.now() - this.#renewedMs > leaseMs / 3) {
        const askedMs = clock.now();
        await renewTask(redis, this.#keys, this.#task, leaseMs, serverClock ? String(serverClock.now()) : "");
        this.#renewed(askedMs);
      }
      if (clock.now() >= this.#leaseUntilMs) throw this.#lapsed();
      if (isCheckDue) {
        this.#checkedMs = nowMs;
        await this.#check();
      }
      // Signals that come meanwhile count as one.
      await clock.sleep(Math.max(0, WRITE_EVERY_MS - (clock.now() - nowMs)), this.#abort.signal);
    }
  }

  #renewed(askedMs: number): void {
    this.#renewedMs = askedMs;
    this.#leaseUntilMs = askedMs + this.#options.leaseMs;
  }

  #lapsed(): EngineError {
    const detail = { op: "outbox.renew", code: "stale_epoch", retryable: true, place: this.#keys.task };
    return new EngineError(`${this.#keys.task}: the lease has not been renewed in time`, detail);
  }

  /**
   * Reports the outcomes to the receiver, then commits cursor and dead letters. Does nothing when there is nothing to
   * commit.
   */
  async #write(): Promise<void> {
    const { receiver, redis } = this.#options;
    // All as of now: what is settled meanwhile is the next write's.
    const cursor = this.#backlog.cursor;
    const done = this.#done.splice(0);
    const refused = this.#refused.splice(0);
    const deadLettersDone = this.#deadLettersDone.splice(0);
    const settled = this.#settled;
    const hasMoved = cursor.entry !== this.#written.entry || cursor.emits !== this.#written.emits;
    if (!hasMoved && done.length + refused.length === 0) return;
    if (receiver.delivered || receiver.deadLettered) {
      try {
        for (let from = 0; from < done.length; from += DELIVERED_AT_ONCE) {
          await receiver.delivered?.(this.#partition, done.slice(from, from + DELIVERED_AT_ONCE));
        }
        if (refused.length > 0) {
          await receiver.deadLettered?.(
            this.#partition,
            refused.map(({ pending }) => pending.delivery),
          );
        }
      } catch (thrown) {
        // Reported again with the next ones; the cursor stays, and reading stops when too many wait.
        this.#done.unshift(...done);
        this.#refused.unshift(...refused);
        this.#deadLettersDone.unshift(...deadLettersDone);
        this.#report(`deliveries cannot be recorded: ${messageOf(thrown)}`);
        await this.#options.clock.sleep(TROUBLE_PAUSE_MS, this.#abort.signal);
        return;
      }
    }
    const deadLetters = await this.#deadLettersOf(refused);
    await this.#commitOnce({
      watermarkMs: this.#task.watermarkMs,
      events: settled,
      cursors: new Map([
        [ENTRY_CURSOR, cursor.entry],
        [EMIT_CURSOR, cursor.emits],
      ]),
      states: [],
      timersSet: [],
      timersRemoved: [],
      out: undefined,
      deadLetters: deadLetters,
      resolvedDeadLetters: [
        ...deadLettersDone,
        ...refused.flatMap(({ pending: { deadLetter } }) => (deadLetter ? [deadLetter.id] : [])),
      ],
    });
    this.#written = cursor;
    for (const { pending } of refused) if (pending.deadLetter) this.#backlog.deadLetterRemoved(pending.deadLetter.id);
    for (const id of deadLettersDone) this.#backlog.deadLetterRemoved(id);
    if (deadLetters.length === 0) return;
    this.#stats.deadLetters += deadLetters.length;
    this.#isFull = isDeadLetterLimitReached(await countDeadLetters(redis, this.#keys));
    const [{ pending, brief }] = refused as [GivenUp];
    const more = deadLetters.length > 1 ? ` (and ${deadLetters.length - 1} more)` : "";
    this.#report(`set aside: ${brief.slice(0, REASON_LIMIT)}${more}`, { order: pending.delivery.key });
  }

  /**
   * Dead letters of deliveries that are not tried again. Their entries are read once more: that is rare, and until then
   * costs no memory.
   */
  async #deadLettersOf(refused: readonly GivenUp[]): Promise<DeadLetter[]> {
    const entries = new Map<number, LogEntry | undefined>();
    const deadLetters: DeadLetter[] = [];
    for (const { pending, reason } of refused) {
      const { commit, index, job, delivery, deadLetter } = pending;
      if (!deadLetter && !entries.has(commit)) {
        const [entry] = await readLog(this.#options.redis, this.#keys.log, commit - 1, 1);
        entries.set(commit, entry?.offset === commit ? entry : undefined);
      }
      const from = deadLetter ?? entries.get(commit);
      const fields = from ? onlyEmit(from, index) : [];
      const tries = deadLetter
        ? { tries: deadLetter.tries + 1, was: deadLetter.id, first: deadLetter.first ?? deadLetter.id }
        : { tries: 1 };
      deadLetters.push({ offset: commit, job, index, key: delivery.key, reason, ...tries, fields, isOwn: true });
    }
    return deadLetters;
  }

  /** Repeats a commit whose result is unknown, until the lease may be lost. */
  async #commitOnce(body: CommitBody): Promise<void> {
    const { redis, clock, serverClock, leaseMs } = this.#options;
    const task = { ...this.#task, number: this.#commit + 1, leaseMs };
    const askedMs = await commitWithRetries(redis, this.#keys, task, body, {
      clock,
      serverClock,
      untilMs: this.#leaseUntilMs,
      mayRepeat: () => !this.#isEnding,
      signal: this.#abort.signal,
    });
    this.#commit++;
    this.#renewed(askedMs);
  }

  // ---- what changes slowly

  async #check(): Promise<void> {
    const { redis, clock } = this.#options;
    const [lastOut, time] = await Promise.all([redis.hget(this.#outKeys.task, "lastOut"), redis.time()]);
    this.#stats.lagEntries = Math.max(0, Number(lastOut ?? 0) - this.#backlog.readUpTo);
    const oldestMs = this.#backlog.oldestMs;
    this.#stats.behindMs = oldestMs === undefined ? 0 : Math.max(0, this.#serverNowMs(time) - oldestMs);
    if (this.#backlog.size === 0 && this.#written.entry === Number(lastOut ?? 0)) {
      await this.#options.receiver.idle?.(this.#partition).catch((thrown) => this.#report(messageOf(thrown)));
    }
    if (this.#isFull) {
      const kept = await countDeadLetters(redis, this.#keys);
      this.#isFull = isDeadLetterLimitReached(kept);
      if (this.#isFull) {
        this.#report(
          `too many dead letters (${kept.deadLetters}): nothing more is delivered; list them (dead-letters list), then replay or remove them`,
          { level: "error" },
        );
      } else this.#room.notify();
    }
    if (this.#backlog.hasRoom) this.#replay(await requestedReplays(redis, this.#keys, REPLAY_LIMIT));
    if (clock.now() - this.#trimmedMs < TRIM_EVERY_MS) return;
    this.#trimmedMs = clock.now();
    await registerSink(redis, this.#outKeys, this.#options.receiver.name, this.#serverNowMs(time));
    await trimDeadLetters(redis, this.#keys);
  }

  /** The clock of commits. */
  #serverNowMs(time: readonly (number | string)[]): number {
    const { serverClock } = this.#options;
    return serverClock ? serverClock.now() : Number(time[0]) * 1_000 + Math.floor(Number(time[1]) / 1_000);
  }

  /** Delivers dead letters once more that an operator has requested. */
  #replay(deadLetters: readonly StoredDeadLetter[]): void {
    for (const deadLetter of deadLetters) {
      const emit = emitOf(deadLetter);
      // Without its bytes it stays a dead letter, and its request stays: the operator has to remove them.
      if (!emit) continue;
      const bytes = deadLetter.fields.reduce((sum, { length }) => sum + length, 0);
      this.#options.sender.offer(this.#backlog.addDeadLetter(deadLetter, emit, bytes), this);
    }
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
