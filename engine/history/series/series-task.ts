/**
 * Records series under a lease: at each minute's end it collects what has changed, stores it, and then commits how far
 * it has recorded. A process that ends in between leaves points that its successor stores again with the same values.
 * Late corrections of recorded minutes are stored with the next minute, or after a minute of real time when the shop's
 * clock stands still.
 */
import { type Clock, MINUTE_MS, type Scheduler } from "../../kernel/clock.js";
import { renewTask, type Task } from "../../stream/commit.js";
import { seriesKeys } from "../../stream/keys.js";
import type { Lease } from "../../stream/leased-loop.js";
import type { RedisClient } from "../../stream/redis.js";
import { nowArgument } from "../../stream/server-clock.js";
import { type Coverage, commitCoverage, extended, readCoverage, type SeriesGap } from "./coverage.js";
import type { SeriesOwner, SeriesStore, SeriesUpdate } from "./series-store.js";

/** What is recorded. A new one is made for each lease: it begins with what the process has in memory. */
export interface MinuteSource {
  /** The shop's time up to which everything that happened can be collected. */
  completeMs(): number;
  /**
   * What has changed since the last time that `stored` was called, in minutes that end by `endMs`, and what between the
   * last recorded minute and `endMs` cannot be collected any more.
   */
  collect(endMs: number, coverage: Coverage): Promise<{ updates: SeriesUpdate[]; gaps: SeriesGap[] }>;
  /** What was collected last is stored. */
  stored(): void;
  /** Some of the series that may have expired points; all of them in turn. */
  sweepable(): string[];
}

export interface SeriesTaskOptions {
  redis: RedisClient;
  prefix: string;
  store: SeriesStore;
  leaseMs: number;
  clock: Scheduler;
  serverClock?: Clock;
  pollMs?: number;
}

export interface SeriesFigures {
  /** Since the process began. */
  points: number;
  /** The end of the last minute that this process has recorded. */
  recordedToMs: number;
  /** How far the recorded minutes are behind the shop's time. */
  behindMs: number;
}

/** How exactly the stock of a minute's end is read. */
const POLL_MS = 250;
/** Series of one write, between which the lease is renewed. */
const SERIES_AT_ONCE = 500;

export class SeriesTask {
  readonly #options: SeriesTaskOptions;
  readonly #owner: SeriesOwner;
  readonly #source: MinuteSource;
  readonly #task: Task;
  readonly #figures: SeriesFigures;
  #coverage!: Coverage;
  #commit: number;
  #renewedMs: number;
  #recordedMs = 0;

  constructor(
    options: SeriesTaskOptions,
    owner: SeriesOwner,
    source: MinuteSource,
    { task, askedMs }: Pick<Lease, "task" | "askedMs">,
    figures: SeriesFigures,
  ) {
    this.#options = options;
    this.#owner = owner;
    this.#source = source;
    this.#task = task;
    this.#figures = figures;
    this.#commit = task.commit;
    this.#renewedMs = askedMs;
  }

  /** Works until the signal aborts. @param progressed called after each minute */
  async run(signal: AbortSignal, progressed: () => void): Promise<void> {
    const { redis, prefix, clock, pollMs = POLL_MS } = this.#options;
    this.#coverage = await readCoverage(redis, prefix, this.#owner);
    while (!signal.aborted) {
      const completeMs = this.#source.completeMs();
      const endMs = Math.floor(completeMs / MINUTE_MS) * MINUTE_MS;
      this.#figures.behindMs = this.#coverage.toMs === 0 ? 0 : Math.max(0, completeMs - this.#coverage.toMs);
      const isDue = endMs > this.#coverage.toMs || clock.now() - this.#recordedMs >= MINUTE_MS;
      if (isDue && endMs > 0) {
        await this.#record(Math.max(endMs, this.#coverage.toMs), signal);
        progressed();
      }
      await this.#renewIfDue();
      await clock.sleep(pollMs, signal);
    }
  }

  async #record(endMs: number, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const { updates, gaps } = await this.#source.collect(endMs, this.#coverage);
    for (let from = 0; from < updates.length; from += SERIES_AT_ONCE) {
      if (signal.aborted) return;
      await this.#renewIfDue();
      await store.write(this.#owner, this.#task, updates.slice(from, from + SERIES_AT_ONCE), endMs);
    }
    if (endMs > this.#coverage.toMs) await this.#commitCoverage(extended(this.#coverage, endMs, gaps));
    this.#source.stored();
    this.#recordedMs = this.#options.clock.now();
    this.#figures.points += updates.reduce((sum, { minutes }) => sum + minutes.length, 0);
    this.#figures.recordedToMs = endMs;
    await store.sweep(this.#owner, this.#task, this.#source.sweepable(), endMs);
  }

  async #commitCoverage(coverage: Coverage): Promise<void> {
    const { redis, prefix, leaseMs, clock, serverClock } = this.#options;
    const askedMs = clock.now();
    const lease = { task: this.#task, number: this.#commit + 1, leaseMs, now: nowArgument(serverClock) };
    await commitCoverage(redis, prefix, this.#owner, coverage, lease);
    this.#commit++;
    this.#coverage = coverage;
    this.#renewedMs = askedMs;
  }

  async #renewIfDue(): Promise<void> {
    const { redis, prefix, clock, serverClock, leaseMs } = this.#options;
    if (clock.now() - this.#renewedMs <= leaseMs / 3) return;
    const askedMs = clock.now();
    await renewTask(redis, seriesKeys(prefix, this.#owner), this.#task, leaseMs, nowArgument(serverClock));
    this.#renewedMs = askedMs;
  }
}
