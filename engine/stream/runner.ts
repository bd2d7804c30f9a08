/**
 * The only loop of the runtime, one for each partition: take the lease, read from the jobs' own cursor, let them
 * work, commit, again. It is also the only place that tries again: a commit whose result is unknown is repeated under
 * its number, a lost lease means start over, an event that a job cannot take becomes a dead letter, which an operator
 * may have tried once more. State is exactly-once; what leaves does so with the commit or not at all. With too many
 * dead letters the partition stops reading, and loses nothing: what comes stays in the log.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { LogFields, OnTrouble } from "../kernel/logger.js";
import { BatchProcessor, PoisonError, type TimerPage } from "./batch-processor.js";
import {
  acquireTask,
  type CommitBody,
  commitWithRetries,
  isSameRun,
  readTask,
  releaseTask,
  renewTask,
  type Task,
} from "./commit.js";
import {
  countDeadLetters,
  type DeadLetter,
  isDeadLetterLimitReached,
  requestedReplays,
  trimDeadLetters,
} from "./dead-letter.js";
import type { AnyJob, LogEvent } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import { assertContiguous, readLog, trimLog } from "./log.js";
import { type RedisClient, readFields } from "./redis.js";
import { Reindex } from "./reindex.js";
import type { Share } from "./share.js";
import { oldestUndelivered } from "./sinks.js";
import type { Topic } from "./topic.js";

export interface RunnerOptions<Event extends LogEvent> {
  topic: Topic<Event>;
  jobs: readonly AnyJob<Event>[];
  prefix: string;
  redis: RedisClient;
  /**
   * Opens the connection that waits for new entries of a log; it ends with the server that it reads from. The runner
   * closes it.
   */
  openReader(log: string): RedisClient | Promise<RedisClient>;
  /** Names this process in the lease. */
  owner: string;
  /** What goes on in this process goes by it. */
  clock: Scheduler;
  /** What leases and commits go by; left out: the Redis server's own. */
  serverClock?: Clock;
  /** How many partitions this process may own; left out: all that are free. */
  share?: Share;
  leaseMs: number;
  /**
   * So long it pauses after a step that found little, so that the next finds more: a commit costs about the same for
   * one event and for a hundred.
   */
  paceMs?: number;
  /** How often time passes in a partition without commands. */
  tickMs: number;
  /** Entries older than this (by the log's clock) that every job has seen are removed; 0 keeps all. */
  retentionMs: number;
  withViews: boolean | (() => boolean);
  /** Told of trouble that the loop survives, in words. */
  onTrouble: OnTrouble;
}

/** A partition's figures since its runner started. */
export interface RunnerStats {
  owned: boolean;
  offset: number;
  watermarkMs: number;
  events: number;
  commits: number;
  late: number;
  deadLetters: number;
  leaseChanges: number;
  lastCommitMs: number;
}

/**
 * Events that one commit aims at, going by the entries read before: 0.1 s of work and 6 MB of log. The larger a
 * commit, the less often a state is written that changes again and again; with every SKU of a partition in it, it
 * grows no more.
 */
const READ_EVENTS = 64_000;
/** Entries of the first read, and of any read; of at most 1,000 commands each. */
const READ_ENTRIES = 64;
const READ_ENTRIES_MAX = 1_024;
/** A step on fewer is mostly what a step costs by itself. */
const FEW_EVENTS = 100;
/** After an event that a job failed on: its letters are at most those of one entry, about 1,000 for each job. */
const CAREFUL_ENTRIES = 1;
/**
 * Entries to be read so until reading is quick again: with a job that fails now and then, most of the time is not
 * spent on starting over.
 */
