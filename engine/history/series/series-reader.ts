/**
 * Answers about series: the points of a span of time in one resolution, the stock at its beginning, and what of it was
 * not recorded. The answer is the same whatever stores the points. A bucket without a point and outside the gaps had no
 * depletion and no change of stock. The minute that has not ended is never in an answer.
 */
import { MINUTE_MS } from "../../kernel/clock.js";
import { partitionOf } from "../../stream/partition.js";
import type { RedisClient } from "../../stream/redis.js";
import type { Buckets } from "./buckets.js";
import { type Coverage, readCoverage, type SeriesGap } from "./coverage.js";
import {
  KEPT_MS,
  type Point,
  RESOLUTIONS,
  type Resolution,
  type SeriesOwner,
  type SeriesStore,
} from "./series-store.js";

/** More than all points of a resolution: 1,440 minutes, 720 hours, 730 days. */
export const MAX_POINTS = 1_500;
const DEFAULT_SPAN_MS = 60 * MINUTE_MS;
/** A recorder that is further behind does not work: the answer is not complete. */
const BEHIND_MS = 3 * MINUTE_MS;

export interface SeriesQuery {
  /** Left out: the finest that is kept for the whole span. */
  readonly resolution?: Resolution | undefined;
  /** Left out: an hour before `toMs`. */
  readonly fromMs?: number | undefined;
  /** Left out: the end of the last recorded minute. */
  readonly toMs?: number | undefined;
}

export interface SeriesAnswer {
  readonly resolution: Resolution;
  /** The span, from the beginning of its first bucket. */
  readonly fromMs: number;
  readonly toMs: number;
  /** In ascending order. Of the last bucket, what was recorded so far. */
  readonly points: readonly Point[];
  /** Sellable units when the span begins; undefined: unknown. */
  readonly openingStock: number | undefined;
  /** The end of the last recorded minute; 0: nothing was recorded. */
  readonly recordedToMs: number;
  /** What of the span was not recorded, in ascending order. */
  readonly gaps: readonly SeriesGap[];
  /** Everything was recorded, up to a minute or two before now. */
  readonly isComplete: boolean;
}

export interface SeriesReaderOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  store: Pick<SeriesStore, "read" | "lastStock" | "kind">;
  buckets: Buckets;
}

export class SeriesReader {
  readonly #options: SeriesReaderOptions;

  constructor(options: SeriesReaderOptions) {
    this.#options = options;
  }

  /** Units depleted of a SKU, and its stock. @param nowMs the shop's time */
  async sku(sku: string, query: SeriesQuery, nowMs: number): Promise<SeriesAnswer> {
    return this.#read(partitionOf(sku, this.#options.partitions), sku, query, nowMs);
  }

  /** Values of a figure of the engine. */
  async figure(name: string, query: SeriesQuery, nowMs: number): Promise<SeriesAnswer> {
    return this.#read("figures", name, query, nowMs);
  }

  async #read(owner: SeriesOwner, name: string, query: SeriesQuery, nowMs: number): Promise<SeriesAnswer> {
    const { redis, prefix, store } = this.#options;
    const coverage = await readCoverage(redis, prefix, owner);
    const { resolution, fromMs, toMs } = this.#spanOf(query, coverage, nowMs);
    const points = fromMs < toMs ? await store.read(owner, name, resolution, fromMs, toMs) : [];
    const gaps = gapsIn(coverage, fromMs, Math.min(toMs, nowMs));
    const recordedToMs = coverage.toMs;
    return {
      ...{ resolution, fromMs, toMs, points, recordedToMs, gaps },
      openingStock: owner === "figures" ? undefined : await this.#openingStock(owner, name, coverage, fromMs, nowMs),
      isComplete: gaps.every((gap) => gap.fromMs >= recordedToMs) && recordedToMs >= Math.min(toMs, nowMs - BEHIND_MS),
    };
  }

  /** The span in whole buckets, not further back than points are kept. */
  #spanOf({ resolution, fromMs, toMs }: SeriesQuery, coverage: Coverage, nowMs: number) {
    const { buckets } = this.#options;
    const endMs = toMs ?? (coverage.toMs > 0 ? coverage.toMs : nowMs);
    const askedMs = fromMs ?? endMs - DEFAULT_SPAN_MS;
    const chosen = resolution ?? RESOLUTIONS.find((each) => askedMs >= nowMs - KEPT_MS[each]) ?? "day";
    const keptMs = buckets.endMs(chosen, nowMs - KEPT_MS[chosen]);
    return { resolution: chosen, fromMs: Math.max(buckets.beginMs(chosen, askedMs), keptMs), toMs: endMs };
  }

  /**
   * The stock at the end of the last bucket, in any resolution, that had ended by `fromMs`. Undefined when the minutes
   * up to `fromMs` were not recorded: the stock may have changed in them.
   */
  async #openingStock(
    owner: SeriesOwner,
    name: string,
    coverage: Coverage,
    fromMs: number,
    nowMs: number,
  ): Promise<number | undefined> {
    const { store, buckets } = this.#options;
    const found = await Promise.all(
      RESOLUTIONS.map(async (resolution) => {
        const lastMs = buckets.beginMs(resolution, fromMs);
        const point = await store.lastStock(owner, name, resolution, nowMs - KEPT_MS[resolution], lastMs);
        return point && { endMs: buckets.endMs(resolution, point.atMs), stock: point.stock };
      }),
    );
    let latest: { endMs: number; stock: number | undefined } | undefined;
    for (const each of found) if (each && (!latest || each.endMs > latest.endMs)) latest = each;
    if (!latest || fromMs > coverage.toMs + BEHIND_MS) return undefined;
    const isMissed = coverage.gaps.some((gap) => gap.fromMs < fromMs && gap.toMs >= fromMs);
    return isMissed ? undefined : latest.stock;
  }
}

/** What of a span was not recorded: before the first minute, in gaps, and after the last minute. */
function gapsIn({ fromMs: firstMs, toMs: lastMs, gaps }: Coverage, fromMs: number, toMs: number): SeriesGap[] {
  if (fromMs >= toMs) return [];
  if (lastMs === 0) return [{ fromMs, toMs, missing: "all" }];
  const all: SeriesGap[] = [
    { fromMs, toMs: firstMs, missing: "all" },
    ...gaps,
    { fromMs: lastMs, toMs, missing: "all" },
  ];
  return all.flatMap((gap) => {
    const clipped = { ...gap, fromMs: Math.max(gap.fromMs, fromMs), toMs: Math.min(gap.toMs, toMs) };
    return clipped.fromMs < clipped.toMs ? [clipped] : [];
  });
}
