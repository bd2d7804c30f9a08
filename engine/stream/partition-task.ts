/**
 * One partition's jobs under one lease: read the log from the jobs' own cursor, process a batch, commit, repeat. The
 * lease is renewed on the way, dead letters are replayed when an operator has requested it, and log, views and emits
 * are trimmed. With too many dead letters the partition stops reading, and loses nothing: new entries stay in the log.
 * It does not take the lease and does not recover from errors: any error ends it, and the runner starts a new one from
 * the last commit.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import type { LogFields, OnTrouble } from "../kernel/logger.js";
import { BatchProcessor } from "./batch-processor.js";
import { type CommitBody, commitWithRetries, type EmitStream, renewTask, type Task } from "./commit.js";
import {
  countDeadLetters,
  type DeadLetter,
  type DeadLetterTotals,
  isDeadLetterLimitReached,
  requestedReplays,
  trimDeadLetters,
} from "./dead-letter.js";
import type { DurableTimer, TimerPage } from "./durable-timers.js";
import { LATEST_FORMAT } from "./format.js";
import type { AnyJob, LogEvent } from "./job.js";
import type { PartitionKeys } from "./keys.js";
import { openLeasedReader } from "./leased-loop.js";
import { assertContiguous, readLog } from "./log.js";
import { trimEntries } from "./log-trimming.js";
import { trimOutputs } from "./output-trimming.js";
import { readFields } from "./reads.js";
import type { RedisClient } from "./redis.js";
import { Reindex } from "./reindex.js";
import { nowArgument } from "./server-clock.js";
import type { Share } from "./share.js";
import type { Topic } from "./topic.js";

export interface PartitionTaskOptions<Event extends LogEvent> {
  topic: Topic<Event>;
  jobs: readonly AnyJob<Event>[];
  prefix: string;
  redis: RedisClient;
  /** Opens the connection that waits for new entries of a log, to the server that has it now; the task closes it. */
  openReader(log: string): RedisClient | Promise<RedisClient>;
  /** For pauses and intervals in this process. */
  clock: Scheduler;
  /** For leases and commits; left out: the Redis server's own clock. */
  serverClock?: Clock;
  /** How many partitions this process may own; left out: all that are free. */
  share?: Share;
  leaseMs: number;
  /** Pause after a small batch, so that the next is larger: a commit of one event costs about as much as one of 100. */
  paceMs?: number;
  /** How often time passes in a partition without commands. */
  tickMs: number;
  /** Entries older than this (by the log's clock) that every job has processed are removed; 0 keeps all. */
  retentionMs: number;
  withViews: boolean | (() => boolean);
  /** The format that may be written now; left out: the latest. */
  format?: () => number;
  /** Reports problems that do not stop the runner. */
  onTrouble: OnTrouble;
}

/** Late events of a job, and its events and timers that became dead letters. */
export interface JobFigures {
  late: number;
  deadLetters: number;
}

/** What a partition's tasks have done since its runner started. */
export interface TaskStats {
  offset: number;
  watermarkMs: number;
  events: number;
  commits: number;
  deadLetters: number;
  lastCommitMs: number;
  /** By job. */
  jobs: Map<string, JobFigures>;
}

/** A partition's figures since its runner started. */
export interface RunnerStats extends Readonly<TaskStats> {
  readonly owned: boolean;
  readonly leaseChanges: number;
}

/**
 * How many entries are still to be processed in isolated mode: one entry a batch, every call can be undone. It
 * outlives the task in which a job threw, because the next task processes the entry again.
 */
export interface RetryBudget {
  isolatedEntries: number;
}

/**
 * Entries processed in isolated mode after a job threw: a job that throws now and then would otherwise spend most of
 * the time on starting again.
 */
export const ISOLATED_ENTRIES = 64;
/** Entries of one batch in isolated mode: its dead letters are at most about 1,000 for each job. */
const ISOLATED_BATCH = 1;
/**
 * Events that one commit aims at, estimated from the entries read before: 0.1 s of work and 6 MB of log. The larger a
 * commit, the less often a state is written that changes again and again; once it has every SKU of a partition, it
 * grows no more.
 */
