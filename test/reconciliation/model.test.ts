/** The formulas of divergence and of what a source counts. */
import { describe, expect, it } from "vitest";
import {
  type Comparison,
  type ComparisonCause,
  type Difference,
  type Divergence,
  isSourceName,
  LEDGER,
  MEASURES,
  type Measure,
  type Movement,
  measuredUnits,
  NO_DIVERGENCE,
  type PairDivergence,
  PUBLISHED,
  type SkuDivergence,
  type Snapshot,
  type SnapshotRow,
  shareOf,
  withCell,
} from "../../engine/reconciliation/model.js";

const balances = { sellable: 10, reserved: 5, committed: 3, safety: 2, presale: 7 };

describe("what a source counts", () => {
  it("is goods on hand, what can be sold, or what customers are shown", () => {
    const units = (measure: Measure): number => measuredUnits(balances, measure);
    expect(MEASURES.map(units)).toEqual([20, 10, 11]);
    expect(measuredUnits(balances, "display", 1)).toBe(15);
  });
});

describe("a source's name", () => {
  it("is short, in lower case, and not the ledger's", () => {
    expect(["erp", "wms-2", PUBLISHED].map(isSourceName)).toEqual([true, true, true]);
    expect([LEDGER, "", "ERP", "-a", "a".repeat(33), "a b"].map(isSourceName)).not.toContain(true);
  });
});

describe("divergence (R13)", () => {
  it("is the sum of the gaps over the sum of the greater values", () => {
    const rows: SnapshotRow[] = [
      { sku: "A", location: "main", units: 90 },
      { sku: "B", location: "main", units: 100 },
    ];
    const sum = rows.reduce<Divergence>((before, { units }) => withCell(before, units, 100), NO_DIVERGENCE);
    expect(sum).toEqual({ differingUnits: 10, totalUnits: 200, cells: 2, differingCells: 1 });
    expect(shareOf(sum)).toBe(0.05);
  });

  it("leaves out what events around the instant explain, and nothing more", () => {
    expect(withCell(NO_DIVERGENCE, 8, 10, 2)).toMatchObject({ differingUnits: 0, differingCells: 0 });
    expect(withCell(NO_DIVERGENCE, 7, 10, 2).differingUnits).toBe(1);
    expect(withCell(NO_DIVERGENCE, 10, 10, 5).differingUnits).toBe(0);
  });

  it("is nothing where nothing is compared, or all is empty", () => {
    expect(shareOf(NO_DIVERGENCE)).toBe(0);
    expect(shareOf(withCell(NO_DIVERGENCE, 0, 0))).toBe(0);
  });

  it("is kept as plain data", () => {
    const difference: Difference = { sku: "A", location: "main", aUnits: 9, bUnits: 10, explainedUnits: 0 };
    const shop = withCell(NO_DIVERGENCE, 9, 10);
    const sku: SkuDivergence = { sku: "A", differingUnits: 1, totalUnits: 10 };
    const pair: PairDivergence = {
      a: "wms",
      b: LEDGER,
      shop,
      locations: { main: shop },
      skus: [sku],
      top: [difference],
      onlyInA: 0,
      onlyInB: 0,
    };
    const snapshot: Snapshot = { source: "wms", id: "1", measure: "on_hand", asOfMs: 1, rows: 1, completedMs: 2 };
    const movement: Movement = { id: "m", sku: "A", location: "main", units: -1, atMs: 1 };
    const cause: ComparisonCause = "demand";
    const snapshots = [snapshot];
    const comparison: Comparison = { id: "c", atMs: 3, cause, snapshots, pairs: [pair], leftOut: {}, durationMs: 0 };
    expect(JSON.parse(JSON.stringify([comparison, movement]))).toEqual([comparison, movement]);
  });
});
