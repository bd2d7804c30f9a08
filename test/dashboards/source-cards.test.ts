/** One card for each source on the desk: from the list of snapshots and the list of sources. */
import { describe, expect, it } from "vitest";
import type { SnapshotAnswer, SourceAnswer } from "../../dashboards/web/desk/contracts.js";
import { sourceCards } from "../../dashboards/web/desk/source-cards.js";

const NOW_MS = Date.UTC(2026, 5, 18, 10);
const HOUR_MS = 3_600_000;

const snapshot = (change: Partial<SnapshotAnswer> = {}): SnapshotAnswer => ({
  ...{ source: "wms", id: "1", state: "complete", measure: "on_hand", rows: 100, rowsReceived: 100 },
  asOf: new Date(NOW_MS - HOUR_MS).toISOString(),
  ...change,
});

const pulled = (
  change: Partial<SourceAnswer["pulls"][number]> = {},
  more: Partial<SourceAnswer> = {},
): SourceAnswer => ({
  ...{ name: "wms", kind: "wangdian" },
  pulls: [{ schedule: "every 15m", overdue: false, faults: [], ...change }],
  ...more,
});

const stateOf = (snapshots: SnapshotAnswer[], sources: SourceAnswer[] = []) =>
  sourceCards({ snapshots }, { sources }, NOW_MS)[0]?.state;

describe("a source's card", () => {
  it.each([
    ["fresh", [snapshot()], []],
    ["old", [snapshot({ asOf: new Date(NOW_MS - 27 * HOUR_MS).toISOString() })], []],
    ["old", [snapshot()], [pulled({}, { freshnessMs: HOUR_MS / 2 })]],
    ["receiving", [snapshot({ state: "receiving", rowsReceived: 40 }), snapshot()], []],
    ["refused", [snapshot({ state: "refused", refusal: { code: "older", message: "it is older" } }), snapshot()], []],
    ["failing", [snapshot()], [pulled({ failures: 2, faults: [{ message: "page 3: no answer" }] })]],
    ["overdue", [snapshot()], [pulled({ overdue: true })]],
    ["waiting", [], [pulled()]],
  ] as const)("is %s", (state, snapshots, sources) => {
    expect(stateOf([...snapshots], [...sources])).toBe(state);
  });

  it("keeps the newest complete snapshot beside one that is refused, and has the reason", () => {
    const refused = snapshot({ state: "refused", refusal: { code: "wrong_unit", message: "row 7 of part 1: half" } });
    const [card] = sourceCards({ snapshots: [refused, snapshot({ rows: 90 })] }, undefined, NOW_MS);
    expect(card).toMatchObject({ fault: "row 7 of part 1: half", newest: { rows: 90, asOfMs: NOW_MS - HOUR_MS } });
  });

  it("stands in the order of names, for sources that push and that are pulled", () => {
    const sources = [pulled({}, { name: "erp", kind: "http" })];
    const cards = sourceCards({ snapshots: [snapshot(), snapshot({ source: "bills" })] }, { sources }, NOW_MS);
    expect(cards.map(({ name, about }) => [name, about])).toEqual([
      ["bills", undefined],
      ["erp", "http · every 15m"],
      ["wms", undefined],
    ]);
  });
});
