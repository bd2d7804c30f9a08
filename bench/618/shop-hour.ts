/**
 * The hour's time, the same in every process of a replay from one start instant. Its first seconds run as fast as real
 * ones, so that the rush is a real rush; from then on the shop's clock runs `factor` times as fast. What belongs to
 * the shop (orders, timeouts, patience, a parser's work, an outage) is said in shop milliseconds and converted here,
 * across the change of pace; what is promised in real time (requests a second) is not.
 */
export interface HourPace {
  /** How long the shop's clock is a real one, in milliseconds from 00:00. */
  realMs: number;
  /** Shop seconds in one real second from then on; at least 1. */
  factor: number;
}

export const HOUR_MS = 3_600_000;

export class ShopHour {
  readonly #pace: HourPace;
  /** The real instant of 00:00, in milliseconds since the epoch; it has not come before `begin`. */
  #startMs = Number.POSITIVE_INFINITY;

  constructor(pace: HourPace) {
    this.#pace = pace;
  }

  /** Sets 00:00, as a real instant. */
  begin(startMs: number): void {
    this.#startMs = startMs;
  }

  /** The shop's milliseconds since 00:00; negative before it. */
  nowMs(): number {
    return this.shopOf(Date.now());
  }

  /** The shop's time at a real instant. */
  shopOf(realInstantMs: number): number {
    const { realMs, factor } = this.#pace;
    const sinceMs = realInstantMs - this.#startMs;
    return sinceMs <= realMs ? sinceMs : realMs + (sinceMs - realMs) * factor;
  }

  /** The real instant, in milliseconds since the epoch, of a time of the shop. */
  realOf(shopMs: number): number {
    const { realMs, factor } = this.#pace;
    return this.#startMs + (shopMs <= realMs ? shopMs : realMs + (shopMs - realMs) / factor);
  }

  /** How long `shopMs` from now take in real milliseconds. */
  realDelayMs(shopMs: number): number {
    const nowMs = Date.now();
    return this.realOf(this.shopOf(nowMs) + shopMs) - nowMs;
  }

  /** Calls back when the shop's clock reaches `atMs`, or at once when that is over. */
  at(atMs: number, call: () => void): NodeJS.Timeout {
    return setTimeout(call, Math.max(0, this.realOf(atMs) - Date.now()));
  }

  /** Calls back after `shopMs` of the shop's time. */
  after(shopMs: number, call: () => void): NodeJS.Timeout {
    return setTimeout(call, this.realDelayMs(shopMs));
  }
}
