/**
 * Buckets of series in the shop's time zone. A day begins when the zone's clocks show midnight or first show a later
 * time. Hours are counted from the day's beginning, so that the hours of a day are exactly its hours: where a day has
 * 23.5 hours the last one is shorter. Minutes are those of UTC. A day number is that of `Zone.dayOf`.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../kernel/clock.js";
import type { Zone } from "../../kernel/zone.js";
import type { Resolution } from "./series-store.js";

/** Zones change their offset at quarters of an hour, and days of `Zone` begin at them. */
const SLOT_MS = 900_000;
/** 11 years. */
const CACHED_DAYS = 4_096;

export class Buckets {
  readonly #zone: Zone;
  readonly #dayBegins = new Map<number, number>();

  constructor(zone: Zone) {
    this.#zone = zone;
  }

  dayOf(ms: number): number {
    return this.#zone.dayOf(ms);
  }

  /** When a day begins. */
  dayBeginMs(day: number): number {
    let beginMs = this.#dayBegins.get(day);
    if (beginMs === undefined) {
      beginMs = Math.ceil(this.#zone.reachedMs(day * DAY_MS) / SLOT_MS) * SLOT_MS;
      if (this.#dayBegins.size >= CACHED_DAYS) this.#dayBegins.clear();
      this.#dayBegins.set(day, beginMs);
    }
    return beginMs;
  }

  /** The number of an instant's hour in its day, from 0. */
  hourOf(ms: number): number {
    return Math.floor((ms - this.dayBeginMs(this.dayOf(ms))) / HOUR_MS);
  }

  /** When the bucket of an instant begins. */
  beginMs(resolution: Resolution, ms: number): number {
    if (resolution === "minute") return Math.floor(ms / MINUTE_MS) * MINUTE_MS;
    const dayBeginMs = this.dayBeginMs(this.dayOf(ms));
    return resolution === "day" ? dayBeginMs : dayBeginMs + Math.floor((ms - dayBeginMs) / HOUR_MS) * HOUR_MS;
  }

  /** When the bucket of an instant ends: the beginning of the next one. */
  endMs(resolution: Resolution, ms: number): number {
    const beginMs = this.beginMs(resolution, ms);
    if (resolution === "minute") return beginMs + MINUTE_MS;
    const nextDayMs = this.#zone.nextDayMs(ms);
    return resolution === "day" ? nextDayMs : Math.min(beginMs + HOUR_MS, nextDayMs);
  }
}
