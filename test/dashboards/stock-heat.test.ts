/**
 * The feed `stock-heat` with a source whose figures the test sets, and a screen's copy made from its frames: a delta
 * has only what changed, and all deltas together give the same copy as a new snapshot.
 */
import { describe, expect, it } from "vitest";
import type { HeatDelta, HeatSnapshot } from "../../dashboards/feeds/stock-heat/body.js";
import { type SkuLive, type StockHeatSource, stockHeatFeed } from "../../dashboards/feeds/stock-heat/feed.js";
import { changeHeat, heatOf, rankedRows } from "../../dashboards/feeds/stock-heat/store.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";

const MINUTE = 29_695_200;

/** A few SKUs whose figures the test sets: A (30 units in the last hour), B (20) and C (10). */
class FakeShop implements StockHeatSource {
  minute = MINUTE;
  alerted: string[] = [];
  readonly skus = new Map<string, SkuLive>();
  readonly minutes = new Map<string, Map<number, number>>();

  constructor() {
    this.sell("A", 30);
    this.sell("B", 20);
    this.sell("C", 10);
  }

  sell(sku: string, units: number, minute = MINUTE): void {
    const before = this.skus.get(sku);
    const panes = this.minutes.get(sku) ?? new Map<number, number>();
    this.minutes.set(sku, panes.set(minute, (panes.get(minute) ?? 0) + units));
    const { sellable = 1_000, reserved = 0 } = before?.levels ?? {};
    this.skus.set(sku, {
      sku,
      revision: (before?.revision ?? 0) + 1,
      hourUnits: (before?.hourUnits ?? 0) + units,
      dailyAverage: undefined,
      levels: {
        sellable: sellable - units,
        reserved: reserved + units,
        committed: 0,
        safety: 10,
        presale: 0,
        display: 900,
      },
    });
  }
  nowMs = (): number => this.minute * MINUTE_MS + 5_000;
  ranked = (limit: number): SkuLive[] =>
    Array.from(this.skus.values())
      .sort((a, b) => b.hourUnits - a.hourUnits || (a.sku < b.sku ? -1 : 1))
      .slice(0, limit);
  alertedSkus = (limit: number): string[] => this.alerted.slice(0, limit);
  sku = (sku: string): SkuLive | undefined => this.skus.get(sku);
  panes = (sku: string, sinceMinute: number): Array<[number, number]> =>
    Array.from(this.minutes.get(sku) ?? []).filter(([minute]) => minute >= sinceMinute);
}

function openFeed({ size = "wall", shop = new FakeShop() } = {}) {
  const state = stockHeatFeed(shop).open({ size });
  state.advance(0);
  return {
    shop,
    snapshot: () => state.snapshot() as HeatSnapshot,
    advance: (nowMs: number) => state.advance(nowMs) as HeatDelta | undefined,
  };
}

