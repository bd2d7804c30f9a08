/**
 * One partition's emits on their way out, for as long as this process owns them: reads what commits gave out, hands
 * the deliveries to the sender, and writes down how far they are. The cursor, the dead letters and the replays that
 * are done go in one commit, fenced by the lease's epoch and the server's run, so that whoever has lost the lease, or
 * has read from a server that lost it, changes nothing. What was delivered after the last such commit is delivered
 * again by the next owner, under the same ids.
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
  /** Entries that have not been read yet, at the last look; a commit without anything to deliver may count. */
  lagEntries: number;
  /** How long ago the oldest was committed that is not delivered, at the last look; 0: none is waiting. */
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
/** The cursor follows what is delivered at this distance; what lies between is sent again after a crash. */
const WRITE_EVERY_MS = 50;
/** When it only passes what nobody wants, and how often what changes slowly is looked at. */
const LOOK_EVERY_MS = 1_000;
const TRIM_EVERY_MS = 60_000;
/** Of one call of `delivered`. */
const DELIVERED_AT_ONCE = 1_000;
/** Letters of one look that are tried again. */
const REPLAY_LETTERS = 256;
/** How long requests under way are waited for at the end; their deliveries are the next owner's after that. */
const LANDING_MS = 5_000;
/** After the receiver's bookkeeping failed. */
const TROUBLE_PAUSE_MS = 500;
/** Of what is told; the letter's reason may be longer. */
const REASON_TOLD = 200;

