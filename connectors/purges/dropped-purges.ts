/**
 * How many SKUs were not purged recently, for an operator's warning: a count that begins with the first drop and ends
 * when there was none for ten minutes. The log is told of it, too, because a process may have no port at which warnings
 * are read. Copies of these SKUs ended by themselves. The exact numbers since the start are a metric.
 */
import type { Clock } from "../../engine/kernel/clock.js";

/** Long enough to be seen by somebody who looks at a page of warnings after a rush. */
const SHOWN_MS = 600_000;
/** The log is told no more often. */
const TOLD_EVERY_MS = 60_000;

export class DroppedPurges {
  readonly #clock: Clock;
  #skus = 0;
  #lastMs = 0;
  /** Of them the log has been told. */
  #toldSkus = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(skus: number): void {
    if (skus === 0) return;
    const nowMs = this.#clock.now();
    if (nowMs - this.#lastMs > SHOWN_MS) this.#skus = this.#toldSkus = 0;
    this.#skus += skus;
    this.#lastMs = nowMs;
  }

  /** In words; undefined: none recently. */
  text(): string | undefined {
    if (this.#skus === 0 || this.#clock.now() - this.#lastMs > SHOWN_MS) return undefined;
    return `${this.#skus} purges were dropped lately, because of its limits or a failure: those copies end by themselves within 15 s`;
  }

  /** The same for the log; undefined as well when it has been told this, or something less than a minute ago. */
  news(): string | undefined {
    const nowMs = this.#clock.now();
    if (this.#skus === this.#toldSkus || nowMs - this.#toldMs < TOLD_EVERY_MS) return undefined;
    this.#toldSkus = this.#skus;
    this.#toldMs = nowMs;
    return this.text();
  }
}
