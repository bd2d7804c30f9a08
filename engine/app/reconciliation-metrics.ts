/**
 * Metrics of reconciliation (R13, R15): how far each pair of parties parts by its newest comparison, how long the
 * newest one took, and how far sources' clocks are off. They are the deployment's, the same in every process, and read
 * from Redis when Prometheus asks. Labels are names of sources, a bounded number.
 */
import { monotonicClock } from "../kernel/clock.js";
import type { LiveDivergence } from "../reconciliation/comparison/comparison-store.js";
import { type Comparison, shareOf } from "../reconciliation/model.js";
import type { Engine } from "./engine.js";
import type { MetricRow, Sample } from "./metric-row.js";

/** All metrics of one scrape are read at once. */
const KEPT_MS = 500;

interface Figures {
  live: readonly LiveDivergence[];
  newest: Comparison | undefined;
}

const NONE: Figures = { live: [], newest: undefined };

/** All of them; each table has a memory of its own. */
export function reconciliationMetrics(): readonly MetricRow[] {
  let reading: Promise<Figures> = Promise.resolve(NONE);
  let readMs = Number.NEGATIVE_INFINITY;
  const read = ({ reconciliation: { comparisons } }: Engine): Promise<Figures> => {
    const nowMs = monotonicClock.now();
    if (nowMs - readMs < KEPT_MS) return reading;
    readMs = nowMs;
    reading = Promise.all([comparisons.live(), comparisons.list(1)])
      .then(([live, [newest]]) => ({ live, newest }))
      // Other metrics report a Redis that does not answer.
      .catch(() => NONE);
    return reading;
  };
  const ofPairs = (name: string, help: string, value: (each: LiveDivergence, nowMs: number) => number): MetricRow => ({
    ...{ name, help, type: "gauge", labels: ["a", "b"] },
    async read({ engine }) {
      const { live } = await read(engine);
      return live.map((each): Sample => [value(each, engine.clock.now()), each.a, each.b]);
    },
  });
  return [
    ofPairs(
      "divergence_ratio",
      "How far two parties part, from 0: the differing units by the greater of the two in every cell (R13)",
      shareOf,
    ),
    ofPairs("divergence_cells", "Cells in which they differ", ({ differingCells }) => differingCells),
    ofPairs("divergence_age_seconds", "Age of the comparison of both", ({ atMs }, nowMs) =>
      Math.max(0, (nowMs - atMs) / 1_000),
    ),
    {
      name: "comparison_duration_seconds",
      help: "Duration of the newest comparison, with its wait for the events around the instants",
      type: "gauge",
      labels: [],
      async read({ engine }) {
        const { newest } = await read(engine);
        return [[newest && newest.durationMs / 1_000]];
      },
    },
    {
      name: "source_clock_skew_seconds",
      help: "How far a source's clock was ahead of the engine's when the newest compared snapshot came",
      type: "gauge",
      labels: ["source"],
      async read({ engine }) {
        const { newest } = await read(engine);
        return (newest?.snapshots ?? []).map(({ source, skewMs }): Sample => [skewMs && skewMs / 1_000, source]);
      },
    },
  ];
}
