/** Which breakers a comparison opens, by which pair, and which may close. */
import { describe, expect, it } from "vitest";
import { type BreakerRules, reasonOf, summaryOf, verdictsOf } from "../../../engine/jobs/consistency/rules.js";
import {
  type Comparison,
  type Divergence,
  NO_DIVERGENCE,
  type PairDivergence,
} from "../../../engine/reconciliation/model.js";

const RULES: BreakerRules = { mode: "on", shopShare: 0.005, skuFloorUnits: 10 };

const parting = (differingUnits: number, totalUnits = 1_000): Divergence => ({
  ...{ differingUnits, totalUnits, cells: 10, differingCells: differingUnits === 0 ? 0 : 1 },
});

const pair = (a: string, b: string, differing: number, more: Partial<PairDivergence> = {}): PairDivergence => ({
  ...{ a, b, shop: parting(differing), locations: {}, skus: [], top: [], onlyInA: 0, onlyInB: 0, ...more },
});

const snapshot = (source: string, completedMs: number) => ({
  ...{ source, id: `${source}-1`, measure: "on_hand" as const, asOfMs: 1, rows: 10, completedMs },
});

const comparison = (...pairs: PairDivergence[]): Comparison => ({
  ...{ id: "C1", atMs: 1, cause: "schedule", leftOut: {}, durationMs: 1, pairs },
  snapshots: [snapshot("wms", 70), snapshot("erp", 50)],
});

const sku = (name: string, differingUnits: number, totalUnits: number) => ({ sku: name, differingUnits, totalUnits });
const difference = (sku: string, location: string) => ({ sku, location, aUnits: 9, bUnits: 0, explainedUnits: 0 });
const scopesOver = (of: Comparison, rules: BreakerRules): string[] =>
  verdictsOf(of, rules, []).verdicts.map(({ scope }) => scope);

