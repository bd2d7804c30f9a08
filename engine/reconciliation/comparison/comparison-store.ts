/**
 * Keeps comparisons in Redis: summaries for 30 days, the differences of the newest 200, and the last value of each
 * pair. All keys are in one slot. What is stored is compressed and bounded; the oldest goes first. A comparison is
 * listed only once all of it is stored; one that is interrupted before leaves differences that expire by themselves.
 */
import { promisify } from "node:util";
import { deflateRaw, inflateRaw } from "node:zlib";
import { chainIdTimeMs } from "../../kernel/chain-id.js";
import { DAY_MS } from "../../kernel/clock.js";
import { type ComparisonKeys, comparisonKeys } from "../../stream/keys.js";
import { decodeState, encodeState } from "../../stream/pack.js";
import type { RedisClient } from "../../stream/redis.js";
import type { Comparison, Difference, PairDivergence } from "../model.js";
import { differingUnits, MAX_DIFFERENCES } from "./comparison.js";
import type { SnapshotGaps } from "./snapshot-gaps.js";

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

const KEPT_DAYS = 30;
/** As long as a snapshot may be kept by default, and longer than any is compared. */
const GAPS_KEPT_DAYS = 7;
/** A comparison a minute for three and a half days, or one an hour for 30 days; some 1 to 5 KB each. */
const MAX_SUMMARIES = 5_000;
/** At most 36 pairs × 10,000 differences × some 15 bytes are 5.4 MB each; usually some KB. */
const MAX_WITH_DIFFERENCES = 200;
const MAX_DIFFERENCE_BYTES = 64 * 1024 * 1024;
/** Differences of all pairs of one comparison; each pair keeps an equal share of them, 10,000 at most. */
const MAX_DIFFERENCES_IN_ALL = 100_000;
/** A packed summary or list of differences is never longer when it is unpacked. */
const MAX_UNPACKED_BYTES = 256 * 1024 * 1024;

export interface ComparedPair {
  readonly pair: PairDivergence;
  /** Greatest first. */
  readonly differences: readonly Difference[];
}

/** A difference with the pair in which it was found. */
export interface PairDifference extends Difference {
  readonly a: string;
  readonly b: string;
}

export interface DifferenceQuery {
  /** Left out: all pairs. */
  readonly pair?: { readonly a: string; readonly b: string };
  readonly location?: string;
  /** From the page before; 0 begins. */
  readonly after?: number;
  readonly limit: number;
}

export interface DifferencePage {
  /** Greatest first. */
  readonly differences: readonly PairDifference[];
  /** `after` of the next page; undefined: there is none. */
  readonly next: number | undefined;
  /** Cells that differ in these pairs, with those that are not kept; at all locations. */
  readonly differingCells: number;
}

/** The newest value of one pair. */
export interface LiveDivergence {
  readonly a: string;
  readonly b: string;
  readonly comparison: string;
  readonly atMs: number;
  readonly differingUnits: number;
  readonly totalUnits: number;
  readonly cells: number;
  readonly differingCells: number;
}

/** Columns of one pair's differences, as they are stored. */
interface StoredDifferences {
  a: string;
  b: string;
  skus: string[];
  locations: string[];
  aUnits: number[];
  bUnits: number[];
  explainedUnits: number[];
}

export class ComparisonStore {
  readonly #redis: RedisClient;
  readonly #keys: ComparisonKeys;

  constructor(redis: RedisClient, prefix: string) {
    this.#redis = redis;
    this.#keys = comparisonKeys(prefix);
  }

