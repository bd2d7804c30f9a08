/**
 * Series on a plain Redis: one hash for each SKU or figure, whose fields each hold packed points of one stretch of
 * time: the minutes of an hour, the hours of a day, 32 days. Many series are read and written with one round trip each.
 * The reading before a write needs no lock, because only the owner of the lease writes, and its write is refused once
 * another has taken over. Fields past their time are removed when a series gets a new hour, and by `sweep`.
 */
import { HOUR_MS, MINUTE_MS } from "../../kernel/clock.js";
import type { OnTrouble } from "../../kernel/logger.js";
import { fenced } from "../../stream/commit.js";
import { callFunction, type FunctionArgument, loadLibrary } from "../../stream/functions.js";
import { type SeriesKeys, seriesKeys } from "../../stream/keys.js";
import type { RedisClient } from "../../stream/redis.js";
import type { Buckets } from "./buckets.js";
import { packPoints, unpackPoints } from "./point-packing.js";
import { combinePoints, mergePoints } from "./roll-up.js";
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
} from "./series-store.js";

export interface CompactSeriesStoreOptions {
  redis: RedisClient;
  prefix: string;
  buckets: Buckets;
  onTrouble: OnTrouble;
}

/** Series of one call: about a millisecond of Redis. */
const SERIES_AT_ONCE = 100;
/** Hours begin at multiples of a quarter of an hour in every zone. */
const HOUR_UNIT_MS = 900_000;
const MINUTES_OF_HOUR = 60;
const HOURS_OF_DAY = 25;
/** A field of hours or days of a busy SKU is longer than what Redis keeps in its compact form in any case. */
const DAYS_OF_FIELD = 32;
/** A series that is not written any more is removed once its last day is past its time. */
const HASH_KEPT_MS = KEPT_MS.day + DAYS_OF_FIELD * LONGEST_BUCKET_MS;
const BASE = 36;

/** A stretch of time whose points are in one field. */
interface Stretch {
  readonly resolution: Resolution;
  readonly number: number;
  readonly field: string;
}

const LETTERS: Readonly<Record<Resolution, string>> = { minute: "m", hour: "h", day: "d" };
const SIZES: Readonly<Record<Resolution, number>> = { minute: MINUTES_OF_HOUR, hour: HOURS_OF_DAY, day: DAYS_OF_FIELD };

const stretchOf = (resolution: Resolution, number: number): Stretch => ({
  resolution,
  number,
  field: LETTERS[resolution] + number.toString(BASE),
});

/** Undefined for a field of another release. */
function stretchNamed(field: string): Stretch | undefined {
  const resolution = RESOLUTIONS.find((each) => LETTERS[each] === field[0]);
  const number = Number.parseInt(field.slice(1), BASE);
  return resolution && Number.isSafeInteger(number) ? stretchOf(resolution, number) : undefined;
}

interface SeriesWrite {
  readonly set: readonly (readonly [field: string, bytes: Buffer])[];
  readonly removed: readonly string[];
}

export class CompactSeriesStore implements SeriesStore {
  readonly kind = "redis";
  readonly #options: CompactSeriesStoreOptions;
  readonly #buckets: Buckets;

  constructor(options: CompactSeriesStoreOptions) {
    this.#options = options;
    this.#buckets = options.buckets;
  }

  static load(redis: RedisClient): Promise<void> {
    return loadLibrary(redis, new URL("./series.lua", import.meta.url));
  }