const CAREFUL_FOR = 64;
/** Letters tried again by one commit; their entries are in memory meanwhile, LETTER_BYTES_LIMIT at most. */
const REPLAY_LETTERS = 256;
/** Characters of a letter's reason in a message; the letter has more. */
const REASON_TOLD = 200;
/** How often a partition that is full of letters looks whether some have gone. */
const FULL_LOOK_MS = 5_000;
const BLOCK_MS = 500;
/** Timers of one read: those that are due soonest are in memory, the others are read when their time comes near. */
const PAGE_TIMERS = 20_000;
const TRIM_EVERY_MS = 30_000;
/** A job that nobody has run for this many times the retention is taken for retired. */
const ABSENT_JOB_RETENTIONS = 3;
/** What commits gave out is kept this long for views and sinks that come late (by Redis' clock). */
const OUT_RETENTION_MS = 900_000;
/**
 * How often a worker with room looks whether a partition that another is to give back is free: the pause when one
 * moves.
 */
const TAKE_EVERY_MS = 200;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

export class Runner<Event extends LogEvent> {
  readonly stats: RunnerStats = {
    owned: false,
    offset: 0,
    watermarkMs: 0,
    events: 0,
    commits: 0,
    late: 0,
    deadLetters: 0,
    leaseChanges: 0,
    lastCommitMs: 0,
  };
  readonly partition: number;
  readonly #options: RunnerOptions<Event>;
  readonly #keys: PartitionKeys;
  readonly #stop = new AbortController();
  #reader: RedisClient | undefined;
  #running: Promise<void> | undefined;

  constructor(partition: number, options: RunnerOptions<Event>) {
    this.partition = partition;
    this.#options = options;
    this.#keys = partitionKeys(options.prefix, options.topic.name, partition);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends after the commit under way, and gives the lease back. */
  async stop(): Promise<void> {
    this.#stop.abort();
    // Ends the waiting read; a read never changes anything.
    this.#reader?.disconnect();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let backoffMs = BACKOFF_FIRST_MS;
    // Survives a restart of the step, so that it meets poison with care the second time.
    const care = { entries: 0 };
    while (!signal.aborted) {
      try {
        const task = await this.#take();
        if (!task) continue;
        this.stats.leaseChanges++;
        this.stats.owned = true;
        let givesBack = false;
        try {
          await this.#own(task, care, () => {
            backoffMs = BACKOFF_FIRST_MS;
          });
          givesBack = true;
        } finally {
          // Stopping ends the waiting read with an error; the lease is given back all the same. After other trouble
          // it is taken anew.
          if (givesBack || signal.aborted) await releaseTask(this.#options.redis, this.#keys, task.epoch);
        }
      } catch (thrown) {
        // With care there is none: what it comes to is told when its letter has been written.
        if (thrown instanceof PoisonError) {
          care.entries = CAREFUL_FOR;
          continue;
        }
        if (signal.aborted) break;
        this.#tell(`${messageOf(thrown)}; starting over in ${backoffMs} ms`);
        await this.#options.clock.sleep(backoffMs, signal);
        backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
      } finally {
        this.#options.share?.release(this.partition);
        this.stats.owned = false;
        this.#reader?.disconnect();
        this.#reader = undefined;
      }
    }
  }

  /** Takes the lease if there is room for it and nobody has it; else waits a while and returns undefined. */
  async #take(): Promise<Task | undefined> {
    const { redis, owner, leaseMs, clock, serverClock, share } = this.#options;
    const { signal } = this.#stop;
    if (share && !(await share.reserve(this.partition))) {
      await clock.sleep(TAKE_EVERY_MS, signal);
      return undefined;
    }
    let task: Task | { heldForMs: number } | undefined;
    try {
      task = await acquireTask(redis, this.#keys, owner, leaseMs, textOf(serverClock));
    } finally {
      share?.settle(this.partition, task !== undefined && !("heldForMs" in task));
    }
    if (!("heldForMs" in task)) return task;
    await clock.sleep(Math.min(task.heldForMs, share ? TAKE_EVERY_MS : leaseMs / 2), signal);
    return undefined;
  }

