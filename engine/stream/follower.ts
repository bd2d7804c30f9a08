/**
 * Keeps views in memory up to date with what a topic's commits give out, in any process, owner or not. It starts from
 * the jobs' states in Redis and goes on with the commits after them; values are absolute, so the overlap does no
 * harm. `freshAsOf` is proof, not hope: a time at which the log held nothing that these views have not seen. A reader
 * that fell behind the trimming, or whose Redis has started anew and may have lost what it told last, starts from the
 * states again. On the way it notes how far every partition's jobs are, whoever runs them.
 */
import { setMaxListeners } from "node:events";
import { type Clock, monotonicClock, sleep } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { isSameRun, readTask } from "./commit.js";
import type { AnyJob, Emit, LogEvent } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import { field, type LogEntry, readLog } from "./log.js";
import { decodeOut } from "./out-record.js";
import { decodeState } from "./pack.js";
import { partitionOf } from "./partition.js";
import type { RedisClient } from "./redis.js";

/** Takes what one job gives out. */
export interface View {
  /** The job that it follows. */
  readonly job: string;
  /** A key's newest values, as the job's `view` made them. */
  onView?(key: string, view: unknown): void;
  /** The job has given a key up: forgets it. */
  onClear?(key: string): void;
  /** What was told of some keys may not be so any more: forgets them. What there is of them is told right after. */
  onReset?(isOf: (key: string) => boolean): void;
  /** An emit; each once while this process lives, and not those from before its start. */
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

/** How far a partition's jobs are, at the last look. */
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
  /** Records set aside that are still there. */
  readonly deadLetters: number;
}

/** What the log held at a look: once the views have seen that much, they are complete up to then. */
interface Mark {
  offset: number;
  /** By the given clock, and by one that nobody can set. */
  atMs: number;
  ownMs: number;
  /** The commit that the views must have taken; undefined until the jobs' cursors have reached the offset. */
  commit: number | undefined;
}

interface PartitionProgress {
  readonly partition: number;
  readonly keys: PartitionKeys;
  /** Last commit taken; undefined before the states have been read. */
  commit: number | undefined;
  /** The server's run in which it was. */
  run: string | undefined;
  asOfMs: number;
  /** The same instant by a clock that nobody can set. */
  provenMs: number;
  /** Looks that are still to be reached, the oldest first. */
  marks: Mark[];
  /** When what changes slowly was asked for. */
  slowLookMs: number;
  figures: { -readonly [Name in keyof PartitionStats]: PartitionStats[Name] };
}

