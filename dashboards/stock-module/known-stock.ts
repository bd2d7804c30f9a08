/**
 * What the page knows of each SKU, and what it may show of it: a number only while it is proven that it is not older
 * than 15 seconds. What is older than what is known already is ignored, whatever way it came, and so is what is no
 * number of units.
 */
import { MAX_REMEMBERED } from "./limits.js";
import type { ServerClock } from "./server-clock.js";

/** R6: 15 s, less what a timer and the screen may be late. */
const SHOWN_MS = 14_750;
/** The `asOf` of a pushed event may be this much older than the change that it tells, which wins all the same. */
const PUSH_LAG_MS = 1_000;

/** `null`: no unit of it was ever received. */
export type Display = number | null;

interface Known {
  readonly display: Display;
  readonly asOfMs: number;
  readonly isPushed: boolean;
}

export class KnownStock {
  readonly #known = new Map<string, Known>();
  readonly #clock: ServerClock;

  constructor(clock: ServerClock) {
    this.#clock = clock;
  }

  take(sku: string, display: Display, statedMs: number, isPushed = false): void {
    // What is true as of later than now would be shown for too long, and nothing would replace it.
    const asOfMs = Math.min(statedMs, this.#clock.latestMs());
    const before = this.#known.get(sku);
    const lagMs = isPushed ? -PUSH_LAG_MS : before?.isPushed ? PUSH_LAG_MS : 0;
    const isUnits = display === null || (Number.isInteger(display) && display >= 0);
    if (!isUnits || !(asOfMs >= (before?.asOfMs ?? 0) + lagMs)) return;
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
    this.#known.set(sku, { display, asOfMs, isPushed });
  }

  /** How long it may be shown from now on; not more than 0: it must not be shown, or nothing is known. */
  leftMs(sku: string): number {
    const asOfMs = this.#known.get(sku)?.asOfMs ?? 0;
    return asOfMs + SHOWN_MS - this.#clock.latestMs();
  }

  /** Undefined: it must not be shown. */
  shown(sku: string): Display | undefined {
    return this.leftMs(sku) > 0 ? this.#known.get(sku)?.display : undefined;
  }
}
