/**
 * Keeps views in memory up to date with what a topic's commits give out, in any process, owner or not. It starts from the jobs' states in
 * Redis and goes on with the commits after them; values are absolute, so the overlap does no harm. `freshAsOf` is proof, not hope: a time at
 * which the log held nothing that these views have not seen. A reader that fell behind the trimming starts from the states again.
 */
import { type Clock, sleep, systemClock } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import { readTask } from "./commit.js";
import type { AnyJob, Emit, LogEvent } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import { field, type LogEntry, readLog } from "./log.js";
import type { RedisClient } from "./redis.js";
import { decodeOut, decodeState } from "./step.js";

/** Takes what one job gives out. */
export interface View {
  /** The job that it follows. */
  readonly job: string;
  /** A key's newest values, as the job's `view` made them. */
  onView?(key: string, view: unknown): void;
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
  onTrouble(message: string): void;
}

interface PartitionProgress {
  keys: PartitionKeys;
  /** Last commit taken; undefined before the states have been read. */
  commit: number | undefined;
  asOfMs: number;
  /** The same instant by the wall's clock. */
  provenMs: number;
  /** Log entries that no commit has covered yet, at the last look. */
  lagEntries: number;
}

const READ_COMMITS = 256;
const SCAN_COUNT = 500;

export class Follower<Event extends LogEvent> {
  readonly #options: FollowerOptions<Event>;
  readonly #partitions: PartitionProgress[];
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: FollowerOptions<Event>) {
    this.#options = options;
    this.#partitions = Array.from({ length: options.partitions }, (_, partition) => ({
      keys: partitionKeys(options.prefix, options.topic, partition),
      commit: undefined,
      asOfMs: 0,
      provenMs: 0,
      lagEntries: 0,
    }));
  }

  /** Starts; resolves when every view is filled for the first time. */
  async start(): Promise<void> {
    await this.#round();
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** The time (by the given clock) up to which a partition's views are known to be complete. */
  freshAsOf(partition: number): number {
    return this.#partitions[partition]?.asOfMs ?? 0;
  }

  /** How old a partition's views may be at most, in real milliseconds, however fast the given clock runs. */
  ageMs(partition: number): number {
    return systemClock.now() - (this.#partitions[partition]?.provenMs ?? 0);
  }

  /** The same of the least fresh partition. */
  oldestAgeMs(): number {
    return (
      systemClock.now() -
      this.#partitions.reduce((least, { provenMs }) => Math.min(least, provenMs), Number.POSITIVE_INFINITY)
    );
  }

  /** The time up to which all partitions' views are known to be complete. */
  asOf(): number {
    return this.#partitions.reduce((least, { asOfMs }) => Math.min(least, asOfMs), Number.POSITIVE_INFINITY);
  }

  /** Log entries not committed yet, over all partitions, at the last look. */
  lagEntries(): number {
    return this.#partitions.reduce((sum, { lagEntries }) => sum + lagEntries, 0);
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#round();
        await sleep(this.#options.pollMs, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        this.#options.onTrouble(`views of ${this.#options.topic}: ${messageOf(thrown)}`);
        await sleep(1_000, signal);
      }
    }
  }

  async #round(): Promise<void> {
    // Every partition is waited for, also after one has failed: two rounds at once would tell a slow one's commits twice.
    const settled = await Promise.allSettled(this.#partitions.map((progress) => this.#advance(progress)));
    for (const result of settled) if (result.status === "rejected") throw result.reason;
  }

  async #advance(progress: PartitionProgress): Promise<void> {
    const { redis, clock } = this.#options;
    const { keys } = progress;
    if (progress.commit === undefined) await this.#fill(progress);
    // Asked in this order: what the log held, then what has been committed, then the commits themselves. When the commits cover that log,
    // everything written before `beforeMs` is in the views.
    const beforeMs = clock.now();
    const wallMs = systemClock.now();
    const [offset, task, entries] = await Promise.all([
      redis.hget(keys.head, "offset"),
      readTask(redis, keys),
      readLog(redis, keys.out, progress.commit ?? 0, READ_COMMITS),
    ]);
    if (entries.length === 0 && task.lastOut > (progress.commit ?? 0)) {
      // The commits that would tell have been trimmed.
      progress.commit = undefined;
      return;
    }
    for (const entry of entries) if (!this.#take(progress, entry)) return;
    const cursors = this.#options.jobs.map((job) => task.cursors.get(job.name) ?? 0);
    progress.lagEntries = Math.max(0, Number(offset ?? 0) - Math.min(...cursors));
    const caughtUp = progress.lagEntries === 0 && (progress.commit ?? 0) >= task.lastOut;
    if (caughtUp) {
      progress.asOfMs = Math.max(progress.asOfMs, beforeMs);
      progress.provenMs = wallMs;
    }
  }

  /** Gives a commit to the views. Returns false when commits are missing before it: the states have to be read again. */
  #take(progress: PartitionProgress, entry: LogEntry): boolean {
    const record = decodeOut(field(entry, "r") as Buffer);
    if (record.previous > (progress.commit ?? 0)) {
      progress.commit = undefined;
      return false;
    }
    progress.commit = entry.offset;
    for (const [job, key, view] of record.views) {
      for (const to of this.#options.views) if (to.job === job) to.onView?.(key, view);
    }
    for (const emit of record.emits) for (const to of this.#options.views) if (to.job === emit.job) to.onEmit?.(emit);
    return true;
  }

  /** Reads all states, and remembers from which commit on to follow. */
  async #fill(progress: PartitionProgress): Promise<void> {
    const { redis, jobs, views } = this.#options;
    const { lastOut } = await readTask(redis, progress.keys);
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
          const view = job.view(decodeState(pairs[i + 1] as Buffer), key, 0);
          for (const to of takers) to.onView?.(key, view);
        }
      } while (cursor !== "0");
    }
    progress.commit = lastOut;
  }
}