/** At 20 looks a second; a commit's record may be large, and this many of each partition are in memory at once. */
const READ_COMMITS = 64;
const SCAN_COUNT = 500;
/** Enough to tell an age within an eighth of it; past it every second one is given up. */
const MARKS_KEPT = 16;
/** How often what changes slowly is asked for. */
const SLOW_LOOK_MS = 1_000;
const TROUBLE_PAUSE_MS = 1_000;

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
      marks: [],
      slowLookMs: 0,
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

  /** How old a partition's views may be at most, in real milliseconds, however fast the given clock runs. */
  ageMs(partition: number): number {
    return monotonicClock.now() - (this.#partitions[partition]?.provenMs ?? 0);
  }

  /** The same of the least fresh partition. */
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
   * When the given clock has been set back, what it showed at the look is in the future: the look is as long ago as a
   * clock says that nobody sets.
   */
  #asOf({ asOfMs, provenMs }: PartitionProgress): number {
    const nowMs = this.#options.clock.now();
    return asOfMs <= nowMs ? asOfMs : Math.max(0, nowMs - (monotonicClock.now() - provenMs));
  }

  /** Log entries not committed yet, over all partitions, at the last look. */
  lagEntries(): number {
    return this.#partitions.reduce((sum, { figures }) => sum + figures.lagEntries, 0);
  }

  /** Every partition's figures, in order. */
  stats(): readonly PartitionStats[] {
    return this.#partitions.map(({ figures }) => figures);
  }

  /** The Redis server's clock, as far as is known here. */
  serverNowMs(): number {
    return monotonicClock.now() + this.#serverAheadMs;
  }

  /** Partitions whose jobs nobody runs: the lease has ended and, for a second, none has taken it over. */
  unowned(): number[] {
    const nowMs = this.serverNowMs() - SLOW_LOOK_MS;
    return this.#partitions.flatMap(({ figures }, partition) => (figures.leasedUntilMs <= nowMs ? [partition] : []));
  }

  /** Each partition goes its own way: a server that has frozen, or lost its primary, makes nobody wait but its own. */
  async #loop(progress: PartitionProgress): Promise<void> {
    const { signal } = this.#stop;
    const { pollMs, topic, onTrouble } = this.#options;
    while (!signal.aborted) {
      try {
        const hasMore = await this.#advance(progress);
        await sleep(hasMore ? 0 : pollMs, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        onTrouble(`views of ${topic}: ${messageOf(thrown)}`, { topic, partition: progress.partition });
        await sleep(TROUBLE_PAUSE_MS, signal);
      }
    }
  }

  async #watchClock(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(SLOW_LOOK_MS, signal);
      // Redis is away: the partitions say so.
      await this.#readServerClock().catch(() => {});
    }
  }

  async #readServerClock(): Promise<void> {
    const [seconds, micros] = await this.#options.redis.time();
    this.#serverAheadMs = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000) - monotonicClock.now();
  }

  /** Looks at a partition once. Returns whether a further look would find more at once. */
  async #advance(progress: PartitionProgress): Promise<boolean> {
    const { redis, clock } = this.#options;
    const { keys, figures } = progress;
    const isSlowLook = monotonicClock.now() - progress.slowLookMs >= SLOW_LOOK_MS;
    // A lease that seems to have ended may have been renewed, or taken over.
    if (isSlowLook || figures.leasedUntilMs <= this.serverNowMs()) {
      const [deadLetters, until] = await Promise.all([redis.xlen(keys.deadLetters), redis.hget(keys.task, "until")]);
      figures.deadLetters = deadLetters;
      figures.leasedUntilMs = Number(until ?? 0);
      progress.slowLookMs = monotonicClock.now();
    }
    if (progress.commit === undefined) await this.#fill(progress);
    // Asked in this order: what the log held, then what has been committed, then the commits themselves. When the
    // commits cover that log, everything written before `atMs` is in the views.
    const atMs = clock.now();
    const ownMs = monotonicClock.now();
    const [head, task, entries] = await Promise.all([
      redis.hmget(keys.head, "offset", "events"),
      readTask(redis, keys),
      readLog(redis, keys.out, progress.commit ?? 0, READ_COMMITS),
    ]);
    if (!isSameRun(progress.run ?? "", task.run) || (entries.length === 0 && task.lastOut > (progress.commit ?? 0))) {
      // Another server, or the commits that would tell have been trimmed.
      progress.commit = undefined;
      return false;
    }
    for (const entry of entries) if (!this.#take(progress, entry)) return false;
    const offset = Number(head[0] ?? 0);
    figures.offset = Math.min(...this.#options.jobs.map((job) => task.cursors.get(job.name) ?? 0));
    figures.lagEntries = Math.max(0, offset - figures.offset);
    // A log that is older than the count of its events tells less than it holds.
    figures.lagEvents = figures.lagEntries === 0 ? 0 : Math.max(0, Number(head[1] ?? 0) - task.events);
    figures.watermarkMs = task.watermarkMs;
    figures.epoch = task.epoch;
    figures.committedMs = task.committedMs;
    if (progress.marks.length === MARKS_KEPT) progress.marks = progress.marks.filter((_, i) => i % 2 === 0);
    progress.marks.push({ offset, atMs, ownMs, commit: undefined });
    this.#passMarks(progress, figures.offset, task.lastOut);
    return entries.length === READ_COMMITS;
  }

  /**
   * Under load the log is always a little ahead; what counts is that the views have reached what it held at some
   * look.
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
      passed++;
    }
    marks.splice(0, passed);
  }

  /**
   * Gives a commit to the views. Returns false when commits are missing before it: the states have to be read again.
   */
  #take(progress: PartitionProgress, entry: LogEntry): boolean {
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

  /** Reads all states, and remembers from which commit on to follow. */
  async #fill(progress: PartitionProgress): Promise<void> {
    const { redis, jobs, views, partitions } = this.#options;
    const told: [to: View, key: string, view: unknown][] = [];
    const { lastOut, run } = await readTask(redis, progress.keys);
    for (const job of jobs) {
      const takers = views.filter((view) => view.job === job.name && view.onView);
      if (!job.view || takers.length === 0) continue;
      let cursor = "0";
      do {
        const [next, pairs] = (await redis.hscanBuffer(progress.keys.state(job.name), cursor, "COUNT", SCAN_COUNT)) as [
          Buffer,
          Buffer[],
        ];
        cursor = next.toString("latin1");
        for (let i = 0; i < pairs.length; i += 2) {
          const key = (pairs[i] as Buffer).toString("utf8");
          let view: unknown;
          try {
            view = job.view(decodeState(pairs[i + 1] as Buffer), key, 0);
          } catch (thrown) {
            // The others are shown all the same; what is to be done about this one its dead letters tell.
            const { topic, onTrouble } = this.#options;
            const at = { topic, partition: progress.partition, job: job.name };
            onTrouble(`the state of ${key} in ${job.name} cannot be read: ${messageOf(thrown)}`, at);
            continue;
          }
          for (const to of takers) told.push([to, key, view]);
        }
      } while (cursor !== "0");
    }
    // All at once, so that nobody who reads the views finds them empty. Keys may have been given up by commits that
    // are not there any more.
    if (progress.run !== undefined) {
      for (const view of views) view.onReset?.((key) => partitionOf(key, partitions) === progress.partition);
    }
    for (const [to, key, view] of told) to.onView?.(key, view);
    progress.commit = lastOut;
    progress.run = run;
    progress.marks = [];
  }
}
