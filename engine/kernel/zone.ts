/**
 * A shop's time zone, daylight saving included: the day of an instant (R8), and the instant of a local date and time.
 * The platform's answers are cached, because each costs microseconds and every event needs its day: the offset of a
 * quarter of an hour for days, of a whole day for instants. Instants are exact to the millisecond. A day may begin up
 * to a quarter of an hour late where a zone changed its clocks at an odd minute, which none has done since 2011. Years
 * before 100 are not supported.
 */
import { DAY_MS, MINUTE_MS } from "./clock.js";
import { badInput } from "./errors.js";

export interface Zone {
  readonly name: string;
  /** Whole days since 1970-01-01 in the zone. */
  dayOf(ms: number): number;
  /** The minute after midnight that the zone's clocks show, 0 to 1439. */
  minuteOfDay(ms: number): number;
  /** The instant at which the day after that of `ms` begins. */
  nextDayMs(ms: number): number;
  /**
   * The instant of a local date and time: the earlier one when it occurs twice, undefined when the clocks skip it.
   * @param localMs the date and time as milliseconds since the epoch, as if the zone were UTC
   */
  instantOf(localMs: number): number | undefined;
  /**
   * The first instant at which the zone's clocks show a local date and time or a later one: that of `instantOf`, or the
   * first after the gap when the clocks skip it.
   * @param localMs as above
   */
  reachedMs(localMs: number): number;
}

/** Longer than any offset and any gap between two local times: no zone is further from UTC. */
const WIDEST_MS = 2 * DAY_MS;

/**
 * Zones change their offset at quarters of an hour. Until 2011 one, St John's, changed a minute later: there the
 * change is applied a quarter late.
 */
const SLOT_MS = 900_000;
/** 104 days. */
const CACHED_SLOTS = 10_000;
/** 27 years. */
const CACHED_DAYS = 10_000;

function formatOf(name: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", {
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
    throw badInput("zone", "zone", `"${name}" is not a time zone; give an IANA name such as Asia/Shanghai`, cause);
  }
}

/** The instant at which a zone's clocks skip a local time. */
function endOfGapMs(localMs: number, offsetAt: (ms: number) => number): number {
  let low = localMs - WIDEST_MS;
  let high = localMs + WIDEST_MS;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (middle + offsetAt(middle) >= localMs) high = middle;
    else low = middle;
  }
  return high;
}

/**
 * @param name IANA name such as `Asia/Shanghai` or `UTC`
 * @throws EngineError when the platform has no such zone
 */
export function zoneOf(name: string): Zone {
  const format = formatOf(name);
  const askOffset = (ms: number): number => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
    const localMs = Date.UTC(
      parts["year"] as number,
      (parts["month"] as number) - 1,
      parts["day"],
      parts["hour"],
      parts["minute"],
      parts["second"],
    );
    return localMs - Math.floor(ms / 1_000) * 1_000;
  };

  const offsets = new Map<number, number>();
  let lastSlot = Number.NaN;
  let lastOffset = 0;

  const offsetAt = (ms: number): number => {
    const slot = Math.floor(ms / SLOT_MS);
    if (slot === lastSlot) return lastOffset;
    let offset = offsets.get(slot);
    if (offset === undefined) {
      offset = askOffset(slot * SLOT_MS);
      if (offsets.size >= CACHED_SLOTS) offsets.clear();
      offsets.set(slot, offset);
    }
    lastSlot = slot;
    lastOffset = offset;
    return offset;
  };

  // Quarters of an hour are not exact enough here: a change at an odd minute would make times of that quarter wrong.
  // Nearly every day has one offset from the day before to the day after; on other days each time is computed.
  const steadyOffsets = new Map<number, number | undefined>();
  const steadyOffset = (localDay: number): number | undefined => {
    if (steadyOffsets.has(localDay)) return steadyOffsets.get(localDay);
    const before = askOffset((localDay - 1) * DAY_MS);
    const offset = before === askOffset((localDay + 2) * DAY_MS) ? before : undefined;
    if (steadyOffsets.size >= CACHED_DAYS) steadyOffsets.clear();
    steadyOffsets.set(localDay, offset);
    return offset;
  };
  /** Of the offsets around a local time, the greatest one that is valid at the resulting instant. */
  const fittingOffset = (localMs: number): number | undefined => {
    const around = [-DAY_MS, 0, DAY_MS].map((shift) => askOffset(localMs + shift));
    const fitting = around.filter((offset) => askOffset(localMs - offset) === offset);
    return fitting.length === 0 ? undefined : Math.max(...fitting);
  };

  const dayOf = (ms: number): number => Math.floor((ms + offsetAt(ms)) / DAY_MS);

  const instantOf = (localMs: number): number | undefined => {
    const offset = steadyOffset(Math.floor(localMs / DAY_MS)) ?? fittingOffset(localMs);
    return offset === undefined ? undefined : localMs - offset;
  };

  return {
    name,
    dayOf,
    minuteOfDay: (ms) => Math.floor((ms + offsetAt(ms) - dayOf(ms) * DAY_MS) / MINUTE_MS),
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
    instantOf,
    reachedMs: (localMs) => instantOf(localMs) ?? endOfGapMs(localMs, askOffset),
  };
}