describe("a verdict", () => {
  it("opens the shop above its threshold, not at it, and names the pair that parts most", () => {
    expect(verdictsOf(comparison(pair("erp", "ledger", 5)), RULES, []).verdicts).toEqual([]);
    const top = ["A", "B", "A", "C", "D", "E", "F"].map((sku) => difference(sku, "SH"));
    const { verdicts } = verdictsOf(
      comparison(pair("erp", "ledger", 6), pair("wms", "ledger", 12, { top })),
      RULES,
      [],
    );
    expect(verdicts).toEqual([
      {
        ...{ scope: "shop", verdict: "over", snapshotMs: 70 },
        evidence: {
          cells: 10,
          ...{ comparison: "C1", pair: ["wms", "ledger"], share: 0.012, threshold: 0.005 },
          skus: ["A", "B", "C", "D", "E"],
        },
      },
    ]);
    expect(reasonOf(verdicts[0]?.evidence as never)).toBe(
      "wms and ledger differ by 1.2 %, more than 0.5 %, most in A, B, C",
    );
  });

  it("is as new as the party that parts: another one that agrees, and what the engine publishes, make it no newer", () => {
    const newestOf = (...pairs: PairDivergence[]) => {
      const of = comparison(...pairs);
      const snapshots = [...of.snapshots, snapshot("published", 90)];
      return verdictsOf({ ...of, snapshots }, RULES, []).verdicts[0]?.snapshotMs;
    };
    expect(newestOf(pair("erp", "ledger", 9), pair("erp", "wms", 9), pair("erp", "published", 9))).toBe(50);
    expect(newestOf(pair("erp", "ledger", 9), pair("wms", "ledger", 6))).toBe(70);
    expect(newestOf(pair("published", "ledger", 9))).toBe(90);
  });

  it("opens locations and SKUs only with thresholds of their own, a SKU only from the floor of units on", () => {
    const wide = pair("wms", "ledger", 2, {
      locations: { SH: parting(20, 100), GZ: parting(1, 1_000) },
      skus: [sku("CUP", 10, 20), sku("POT", 9, 10)],
      top: [difference("CUP", "SH"), difference("POT", "GZ")],
    });
    expect(scopesOver(comparison(wide), RULES)).toEqual([]);
    const rules = { ...RULES, locationShare: 0.01, skuShare: 0.01 };
    expect(scopesOver(comparison(wide), rules)).toEqual(["location:SH", "sku:CUP"]);
    expect(verdictsOf(comparison(wide), rules, []).verdicts[0]?.evidence).toMatchObject({
      ...{ share: 0.2, threshold: 0.01, skus: ["CUP"] },
    });
  });

  it("opens a limited number of SKUs, those with the most units, and counts the others", () => {
    const skus = Array.from({ length: 60 }, (_, i) => sku(`S${i}`, 10 + i, 20 + i));
    const { verdicts, unlisted } = verdictsOf(
      comparison(pair("wms", "ledger", 0, { skus })),
      { ...RULES, skuShare: 0.01 },
      [],
    );
    expect(verdicts).toHaveLength(50);
    expect(verdicts[0]?.scope).toBe("sku:S59");
    expect(unlisted).toBe(10);
  });

  it("on an open breaker is within only when the pair that opened it was compared again", () => {
    const of = comparison(pair("erp", "ledger", 1), pair("storefront", "ledger", 0, { shop: NO_DIVERGENCE }));
    const ask = (scope: string, opened?: [string, string]) =>
      verdictsOf(of, RULES, [{ scope, ...(opened && { pair: opened }) }]).verdicts[0]?.verdict;
    expect(ask("shop")).toBe("within");
    expect(ask("shop", ["ledger", "erp"])).toBe("within");
    expect(ask("shop", ["wms", "ledger"])).toBe("unknown");
    expect(ask("shop", ["storefront", "ledger"])).toBe("unknown");
    expect(ask("location:SH")).toBe("unknown");
    const many = Array.from({ length: 100 }, (_, i) => sku(`S${i}`, 1, 9));
    const one = (skus: typeof many) =>
      verdictsOf(comparison(pair("wms", "ledger", 0, { skus })), RULES, [{ scope: "sku:CUP" }]).verdicts[0]?.verdict;
    expect(one(many)).toBe("unknown");
    expect(one(many.slice(1))).toBe("within");
    expect(verdictsOf(comparison(), RULES, [{ scope: "shop" }]).verdicts).toEqual([
      { scope: "shop", verdict: "unknown" },
    ]);
  });

  it("on an open breaker is unknown when far fewer cells are reported than when it opened", () => {
    const judged = (cells: number) =>
      verdictsOf(comparison(pair("wms", "ledger", 0)), RULES, [{ scope: "shop", pair: ["wms", "ledger"], cells }]);
    expect(judged(20).verdicts).toEqual([{ scope: "shop", verdict: "within" }]);
    expect(judged(21).verdicts).toEqual([
      { scope: "shop", verdict: "unknown", why: "only 10 cells were reported again, of 21 when it opened" },
    ]);
  });

  it("on an open breaker without a threshold of its own uses the shop's", () => {
    const wide = pair("wms", "ledger", 2, {
      locations: { SH: parting(6), GZ: parting(5) },
      skus: [sku("CUP", 10, 1_000)],
    });
    const asked = ["location:SH", "location:GZ", "sku:CUP", "sku:POT"].map((scope) => ({ scope }));
    expect(verdictsOf(comparison(wide), RULES, asked).verdicts.map(({ verdict }) => verdict)).toEqual([
      ...["over", "within", "over", "within"],
    ]);
  });
});

it("a summary has the pairs that part most, without their differences", () => {
  const pairs = Array.from({ length: 70 }, (_, i) => pair(`s${i}`, "ledger", i, { top: [difference("CUP", "SH")] }));
  const summary = summaryOf(comparison(...pairs));
  expect(summary.pairs).toHaveLength(64);
  expect(summary.pairs[0]).toEqual({
    ...{ a: "s69", b: "ledger", share: 0.069, differingUnits: 69, totalUnits: 1_000, cells: 10, differingCells: 1 },
    ...{ onlyInA: 0, onlyInB: 0 },
  });
});