/** A delivery that is not tried again: why, and the same in words that hold none of the receiver's. */
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
  /** Rung when there is room to read again, when there is something to write, when a request has landed. */
  readonly #room = new Signal();
  readonly #writing = new Signal();
  readonly #landing = new Signal();
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
  #lookedMs = 0;
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
    // With the first look, too: a server that took over may not know this sink yet.
    this.#trimmedMs = askedMs - TRIM_EVERY_MS;
    this.#leaseUntilMs = askedMs + options.leaseMs;
    this.#commit = task.commit;
    this.#settled = task.events;
    this.#written = { entry: task.cursors.get(ENTRY_CURSOR) ?? 0, emits: task.cursors.get(EMIT_CURSOR) ?? 0 };
    const place = `${options.topic}/${String(partition).padStart(2, "0")}`;
    this.#backlog = new Backlog(this.#written, (commit, index) => `${place}/${commit}.${index}`);
    // Every request and every pause of a delivery waits by it.
    setMaxListeners(0, this.#abort.signal);
  }

  /**
   * Delivers until `signal` aborts or the partition is to be given back; then waits for what is under way and writes
   * it down.
   * @throws EngineError `stale_epoch`, `stale_run`, or what Redis says: the partition has to be taken anew
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
        // Ending ends the waiting read with an error.
        if (!this.#isEnding) fault = thrown;
      } finally {
        end();
      }
    };
    try {
      await Promise.all([guarded(this.#readLoop()), guarded(this.#writeLoop())]);
      await this.#land();
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

  // ---- what the sender asks and tells

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Once the lease may have ended it never does again, even if nobody else has taken it: the sender forgets what may
   * not go.
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
    if (this.#isEnding) this.#landing.notify();
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
        await this.#room.wait(clock, LOOK_EVERY_MS);
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
          this.#tell(`what was given out after entry ${last} and up to ${previous} is gone, unsent`);
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
   * With a gate: waits until the replicas have what has been read. A write after the reading tells, for it comes
   * after it in replication too.
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
        this.#tell(`${thrown.message}: nothing is sent until they have`);
        await clock.sleep(thrown.retryAfterMs ?? LOOK_EVERY_MS, this.#abort.signal);
      }
    }
    return false;
  }

  // ---- writing

  async #writeLoop(): Promise<void> {
    const { clock, redis, serverClock, share, leaseMs } = this.#options;
    while (!this.#isEnding && !share?.isSurplus(this.#partition)) {
      await this.#writing.wait(clock, Math.min(LOOK_EVERY_MS, leaseMs / 4));
      if (this.#isEnding) return;
      if (this.#hasLapsed) throw this.#lapsed();
      const nowMs = clock.now();
      const isLookDue = nowMs - this.#lookedMs >= LOOK_EVERY_MS;
      // What has been settled is worth a write soon; that nothing of an entry was wanted is not.
      if (this.#done.length + this.#refused.length > 0 || isLookDue) await this.#write();
      if (clock.now() - this.#renewedMs > leaseMs / 3) {
        const askedMs = clock.now();
        await renewTask(redis, this.#keys, this.#task, leaseMs, serverClock ? String(serverClock.now()) : "");
        this.#renewed(askedMs);
      }
      if (clock.now() >= this.#leaseUntilMs) throw this.#lapsed();
      if (isLookDue) {
        this.#lookedMs = nowMs;
        await this.#look();
      }
      // Rings that come meanwhile are one.
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
   * Tells the receiver's own bookkeeping what it has, then writes cursor and letters. Nothing to write: does nothing.
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
        // Told again with what comes; meanwhile the cursor stays, and reading stops when that grows too much.
        this.#done.unshift(...done);
        this.#refused.unshift(...refused);
        this.#deadLettersDone.unshift(...deadLettersDone);
        this.#tell(`what was delivered cannot be noted: ${messageOf(thrown)}`);
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
    this.#tell(`set aside: ${brief.slice(0, REASON_TOLD)}${more}`, { order: pending.delivery.key });
  }

  /**
   * Letters about deliveries that are given up. Their entries are read once more: it happens rarely, and costs no
   * memory till then.
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

  /** Repeats a commit whose result is unknown, until the lease must be taken for lost. */
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

  async #look(): Promise<void> {
    const { redis, clock } = this.#options;
    const [lastOut, time] = await Promise.all([redis.hget(this.#outKeys.task, "lastOut"), redis.time()]);
    this.#stats.lagEntries = Math.max(0, Number(lastOut ?? 0) - this.#backlog.readUpTo);
    const oldestMs = this.#backlog.oldestMs;
    this.#stats.behindMs = oldestMs === undefined ? 0 : Math.max(0, this.#serverNowMs(time) - oldestMs);
    if (this.#backlog.size === 0 && this.#written.entry === Number(lastOut ?? 0)) {
      await this.#options.receiver.idle?.(this.#partition).catch((thrown) => this.#tell(messageOf(thrown)));
    }
    if (this.#isFull) {
      const kept = await countDeadLetters(redis, this.#keys);
      this.#isFull = isDeadLetterLimitReached(kept);
      if (this.#isFull) {
        this.#tell(
          `too many dead letters (${kept.deadLetters}): nothing more is delivered; look at them (dead-letters list), then replay or remove them`,
          { level: "error" },
        );
      } else this.#room.notify();
    }
    if (this.#backlog.hasRoom) this.#replay(await requestedReplays(redis, this.#keys, REPLAY_LETTERS));
    if (clock.now() - this.#trimmedMs < TRIM_EVERY_MS) return;
    this.#trimmedMs = clock.now();
    await registerSink(redis, this.#outKeys, this.#options.receiver.name, this.#serverNowMs(time));
    await trimDeadLetters(redis, this.#keys);
  }

  /** What commits are dated by. */
  #serverNowMs(time: readonly (number | string)[]): number {
    const { serverClock } = this.#options;
    return serverClock ? serverClock.now() : Number(time[0]) * 1_000 + Math.floor(Number(time[1]) / 1_000);
  }

  /** Has letters delivered once more that somebody wants tried again. */
  #replay(deadLetters: readonly StoredDeadLetter[]): void {
    for (const deadLetter of deadLetters) {
      const emit = emitOf(deadLetter);
      // Without its bytes it stays what it is, and its request with it: to be removed by whoever has made it.
      if (!emit) continue;
      const bytes = deadLetter.fields.reduce((sum, { length }) => sum + length, 0);
      this.#options.sender.offer(this.#backlog.addDeadLetter(deadLetter, emit, bytes), this);
    }
  }

  #tell(message: string, fields: LogFields = {}): void {
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

  async #land(): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.now() + LANDING_MS;
    for (let leftMs = LANDING_MS; this.#underWay > 0 && leftMs > 0; leftMs = untilMs - clock.now()) {
      await this.#landing.wait(clock, leftMs);
    }
  }
}
