/**
 * Days of a shop's time zone (R8), daylight saving included. The zone's offset is asked of the platform once a quarter of an hour of event
 * time and kept, because asking costs a microsecond and every event wants to know its day.
 */
import { DAY_MS } from "./clock.js";
import { badInput } from "./errors.js";

export interface Zone {
  readonly name: string;
  /** Whole days since 1970-01-01 in the zone. */
  dayOf(ms: number): number;
  /** The instant at which the day after `ms`' day begins. */
  nextDayMs(ms: number): number;
}

/** Zones change their offset at quarters of an hour; until 2011 one, St John's, did so a minute later and is taken a quarter late. */
const SLOT_MS = 900_000;
const CACHED_SLOTS = 10_000;

/**
 * @param name IANA name such as `Asia/Shanghai` or `UTC`
 * @throws EngineError when the platform does not know it
 */
export function zoneOf(name: string): Zone {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
  } catch (cause) {
    throw badInput("zone", "zone", `"${name}" is no time zone; give an IANA name such as Asia/Shanghai`, cause);
  }
  const offsets = new Map<number, number>();
  let lastSlot = Number.NaN;
  let lastOffset = 0;

  const offsetAt = (ms: number): number => {
    const slot = Math.floor(ms / SLOT_MS);
    if (slot === lastSlot) return lastOffset;
    let offset = offsets.get(slot);
    if (offset === undefined) {
      const at = slot * SLOT_MS;
      const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
      const local = Date.UTC(
        parts["year"] as number,
        (parts["month"] as number) - 1,
        parts["day"],
        parts["hour"],
        parts["minute"],
        parts["second"],
      );
      offset = local - at;
      if (offsets.size >= CACHED_SLOTS) offsets.clear();
      offsets.set(slot, offset);
    }
    lastSlot = slot;
    lastOffset = offset;
    return offset;
  };
  const dayOf = (ms: number): number => Math.floor((ms + offsetAt(ms)) / DAY_MS);

  return {
    name,
    dayOf,
    nextDayMs(ms) {
      const day = dayOf(ms);
      let low = Math.floor(ms / SLOT_MS);
      // A day has 23 to 25 hours, so the next begins within 26.
      let high = low + (26 * 3_600_000) / SLOT_MS;
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (dayOf(middle * SLOT_MS) > day) high = middle;
        else low = middle;
      }
      return high * SLOT_MS;
    },
  };
}
