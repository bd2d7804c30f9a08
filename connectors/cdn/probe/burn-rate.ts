/**
 * How fast an objective's error budget is spent: over several windows at once, so that a fault is seen within minutes
 * and one bad reading alone is not (multi-window burn rates, as in Google's SRE workbook). A rate of 1 spends exactly
 * the budget. Bad readings are divided by the readings that the window should have, so few readings after a start are
 * not mistaken for the whole window. Memory is one counter a minute for the longest window.
 */
import { MINUTE_MS } from "../../../engine/kernel/clock.js";

/** Windows in minutes; each may be up to a minute longer. */
const WINDOWS = { "5m": 5, "30m": 30, "1h": 60, "6h": 360 } as const;
export type BurnWindow = keyof typeof WINDOWS;
export const BURN_WINDOWS = Object.keys(WINDOWS) as BurnWindow[];
/** The current minute, which has only begun, and those of the longest window. */
const MINUTES = WINDOWS["6h"] + 1;

/** It burns while both windows of a line are above its rate: 2 % of a month's budget in 1 h, or 5 % in 6 h. */
const BURNS: readonly { readonly long: BurnWindow; readonly short: BurnWindow; readonly above: number }[] = [
  { long: "1h", short: "5m", above: 14.4 },
  { long: "6h", short: "30m", above: 6 },
];

export class BurnRate {
  readonly #budget: number;
  readonly #readsAMinute: number;
  readonly #bad = new Uint32Array(MINUTES);
  #minute: number | undefined;

  /** @param objective the share of readings that have to be good, for example 0.999 */
  constructor(objective: number, everyMs: number) {
    this.#budget = 1 - objective;
    this.#readsAMinute = MINUTE_MS / everyMs;
  }

  /** @param nowMs of a clock that does not go back */
  recordBad(nowMs: number): void {
    this.#moveTo(nowMs);
    const at = Math.floor(nowMs / MINUTE_MS) % MINUTES;
    this.#bad[at] = (this.#bad[at] ?? 0) + 1;
  }

  rate(window: BurnWindow, nowMs: number): number {
    this.#moveTo(nowMs);
    const minute = Math.floor(nowMs / MINUTE_MS);
    let bad = 0;
    for (let i = 0; i <= WINDOWS[window]; i++) bad += this.#bad[(minute - i + MINUTES) % MINUTES] ?? 0;
    return bad / (WINDOWS[window] * this.#readsAMinute) / this.#budget;
  }

  /** The longer window in which the budget is spent too fast, and its rate; undefined: in none. */
  burning(nowMs: number): { readonly window: BurnWindow; readonly rate: number } | undefined {
    const found = BURNS.find(
      ({ long, short, above }) => this.rate(long, nowMs) > above && this.rate(short, nowMs) > above,
    );
    return found && { window: found.long, rate: this.rate(found.long, nowMs) };
  }

  /** Empties the minutes since the last call. */
  #moveTo(nowMs: number): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    const last = this.#minute ?? minute;
    for (let i = Math.max(last + 1, minute - MINUTES + 1); i <= minute; i++) this.#bad[i % MINUTES] = 0;
    this.#minute = Math.max(last, minute);
  }
}
