/**
 * When a source is pulled: by an interval or at times of day of the shop's zone, again soon after a failure, and when a
 * success is overdue. Pure: instants of the shop's time go in and come out.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../engine/kernel/clock.js";
import type { Zone } from "../../engine/kernel/zone.js";
import type { PullState } from "../../engine/reconciliation/source-registry.js";
import type { PullSchedule } from "./configuration.js";

const RETRY_FIRST_MS = 15_000;
const RETRY_MAX_MS = 10 * MINUTE_MS;
/** A pull of a daily source may take so long, repeats included. */
const DAILY_GRACE_MS = HOUR_MS;
/** An interval may pass twice without a success. */
const INTERVALS_OF_GRACE = 3;

/** The schedule for people: `every 15m`, `daily 17:45`. */
export function scheduleText(schedule: PullSchedule): string {
  if (!("everyMs" in schedule)) return `daily ${schedule.daily.join(", ")}`;
  const { everyMs } = schedule;
  const [unit, ms] = (
    [
      ["d", DAY_MS],
      ["h", HOUR_MS],
      ["m", MINUTE_MS],
      ["s", 1_000],
    ] as const
  ).find(([, scale]) => everyMs % scale === 0) ?? ["ms", 1];
  return `every ${everyMs / ms}${unit}`;
}

/** Clocks of two processes differ by less. */
const CLOCKS_MS = MINUTE_MS;

/**
 * When the next pull is due; an instant that has passed: at once.
 * @param state undefined: the source has never been pulled; one of the future was recorded while a clock was wrong, and
 *   counts as none
 */
export function nextDueMs(
  schedule: PullSchedule,
  state: Pick<PullState, "lastAttemptMs" | "outcome" | "failures"> | undefined,
  nowMs: number,
  zone: Zone,
): number {
  if (state === undefined || state.lastAttemptMs > nowMs + CLOCKS_MS) return 0;
  const { lastAttemptMs, outcome, failures } = state;
  const regularMs =
    "everyMs" in schedule ? lastAttemptMs + schedule.everyMs : nextDailyMs(schedule.daily, lastAttemptMs, zone);
  // Refused rows stay refused until somebody corrects them; the next regular pull tries again.
  if (outcome !== "failed") return regularMs;
  const backoffMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(20, Math.max(0, failures - 1)));
  return Math.min(regularMs, lastAttemptMs + backoffMs);
}

/** From when on a success is overdue, after one at `successMs`. */
export function overdueAfterMs(schedule: PullSchedule, successMs: number, zone: Zone): number {
  return "everyMs" in schedule
    ? successMs + INTERVALS_OF_GRACE * schedule.everyMs + MINUTE_MS
    : nextDailyMs(schedule.daily, successMs, zone) + DAILY_GRACE_MS;
}

/** The first of the times of day after an instant. */
function nextDailyMs(times: readonly string[], afterMs: number, zone: Zone): number {
  const today = zone.dayOf(afterMs);
  const instants = [today, today + 1].flatMap((day) =>
    times.map((time) => {
      const [hour, minute] = time.split(":").map(Number) as [number, number];
      return zone.reachedMs(day * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS);
    }),
  );
  return Math.min(...instants.filter((ms) => ms > afterMs));
}