const READ_EVENTS = 64_000;
/** Entries of the first read, and of any read; an entry has 1,000 commands at most. */
const READ_ENTRIES = 64;
const READ_ENTRIES_MAX = 1_024;
/** A batch of fewer events costs mostly its fixed price. */
const FEW_EVENTS = 100;
/** Dead letters replayed by one commit; their entries are in memory meanwhile, DEAD_LETTER_BYTES_LIMIT at most. */
const REPLAY_DEAD_LETTERS = 256;
/** Characters of a dead letter's reason in a message; the dead letter has more. */
const REASON_SHOWN = 200;
/** How often a partition that has stopped at the limit counts its dead letters again. */
const RECOUNT_MS = 5_000;
const BLOCK_MS = 500;
/** Timers of one read: those that are due soonest are in memory, the others are read when their time comes near. */
const PAGE_TIMERS = 20_000;
const TRIM_EVERY_MS = 30_000;
/**
 * From this format on, emits are in a stream of their own. The first commit in it is a fact of the partition: from then
 * on every owner writes so, whatever format it has read last.
 */
const EMITS_APART = 3;

export class PartitionTask<Event extends LogEvent> {
  readonly #partition: number;
  readonly #options: PartitionTaskOptions<Event>;
  readonly #keys: PartitionKeys;
  readonly #task: Task;
  readonly #stats: TaskStats;
  readonly #retryBudget: RetryBudget;
  readonly #signal: AbortSignal;
  readonly #onProgress: () => void;
  readonly #processor: BatchProcessor<Event>;
  readonly #reindex: Reindex<Event>;
  #commit: number;
  #lastOut: number;
  #emits: EmitStream | undefined;
  #deadLetters: DeadLetterTotals = { deadLetters: 0, bytes: 0 };
  /** Whether more replays are requested than one commit does. */
  #hasRequests = false;
  #readEntries = READ_ENTRIES;
  /** What of the processor's counts is in the statistics. */
  #counted: { late: readonly number[]; events: number };
  #renewedMs: number;
  #tickedMs = 0;
  #trimmedMs: number;
  #recountedMs = 0;

