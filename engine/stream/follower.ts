/**
 * Keeps views in memory up to date with the view records of a topic's commits, in any process, owner or not. It starts
 * from the jobs' states in Redis and continues with the commits after them; values are absolute, so an overlap does no
 * harm. `freshAsOf` is proven: at that time the log held nothing that the views do not include. A follower that fell
 * behind the trimming, or whose Redis restarted and may have lost records, starts from the states again. States of a
 * newer version of a job cannot be read: then the partition is reported and stays stale. It also records the progress
 * of every partition's jobs.
 */
import { setMaxListeners } from "node:events";
import { type Clock, monotonicClock, sleep } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { isSameRun, readTask, type Task } from "./commit.js";
import type { AnyJob, Emit, LogEvent } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import { field, type LogEntry, readLog } from "./log.js";
import { decodeOut } from "./out-record.js";
import { partitionOf } from "./partition.js";
import type { RedisClient } from "./redis.js";
import { isNewerVersion } from "./state-codec.js";
import { viewsOfStates } from "./state-views.js";

/** Receives the views and emits of one job. */
export interface View {
  /** Name of the job. */
  readonly job: string;
  /** A key's newest values, as the job's `view` returned them. */
  onView?(key: string, view: unknown): void;
  /** The job has cleared a key: removes it. */
  onClear?(key: string): void;
  /** Removes all keys for which `isOf` is true; those that still exist are published again right after. */
  onReset?(isOf: (key: string) => boolean): void;
  /** An emit; each once while this process runs, and none from before its start. */
  onEmit?(emit: Emit): void;
}

export interface FollowerOptions<Event extends LogEvent> {
  topic: string;
  partitions: number;
  jobs: readonly AnyJob<Event>[];
  views: readonly View[];
  prefix: string;
  redis: RedisClient;
  clock: Clock;
  pollMs: number;
  onTrouble: OnTrouble;
}

/** A partition's progress at the last poll. */
export interface PartitionStats {
  /** Log entries, and events in them, that no commit has covered yet. */
  readonly lagEntries: number;
  readonly lagEvents: number;
  /** The last entry that every job has committed. */
  readonly offset: number;
  readonly watermarkMs: number;
  /** Changes of the lease since the deployment began. */
  readonly epoch: number;
  /** When the last commit was written, by the Redis server's clock; 0: never. */
  readonly committedMs: number;
  /** Until when an owner has the lease, by the same clock. */
  readonly leasedUntilMs: number;
  /** Dead letters that are stored now. */
  readonly deadLetters: number;
}

/** The log's last offset at a poll: once the views include it, they are complete up to the poll's time. */
interface Mark {
  offset: number;
  /** Time of the poll by the given clock, and by the monotonic clock. */
  atMs: number;
  ownMs: number;
  /** The commit that the views must have applied; undefined until the jobs' cursors have reached the offset. */
  commit: number | undefined;
}

interface PartitionProgress {
  readonly partition: number;
  readonly keys: PartitionKeys;
  /** Last commit applied; undefined before the states have been read. */
  commit: number | undefined;
  /** The server's run when it was read. */
  run: string | undefined;
  asOfMs: number;
  /** The same instant by the monotonic clock. */
  provenMs: number;
  /** The log's last offset then: the views include every entry up to it. */
  provenOffset: number;
  /** Polls whose log the views do not include yet, the oldest first. */
  marks: Mark[];
  /** Why the states cannot be read: a newer version of a job wrote them. */
  unreadable: string | undefined;
  /** When dead letters and lease were read last. */
  slowPollMs: number;
  figures: { -readonly [Name in keyof PartitionStats]: PartitionStats[Name] };
}

/** At 20 polls a second; a commit's record may be large, and this many of each partition are in memory at once. */
const READ_COMMITS = 64;
/** Enough to compute an age within an eighth of it; when there are more, every second one is dropped. */
const MARKS_KEPT = 16;
/** How often dead letters, lease and the server's clock are read: they change slowly. */
const SLOW_POLL_MS = 1_000;
const ERROR_PAUSE_MS = 1_000;

export class Follower<Event extends LogEvent> {
  readonly #options: FollowerOptions<Event>;
  readonly #partitions: PartitionProgress[];
  readonly #stop = new AbortController();
  #running: Promise<unknown> | undefined;
  /** How much the Redis server's clock is ahead of this machine's. */
  #serverAheadMs = 0;