describe("what the feed sends", () => {
  it("a snapshot has the ranked rows with balances and minutes", () => {
    const shop = new FakeShop();
    shop.sell("A", 5, MINUTE - 3);
    const snapshot = openFeed({ shop }).snapshot();
    expect(snapshot).toMatchObject({ minutes: 60, lastMinute: MINUTE });
    const copy = heatOf(snapshot, undefined);
    expect(rankedRows(copy).map(({ sku, hourUnits, sellable }) => [sku, hourUnits, sellable])).toEqual([
      ["A", 35, 965],
      ["B", 20, 980],
      ["C", 10, 990],
    ]);
    expect(copy.cells.get(copy.rowOf.get("A")?.id as number)).toEqual(
      new Map([
        [MINUTE, 30],
        [MINUTE - 3, 5],
      ]),
    );
  });

  it("a delta has only what changed, as absolute values", () => {
    const { shop, advance } = openFeed();
    shop.sell("B", 7);
    expect(advance(250)).toEqual({
      lastMinute: MINUTE,
      rows: [[2, "B", 27, null, 973, 27, 0, 10, 0, 900]],
      cells: [[2, 0, 27]],
    });
    expect(advance(500)).toBeUndefined();
  });

  it("a delta with the new minute is sent when the shop's minute changes", () => {
    const { shop, advance } = openFeed();
    shop.minute++;
    expect(advance(250)).toEqual({ lastMinute: MINUTE + 1 });
  });

  it("rows keep their order until the next ranking, which is sent as ids", () => {
    const { shop, advance } = openFeed();
    shop.sell("C", 100);
    expect(advance(1_000)).not.toHaveProperty("order");
    expect(advance(3_000)).toEqual({ lastMinute: MINUTE, order: [3, 1, 2] });
  });

  it("a SKU with an open alert is shown although it is not ranked, and removed when the alert clears", () => {
    const shop = new FakeShop();
    for (let i = 0; i < 60; i++) shop.sell(`S${i}`, 1_000 + i);
    shop.alerted = ["C"];
    const { advance, snapshot } = openFeed({ shop });
    const before = snapshot();
    expect(before.order).toHaveLength(60);
    expect(before.rows.at(-1)?.slice(0, 2)).toEqual([61, "C"]);
    shop.alerted = [];
    expect(advance(250)).toEqual({ lastMinute: MINUTE, removed: [61] });
  });

  it("each size has its own numbers of rows and minutes", () => {
    const shop = new FakeShop();
    for (let i = 0; i < 80; i++) shop.sell(`S${i}`, 100 + i);
    const [wall, phone] = [openFeed({ shop }).snapshot(), openFeed({ shop, size: "phone" }).snapshot()];
    expect([wall.minutes, wall.order.length, wall.rows.length]).toEqual([60, 60, 60]);
    expect([phone.minutes, phone.order.length, phone.rows.length]).toEqual([30, 20, 20]);
  });

  it("a pane newer than the shop's clock is sent and kept at its minute", () => {
    const { shop, advance, snapshot } = openFeed();
    const copy = heatOf(snapshot(), undefined);
    shop.sell("A", 4, MINUTE + 1);
    changeHeat(copy, advance(250) as HeatDelta);
    expect(copy.cells.get(1)?.get(MINUTE + 1)).toBe(4);
  });

  it("applying all deltas gives the same copy as a new snapshot", () => {
    const { shop, advance, snapshot } = openFeed();
    const copy = heatOf(snapshot(), undefined);
    for (let step = 0; step < 400; step++) {
      shop.sell(`S${(step * 7) % 111}`, 1 + ((step * 13) % 29), MINUTE + Math.floor(step / 4) - 2);
      if (step % 4 === 3) shop.minute++;
      shop.alerted = [`S${step % 13}`, `S${step % 111}`];
      const delta = advance(step * 250);
      if (delta !== undefined) changeHeat(copy, delta);
    }
    const { revision: _, ...wanted } = heatOf(snapshot(), undefined);
    expect(copy).toMatchObject(wanted);
    expect(copy.rows).toEqual(wanted.rows);
  });
});

describe("a screen's copy", () => {
  const snapshot: HeatSnapshot = {
    minutes: 3,
    lastMinute: 100,
    rows: [
      [1, "A", 120, 40.5, 1_000, 20, 30, 5, 0, 1_006],
      [2, "商品-B", 60, null, 1, 2, 3, 4, 5, 6],
    ],
    order: [1, 2],
    cells: [[1, 0, 50, 2, 70], [2]],
  };
  const copyOf = () => heatOf(snapshot, undefined);

  it("a delta overwrites, so applying it to a copy that already has it changes nothing", () => {
    const copy = copyOf();
    const delta = {
      lastMinute: 100,
      rows: [[1, "A", 130, 40.5, 990, 30, 30, 5, 0, 999] as const],
      cells: [[1, 0, 60]],
    };
    changeHeat(copy, delta);
    const once = structuredClone({ rows: copy.rows, cells: copy.cells });
    changeHeat(copy, delta);
    expect({ rows: copy.rows, cells: copy.cells }).toEqual(once);
    expect(copy.cells.get(1)?.get(100)).toBe(60);
  });

  //            98   99   100  101
  //  before  [ 70    ·    50 ]
  //  after        [  ·    50   8 ]
  it("deletes the minutes that leave the window, and counts minutes back from the delta's own last minute", () => {
    const copy = changeHeat(copyOf(), { lastMinute: 101, cells: [[1, 0, 8]] });
    expect(copy.cells.get(1)).toEqual(
      new Map([
        [100, 50],
        [101, 8],
      ]),
    );
  });

  it("a pane corrected to zero disappears", () => {
    const copy = changeHeat(copyOf(), { lastMinute: 100, cells: [[1, 2, 0]] });
    expect(copy.cells.get(1)?.has(98)).toBe(false);
  });

  it("deletes a removed row, and adds its SKU again under another id", () => {
    const copy = changeHeat(copyOf(), { lastMinute: 100, removed: [2], order: [1] });
    expect(copy.rowOf.has("商品-B")).toBe(false);
    changeHeat(copy, { lastMinute: 100, rows: [[3, "商品-B", 9, 1, 1, 1, 1, 1, 1, 1]], order: [1, 3] });
    expect(rankedRows(copy).map(({ id }) => id)).toEqual([1, 3]);
  });

  it("the revision grows with cells, rows, order, minutes and a new snapshot, and only then", () => {
    const copy = copyOf();
    const before = copy.revision;
    changeHeat(copy, { lastMinute: 100 });
    expect(copy.revision).toBe(before);
    changeHeat(copy, { lastMinute: 100, cells: [[1, 0, 51]] });
    expect(copy.revision).toBeGreaterThan(before);
    expect(heatOf(snapshot, copy).revision).toBeGreaterThan(copy.revision);
  });
});
