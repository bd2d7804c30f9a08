/**
 * Commits what has been settled of one partition's deliveries, and keeps the lease. First the receiver records the
 * outcomes; then cursor, dead letters and completed replays are one commit, fenced by the lease's epoch. A commit whose
 * result is unknown is repeated until the lease may be lost. What was delivered and not committed is sent again.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { LogFields } from "../kernel/logger.js";
import { type CommitBody, commitWithRetries, renewTask, type Task } from "../stream/commit.js";
import {
  countDeadLettersByKind,
  type DeadLetter,
  isDeadLetterLimitReached,
  type StoredDeadLetter,
} from "../stream/dead-letter.js";
import { emitPicker } from "../stream/emit-dead-letter.js";
import { readEmitEntry } from "../stream/emits.js";
import type { PartitionKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { nowArgument } from "../stream/server-clock.js";
import { EMIT_CURSOR, ENTRY_CURSOR } from "../stream/sinks.js";
import type { Backlog, Cursor, Pending } from "./backlog.js";
import { type EmitBounds, EmitOverflow, type OverflowChanges, OverflowReport } from "./emit-bounds.js";
import type { Delivered, Delivery, Receiver } from "./receiver.js";

export interface SinkCommitterOptions {
  receiver: Receiver;
  redis: RedisClient;
  clock: Scheduler;
  serverClock?: Clock;
  leaseMs: number;
  /** How much of a partition's emits the sink may hold back; left out: the default. */
  bounds?: EmitBounds;
}

/** What the task of the partition shares with it. */
export interface SinkCommitterContext {
  readonly partition: number;
  /** The sink's. */
  readonly keys: PartitionKeys;
  readonly partitionKeys: PartitionKeys;
  /** As it was acquired. */
  readonly task: Task;
  readonly backlog: Backlog;
  readonly stats: { deadLetters: number; overflowed: number; overflowStored: number; dropped: number };
  /** Ends pauses. */
  readonly signal: AbortSignal;
  isEnding(): boolean;
  report(message: string, fields?: LogFields): void;
}

/** Of one call of `delivered`. */
const DELIVERED_AT_ONCE = 1_000;
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

/** An entry that waits no longer: the emits of it that are not settled. */
interface Overflow {
  readonly commit: number;
  readonly indexes: readonly number[];
  readonly deliveries: readonly Delivery[];
  readonly reason: string;
}

export class SinkCommitter {
  readonly #options: SinkCommitterOptions;
  readonly #context: SinkCommitterContext;
  #leaseUntilMs: number;
  #renewedMs: number;
  #hasLapsed = false;
  #isFull = false;
  #done: Delivered[] = [];
  #refused: GivenUp[] = [];
  #deadLettersDone: string[] = [];
  #commit: number;
  #written: Cursor;
  #settled: number;
  #overflow: Overflow[] = [];
  /** Since when outcomes cannot be recorded; undefined: they can. */
  #unrecordedSinceMs: number | undefined;
  readonly #emitOverflow: EmitOverflow;
  readonly #unreported: OverflowReport;

  /** @param askedMs when the lease was asked for */
  constructor(options: SinkCommitterOptions, context: SinkCommitterContext, askedMs: number) {
    this.#options = options;
    this.#context = context;
    this.#renewedMs = askedMs;
    this.#leaseUntilMs = askedMs + options.leaseMs;
    this.#commit = context.task.commit;
    this.#settled = context.task.events;
    this.#written = context.backlog.cursor;
    this.#emitOverflow = new EmitOverflow(options.redis, context.keys);
    this.#unreported = new OverflowReport(options.clock);
  }

  // ---- the lease