  async write(owner: SeriesOwner, fence: SeriesFence, updates: readonly SeriesUpdate[], nowMs: number): Promise<void> {
    const keys = seriesKeys(this.#options.prefix, owner);
    for (let from = 0; from < updates.length; from += SERIES_AT_ONCE) {
      const batch = updates.slice(from, from + SERIES_AT_ONCE);
      const writes = await Promise.all(batch.map((update) => this.#writeOf(keys.series(update.name), update, nowMs)));
      await this.#call(
        keys,
        fence,
        batch.map(({ name }) => keys.series(name)),
        writes,
      );
    }
  }

  async read(owner: SeriesOwner, name: string, resolution: Resolution, fromMs: number, toMs: number): Promise<Point[]> {
    const key = seriesKeys(this.#options.prefix, owner).series(name);
    const stretches = await this.#stretchesIn(key, resolution, fromMs, toMs);
    const stored = await this.#readFields(key, stretches);
    return stored.flat().filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  }

  async lastStock(
    owner: SeriesOwner,
    name: string,
    resolution: Resolution,
    fromMs: number,
    toMs: number,
  ): Promise<Point | undefined> {
    const points = await this.read(owner, name, resolution, fromMs, toMs);
    const found = points.findLast(({ stock }) => stock !== undefined);
    return found?.stock === undefined ? undefined : { atMs: found.atMs, stock: found.stock };
  }

  async sweep(owner: SeriesOwner, fence: SeriesFence, names: readonly string[], nowMs: number): Promise<void> {
    const keys = seriesKeys(this.#options.prefix, owner);
    const expired = await Promise.all(
      names.map(async (name): Promise<[string, SeriesWrite]> => {
        const key = keys.series(name);
        return [key, { set: [], removed: await this.#expiredFields(key, nowMs) }];
      }),
    );
    const found = expired.filter(([, { removed }]) => removed.length > 0);
    for (let from = 0; from < found.length; from += SERIES_AT_ONCE) {
      const batch = found.slice(from, from + SERIES_AT_ONCE);
      await this.#call(keys, fence, batch.map(([key]) => key), batch.map(([, write]) => write)); // biome-ignore format: one call
    }
  }

  close(): void {}

  /** Reads the fields that minutes change, and computes what is written instead. */
  async #writeOf(key: string, { minutes, combination }: SeriesUpdate, nowMs: number): Promise<SeriesWrite> {
    const { dayOf, hours, days, months } = this.#touched(minutes);
    const stretches = [...hours, ...days, ...months];
    const stored = await this.#readFields(key, stretches);
    const points = new Map(stretches.map(({ field }, i) => [field, stored[i] as Point[]]));
    const merge = (stretch: Stretch, changed: readonly Point[]): Point[] => {
      const merged = mergePoints(points.get(stretch.field) ?? [], changed);
      points.set(stretch.field, merged);
      return merged;
    };
    for (const hour of hours) {
      const beginMs = hour.number * HOUR_UNIT_MS;
      const changed = minutes.filter(({ atMs }) => atMs >= beginMs && this.#hourNumber(atMs) === hour.number);
      const ofHour = combinePoints(beginMs, merge(hour, changed), combination);
      merge(stretchOf("hour", dayOf(beginMs)), [ofHour]);
    }
    for (const day of days) {
      const ofDay = combinePoints(this.#buckets.dayBeginMs(day.number), points.get(day.field) ?? [], combination);
      merge(stretchOf("day", Math.floor(day.number / DAYS_OF_FIELD)), [ofDay]);
    }
    const isNewHour = hours.some((_, i) => stored[i]?.length === 0);
    return {
      set: stretches.map((stretch) => [stretch.field, this.#pack(stretch, points.get(stretch.field) ?? [])]),
      removed: isNewHour ? await this.#expiredFields(key, nowMs) : [],
    };
  }

  #hourNumber(ms: number): number {
    return this.#buckets.beginMs("hour", ms) / HOUR_UNIT_MS;
  }

  /** The stretches whose points change with some minutes. */
  #touched(minutes: readonly Point[]) {
    const dayOf = (ms: number): number => this.#buckets.dayOf(ms);
    const hourNumbers = [...new Set(minutes.map(({ atMs }) => this.#hourNumber(atMs)))];
    const dayNumbers = [...new Set(hourNumbers.map((number) => dayOf(number * HOUR_UNIT_MS)))];
    const monthNumbers = [...new Set(dayNumbers.map((day) => Math.floor(day / DAYS_OF_FIELD)))];
    return {
      dayOf,
      hours: hourNumbers.map((number) => stretchOf("minute", number)),
      days: dayNumbers.map((number) => stretchOf("hour", number)),
      months: monthNumbers.map((number) => stretchOf("day", number)),
    };
  }

  async #call(keys: SeriesKeys, fence: SeriesFence, hashes: string[], writes: readonly SeriesWrite[]): Promise<void> {
    const args: FunctionArgument[] = [String(fence.epoch), fence.run, HASH_KEPT_MS];
    for (const { set, removed } of writes) args.push(set.length, removed.length, ...set.flat(), ...removed);
    await fenced("series.write", keys, () =>
      callFunction(this.#options.redis, "series_write", [keys.task, ...hashes], args),
    );
  }

  async #stretchesIn(key: string, resolution: Resolution, fromMs: number, toMs: number): Promise<Stretch[]> {
    const named = (await this.#options.redis.hkeys(key)).flatMap((field) => stretchNamed(field) ?? []);
    return named
      .filter((each) => each.resolution === resolution && this.#beginMs(each) < toMs && this.#endMs(each) > fromMs)
      .sort((a, b) => a.number - b.number);
  }

  async #expiredFields(key: string, nowMs: number): Promise<string[]> {
    const named = (await this.#options.redis.hkeys(key)).flatMap((field) => stretchNamed(field) ?? []);
    return named.filter((each) => this.#endMs(each) <= nowMs - KEPT_MS[each.resolution]).map(({ field }) => field);
  }

  async #readFields(key: string, stretches: readonly Stretch[]): Promise<Point[][]> {
    if (stretches.length === 0) return [];
    const fields = stretches.map(({ field }) => field);
    const stored = await this.#options.redis.hmgetBuffer(key, ...fields);
    return stretches.map((stretch, i) => {
      const bytes = stored[i];
      return bytes ? this.#unpack(key, stretch, bytes) : [];
    });
  }

  #pack({ resolution, number }: Stretch, points: readonly Point[]): Buffer {
    return packPoints(points.map(({ atMs, ...rest }) => ({ index: this.#indexOf(resolution, number, atMs), ...rest })));
  }

  /** A damaged field has no points: the minutes that are still known are written again. */
  #unpack(key: string, { resolution, number, field }: Stretch, bytes: Buffer): Point[] {
    const points = unpackPoints(bytes, SIZES[resolution]);
    if (!points) this.#options.onTrouble(`${key}: the field ${field} of a series is damaged; it counts as empty`, {});
    return (points ?? []).map(({ index, ...rest }) => ({ atMs: this.#atMs(resolution, number, index), ...rest }));
  }

  #indexOf(resolution: Resolution, number: number, atMs: number): number {
    if (resolution === "minute") return Math.floor((atMs - number * HOUR_UNIT_MS) / MINUTE_MS);
    return resolution === "hour" ? this.#buckets.hourOf(atMs) : this.#buckets.dayOf(atMs) - number * DAYS_OF_FIELD;
  }

  #atMs(resolution: Resolution, number: number, index: number): number {
    if (resolution === "minute") return number * HOUR_UNIT_MS + index * MINUTE_MS;
    if (resolution === "hour") return this.#buckets.dayBeginMs(number) + index * HOUR_MS;
    return this.#buckets.dayBeginMs(number * DAYS_OF_FIELD + index);
  }

  #beginMs({ resolution, number }: Stretch): number {
    return this.#atMs(resolution, number, 0);
  }

  #endMs({ resolution, number }: Stretch): number {
    if (resolution === "minute") return number * HOUR_UNIT_MS + HOUR_MS;
    return this.#buckets.dayBeginMs(resolution === "hour" ? number + 1 : (number + 1) * DAYS_OF_FIELD);
  }
}
