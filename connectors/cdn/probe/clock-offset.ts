/**
 * How far a server's clock is ahead of the own one, from the `Date` of answers that no cache had stored. `Date` has
 * whole seconds, so one answer gives a range of a second and more; the ranges of several answers are cut with each
 * other. Ages are judged only while the own clock is right to about a second.
 */
import type { Reading } from "./reader.js";

/** The server's clock minus the own one lies in this range, in milliseconds. */
export interface ClockOffset {
  readonly leastMs: number;
  readonly mostMs: number;
}

/** Judging 13 s and 15 s needs no better clock. */
const TOLERANCE_MS = 1_500;
const DATE_STEP_MS = 1_000;

/** Undefined: no answer has a `Date`, or they contradict each other, as those of several servers may. */
export function clockOffsetOf(readings: readonly Reading[]): ClockOffset | undefined {
  let [leastMs, mostMs] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const { headers, sentMs, receivedMs } of readings) {
    const dateMs = Date.parse(headers["date"] ?? "");
    if (Number.isNaN(dateMs)) continue;
    leastMs = Math.max(leastMs, dateMs - receivedMs);
    mostMs = Math.min(mostMs, dateMs + DATE_STEP_MS - sentMs);
  }
  return leastMs <= mostMs && Number.isFinite(leastMs) ? { leastMs, mostMs } : undefined;
}

export const isClockOff = ({ leastMs, mostMs }: ClockOffset): boolean =>
  leastMs > TOLERANCE_MS || mostMs < -TOLERANCE_MS;

export function clockText({ leastMs, mostMs }: ClockOffset): string {
  const aheadMs = (leastMs + mostMs) / 2;
  const size = (Math.abs(aheadMs) / 1_000).toFixed(1);
  return `this machine's clock is ${size} s ${aheadMs > 0 ? "behind" : "ahead of"} the server's`;
}
