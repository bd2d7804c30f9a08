/** A clock of tests that moves with the machine's, and forward by as much as a test says. */
import { type Clock, DAY_MS, HOUR_MS, systemClock } from "../../engine/kernel/clock.js";

export class LeapingClock implements Clock {
  #aheadMs: number;

  constructor(aheadMs = 0) {
    this.#aheadMs = aheadMs;
  }

  /** Begins at the next noon (UTC), for a test whose result depends on the day: it is the same at any time of day. */
  static fromNoon(): LeapingClock {
    const sinceNoonMs = (systemClock.now() - 12 * HOUR_MS) % DAY_MS;
    return new LeapingClock(DAY_MS - sinceNoonMs);
  }

  now = (): number => systemClock.now() + this.#aheadMs;

  leap(ms: number): void {
    this.#aheadMs += ms;
  }
}