  async put(comparison: Comparison, pairs: readonly ComparedPair[]): Promise<void> {
    const { id, atMs } = comparison;
    const redis = this.#redis;
    const share = Math.min(MAX_DIFFERENCES, Math.floor(MAX_DIFFERENCES_IN_ALL / Math.max(1, pairs.length)));
    const packed = await deflate(encodeState(pairs.map((each) => columnsOf(each, share))));
    const summary = await deflate(JSON.stringify(comparison));
    await redis.set(this.#keys.differences(id), packed, "PX", KEPT_DAYS * DAY_MS);
    await redis.hset(this.#keys.differenceBytes, id, packed.length);
    const live = pairs.flatMap(({ pair: { a, b, shop } }) => [
      pairName(a, b),
      JSON.stringify({ a, b, comparison: id, atMs, ...shop } satisfies LiveDivergence),
    ]);
    if (live.length > 0) await redis.hset(this.#keys.live, ...live);
    // Together, so that none is kept for good that is not listed; all keys are in one slot.
    const listed = await redis.multi().hset(this.#keys.summaries, id, summary).zadd(this.#keys.order, atMs, id).exec();
    for (const [error] of listed ?? []) if (error) throw error;
    await this.#removeOld(atMs);
  }

  /** What the first comparison of a source's newest compared snapshot has found; undefined: not known. */
  async gaps(source: string): Promise<SnapshotGaps | undefined> {
    const packed = await this.#redis.getBuffer(this.#keys.gaps(source));
    if (!packed) return undefined;
    return decodeState(await inflate(packed, { maxOutputLength: MAX_UNPACKED_BYTES })) as SnapshotGaps;
  }

  async putGaps(source: string, gaps: SnapshotGaps): Promise<void> {
    await this.#redis.set(this.#keys.gaps(source), await deflate(encodeState(gaps)), "PX", GAPS_KEPT_DAYS * DAY_MS);
  }

  /** Newest first. @param beforeMs only those made before this instant */
  async list(limit: number, beforeMs?: number): Promise<Comparison[]> {
    const max = beforeMs === undefined ? "+inf" : `(${beforeMs}`;
    const ids = await this.#redis.zrevrangebyscore(this.#keys.order, max, "-inf", "LIMIT", 0, limit);
    if (ids.length === 0) return [];
    const packed = await this.#redis.hmgetBuffer(this.#keys.summaries, ...ids);
    const found = await Promise.all(packed.map((bytes) => (bytes ? summaryOf(bytes) : undefined)));
    return found.filter((each) => each !== undefined);
  }

  async get(id: string): Promise<Comparison | undefined> {
    const bytes = await this.#redis.hgetBuffer(this.#keys.summaries, id);
    return bytes ? summaryOf(bytes) : undefined;
  }

  /** A page of a comparison's differences; undefined when they are not kept (any more). */
  async differences(id: string, query: DifferenceQuery): Promise<DifferencePage | undefined> {
    const { pair, location, after = 0, limit } = query;
    const [comparison, packed] = await Promise.all([this.get(id), this.#redis.getBuffer(this.#keys.differences(id))]);
    if (!comparison || !packed) return undefined;
    const isWanted = ({ a, b }: { a: string; b: string }): boolean =>
      pair === undefined || (a === pair.a && b === pair.b);
    const stored = decodeState(await inflate(packed, { maxOutputLength: MAX_UNPACKED_BYTES })) as StoredDifferences[];
    const all = stored
      .filter(isWanted)
      .flatMap(differencesIn)
      .filter((each) => location === undefined || each.location === location)
      .sort((x, y) => differingUnits(y) - differingUnits(x));
    const differences = all.slice(after, after + limit);
    const end = after + differences.length;
    return {
      differences,
      next: end < all.length ? end : undefined,
      differingCells: comparison.pairs.filter(isWanted).reduce((sum, { shop }) => sum + shop.differingCells, 0),
    };
  }

  /** The newest value of each pair, in no order. */
  async live(): Promise<LiveDivergence[]> {
    const stored = await this.#redis.hgetall(this.#keys.live);
    return Object.values(stored).map((text) => JSON.parse(text) as LiveDivergence);
  }

  async #removeOld(atMs: number): Promise<void> {
    const { order, summaries, differenceBytes, differences, live } = this.#keys;
    const redis = this.#redis;
    const expiredMs = atMs - KEPT_DAYS * DAY_MS;
    const tooOld = await redis.zrangebyscore(order, "-inf", `(${expiredMs}`);
    const tooMany = await redis.zrevrange(order, MAX_SUMMARIES, -1);
    const removed = [...new Set([...tooOld, ...tooMany])];
    if (removed.length > 0) {
      await redis.zrem(order, ...removed);
      await redis.hdel(summaries, ...removed);
    }
    const sizes = await redis.hgetall(differenceBytes);
    let [bytes, oldestMs] = [0, atMs];
    for (const id of await redis.zrevrange(order, 0, MAX_WITH_DIFFERENCES - 1)) {
      bytes += Number(sizes[id] ?? 0);
      if (bytes > MAX_DIFFERENCE_BYTES) break;
      oldestMs = chainIdTimeMs(id);
    }
    // Also those of comparisons that were never listed, because their process ended before.
    const withoutDifferences = Object.keys(sizes).filter((id) => chainIdTimeMs(id) < oldestMs);
    for (const id of withoutDifferences) await redis.del(differences(id));
    if (withoutDifferences.length > 0) await redis.hdel(differenceBytes, ...withoutDifferences);
    const outdated = (await this.live()).filter(({ atMs }) => atMs < expiredMs).map(({ a, b }) => pairName(a, b));
    if (outdated.length > 0) await redis.hdel(live, ...outdated);
  }
}

/** Names of sources have no colon. */
const pairName = (a: string, b: string): string => `${a}:${b}`;

async function summaryOf(bytes: Buffer): Promise<Comparison> {
  const text = await inflate(bytes, { maxOutputLength: MAX_UNPACKED_BYTES });
  return JSON.parse(text.toString("utf8")) as Comparison;
}

function columnsOf({ pair: { a, b }, differences }: ComparedPair, limit: number): StoredDifferences {
  const kept = differences.slice(0, limit);
  return {
    ...{ a, b },
    skus: kept.map(({ sku }) => sku),
    locations: kept.map(({ location }) => location),
    aUnits: kept.map(({ aUnits }) => aUnits),
    bUnits: kept.map(({ bUnits }) => bUnits),
    explainedUnits: kept.map(({ explainedUnits }) => explainedUnits),
  };
}

const differencesIn = ({
  a,
  b,
  skus,
  locations,
  aUnits,
  bUnits,
  explainedUnits,
}: StoredDifferences): PairDifference[] =>
  skus.map((sku, i) => ({
    ...{ a, b, sku },
    location: locations[i] as string,
    aUnits: aUnits[i] as number,
    bUnits: bUnits[i] as number,
    explainedUnits: explainedUnits[i] as number,
  }));
