/**
 * Comparisons of made-up sources with a real ledger: sources that are right but book late, too early or out of order,
 * sources that lost or doubled units, at other instants and in other measures, while commands are applied.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { chainId, chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import { HOUR_MS, ManualClock } from "../../../engine/kernel/clock.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { Comparer, type ComparerOptions } from "../../../engine/reconciliation/comparison/comparer.js";
import { ComparisonStore } from "../../../engine/reconciliation/comparison/comparison-store.js";
import {
  type Comparison,
  type Difference,
  LEDGER,
  type Measure,
  measuredUnits,
  type PairDivergence,
  type SnapshotRow,
  shareOf,
} from "../../../engine/reconciliation/model.js";
import { BalanceHistory } from "../../../engine/stock/as-of.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import { cellOf, type StockCommand } from "../../../engine/stock/model.js";
import { stockKeys } from "../../../engine/stream/keys.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withRedis } from "../../redis/with-redis.js";
import { Reports } from "./reports.js";

const redis = withRedis();
const START_MS = Date.UTC(2026, 5, 18, 10);
const PARTITIONS = 2;
const SKUS = 60;
const LOCATIONS = ["SH", "GZ"];
const SEED = Number(process.env["SHUIWEI_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
});

let shops = 0;

/** A shop with a ledger of its own and sources that a test makes up. */
class Shop {
  readonly prefix = `compared-${shops++}`;
  readonly random = seededRandom(SEED + shops);
  readonly clock = new ManualClock(START_MS);
  readonly ledger = new Ledger({ redis: client, prefix: this.prefix, partitions: PARTITIONS, clock: this.clock });
  readonly reports = new Reports(PARTITIONS);
  readonly store = new ComparisonStore(client, this.prefix);
  readonly history = new BalanceHistory({ redis: client, prefix: this.prefix, partitions: PARTITIONS });
  #commands = 0;

  comparer(more: Partial<ComparerOptions> = {}): Comparer {
    const { reports: snapshots, history, store, clock } = this;
    return new Comparer({ snapshots, history, store, clock, partitions: PARTITIONS, ...more });
  }

  /** Compares after the windows of all snapshots are over. */
  async compare(more: Partial<ComparerOptions> = {}): Promise<Comparison> {
    this.clock.moveTo(this.clock.now() + 2_500);
    return this.comparer(more).compare("demand");
  }

  async open(): Promise<void> {
    const commands = Array.from({ length: SKUS }, (_, i) =>
      LOCATIONS.map((location) => this.#command("receive", `SKU-${i}`, location, 100 + i)),
    ).flat();
    await this.ledger.applyMany(commands);
    this.clock.moveTo(this.clock.now() + 10_000);
  }

  /** Commands with a few units each, and some milliseconds. */
  async trade(calls = 10): Promise<void> {
    for (let call = 0; call < calls; call++) {
      const commands = Array.from({ length: 5 }, () =>
        this.#command(
          this.random.pick(["receive", "reserve", "reserve", "correct"] as const),
          `SKU-${this.random.below(SKUS)}`,
          this.random.pick(LOCATIONS),
          1 + this.random.below(3),
        ),
      );
      await this.ledger.applyMany(commands);
      this.clock.moveTo(this.clock.now() + this.random.below(300));
    }
  }

  #command(kind: "receive" | "reserve" | "correct", sku: string, location: string, units: number): StockCommand {
    const id = chainIdFromNumber("S1", this.clock.now(), this.#commands++);
    return kind === "reserve"
      ? { kind, id, sku, location, units, holdMs: HOUR_MS }
      : { kind, id, sku, location, units };
  }

  /** What a source that is right reports as of an instant. */
  async rowsAsOf(atMs: number, measure: Measure): Promise<SnapshotRow[]> {
    const skus = Array.from({ length: SKUS }, (_, i) => `SKU-${i}`);
    const found = await this.history.asOf(skus, atMs);
    if (found.outcome !== "found") throw new Error(found.outcome);
    return [...found.skus].flatMap(([sku, locations]) =>
      [...locations].map(([location, balances]) => ({ sku, location, units: measuredUnits(balances, measure) })),
    );
  }
}

async function openShop(): Promise<Shop> {
  const shop = new Shop();
  await shop.open();
  return shop;
}