  /** Works as the partition's owner until stopped or told to give it back, or throws. */
  async #own(task: Task, care: { entries: number }, onProgress: () => void): Promise<void> {
    const { topic, jobs, redis, clock, serverClock, share, leaseMs, paceMs = 0, tickMs, withViews } = this.#options;
    const { signal } = this.#stop;
    const step = new BatchProcessor<Event>({
      topic,
      jobs,
      cursors: task.cursors,
      watermarkMs: task.watermarkMs,
      totalEvents: task.events,
      timers: [],
      loadTimers: (afterMs) => this.#loadTimers(afterMs),
      loadStates: (job, keys) => readFields(redis, this.#keys.state(job), keys),
      withViews,
    });
    const reindex = new Reindex(redis, this.#keys, jobs, task);
    let { commit, lastOut } = task;
    let kept = await countDeadLetters(redis, this.#keys);
    let counted = step.counts;
    const reader = await this.#openReader(task);
    let renewedMs = clock.now();
    let tickedMs = 0;
    let trimmedMs = clock.now();
    let fullLookMs = 0;
    let hasRequests = false;
    let readEntries = READ_ENTRIES;
    const write = async (body: CommitBody): Promise<void> => {
      const startedMs = clock.now();
      const tries = {
        clock,
        serverClock,
        untilMs: startedMs + leaseMs,
        mayRepeat: () => !signal.aborted,
        signal,
      };
      await commitWithRetries(redis, this.#keys, { ...task, number: commit + 1, leaseMs, lastOut }, body, tries);
      step.committed();
      commit++;
      if (body.out) lastOut = commit;
      renewedMs = clock.now();
      const counts = step.counts;
      this.stats.offset = step.readAfter;
      this.stats.watermarkMs = step.watermarkMs;
      this.stats.commits++;
      this.stats.lastCommitMs = renewedMs - startedMs;
      this.stats.events += counts.events - counted.events;
      this.stats.late += counts.late - counted.late;
      counted = counts;
      if (body.deadLetters.length + body.resolvedDeadLetters.length > 0) {
        kept = await countDeadLetters(redis, this.#keys);
        this.#tellOfDeadLetters(body.deadLetters);
      }
      onProgress();
    };
    while (!signal.aborted && !share?.isSurplus(this.partition)) {
      const after = step.readAfter;
      if (isDeadLetterLimitReached(kept)) {
        if (clock.now() - fullLookMs >= FULL_LOOK_MS) {
          fullLookMs = clock.now();
          kept = await countDeadLetters(redis, this.#keys);
          if (!isDeadLetterLimitReached(kept)) continue;
          this.#tell(
            `too many dead letters (${kept.deadLetters}): the jobs stop here; look at them (dead-letters list), then replay or remove them`,
            { level: "error" },
          );
        }
        if (!hasRequests) await clock.sleep(Math.min(BLOCK_MS, tickMs, leaseMs / 4), signal);
      } else {
        const isCareful = care.entries > 0;
        const atOnce = isCareful ? CAREFUL_ENTRIES : readEntries;
        const blockMs = hasRequests || !reindex.isDone ? 0 : Math.min(BLOCK_MS, tickMs);
        const entries = await readLog(reader, this.#keys.log, after, atOnce, blockMs);
        // Before a job's first commit the log may have been trimmed already; from then on nothing may be missing.
        if (after > 0) assertContiguous(entries, after, this.#keys.log);
        if (entries.length > 0) {
          const eventsBefore = step.counts.events;
          const body = await step.process(entries, lastOut, isCareful);
          const worth = Math.floor((READ_EVENTS * entries.length) / (step.counts.events - eventsBefore + 1));
          // Letters are held in memory with their entries. Otherwise twice as many at most: those to come may be
          // larger.
          readEntries =
            body.deadLetters.length > 0
              ? READ_ENTRIES
              : Math.max(1, Math.min(worth, 2 * readEntries, READ_ENTRIES_MAX));
          await write(body);
          if (isCareful) care.entries = body.deadLetters.length > 0 ? CAREFUL_FOR : care.entries - 1;
          else if (paceMs > 0 && step.counts.events - eventsBefore < FEW_EVENTS) await clock.sleep(paceMs, signal);
        }
      }
      if (!reindex.isDone) await write(await reindex.next(step.idle()));
      if (clock.now() - renewedMs > leaseMs / 3) {
        await renewTask(redis, this.#keys, task, leaseMs, textOf(serverClock));
        renewedMs = clock.now();
      }
      const isTickDue = clock.now() - tickedMs >= tickMs;
      if (isTickDue || hasRequests) {
        const deadLetters = await requestedReplays(redis, this.#keys, REPLAY_LETTERS);
        if (deadLetters.length > 0) await write(await step.replay(deadLetters, lastOut));
        // The rest comes between this entry and the next.
        hasRequests = deadLetters.length === REPLAY_LETTERS;
      }
      if (isTickDue) {
        tickedMs = clock.now();
        await topic.tick?.(this.partition);
      }
      if (clock.now() - trimmedMs > TRIM_EVERY_MS) {
        trimmedMs = clock.now();
        await this.#trim(task, step, commit);
      }
    }
  }

  #tellOfDeadLetters(deadLetters: readonly DeadLetter[]): void {
    const [first] = deadLetters;
    if (!first) return;
    this.stats.deadLetters += deadLetters.filter(({ was }) => was === undefined).length;
    const { job, key, index, offset, timerMs, reason } = first;
    const what = job === undefined ? "" : `${job}, ${timerMs === undefined ? `event ${index} of ` : "timer at "}`;
    const about = key === undefined ? undefined : this.#options.topic.keyName;
    const more = deadLetters.length > 1 ? ` (and ${deadLetters.length - 1} more)` : "";
    const cut = reason.slice(0, REASON_TOLD);
    this.#tell(`set aside: ${what}entry ${offset}: ${cut}${more}`, {
      ...(job === undefined ? {} : { job }),
      ...(about ? { [about]: key } : {}),
    });
  }

  #tell(message: string, fields: LogFields = {}): void {
    this.#options.onTrouble(message, { topic: this.#options.topic.name, partition: this.partition, ...fields });
  }

  /** Opens the reader, and makes sure that it reads from the server that has given the lease. */
  async #openReader(task: Task): Promise<RedisClient> {
    const reader = await this.#options.openReader(this.#keys.log);
    this.#reader = reader;
    const { run } = await readTask(reader, this.#keys);
    if (isSameRun(task.run, run)) return reader;
    throw new EngineError(`${this.#keys.log}: another server would be read than the one that has given the lease`, {
      op: "runner.read",
      code: "stale_run",
      retryable: true,
      input: this.#keys.log,
    });
  }

  /** A page of timers, with all of the last one's time. */
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

  async #trim(task: Task, step: BatchProcessor<Event>, commit: number): Promise<void> {
    const { redis, prefix, topic, jobs, retentionMs } = this.#options;
    await trimDeadLetters(redis, this.#keys);
    if (retentionMs === 0) return;
    const trim = (keepFrom: number, ageMs: number) =>
      trimLog(redis, this.#keys.log, keepFrom, step.watermarkMs - ageMs, topic.timeOf);
    // A job that this process does not know may be another's, newer or older: what it has yet to read is kept for it,
    // but not for ever.
    const own = new Set(jobs.map(({ name }) => name));
    const others = [...task.cursors].flatMap(([job, cursor]) => (own.has(job) ? [] : [cursor]));
    await trim(Math.min(step.readAfter, ...others), retentionMs);
    await trim(step.readAfter, ABSENT_JOB_RETENTIONS * retentionMs);
    const outRetentionMs = Math.min(retentionMs, OUT_RETENTION_MS);
    // By the clock that commits are dated with: this machine's may be another.
    const { committedMs } = await readTask(redis, this.#keys);
    const undelivered = await oldestUndelivered(redis, prefix, topic.name, this.partition, committedMs);
    await trimLog(redis, this.#keys.out, Math.min(commit, undelivered), committedMs - outRetentionMs, ({ fields }) =>
      Number(fields[1]?.toString("latin1")),
    );
  }
}

function timersOf(flat: readonly string[]): [member: string, atMs: number][] {
  const timers: [string, number][] = [];
  for (let i = 0; i < flat.length; i += 2) timers.push([flat[i] as string, Number(flat[i + 1])]);
  return timers;
}

/** A clock's time as the functions take it: '' is the server's own. */
const textOf = (clock: Clock | undefined): string => (clock ? String(clock.now()) : "");
