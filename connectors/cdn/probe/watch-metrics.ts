/**
 * The metrics of `shuiwei edge watch`, for Prometheus. The only labels are the names of the edges that the operator
 * gives, the outcomes and the windows, so their number is limited. Every counter begins at 0: the first bad reading is
 * an increase.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { BURN_WINDOWS } from "./burn-rate.js";

/** `late`: within the promise, beyond the objective's age. `unjudged`: this machine's clock is off. */
const READ_OUTCOMES = ["fresh", "late", "old", "error", "unjudged"] as const;
export type ReadOutcome = (typeof READ_OUTCOMES)[number];

/** Around the objective's 13 s and the promise's 15 s. */
const AGE_BUCKETS = [1, 2, 4, 6, 8, 10, 11, 12, 13, 14, 15, 20, 30, 60, 300];

export class WatchMetrics {
  readonly registry = new Registry();
  readonly #ages = this.#made(
    Histogram,
    "body_age_seconds",
    "Age of bodies: from their asOf until they were received",
    {
      labelNames: ["edge"],
      buckets: AGE_BUCKETS,
    },
  );
  readonly #newest = this.#made(Gauge, "newest_body_age_seconds", "Age of the body of the last reading that had one", {
    labelNames: ["edge"],
  });
  readonly #reads = this.#made(Counter, "reads_total", "Readings by outcome: fresh, late, old, error, unjudged", {
    labelNames: ["edge", "outcome"],
  });
  readonly #burn = this.#made(
    Gauge,
    "burn_rate",
    "How fast the error budget of the objective is spent over a window; 1 spends exactly the budget",
    { labelNames: ["edge", "window"] },
  );
  readonly #offset = this.#made(
    Gauge,
    "clock_difference_seconds",
    "How far the server's clock is ahead of this machine's, about",
    { labelNames: ["edge"] },
  );

  constructor(edges: readonly string[]) {
    for (const edge of edges) {
      for (const outcome of READ_OUTCOMES) this.#reads.inc({ edge, outcome }, 0);
      for (const window of BURN_WINDOWS) this.#burn.set({ edge, window }, 0);
    }
  }

  counted(edge: string, outcome: ReadOutcome): void {
    this.#reads.inc({ edge, outcome });
  }

  aged(edge: string, seconds: number): void {
    this.#ages.observe({ edge }, seconds);
    this.#newest.set({ edge }, seconds);
  }

  burns(edge: string, window: string, rate: number): void {
    this.#burn.set({ edge, window }, rate);
  }

  clockDiffers(edge: string, seconds: number): void {
    this.#offset.set({ edge }, seconds);
  }

  #made<Metric, Options>(
    Type: new (options: Options & { name: string; help: string; registers: Registry[] }) => Metric,
    name: string,
    help: string,
    options: Options,
  ): Metric {
    return new Type({ ...options, name: `shuiwei_edge_${name}`, help, registers: [this.registry] });
  }
}
