/** The body of the feed `consistency`, from the view of the consistency job. */
import { describe, expect, it } from "vitest";
import { consistencyBody } from "../../engine/app/live-consistency.js";
import type { PairSummary } from "../../engine/jobs/consistency/events.js";
import type { ConsistencyFigures } from "../../engine/jobs/consistency/state.js";
import { ConsistencyView } from "../../engine/jobs/consistency/view.js";

const pairOf = (a: string, share: number): PairSummary => ({
  ...{ a, b: "ledger", share, differingUnits: 8, totalUnits: 1_000, cells: 10, differingCells: 2 },
  ...{ onlyInA: 1, onlyInB: 0 },
});

const evidence = {
  comparison: "CP1",
  pair: ["wms", "ledger"] as [string, string],
  share: 0.008,
  threshold: 0.005,
  skus: ["TEA-0103"],
};

const figuresOf = (change: Partial<ConsistencyFigures>): ConsistencyFigures => ({
  ...{ comparisons: 1, openings: 0, wouldHaveOpened: 0, reportedMs: 1, mode: "on", nextDueMs: 5_000 },
  ...{ last: null, isComparing: false, failure: null, unlisted: 0, breakers: [], wouldBeOpen: [], history: [] },
  ...change,
});

function bodyOf(figures: ConsistencyFigures | undefined) {
  const view = new ConsistencyView();
  if (figures) view.onView("comparison", figures);
  return consistencyBody(view, 0.005);
}

describe("what the screens get of comparisons", () => {
  it("is empty before the first one", () => {
    const expected = { mode: "on", shopThreshold: 0.005, nextDueMs: null, comparison: null, wouldOpen: [] };
    expect(bodyOf(undefined)).toEqual(expected);
  });

  it("has the pairs in their order, at most forty, and the sources that were left out", () => {
    const pairs = Array.from({ length: 64 }, (_, i) => pairOf(`source-${i}`, 0.01 - i / 10_000));
    const last = { id: "CP1", atMs: 7, cause: "snapshot" as const, durationMs: 3, snapshots: [], pairs };
    const { comparison, nextDueMs } = bodyOf(figuresOf({ last: { ...last, leftOut: { erp: "it is too old" } } }));
    expect(nextDueMs).toBe(5_000);
    expect(comparison?.pairs).toHaveLength(40);
    expect(comparison?.pairs[0]).toEqual({
      ...{
        a: "source-0",
        b: "ledger",
        share: 0.01,
        differingUnits: 8,
        totalUnits: 1_000,
        cells: 10,
        differingCells: 2,
      },
    });
    expect(comparison?.leftOut).toEqual([["erp", "it is too old"]]);
  });

  it("shows of a dry run what would be open, with the evidence of its newest entry", () => {
    const entry = { scope: "shop", kind: "would_have_opened", by: "engine", actor: "engine", reason: "" } as const;
    const history = [
      { number: 1, atMs: 100, observedMs: 100, ...entry, evidence: { ...evidence, share: 0.006 } },
      { number: 2, atMs: 200, observedMs: 200, ...entry, evidence },
    ];
    const { mode, wouldOpen } = bodyOf(figuresOf({ mode: "dry-run", wouldBeOpen: ["shop"], history }));
    expect(mode).toBe("dry-run");
    expect(wouldOpen).toEqual([{ scope: "shop", atMs: 200, ...evidence }]);
  });
});