  constructor(
    partition: number,
    options: PartitionTaskOptions<Event>,
    run: {
      keys: PartitionKeys;
      task: Task;
      /** Updated with every commit. */
      stats: TaskStats;
      retryBudget: RetryBudget;
      /** Ends the task after the current commit. */
      signal: AbortSignal;
      /** Called after every commit. */
      onProgress(): void;
    },
  ) {
    const { topic, jobs, redis, clock, withViews } = options;
    const { keys, task } = run;
    this.#partition = partition;
    this.#options = options;
    this.#keys = keys;
    this.#task = task;
    this.#stats = run.stats;
    this.#retryBudget = run.retryBudget;
    this.#signal = run.signal;
    this.#onProgress = run.onProgress;
    this.#commit = task.commit;
    this.#lastOut = task.lastOut;
    this.#emits = task.emits;
    this.#processor = new BatchProcessor<Event>({
      topic,
      jobs,
      cursors: task.cursors,
      watermarkMs: task.watermarkMs,
      totalEvents: task.events,
      timers: [],
      loadTimers: (afterMs) => this.#loadTimers(afterMs),
      loadStates: (job, keyNames) => readFields(redis, keys.state(job), keyNames),
      withViews,
      format: options.format,
    });
    this.#reindex = new Reindex(redis, keys, jobs, task);
    this.#counted = this.#processor.counts;
    this.#renewedMs = clock.now();
    this.#trimmedMs = clock.now();
  }

  /** Works until the signal aborts or the share asks for the partition; throws on any error. */
  async run(): Promise<void> {
    const { redis, openReader } = this.#options;
    this.#deadLetters = await countDeadLetters(redis, this.#keys);
    const reader = await openLeasedReader(openReader, this.#keys, this.#task);
    // Ends the read that waits for entries, with an error; a read never changes anything.
    const disconnect = () => reader.disconnect();
    this.#signal.addEventListener("abort", disconnect, { once: true });
    try {
      await this.#loop(reader);
    } finally {
      this.#signal.removeEventListener("abort", disconnect);
      disconnect();
    }
  }

  async #loop(reader: RedisClient): Promise<void> {
    const { clock, share, tickMs, leaseMs } = this.#options;
    while (!this.#signal.aborted && !share?.isSurplus(this.#partition)) {
      if (!(await this.#isStopped())) await this.#processBatch(reader);
      else if (!this.#hasRequests) await clock.sleep(Math.min(BLOCK_MS, tickMs, leaseMs / 4), this.#signal);
      if (!this.#reindex.isDone) await this.#write(await this.#reindex.next(this.#processor.idle()));
      await this.#renewIfDue();
      const isTickDue = clock.now() - this.#tickedMs >= tickMs;
      if (isTickDue || this.#hasRequests) await this.#replayRequested();
      if (isTickDue) {
        this.#tickedMs = clock.now();
        await this.#options.topic.tick?.(this.#partition);
      }
      if (clock.now() - this.#trimmedMs > TRIM_EVERY_MS) {
        this.#trimmedMs = clock.now();
        await this.#trim();
      }
    }
  }

  /** Whether too many dead letters stop the reading; they are counted again now and then. */
  async #isStopped(): Promise<boolean> {
    if (!isDeadLetterLimitReached(this.#deadLetters)) return false;
    const { redis, clock } = this.#options;
    if (clock.now() - this.#recountedMs < RECOUNT_MS) return true;
    this.#recountedMs = clock.now();
    this.#deadLetters = await countDeadLetters(redis, this.#keys);
    if (!isDeadLetterLimitReached(this.#deadLetters)) return false;
    this.#report(
      `too many dead letters (${this.#deadLetters.deadLetters}): the jobs of this partition have stopped; list them (dead-letters list), then replay or remove them`,
      { level: "error" },
    );
    return true;
  }

  async #processBatch(reader: RedisClient): Promise<void> {
    const { clock, tickMs, paceMs = 0 } = this.#options;
    const processor = this.#processor;
    const after = processor.readAfter;
    const isIsolated = this.#retryBudget.isolatedEntries > 0;
    const count = isIsolated ? ISOLATED_BATCH : this.#readEntries;
    const blockMs = this.#hasRequests || !this.#reindex.isDone ? 0 : Math.min(BLOCK_MS, tickMs);
    const entries = await readLog(reader, this.#keys.log, after, count, blockMs);
    // Before a job's first commit the log may have been trimmed already; from then on no entry may be missing.
    if (after > 0) assertContiguous(entries, after, this.#keys.log);
    if (entries.length === 0) return;
    const eventsBefore = processor.counts.events;
    const body = await processor.process(entries, this.#lastOut, isIsolated, this.#emitStream()?.last);
    const events = processor.counts.events - eventsBefore;
    const aim = Math.floor((READ_EVENTS * entries.length) / (events + 1));
    // Dead letters are held in memory with their entries: then few. Otherwise at most twice as many as now, because
    // the next entries may be larger.
    this.#readEntries =
      body.deadLetters.length > 0 ? READ_ENTRIES : Math.max(1, Math.min(aim, 2 * this.#readEntries, READ_ENTRIES_MAX));
    await this.#write(body);
    if (isIsolated) {
      const { isolatedEntries } = this.#retryBudget;
      this.#retryBudget.isolatedEntries = body.deadLetters.length > 0 ? ISOLATED_ENTRIES : isolatedEntries - 1;
    } else if (paceMs > 0 && events < FEW_EVENTS) await clock.sleep(paceMs, this.#signal);
  }

  /** The stream of emits, begun with the next commit if the format allows it now. */
  #emitStream(): EmitStream | undefined {
    const { format = () => LATEST_FORMAT } = this.#options;
    if (!this.#emits && format() >= EMITS_APART) this.#emits = { from: this.#commit + 1, last: this.#lastOut };
    return this.#emits;
  }

  async #write(body: CommitBody): Promise<void> {
    const { redis, clock, serverClock, leaseMs } = this.#options;
    const startedMs = clock.now();
    const signal = this.#signal;
    const retries = { clock, serverClock, untilMs: startedMs + leaseMs, mayRepeat: () => !signal.aborted, signal };
    const { epoch, run } = this.#task;
    const emits = this.#emits && { emits: this.#emits };
    const commit = { epoch, run, number: this.#commit + 1, leaseMs, lastOut: this.#lastOut, ...emits };
    await commitWithRetries(redis, this.#keys, commit, body, retries);
    this.#processor.committed();
    this.#commit++;
    if (body.out) this.#lastOut = this.#commit;
    if (body.emits && this.#emits) this.#emits = { ...this.#emits, last: this.#commit };
    this.#renewedMs = clock.now();
    this.#updateStats(this.#renewedMs - startedMs);
    if (body.deadLetters.length + body.resolvedDeadLetters.length > 0) {
      this.#deadLetters = await countDeadLetters(redis, this.#keys);
      this.#reportDeadLetters(body.deadLetters);
    }
    this.#onProgress();
  }

  #updateStats(lastCommitMs: number): void {
    const stats = this.#stats;
    const counts = this.#processor.counts;
    stats.offset = this.#processor.readAfter;
    stats.watermarkMs = this.#processor.watermarkMs;
    stats.commits++;
    stats.lastCommitMs = lastCommitMs;
    stats.events += counts.events - this.#counted.events;
    for (const [j, { name }] of this.#options.jobs.entries())
      this.#figuresOf(name).late += (counts.late[j] ?? 0) - (this.#counted.late[j] ?? 0);
    this.#counted = counts;
  }

  #figuresOf(job: string): JobFigures {
    const figures = this.#stats.jobs.get(job) ?? { late: 0, deadLetters: 0 };
    this.#stats.jobs.set(job, figures);
    return figures;
  }

  async #renewIfDue(): Promise<void> {
    const { redis, clock, serverClock, leaseMs } = this.#options;
    if (clock.now() - this.#renewedMs <= leaseMs / 3) return;
    await renewTask(redis, this.#keys, this.#task, leaseMs, nowArgument(serverClock));
    this.#renewedMs = clock.now();
  }

  /** Replays requested dead letters, one commit's worth; the next ones after the next batch. */
  async #replayRequested(): Promise<void> {
    const deadLetters = await requestedReplays(this.#options.redis, this.#keys, REPLAY_DEAD_LETTERS);
    if (deadLetters.length > 0) {
      await this.#write(await this.#processor.replay(deadLetters, this.#lastOut, this.#emitStream()?.last));
    }
    this.#hasRequests = deadLetters.length === REPLAY_DEAD_LETTERS;
  }

  #reportDeadLetters(deadLetters: readonly DeadLetter[]): void {
    const [first] = deadLetters;
    if (!first) return;
    for (const { job, was } of deadLetters) {
      if (was !== undefined) continue;
      this.#stats.deadLetters++;
      if (job !== undefined) this.#figuresOf(job).deadLetters++;
    }
    const { job, key, index, offset, timer = "", timerMs, reason } = first;
    const what =
      job === undefined
        ? ""
        : `${job}, ${timerMs === undefined ? `event ${index} of ` : `timer${timer && ` ${timer}`} at `}`;
    const keyName = key === undefined ? undefined : this.#options.topic.keyName;
    const more = deadLetters.length > 1 ? ` (and ${deadLetters.length - 1} more)` : "";
    this.#report(`became a dead letter: ${what}entry ${offset}: ${reason.slice(0, REASON_SHOWN)}${more}`, {
      ...(job === undefined ? {} : { job }),
      ...(keyName ? { [keyName]: key } : {}),
    });
  }

  #report(message: string, fields: LogFields = {}): void {
    this.#options.onTrouble(message, { topic: this.#options.topic.name, partition: this.#partition, ...fields });
  }

  /** A page of timers, with all timers of the last one's time. */
  async #loadTimers(afterMs: number): Promise<TimerPage> {
    const { redis } = this.#options;
    const from = afterMs === Number.NEGATIVE_INFINITY ? "-inf" : `(${afterMs}`;
    const limit = ["WITHSCORES", "LIMIT", 0, PAGE_TIMERS] as const;
    const page = timersOf(await redis.zrangebyscore(this.#keys.timers, from, "+inf", ...limit));
    const upToMs = page.at(-1)?.[1];
    if (upToMs === undefined || page.length < PAGE_TIMERS) return { timers: page, upToMs: Number.POSITIVE_INFINITY };
    const timers = page.filter(([, atMs]) => atMs < upToMs);
    timers.push(...timersOf(await redis.zrangebyscore(this.#keys.timers, upToMs, upToMs, "WITHSCORES")));
    return { timers, upToMs };
  }

  async #trim(): Promise<void> {
    const { redis, prefix, topic, jobs, retentionMs, serverClock } = this.#options;
    const { readAfter, watermarkMs } = this.#processor;
    await trimDeadLetters(redis, this.#keys);
    if (retentionMs === 0) return;
    const place = { prefix, topic: topic.name, partition: this.#partition };
    const own = new Set(jobs.map(({ name }) => name));
    const others = [...this.#task.cursors].flatMap(([job, cursor]) => (own.has(job) ? [] : [cursor]));
    await trimEntries(redis, place, { readAfter, others, timeOf: topic.timeOf, nowMs: watermarkMs, retentionMs });
    await trimOutputs(redis, place, retentionMs, serverClock);
  }
}

function timersOf(flat: readonly string[]): DurableTimer[] {
  const timers: DurableTimer[] = [];
  for (let i = 0; i < flat.length; i += 2) timers.push([flat[i] as string, Number(flat[i + 1])]);
  return timers;
}
