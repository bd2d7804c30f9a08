/**
 * The contract of what stores series: points of a SKU (units depleted, sellable units) or of an engine figure, in three
 * resolutions. Writing states absolute values, so a repetition changes nothing; hours and days are computed from the
 * stored minutes and hours by the store itself, with the functions of roll-up.ts, so that every store has the same.
 * A bucket without a point is a gap or an unchanged bucket: what was recorded is stated by the recorder, not here.
 */
import { DAY_MS, HOUR_MS } from "../../kernel/clock.js";
import type { Task } from "../../stream/commit.js";

export const RESOLUTIONS = ["minute", "hour", "day"] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

/** How long points are kept after their bucket has begun, by the shop's clock: 24 hours, 30 days, 2 years. */
export const KEPT_MS: Readonly<Record<Resolution, number>> = {
  minute: DAY_MS,
  hour: 30 * DAY_MS,
  day: 730 * DAY_MS,
};

/** The longest bucket: a day has up to 25 hours. */
export const LONGEST_BUCKET_MS = 25 * HOUR_MS;

export interface Point {
  /** When its bucket begins. */
  readonly atMs: number;
  /** Of a SKU: units depleted in the bucket (R9). Of a figure: its value. An integer from 0 on. */
  readonly value?: number;
  /** Sellable units of the SKU at all locations, at the bucket's end. */
  readonly stock?: number;
}

/** How the values of minutes become that of an hour, and those of hours that of a day; means are rounded. */
export type Combination = "sum" | "mean" | "max";

/** Who writes series: the recorder of a stock partition, for its SKUs, or that of the engine's figures. */
export type SeriesOwner = number | "figures";

/** Minutes of one series that are new or have changed; a field that is left out stays as it is stored. */
export interface SeriesUpdate {
  /** The SKU, or the figure. */
  readonly name: string;
  readonly combination: Combination;
  /** One for each minute, in ascending order. */
  readonly minutes: readonly Point[];
}

/** The lease under which is written. */
export type SeriesFence = Pick<Task, "epoch" | "run">;

export interface SeriesStore {
  readonly kind: "redis" | "time-series";
  /**
   * Stores minutes, and the hours and days that they change. A failure may leave any part of them stored: the same
   * call again completes it.
   * @param nowMs by the shop's clock: what is older than `KEPT_MS` before it may be removed
   * @throws EngineError `stale_epoch` or `stale_run` when the lease is another's, or `unavailable`
   */
  write(owner: SeriesOwner, fence: SeriesFence, updates: readonly SeriesUpdate[], nowMs: number): Promise<void>;
  /**
   * Points whose buckets begin from `fromMs` to before `toMs`, in ascending order. Points past `KEPT_MS` may be among
   * them.
   */
  read(owner: SeriesOwner, name: string, resolution: Resolution, fromMs: number, toMs: number): Promise<Point[]>;
  /** The stock of the newest point that has one and whose bucket begins from `fromMs` to before `toMs`. */
  lastStock(
    owner: SeriesOwner,
    name: string,
    resolution: Resolution,
    fromMs: number,
    toMs: number,
  ): Promise<Point | undefined>;
  /** Removes what is past `KEPT_MS` of series that may not be written again. May be repeated. */
  sweep(owner: SeriesOwner, fence: SeriesFence, names: readonly string[], nowMs: number): Promise<void>;
  close(): Promise<void> | void;
}
