/**
 * Series in the time series of Redis: for each SKU or figure one series of values and one of stock in each resolution.
 * Hours and days are computed here, by the same functions as for the compact form: a rule of the server cannot express
 * the days of a zone. The server has no fence: a recorder renews its lease before each write, and a value that a frozen
 * one still writes is absolute and at most one renewal old.
 */
import type { Buckets } from "../../engine/history/series/buckets.js";
import { combinePoints, mergePoints } from "../../engine/history/series/roll-up.js";
import {
  KEPT_MS,
  LONGEST_BUCKET_MS,
  type Point,
  RESOLUTIONS,
  type Resolution,
  type SeriesFence,
  type SeriesOwner,
  type SeriesStore,
  type SeriesUpdate,
} from "../../engine/history/series/series-store.js";
import { EngineError } from "../../engine/kernel/errors.js";
import { type SeriesKeys, seriesKeys } from "../../engine/stream/keys.js";
import type { Sample, TimeSeriesClient } from "./client.js";

const COLUMNS = ["value", "stock"] as const;
/** Series whose points are read with one round trip, and written with another. */
const SERIES_AT_ONCE = 100;
/** The server counts from the newest sample; the reader cuts exactly. */
const retentionOf = (resolution: Resolution): number => KEPT_MS[resolution] + LONGEST_BUCKET_MS;
const MISSING = /does not exist/;
/** A sample that the server has removed already. */
const PAST_RETENTION = /older than retention/;

interface NewSample extends Sample {
  readonly resolution: Resolution;
}

export class TimeSeriesStore implements SeriesStore {
  readonly kind = "time-series";
  readonly #client: TimeSeriesClient;
  readonly #prefix: string;
  readonly #buckets: Buckets;

  constructor(client: TimeSeriesClient, { prefix, buckets }: { prefix: string; buckets: Buckets }) {
    this.#client = client;
    this.#prefix = prefix;
    this.#buckets = buckets;
  }

  async write(owner: SeriesOwner, _fence: SeriesFence, updates: readonly SeriesUpdate[]): Promise<void> {
    const keys = seriesKeys(this.#prefix, owner);
    for (let from = 0; from < updates.length; from += SERIES_AT_ONCE) {
      const batch = updates.slice(from, from + SERIES_AT_ONCE);
      const samples = await Promise.all(batch.map((update) => this.#samplesOf(keys, update)));
      await this.#add(samples.flat());
    }
  }

  read(owner: SeriesOwner, name: string, resolution: Resolution, fromMs: number, toMs: number): Promise<Point[]> {
    return this.#points(seriesKeys(this.#prefix, owner), name, resolution, fromMs, toMs);
  }

  async lastStock(
    owner: SeriesOwner,
    name: string,
    resolution: Resolution,
    fromMs: number,
    toMs: number,
  ): Promise<Point | undefined> {
    if (toMs <= fromMs) return undefined;
    const key = seriesKeys(this.#prefix, owner).samples(name, resolution, "stock");
    const found = await this.#client.last(key, Math.max(0, fromMs), toMs - 1);
    return found && { atMs: found.timestamp, stock: found.value };
  }

  /** A series that is not written any more keeps its samples: the server counts from its newest one. */
  async sweep(owner: SeriesOwner, _fence: SeriesFence, names: readonly string[], nowMs: number): Promise<void> {
    const keys = seriesKeys(this.#prefix, owner);
    const removals = names.flatMap((name) =>
      RESOLUTIONS.flatMap((resolution) =>
        COLUMNS.map((column) => {
          const toMs = nowMs - retentionOf(resolution);
          return this.#client.remove(keys.samples(name, resolution, column), 0, Math.max(0, toMs));
        }),
      ),
    );
    await Promise.all(removals);
  }

  close(): void {
    this.#client.close();
  }

  async #points(
    keys: SeriesKeys,
    name: string,
    resolution: Resolution,
    fromMs: number,
    toMs: number,
  ): Promise<Point[]> {
    if (toMs <= fromMs) return [];
    const [values, stocks] = await Promise.all(
      COLUMNS.map((column) =>
        this.#client.range(keys.samples(name, resolution, column), Math.max(0, fromMs), toMs - 1),
      ),
    );
    return mergePoints(
      (values ?? []).map(({ timestamp, value }) => ({ atMs: timestamp, value })),
      (stocks ?? []).map(({ timestamp, value }) => ({ atMs: timestamp, stock: value })),
    );
  }

  /** The changed minutes, and the hours and days that change with them. */
  async #samplesOf(keys: SeriesKeys, { name, minutes, combination }: SeriesUpdate): Promise<NewSample[]> {
    const buckets = this.#buckets;
    const hourBegins = distinct(minutes.map(({ atMs }) => buckets.beginMs("hour", atMs)));
    const dayBegins = distinct(hourBegins.map((atMs) => buckets.beginMs("day", atMs)));
    const within = (outer: Resolution, inner: "minute" | "hour", begins: readonly number[]) =>
      Promise.all(begins.map((atMs) => this.#points(keys, name, inner, atMs, buckets.endMs(outer, atMs))));
    const [minutesOf, hoursOf] = await Promise.all([
      within("hour", "minute", hourBegins),
      within("day", "hour", dayBegins),
    ]);
    const hours = hourBegins.map((atMs, i) => {
      const endMs = buckets.endMs("hour", atMs);
      const changed = minutes.filter((point) => point.atMs >= atMs && point.atMs < endMs);
      return combinePoints(atMs, mergePoints(minutesOf[i] ?? [], changed), combination);
    });
    const days = dayBegins.map((atMs, i) => {
      const endMs = buckets.endMs("day", atMs);
      const changed = hours.filter((point) => point.atMs >= atMs && point.atMs < endMs);
      return combinePoints(atMs, mergePoints(hoursOf[i] ?? [], changed), combination);
    });
    const samplesIn = (resolution: Resolution, points: readonly Point[]): NewSample[] =>
      points.flatMap((point) =>
        COLUMNS.flatMap((column): NewSample[] => {
          const value = point[column];
          if (value === undefined) return [];
          return [{ key: keys.samples(name, resolution, column), timestamp: point.atMs, value, resolution }];
        }),
      );
    return [...samplesIn("minute", minutes), ...samplesIn("hour", hours), ...samplesIn("day", days)];
  }

  /** Adds samples; makes the series that do not exist yet, and adds theirs again. */
  async #add(samples: readonly NewSample[]): Promise<void> {
    let left = samples;
    for (const mayCreate of [true, false]) {
      if (left.length === 0) return;
      const faults = await this.#client.add(left.map(({ key, timestamp, value }) => ({ key, timestamp, value })));
      const other = faults.find((fault) => fault !== undefined && !MISSING.test(fault) && !PAST_RETENTION.test(fault));
      const missing = left.filter((_, i) => MISSING.test(faults[i] ?? ""));
      if (other !== undefined || (missing.length > 0 && !mayCreate)) throw refused(other ?? "a series does not exist");
      const created = new Map(missing.map(({ key, resolution }) => [key, resolution]));
      await Promise.all([...created].map(([key, each]) => this.#client.create(key, retentionOf(each))));
      left = missing;
    }
  }
}

const distinct = (numbers: readonly number[]): number[] => [...new Set(numbers)];

const refused = (message: string): EngineError =>
  new EngineError(`the Redis refuses a sample: ${message}`, {
    op: "time-series.add",
    code: "unavailable",
    retryable: true,
  });