  /** False for good once the lease may have ended, even if no other process has taken it. */
  holdsLease(nowMs: number): boolean {
    if (nowMs >= this.#leaseUntilMs) this.#hasLapsed = true;
    return !this.#hasLapsed;
  }

  /** @throws EngineError `stale_epoch` when `holdsLease` has returned false */
  assertLease(): void {
    if (this.#hasLapsed) throw this.#lapsed();
  }

  /**
   * Renews the lease when a third of its time is over.
   * @throws EngineError `stale_epoch` when it may have ended
   */
  async renewIfDue(): Promise<void> {
    const { redis, clock, serverClock, leaseMs } = this.#options;
    if (clock.now() - this.#renewedMs > leaseMs / 3) {
      const askedMs = clock.now();
      await renewTask(redis, this.#context.keys, this.#context.task, leaseMs, nowArgument(serverClock));
      this.#renewed(askedMs);
    }
    if (clock.now() >= this.#leaseUntilMs) throw this.#lapsed();
  }

  #renewed(askedMs: number): void {
    this.#renewedMs = askedMs;
    this.#leaseUntilMs = askedMs + this.#options.leaseMs;
  }

  #lapsed(): EngineError {
    const place = this.#context.keys.task;
    const detail = { op: "outbox.renew", code: "stale_epoch", retryable: true, place };
    return new EngineError(`${place}: the lease has not been renewed in time`, detail);
  }

  // ---- settled deliveries

  addDelivered(pending: Pending, receipt: unknown, atMs: number): void {
    this.#done.push({ delivery: pending.delivery, receipt, atMs });
    this.#settleReplay(pending);
    this.#settled++;
  }

  addGivenUp(pending: Pending, reason: string, brief: string): void {
    this.#refused.push({ pending, reason, brief });
    this.#settleReplay(pending);
    this.#settled++;
  }

  /** Adds an entry that waits no longer. */
  addOverflow(overflow: Overflow): void {
    this.#overflow.push(overflow);
    this.#settled += overflow.deliveries.length;
  }

  /** A replayed dead letter is removed when all of its deliveries are settled. */
  #settleReplay({ replay }: Pending): void {
    if (!replay) return;
    replay.left--;
    if (replay.left === 0) this.#deadLettersDone.push(replay.deadLetter.id);
  }

  /** A dead letter of which this sink wants no emit any more. */
  addNeedless(id: string): void {
    this.#deadLettersDone.push(id);
  }

  /** Whether settled deliveries wait for the next commit. */
  get hasSettled(): boolean {
    return this.#done.length + this.#refused.length + this.#overflow.length + this.#deadLettersDone.length > 0;
  }

  /** Whether entries that wait no longer are not committed yet. */
  get hasOverflow(): boolean {
    return this.#overflow.length > 0;
  }

  /** Whether outcomes could not be recorded for the time of a lease. */
  get isStuck(): boolean {
    const { clock, leaseMs } = this.#options;
    return this.#unrecordedSinceMs !== undefined && clock.now() - this.#unrecordedSinceMs > leaseMs;
  }

  /** The last entry of which all is committed. */
  get writtenEntry(): number {
    return this.#written.entry;
  }

  // ---- dead letters

  /** Whether so many dead letters are kept that nothing more is delivered; at the last count. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /**
   * Counts the dead letters that are kept. Those of entries that waited too long do not stop the sink: they make room
   * for newer ones.
   */
  async count(): Promise<number> {
    const { redis } = this.#options;
    const { keys, stats } = this.#context;
    const { ordinary, overflow } = await countDeadLettersByKind(redis, keys);
    stats.overflowStored = overflow.deliveries;
    this.#isFull = isDeadLetterLimitReached(ordinary);
    return ordinary.deadLetters;
  }

  // ---- the commit

  /**
   * Reports the outcomes to the receiver, then commits cursor and dead letters. Does nothing when there is nothing to
   * commit.
   */
  async write(): Promise<void> {
    const { backlog, task } = this.#context;
    // All as of now: what is settled meanwhile is the next write's.
    const cursor = backlog.cursor;
    const done = this.#done.splice(0);
    const refused = this.#refused.splice(0);
    const overflow = this.#overflow.splice(0);
    const deadLettersDone = this.#deadLettersDone.splice(0);
    const settled = this.#settled;
    const hasMoved = cursor.entry !== this.#written.entry || cursor.emits !== this.#written.emits;
    if (!hasMoved && done.length + refused.length + deadLettersDone.length === 0) return;
    try {
      await this.#reportToReceiver(done, [
        ...refused.map(({ pending }) => pending.delivery),
        ...overflow.flatMap(({ deliveries }) => deliveries),
      ]);
    } catch (thrown) {
      // Reported again with the next ones; the cursor stays, and reading stops when too many wait.
      this.#done.unshift(...done);
      this.#refused.unshift(...refused);
      this.#overflow.unshift(...overflow);
      this.#deadLettersDone.unshift(...deadLettersDone);
      this.#unrecordedSinceMs ??= this.#options.clock.now();
      this.#context.report(`deliveries cannot be recorded: ${messageOf(thrown)}`);
      await this.#options.clock.sleep(TROUBLE_PAUSE_MS, this.#context.signal);
      return;
    }
    this.#unrecordedSinceMs = undefined;
    const ofRefused = await this.#deadLettersOf(refused);
    const given = overflow.length > 0 ? await this.#changesOf(overflow, ofRefused) : undefined;
    const resolvedDeadLetters = [...deadLettersDone, ...(given?.resolvedDeadLetters ?? [])];
    await this.#commitOnce({
      watermarkMs: task.watermarkMs,
      events: settled,
      cursors: new Map([
        [ENTRY_CURSOR, cursor.entry],
        [EMIT_CURSOR, cursor.emits],
      ]),
      states: [],
      timersSet: [],
      timersRemoved: [],
      out: undefined,
      deadLetters: [...ofRefused, ...(given?.deadLetters ?? [])],
      resolvedDeadLetters,
      ...(given && { fields: given.fields }),
    });
    this.#written = cursor;
    for (const id of resolvedDeadLetters) backlog.deadLetterRemoved(id);
    if (refused.length > 0) this.#reportDeadLetters(refused);
    if (given) this.#reportOverflow(given);
    if (refused.length + resolvedDeadLetters.length > 0 || given) await this.count();
  }

  /** The changes for entries that wait no longer; one whose record is gone has nothing to keep. */
  async #changesOf(overflow: readonly Overflow[], others: readonly DeadLetter[]): Promise<OverflowChanges> {
    const { redis } = this.#options;
    const found = await Promise.all(
      overflow.map(async ({ commit, indexes, reason }) => {
        const entry = await readEmitEntry(redis, this.#context.partitionKeys, commit);
        return entry ? [{ commit, indexes, reason, stored: entry.stored }] : [];
      }),
    );
    return this.#emitOverflow.changes(found.flat(), others);
  }

  async #reportToReceiver(done: readonly Delivered[], refused: readonly Delivery[]): Promise<void> {
    const { receiver } = this.#options;
    const { partition } = this.#context;
    if (receiver.delivered) {
      for (let from = 0; from < done.length; from += DELIVERED_AT_ONCE) {
        await receiver.delivered(partition, done.slice(from, from + DELIVERED_AT_ONCE));
      }
    }
    if (receiver.deadLettered && refused.length > 0) await receiver.deadLettered(partition, refused);
  }

  /**
   * Dead letters of deliveries that are not tried again. Their entries are read once more: that is rare, and until then
   * costs no memory.
   */
  async #deadLettersOf(refused: readonly GivenUp[]): Promise<DeadLetter[]> {
    const pickers = new Map<number | StoredDeadLetter, ReturnType<typeof emitPicker> | undefined>();
    const deadLetters: DeadLetter[] = [];
    for (const { pending, reason } of refused) {
      const { commit, index, job, delivery } = pending;
      const deadLetter = pending.replay?.deadLetter;
      const from = deadLetter ?? commit;
      if (!pickers.has(from)) {
        const { redis } = this.#options;
        const stored = deadLetter ?? (await readEmitEntry(redis, this.#context.partitionKeys, commit))?.stored;
        pickers.set(from, stored && emitPicker(stored));
      }
      const fields = pickers.get(from)?.([index]) ?? [];
      const tries = deadLetter
        ? { tries: deadLetter.tries + 1, was: deadLetter.id, first: deadLetter.first ?? deadLetter.id }
        : { tries: 1 };
      deadLetters.push({ offset: commit, job, index, key: delivery.key, reason, ...tries, fields, isOwn: true });
    }
    return deadLetters;
  }

  #reportDeadLetters(refused: readonly GivenUp[]): void {
    this.#context.stats.deadLetters += refused.length;
    const [{ pending, brief }] = refused as [GivenUp];
    const more = refused.length > 1 ? ` (and ${refused.length - 1} more)` : "";
    this.#context.report(`became a dead letter: ${brief.slice(0, REASON_LIMIT)}${more}`, {
      order: pending.delivery.key,
    });
  }

  #reportOverflow({ overflowed, dropped }: OverflowChanges): void {
    const { stats } = this.#context;
    stats.overflowed += overflowed;
    stats.dropped += dropped;
    this.#unreported.add(overflowed, dropped);
    const message = this.#unreported.takeMessage();
    if (message !== undefined) this.#context.report(message, { level: "error" });
  }

  /** Repeats a commit whose result is unknown, until the lease may be lost. */
  async #commitOnce(body: CommitBody): Promise<void> {
    const { redis, clock, serverClock, leaseMs } = this.#options;
    const task = { ...this.#context.task, number: this.#commit + 1, leaseMs };
    const askedMs = await commitWithRetries(redis, this.#context.keys, task, body, {
      clock,
      serverClock,
      untilMs: this.#leaseUntilMs,
      mayRepeat: () => !this.#context.isEnding(),
      signal: this.#context.signal,
    });
    this.#commit++;
    this.#renewed(askedMs);
  }
}
