/**
 * How many SKUs were not purged recently, for an operator's warning: a count that begins with the first drop and ends
 * when there was none for ten minutes. Copies of these SKUs ended by themselves. The exact numbers since the start are
 * a metric.
 */
import type { Clock } from "../../engine/kernel/clock.js";

/** Long enough to be seen by somebody who looks at a page of warnings after a rush. */
const SHOWN_MS = 600_000;

export class DroppedPurges {
  readonly #clock: Clock;
  #skus = 0;
  #lastMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(skus: number): void {
    if (skus === 0) return;
    const nowMs = this.#clock.now();
    if (nowMs - this.#lastMs > SHOWN_MS) this.#skus = 0;
    this.#skus += skus;
    this.#lastMs = nowMs;
  }

  /** In words; undefined: none recently. */
  text(): string | undefined {
    if (this.#skus === 0 || this.#clock.now() - this.#lastMs > SHOWN_MS) return undefined;
    return `${this.#skus} purges were dropped lately, because of its limits or a failure: those copies end by themselves within 15 s`;
  }
}
