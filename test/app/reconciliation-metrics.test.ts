/** What the metrics of reconciliation say of the newest comparisons, and that one scrape reads the store once. */
import { describe, expect, it } from "vitest";
import type { MetricSources } from "../../engine/app/metric-row.js";
import { reconciliationMetrics } from "../../engine/app/reconciliation-metrics.js";
import type { LiveDivergence } from "../../engine/reconciliation/comparison/comparison-store.js";
import type { Comparison } from "../../engine/reconciliation/model.js";

const LIVE: LiveDivergence = {
  ...{ a: "wms", b: "ledger", comparison: "c", atMs: 60_000 },
  ...{ differingUnits: 3, totalUnits: 600, cells: 10, differingCells: 2 },
};
const SNAPSHOT = { measure: "on_hand", asOfMs: 1, rows: 1, completedMs: 2, id: "1" } as const;
const NEWEST: Comparison = {
  ...{ id: "c", atMs: 60_000, cause: "demand", leftOut: {}, pairs: [], durationMs: 2_500 },
  snapshots: [
    { ...SNAPSHOT, source: "erp" },
    { ...SNAPSHOT, source: "wms", skewMs: -1_500 },
  ],
};

function sourcesOf(live: readonly LiveDivergence[], list: readonly Comparison[]) {
  const reads = { live: 0, list: 0 };
  const comparisons = {
    live: async () => {
      reads.live++;
      return live;
    },
    list: async () => {
      reads.list++;
      return list;
    },
  };
  const engine = { reconciliation: { comparisons }, clock: { now: () => 90_000 } };
  return { reads, sources: { engine } as unknown as MetricSources };
}

async function scraped(sources: MetricSources) {
  const samples = await Promise.all(reconciliationMetrics().map(async (row) => [row.name, await row.read(sources)]));
  return Object.fromEntries(samples);
}

describe("the metrics of reconciliation", () => {
  it("are the divergence of each pair with its age, the newest duration, and the skew of the sources that report it", async () => {
    expect(await scraped(sourcesOf([LIVE], [NEWEST]).sources)).toEqual({
      divergence_ratio: [[0.005, "wms", "ledger"]],
      divergence_cells: [[2, "wms", "ledger"]],
      divergence_age_seconds: [[30, "wms", "ledger"]],
      comparison_duration_seconds: [[2.5]],
      source_clock_skew_seconds: [
        [undefined, "erp"],
        [-1.5, "wms"],
      ],
    });
  });

  it("are none before the first comparison, and while the store does not answer", async () => {
    const none = { divergence_ratio: [], comparison_duration_seconds: [[undefined]], source_clock_skew_seconds: [] };
    expect(await scraped(sourcesOf([], []).sources)).toMatchObject(none);
    const comparisons = {
      live: () => Promise.reject(new Error("away")),
      list: () => Promise.reject(new Error("away")),
    };
    const engine = { reconciliation: { comparisons }, clock: { now: () => 0 } };
    expect(await scraped({ engine } as unknown as MetricSources)).toMatchObject(none);
  });

  it("are read once for a scrape", async () => {
    const { reads, sources } = sourcesOf([LIVE], [NEWEST]);
    const table = reconciliationMetrics();
    await Promise.all(table.map((row) => row.read(sources)));
    expect(reads).toEqual({ live: 1, list: 1 });
  });
});