  constructor(options: FollowerOptions<Event>) {
    this.#options = options;
    this.#partitions = Array.from({ length: options.partitions }, (_, partition) => ({
      partition,
      keys: partitionKeys(options.prefix, options.topic, partition),
      commit: undefined,
      run: undefined,
      asOfMs: 0,
      provenMs: 0,
      provenOffset: 0,
      marks: [],
      unreadable: undefined,
      slowPollMs: 0,
      figures: {
        lagEntries: 0,
        lagEvents: 0,
        offset: 0,
        watermarkMs: 0,
        epoch: 0,
        committedMs: 0,
        leasedUntilMs: 0,
        deadLetters: 0,
      },
    }));
  }

  /** Starts; resolves when every view is filled for the first time. */
  async start(): Promise<void> {
    // Every loop waits by the same signal.
    setMaxListeners(this.#partitions.length + 1, this.#stop.signal);
    await this.#readServerClock();
    await Promise.all(this.#partitions.map((progress) => this.#advance(progress)));
    this.#running = Promise.all([this.#watchClock(), ...this.#partitions.map((progress) => this.#loop(progress))]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  get topic(): string {
    return this.#options.topic;
  }

  /** The time (by the given clock) up to which a partition's views are known to be complete. */
  freshAsOf(partition: number): number {
    const progress = this.#partitions[partition];
    return progress ? this.#asOf(progress) : 0;
  }

  /** How old a partition's views are at most, in real milliseconds, however fast the given clock runs. */
  ageMs(partition: number): number {
    return monotonicClock.now() - (this.#partitions[partition]?.provenMs ?? 0);
  }

  /** The last offset of a partition's log that the views are known to include; 0: none yet. */
  provenOffset(partition: number): number {
    return this.#partitions[partition]?.provenOffset ?? 0;
  }

  /** How old the views of the least fresh partition are at most, as `ageMs`. */
  oldestAgeMs(): number {
    return (
      monotonicClock.now() -
      this.#partitions.reduce((least, { provenMs }) => Math.min(least, provenMs), Number.POSITIVE_INFINITY)
    );
  }

  /** The time up to which all partitions' views are known to be complete. */
  asOf(): number {
    return this.#partitions.reduce(
      (least, progress) => Math.min(least, this.#asOf(progress)),
      Number.POSITIVE_INFINITY,
    );
  }

  /**
   * When the given clock has been set back, the poll's time by it is in the future: then the poll's age is taken from
   * the monotonic clock.
   */
  #asOf({ asOfMs, provenMs }: PartitionProgress): number {
    const nowMs = this.#options.clock.now();
    return asOfMs <= nowMs ? asOfMs : Math.max(0, nowMs - (monotonicClock.now() - provenMs));
  }

  /**
   * The Redis server's time, by which the log counts, up to which views are known to be complete, however this
   * machine's clock is set. 0: not known yet. @param partition left out: all partitions
   */
  completeAsOf(partition?: number): number {
    const proven = this.#partitions.flatMap((each) =>
      partition === undefined || each.partition === partition ? [each.provenMs] : [],
    );
    const leastMs = Math.min(...proven);
    return leastMs > 0 ? leastMs + this.#serverAheadMs : 0;
  }

  /** Log entries not committed yet, over all partitions, at the last poll. */
  lagEntries(): number {
    return this.#partitions.reduce((sum, { figures }) => sum + figures.lagEntries, 0);
  }

  /** Every partition's statistics, in order. */
  stats(): readonly PartitionStats[] {
    return this.#partitions.map(({ figures }) => figures);
  }

  /** The Redis server's clock, estimated from the last time it was read. */
  serverNowMs(): number {
    return monotonicClock.now() + this.#serverAheadMs;
  }

  /** Partitions whose jobs do not run: the lease expired at least a second ago. */
  unowned(): number[] {
    const nowMs = this.serverNowMs() - SLOW_POLL_MS;
    return this.#partitions.flatMap(({ figures }, partition) => (figures.leasedUntilMs <= nowMs ? [partition] : []));
  }

  /** What an operator should do although the process works. */
  warnings(): string[] {
    const { topic } = this.#options;
    return this.#partitions.flatMap(({ partition, unreadable }) =>
      unreadable === undefined
        ? []
        : [`views of ${topic}/${partition} are stale: this process cannot read the states (${unreadable}): replace it`],
    );
  }

  /** One loop for each partition, so that a server that does not answer delays only its own partitions. */
  async #loop(progress: PartitionProgress): Promise<void> {
    const { signal } = this.#stop;
    const { pollMs, topic, onTrouble } = this.#options;
    while (!signal.aborted) {
      try {
        const hasMore = await this.#advance(progress);
        const pauseMs = progress.unreadable === undefined ? pollMs : ERROR_PAUSE_MS;
        await sleep(hasMore ? 0 : pauseMs, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        onTrouble(`views of ${topic}: ${messageOf(thrown)}`, { topic, partition: progress.partition });
        await sleep(ERROR_PAUSE_MS, signal);
      }
    }
  }

  async #watchClock(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(SLOW_POLL_MS, signal);
      // The partitions' loops report that Redis cannot be reached.
      await this.#readServerClock().catch(() => {});
    }
  }

  async #readServerClock(): Promise<void> {
    const [seconds, micros] = await this.#options.redis.time();
    this.#serverAheadMs = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000) - monotonicClock.now();
  }

  /** Polls a partition once. Returns whether there is more to read at once. */
  async #advance(progress: PartitionProgress): Promise<boolean> {
    const { redis, clock } = this.#options;
    const { keys, figures } = progress;
    const isSlowPoll = monotonicClock.now() - progress.slowPollMs >= SLOW_POLL_MS;
    // A lease that seems to have expired may have been renewed or taken over.
    if (isSlowPoll || figures.leasedUntilMs <= this.serverNowMs()) {
      const [deadLetters, until] = await Promise.all([redis.xlen(keys.deadLetters), redis.hget(keys.task, "until")]);
      figures.deadLetters = deadLetters;
      figures.leasedUntilMs = Number(until ?? 0);
      progress.slowPollMs = monotonicClock.now();
    }
    if (progress.commit === undefined) await this.#fill(progress);
    const isFilled = progress.commit !== undefined;
    // Read in this order: the log's last offset, then the task's progress, then the commits. When the commits cover
    // that offset, everything written before `atMs` is in the views.
    const atMs = clock.now();
    const ownMs = monotonicClock.now();
    const [head, task, entries] = await Promise.all([
      redis.hmget(keys.head, "offset", "events"),
      readTask(redis, keys),
      isFilled ? readLog(redis, keys.out, progress.commit ?? 0, READ_COMMITS) : [],
    ]);
    this.#updateFigures(progress, head, task);
    if (!isFilled) return false;
    if (!isSameRun(progress.run ?? "", task.run) || (entries.length === 0 && task.lastOut > (progress.commit ?? 0))) {
      // Another server, or the next commits have been trimmed.
      progress.commit = undefined;
      return false;
    }
    for (const entry of entries) if (!this.#apply(progress, entry)) return false;
    if (progress.marks.length === MARKS_KEPT) progress.marks = progress.marks.filter((_, i) => i % 2 === 0);
    progress.marks.push({ offset: Number(head[0] ?? 0), atMs, ownMs, commit: undefined });
    this.#passMarks(progress, figures.offset, task.lastOut);
    return entries.length === READ_COMMITS;
  }

  #updateFigures({ figures }: PartitionProgress, head: readonly (string | null)[], task: Task): void {
    const offset = Number(head[0] ?? 0);
    figures.offset = Math.min(...this.#options.jobs.map((job) => task.cursors.get(job.name) ?? 0));
    figures.lagEntries = Math.max(0, offset - figures.offset);
    // In a log that is older than the count of its events, the count is too low.
    figures.lagEvents = figures.lagEntries === 0 ? 0 : Math.max(0, Number(head[1] ?? 0) - task.events);
    figures.watermarkMs = task.watermarkMs;
    figures.epoch = task.epoch;
    figures.committedMs = task.committedMs;
  }

  /**
   * Under load the log is always a little ahead, so the views are compared with what the log held at earlier polls.
   */
  #passMarks(progress: PartitionProgress, cursor: number, lastOut: number): void {
    const { marks } = progress;
    let passed = 0;
    for (const mark of marks) {
      if (mark.offset > cursor) break;
      mark.commit ??= lastOut;
      if (mark.commit > (progress.commit ?? 0)) break;
      progress.asOfMs = mark.atMs;
      progress.provenMs = mark.ownMs;
      progress.provenOffset = mark.offset;
      passed++;
    }
    marks.splice(0, passed);
  }

  /**
   * Publishes a commit to the views. Returns false when commits before it are missing: the states must be read again.
   */
  #apply(progress: PartitionProgress, entry: LogEntry): boolean {
    const record = decodeOut(field(entry, "r") as Buffer);
    if (record.previous > (progress.commit ?? 0)) {
      progress.commit = undefined;
      return false;
    }
    progress.commit = entry.offset;
    for (const [job, key, view] of record.views) {
      for (const to of this.#options.views) {
        if (to.job !== job) continue;
        if (view === null) to.onClear?.(key);
        else to.onView?.(key, view);
      }
    }
    for (const emit of record.emits) for (const to of this.#options.views) if (to.job === emit.job) to.onEmit?.(emit);
    return true;
  }

  /** Publishes all states to the views, and records the commit after which to follow, unless a state is too new. */
  async #fill(progress: PartitionProgress): Promise<void> {
    const { topic, redis, jobs, views, partitions, onTrouble } = this.#options;
    const updates: [to: View, key: string, view: unknown][] = [];
    const task = await readTask(redis, progress.keys);
    try {
      for (const job of jobs) {
        const takers = views.filter((view) => view.job === job.name && view.onView);
        if (!job.view || takers.length === 0) continue;
        const at = { topic, partition: progress.partition, job: job.name };
        const report = (message: string): void => onTrouble(message, at);
        for (const [key, view] of await viewsOfStates(redis, progress.keys, job, task, report))
          for (const to of takers) updates.push([to, key, view]);
      }
    } catch (thrown) {
      if (!isNewerVersion(thrown)) throw thrown;
      const message = messageOf(thrown);
      if (progress.unreadable !== message)
        onTrouble(`views of ${topic}: ${message}`, { topic, partition: progress.partition });
      progress.unreadable = message;
      return;
    }
    // Without a pause in between, so that no reader finds the views empty. All keys are reset because commits that have
    // been trimmed may have cleared some.
    if (progress.run !== undefined) {
      for (const view of views) view.onReset?.((key) => partitionOf(key, partitions) === progress.partition);
    }
    for (const [to, key, view] of updates) to.onView?.(key, view);
    progress.commit = task.lastOut;
    progress.run = task.run;
    progress.marks = [];
    progress.unreadable = undefined;
  }
}