const pairIn = ({ pairs }: Comparison, a: string, b: string): PairDivergence =>
  pairs.find((pair) => pair.a === a && pair.b === b) as PairDivergence;

const changed = (rows: readonly SnapshotRow[], sku: string, location: string, by: number): SnapshotRow[] =>
  rows.map((row) => (row.sku === sku && row.location === location ? { ...row, units: row.units + by } : row));

describe("a comparison", () => {
  it("finds no divergence of sources that are right at instants and in measures of their own", async () => {
    const shop = await openShop();
    await shop.trade();
    const [erpMs, wmsMs] = [shop.clock.now(), shop.clock.now() + 700];
    await shop.trade();
    const shopMs = shop.clock.now();
    await shop.trade();
    const measures = { erp: "on_hand", storefront: "display", wms: "sellable" } as const;
    for (const [source, asOfMs] of Object.entries({ erp: erpMs, storefront: shopMs, wms: wmsMs })) {
      const measure = measures[source as keyof typeof measures];
      shop.reports.set({ source, asOfMs, measure }, await shop.rowsAsOf(asOfMs, measure));
    }
    const comparison = await shop.compare();
    expect(comparison.pairs.map(({ a, b }) => `${a}:${b}`)).toEqual([
      ...["erp:ledger", "storefront:ledger", "wms:ledger"],
      ...["erp:storefront", "erp:wms", "storefront:wms"],
    ]);
    for (const pair of comparison.pairs) {
      expect(pair.shop, `SHUIWEI_SEED=${SEED}`).toMatchObject({ cells: SKUS * LOCATIONS.length, differingUnits: 0 });
      expect(pair.shop.totalUnits).toBeGreaterThan(SKUS * 100);
    }
    expect(comparison.leftOut).toEqual({});
  });

  it("explains what a source has booked up to two seconds too late or too early, in any order", async () => {
    const shop = await openShop();
    await shop.trade(30);
    const atMs = shop.clock.now();
    await shop.trade(30);
    // Each cell as the source would have it if its clock were anywhere within two seconds.
    const [before, exact, after] = await Promise.all(
      [atMs - 2_000, atMs, atMs + 2_000].map((ms) => shop.rowsAsOf(ms, "sellable")),
    );
    const mixed = (exact as SnapshotRow[]).map((row, i) =>
      shop.random.pick([before?.[i] ?? row, row, after?.[i] ?? row]),
    );
    expect(mixed).not.toEqual(exact);
    shop.reports.set({ source: "wms", asOfMs: atMs, measure: "sellable" }, mixed);
    const right = pairIn(await shop.compare(), "wms", LEDGER);
    expect(right.shop, `SHUIWEI_SEED=${SEED}`).toMatchObject({ differingUnits: 0, differingCells: 0 });

    // Far more units than any events of four seconds: found, up to what these explain.
    shop.reports.set({ source: "wms", asOfMs: atMs, measure: "sellable" }, changed(mixed, "SKU-7", "GZ", -60));
    const { shop: wrong, top } = pairIn(await shop.compare(), "wms", LEDGER);
    expect(wrong).toMatchObject({ differingCells: 1 });
    expect(top).toMatchObject([{ sku: "SKU-7", location: "GZ" }]);
    expect(wrong.differingUnits).toBeGreaterThan(20);
    expect(wrong.differingUnits).toBeLessThanOrEqual(60 + 20);
  });

  it("finds one lost unit in a quiet cell, in its location, and in every pair of the source", async () => {
    const shop = await openShop();
    const atMs = shop.clock.now();
    const rows = await shop.rowsAsOf(atMs, "on_hand");
    shop.reports.set({ source: "erp", asOfMs: atMs, measure: "on_hand" }, rows);
    shop.clock.moveTo(atMs + 60_000);
    await shop.trade();
    shop.clock.moveTo(shop.clock.now() + 10_000);
    const later = await shop.rowsAsOf(shop.clock.now(), "on_hand");
    shop.reports.set(
      { source: "wms", asOfMs: shop.clock.now(), measure: "on_hand" },
      changed(later, "SKU-3", "SH", -1),
    );
    shop.clock.moveTo(shop.clock.now() + 10_000);
    const comparison = await shop.compare();
    const found: Partial<Difference> = { sku: "SKU-3", location: "SH" };
    expect(pairIn(comparison, "erp", LEDGER).shop.differingUnits).toBe(0);
    for (const [a, b] of [
      ["wms", LEDGER],
      ["erp", "wms"],
    ] as const) {
      const pair = pairIn(comparison, a, b);
      expect(pair.top, `SHUIWEI_SEED=${SEED}`).toMatchObject([found]);
      expect(pair.shop).toMatchObject({ differingUnits: 1, differingCells: 1 });
      expect(pair.locations["SH"]?.differingUnits).toBe(1);
      expect(pair.locations["GZ"]?.differingUnits).toBe(0);
      expect(pair.skus).toMatchObject([{ sku: "SKU-3", differingUnits: 1 }]);
      expect(shareOf(pair.shop)).toBeCloseTo(1 / pair.shop.totalUnits, 9);
    }
  });

  it("does not explain a gap by an event long before the instant, although it is the log's last one", async () => {
    const shop = await openShop();
    const before = await shop.rowsAsOf(shop.clock.now(), "on_hand");
    shop.clock.moveTo(shop.clock.now() + 60_000);
    const id = chainId("S1", shop.clock.now());
    await shop.ledger.apply({ kind: "receive", id, sku: "SKU-9", location: "SH", units: 4 });
    shop.clock.moveTo(shop.clock.now() + 5_000);
    shop.reports.set({ source: "wms", asOfMs: shop.clock.now(), measure: "on_hand" }, before);
    const { top } = pairIn(await shop.compare(), "wms", LEDGER);
    expect(top).toMatchObject([{ sku: "SKU-9", explainedUnits: 0 }]);
  });

  it("counts rows that only one of two has, and no divergence for them", async () => {
    const shop = await openShop();
    const asOfMs = shop.clock.now();
    const rows = await shop.rowsAsOf(asOfMs, "on_hand");
    const extra = { sku: "GHOST", location: "SH", units: 4 };
    const empty = { sku: "GHOST-2", location: "SH", units: 0 };
    shop.reports.set({ source: "erp", asOfMs, measure: "on_hand" }, [...rows.slice(5), extra, empty]);
    shop.reports.set({ source: "wms", asOfMs, measure: "on_hand" }, [...rows.slice(0, -2), { ...extra, units: 5 }]);
    const comparison = await shop.compare();
    expect(pairIn(comparison, "erp", LEDGER)).toMatchObject({ onlyInA: 1, onlyInB: 5, shop: { differingUnits: 0 } });
    expect(pairIn(comparison, "wms", LEDGER)).toMatchObject({ onlyInA: 1, onlyInB: 2 });
    // Both report what the ledger does not have: they are compared with each other as they are.
    const both = pairIn(comparison, "erp", "wms");
    expect(both).toMatchObject({ onlyInA: 2, onlyInB: 5, shop: { differingUnits: 1, differingCells: 1 } });
    expect(both.top).toMatchObject([{ sku: "GHOST", aUnits: 4, bUnits: 5 }]);
  });

  it("takes settled units as booked at the snapshot's instant, and today's coefficient of a display", async () => {
    const shop = await openShop();
    await shop.trade();
    const asOfMs = shop.clock.now();
    shop.clock.moveTo(asOfMs + 60_000);
    const rows = await shop.rowsAsOf(asOfMs - 1, "on_hand");
    shop.reports.set({ source: "wms", asOfMs: asOfMs - 1, measure: "on_hand" }, changed(rows, "SKU-3", "SH", -9));
    const { partition } = { partition: shop.ledger.partitionOf("SKU-3") };
    const settled = await shop.compare({
      settledUnits: async ({ source }, each) =>
        new Map(source === "wms" && each === partition ? [[cellOf("SKU-3", "SH"), -9]] : []),
    });
    expect(pairIn(settled, "wms", LEDGER).shop.differingUnits, `SHUIWEI_SEED=${SEED}`).toBe(0);
    const shown = (await shop.rowsAsOf(asOfMs - 1, "display")).map((row) => ({ ...row }));
    const held = await shop.history.asOf(["SKU-3"], asOfMs - 1);
    const cell = held.outcome === "found" ? held.skus.get("SKU-3")?.get("SH") : undefined;
    for (const row of shown)
      if (row.sku === "SKU-3" && row.location === "SH") row.units = (cell?.sellable ?? 0) + (cell?.reserved ?? 0);
    shop.reports.set({ source: "storefront", asOfMs: asOfMs - 1, measure: "display" }, shown);
    const displayed = await shop.compare({ displayCoefficient: (sku) => (sku === "SKU-3" ? 1 : undefined) });
    const { top } = pairIn(displayed, "storefront", LEDGER);
    expect(top.filter(({ location }) => location === "SH")).toEqual([]);
  });

  it("takes no other settings since the instant for a difference of what is displayed", async () => {
    const shop = await openShop();
    await shop.trade();
    const asOfMs = shop.clock.now();
    shop.reports.set({ source: "storefront", asOfMs, measure: "display" }, await shop.rowsAsOf(asOfMs, "display"));
    shop.clock.moveTo(asOfMs + 5_000);
    await shop.ledger.applyMany(
      Array.from({ length: SKUS }, (_, i): StockCommand => {
        const id = chainIdFromNumber("S1", shop.clock.now(), 1_000_000 + i);
        const settings = i === 0 ? { alertFloorUnits: 5 } : { displayCoefficient: 0 };
        return { kind: "configure", id, sku: `SKU-${i}`, location: "SH", settings };
      }),
    );
    const compared = await shop.compare({ displayCoefficient: (sku) => (sku === "SKU-0" ? undefined : 0) });
    expect(pairIn(compared, "storefront", LEDGER), `SHUIWEI_SEED=${SEED}`).toMatchObject({
      ...{ shop: { cells: LOCATIONS.length, differingUnits: 0 }, onlyInB: (SKUS - 1) * LOCATIONS.length },
    });
  });

  it("compares an old snapshot by what its first comparison found, as if the log since then were read", async () => {
    const shop = await openShop();
    await shop.trade();
    const erpMs = shop.clock.now();
    const erp = (await shop.rowsAsOf(erpMs, "on_hand"))
      .slice(3)
      .map((row, i) => ({ ...row, units: row.units - (i % 9) }));
    const ghost = { sku: "GHOST", location: "SH", units: 4 };
    shop.reports.set({ source: "erp", asOfMs: erpMs, measure: "on_hand" }, [...erp, ghost]);
    shop.clock.moveTo(erpMs + 10_000);
    await shop.trade();
    const first = await shop.compare();
    await shop.trade(20);
    shop.clock.moveTo(erpMs + 15 * 60_000);
    const wms = await shop.rowsAsOf(shop.clock.now(), "sellable");
    shop.reports.set({ source: "wms", asOfMs: shop.clock.now(), measure: "sellable" }, changed(wms, "SKU-5", "GZ", -7));
    const settledUnits = async (_: unknown, partition: number) =>
      new Map(partition === shop.ledger.partitionOf("SKU-8") ? [[cellOf("SKU-8", "SH"), -2]] : []);
    const fromLog = { put: shop.store.put.bind(shop.store), gaps: async () => undefined, putGaps: async () => {} };
    const read = await shop.compare({ store: fromLog, settledUnits });
    // The log no longer goes back to the ERP's instant.
    for (let partition = 0; partition < PARTITIONS; partition++)
      await client.xtrim(stockKeys(shop.prefix, partition).log, "MAXLEN", 1);
    const known = await shop.compare({
      settledUnits,
      history: { scan: shop.history.scan.bind(shop.history), refusalOf: async () => undefined },
    });
    expect(known.pairs, `SHUIWEI_SEED=${SEED}`).toEqual(read.pairs);
    expect(known.pairs.map(({ shop: { differingCells } }) => differingCells > 0)).toEqual([true, true, true]);
    expect(pairIn(known, "erp", LEDGER).onlyInB).toBe(pairIn(first, "erp", LEDGER).onlyInB);
    expect(pairIn(known, "erp", LEDGER)).toMatchObject({ onlyInA: 1, onlyInB: 3 });
  });

  it("leaves out what is too old, in the future, or before the log, with the reason, and compares the others", async () => {
    const shop = await openShop();
    await shop.trade();
    const asOfMs = shop.clock.now();
    const rows = await shop.rowsAsOf(asOfMs, "on_hand");
    const report = (source: string, ms: number) => shop.reports.set({ source, asOfMs: ms, measure: "on_hand" }, rows);
    for (const [source, ms] of Object.entries({ old: asOfMs - 27 * HOUR_MS, wms: asOfMs, ahead: asOfMs + HOUR_MS }))
      report(source, ms);
    const comparison = await shop.compare();
    expect(comparison.snapshots.map(({ source }) => source)).toEqual(["wms"]);
    expect(comparison.leftOut["old"]).toContain("more than 26 hours ago");
    expect(comparison.leftOut["ahead"]).toContain("in the future");
    report("old", asOfMs);
    report("ahead", asOfMs);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      await shop.trade(1);
      await client.xtrim(stockKeys(shop.prefix, partition).log, "MAXLEN", 1);
    }
    const trimmed = await shop.compare();
    expect(trimmed.pairs).toEqual([]);
    expect(trimmed.leftOut["wms"]).toContain("the ledger's log does not go back to its instant");
  });

  it("leaves out a source whose rows were lost meanwhile, and compares the others from the beginning", async () => {
    const shop = await openShop();
    const at = { asOfMs: shop.clock.now(), measure: "on_hand" } as const;
    const rows = changed(await shop.rowsAsOf(at.asOfMs, at.measure), "SKU-5", "GZ", -7);
    for (const source of ["erp", "wms"]) shop.reports.set({ ...at, source }, rows);
    const before = await shop.compare();
    shop.reports.lost.add("erp");
    const { pairs, leftOut } = await shop.compare();
    expect(leftOut["erp"]).toContain("no longer stored");
    expect(pairs).toEqual([pairIn(before, "wms", LEDGER)]);
  });

  it("compares the eight sources with the newest instants when there are more", async () => {
    const shop = await openShop();
    for (let i = 0; i < 9; i++)
      shop.reports.set({ source: `s${i}`, asOfMs: shop.clock.now() - 9 + i, measure: "on_hand" }, []);
    const { pairs, leftOut } = await shop.compare();
    expect(Object.keys(leftOut)).toEqual(["s0"]);
    expect(pairs).toHaveLength(8 + 28);
  });

  it("waits until all events have happened that may explain a gap", async () => {
    const shop = await openShop();
    shop.reports.set({ source: "wms", asOfMs: shop.clock.now(), measure: "on_hand" }, []);
    let isDone = false;
    const comparing = shop
      .comparer()
      .compare("snapshot")
      .then(() => {
        isDone = true;
      });
    shop.clock.moveTo(shop.clock.now() + 1_999);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(isDone).toBe(false);
    shop.clock.moveTo(shop.clock.now() + 200);
    await comparing;
  });

  it("ends without a result when its caller leaves, and lets only some wait", async () => {
    const shop = await openShop();
    shop.reports.set({ source: "wms", asOfMs: shop.clock.now(), measure: "on_hand" }, []);
    const comparer = shop.comparer();
    const left = new AbortController();
    const all = Array.from({ length: 9 }, () => comparer.compare("demand", left.signal).catch((error: Error) => error));
    left.abort(new Error("left"));
    const results = await Promise.all(all);
    expect(results.slice(0, 8).map(String)).toEqual(Array.from({ length: 8 }, () => "Error: left"));
    expect(results[8]).toMatchObject({ code: "busy", retryable: true });
    expect(await shop.store.list(10)).toEqual([]);
  });

  it("is exact while commands are applied all the time", async () => {
    const shop = await openShop();
    let isOpen = true;
    const trading = (async () => {
      while (isOpen) await shop.trade(1);
    })();
    for (let round = 0; round < 5; round++) {
      const asOfMs = shop.clock.now() - 500;
      shop.reports.set({ source: "wms", asOfMs, measure: "sellable" }, await shop.rowsAsOf(asOfMs, "sellable"));
      const comparison = await shop.comparer().compare("snapshot");
      expect(pairIn(comparison, "wms", LEDGER).shop, `SHUIWEI_SEED=${SEED}`).toMatchObject({
        cells: SKUS * LOCATIONS.length,
        differingUnits: 0,
      });
    }
    isOpen = false;
    await trading;
  });
});
