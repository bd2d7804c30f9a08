/**
 * When named schedules are due, and which ticks are to be appended for them: pure functions of a definition, the stored
 * state and the time. A daily time that a zone's clocks skip is due at the first instant after the gap; one that occurs
 * twice is due once, at the first. Due times of a definition ascend, and no due time is returned twice. Storing and
 * appending is done by `event-topic.ts`.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import type { Zone } from "../kernel/zone.js";

/** A time of every local day. */
interface DailyDue {
  readonly kind: "daily";
  readonly time: string;
  readonly timeMs: number;
}

/** Instants one interval apart, aligned to the epoch. */
interface IntervalDue {
  readonly kind: "every";
  readonly intervalMs: number;
  readonly offsetMs: number;
}

export type Due = DailyDue | IntervalDue;

/**
 * What happens to due times that were missed because no process was running: `every` one in order, only the `last`,
 * or `none`: then a due time that is found late by the schedule's grace or more gets no tick.
 */
export type CatchUp = "every" | "last" | "none";

export interface Schedule {
  /** Unique in its topic; the key of its ticks. */
  readonly name: string;
  readonly due: Due;
  readonly catchUp: CatchUp;
}

/** What a partition stores of a schedule. */
export interface ScheduleState {
  /** The due time and zone that `dueMs` follows from, as a text. */
  definition: string;
  /** The next due time. */
  dueMs: number;
  /** The due time of the last tick; undefined before the first. */
  firedMs?: number;
  /** Due times without a tick since the last tick, and in all. */
  missed: number;
  missedInAll: number;
}

/** A tick to be appended. */
export interface Tick {
  dueMs: number;
  /** How many due times before it, since the last tick, get none. */
  missed: number;
}

/** Schedules are looked at about once a second, so shorter intervals would always be late. */
const INTERVAL_LEAST_MS = 1_000;
/** Ticks of one call: one log entry holds them, and an interval of a second catches up, with a call a second. */
const TICKS_LIMIT = 1_000;
/** A process that takes over a partition after another's death needs less than this. */
const GRACE_MS = MINUTE_MS;
const TIME = /^([01]\d|2[0-3]):([0-5]\d)$/;

/** Once every local day. @param time such as `18:00`, by the clocks of the topic's zone */
export function daily(time: string): Due {
  const [, hours, minutes] = TIME.exec(time) ?? [];
  if (hours === undefined) throw badInput("schedule.daily", `daily("${time}")`, "expected a time such as 18:00");
  return { kind: "daily", time, timeMs: Number(hours) * HOUR_MS + Number(minutes) * MINUTE_MS };
}

/**
 * At every multiple of an interval since the epoch, 1970-01-01T00:00Z.
 * @param offsetMs added to each
 */
export function every(intervalMs: number, offsetMs = 0): Due {
  const place = `every(${intervalMs}, ${offsetMs})`;
  if (!Number.isSafeInteger(intervalMs) || intervalMs < INTERVAL_LEAST_MS)
    throw badInput("schedule.every", place, `an interval is a whole number of ms, at least ${INTERVAL_LEAST_MS}`);
  if (!Number.isSafeInteger(offsetMs) || offsetMs < 0 || offsetMs >= intervalMs)
    throw badInput("schedule.every", place, "an offset is a whole number of ms below the interval");
  return { kind: "every", intervalMs, offsetMs };
}

/** The first due time after an instant. */
export function nextDueMs(due: Due, afterMs: number, zone: Zone): number {
  if (due.kind === "every") {
    const { intervalMs, offsetMs } = due;
    return (Math.floor((afterMs - offsetMs) / intervalMs) + 1) * intervalMs + offsetMs;
  }
  for (let day = zone.dayOf(afterMs) - 1; ; day++) {
    const dueMs = zone.reachedMs(day * DAY_MS + due.timeMs);
    if (dueMs <= afterMs) continue;
    // A day that the zone has left out, as when it changed sides of the date line, has no due time.
    if (zone.reachedMs(day * DAY_MS) !== zone.reachedMs((day + 1) * DAY_MS)) return dueMs;
  }
}

/** The due times from `firstMs`, which is one, up to `nowMs`: how many, and the last. */
function dueUpTo(due: Due, firstMs: number, nowMs: number, zone: Zone): { count: number; lastMs: number } {
  if (due.kind === "every") {
    const count = Math.floor((nowMs - firstMs) / due.intervalMs) + 1;
    return { count, lastMs: firstMs + (count - 1) * due.intervalMs };
  }
  let [count, lastMs] = [1, firstMs];
  for (let dueMs = firstMs; ; count++) {
    dueMs = nextDueMs(due, dueMs, zone);
    if (dueMs > nowMs) return { count, lastMs };
    lastMs = dueMs;
  }
}

/** The due time and the zone as one text, to detect that either has changed. */
function definitionOf(due: Due, zone: Zone): string {
  return due.kind === "every" ? `every ${due.intervalMs} ${due.offsetMs}` : `daily ${due.time} ${zone.name}`;
}

/** How late a due time may be found that still gets a tick under the rule `none`: less than this. */
const graceMsOf = (due: Due): number => (due.kind === "every" ? Math.min(GRACE_MS, due.intervalMs) : GRACE_MS);

/** What is to be done for a schedule at one moment. */
export interface ScheduleStep {
  ticks: Tick[];
  /** The state after them. */
  state: ScheduleState;
  /** From then on the ticks are not those of the catch-up rule any more: they must not be appended. */
  validBeforeMs: number;
}

/**
 * What is to be done for a schedule now: ticks, at most TICKS_LIMIT, and the state after them; undefined when nothing
 * is. A schedule that is new or whose definition has changed is due first after now.
 * @param stored undefined for a new schedule
 */
export function stepOf(
  { due, catchUp }: Schedule,
  zone: Zone,
  stored: ScheduleState | undefined,
  nowMs: number,
): ScheduleStep | undefined {
  const definition = definitionOf(due, zone);
  if (stored?.definition !== definition) {
    const counts = stored ?? { missed: 0, missedInAll: 0 };
    const state = { ...counts, definition, dueMs: nextDueMs(due, nowMs, zone) };
    return { ticks: [], state, validBeforeMs: Number.POSITIVE_INFINITY };
  }
  if (stored.dueMs > nowMs) return undefined;
  const ticks: Tick[] = [];
  let { dueMs, missed, missedInAll } = stored;
  let validBeforeMs = Number.POSITIVE_INFINITY;
  if (catchUp === "every") {
    for (; dueMs <= nowMs && ticks.length < TICKS_LIMIT; dueMs = nextDueMs(due, dueMs, zone)) {
      ticks.push({ dueMs, missed });
      missed = 0;
    }
  } else {
    const { count, lastMs } = dueUpTo(due, dueMs, nowMs, zone);
    const hasTick = catchUp === "last" || nowMs - lastMs < graceMsOf(due);
    const passed = hasTick ? count - 1 : count;
    missed += passed;
    missedInAll += passed;
    if (hasTick) {
      ticks.push({ dueMs: lastMs, missed });
      missed = 0;
    }
    dueMs = nextDueMs(due, lastMs, zone);
    validBeforeMs = catchUp === "last" ? dueMs : lastMs + graceMsOf(due);
  }
  const firedMs = ticks.at(-1)?.dueMs ?? stored.firedMs;
  return {
    ticks,
    state: { definition, dueMs, ...(firedMs === undefined ? {} : { firedMs }), missed, missedInAll },
    validBeforeMs,
  };
}
