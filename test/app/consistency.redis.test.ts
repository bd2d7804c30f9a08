/**
 * The breaker by itself in a whole engine (R14): a snapshot that parts from the ledger opens it, from then on no order
 * is accepted in its scope while payments, cancellations and parcels go on; ten minutes of the shop's time later it is
 * compared again, and closes when source and ledger agree.
 */
import { afterEach, describe, expect, it } from "vitest";
import type { Engine } from "../../engine/app/engine.js";
import type { ConsistencySettings } from "../../engine/jobs/consistency/options.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { onHandUnits } from "../../engine/stock/model.js";
import { sendPart } from "../reconciliation/reports/snapshot-bed.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";
import { LeapingClock } from "./leaping-clock.js";

const redis = withRedis();
const engines = withEngines();
/** For a busy machine: what is waited for takes a second or two. */
const patience = { timeout: 60_000, interval: 50 };
const UNITS = 1_000;
const SKUS = Array.from({ length: 8 }, (_, i) => `SKU-${i}`);
const CLIENTS = 64;

const SETTINGS: ConsistencySettings = { compareAt: "18:00", mode: "on", shopShare: 0.005, skuFloorUnits: 10 };

let rounds = 0;
afterEach(() => engines.stop());

interface Shop {
  engine: Engine;
  clock: LeapingClock;
  order(sku: string): Promise<string>;
  /** The WMS reports what it has, as of a moment ago. */
  report(lostUnits: number): Promise<void>;
}

/** @param before of a process that has stopped: this one continues there, so much later */
async function openShop(
  partitions: number,
  own: Partial<ConsistencySettings> = {},
  before?: { prefix: string; laterMs: number },
): Promise<Shop> {
  const clock = new LeapingClock(before?.laterMs ?? 0);
  const engine = await engines.start({
    redisUrl: redis.url,
    prefix: before?.prefix ?? `consistency${rounds++}`,
    partitions,
    consistency: { ...SETTINGS, ...own },
    shopTime: { clock, speed: () => 1, scene: () => undefined },
  });
  const { ledger } = engine.stock;
  const id = () => chainId("S1", clock.now());
  if (!before) {
    const receipts = SKUS.map((sku) => ({ kind: "receive" as const, id: id(), sku, location: "main", units: UNITS }));
    await ledger.applyMany(receipts);
  }
  await expect.poll(() => engine.stock.storefrontView.locations.has("main"), patience).toBe(true);
  let reports = 0;
  return {
    engine,
    clock,
    order: async (sku) => (await ledger.apply({ kind: "reserve", id: id(), sku, location: "main", units: 1 })).outcome,
    async report(lostUnits) {
      // Every event is well before the instant, so that nothing around it explains a gap.
      clock.leap(10_000);
      const asOfMs = clock.now() - 4_000;
      const onHand = async (sku: string): Promise<number> => {
        const balances = (await ledger.balances(sku))?.get("main");
        return balances ? onHandUnits(balances) : 0;
      };
      const rows = await Promise.all(
        SKUS.map(async (sku, i) => [sku, "main", (await onHand(sku)) - (i === 0 ? lostUnits : 0)] as const),
      );
      const name = `r${reports++}-${asOfMs}`;
      const outcome = await sendPart(engine.reconciliation.snapshots, { id: name, asOfMs, rows: rows.length }, rows);
      expect(outcome).toMatchObject({ outcome: "complete" });
    },
  };
}

const stateOf = ({ engine }: Shop) =>
  engine.reconciliation.consistencyView.breakers().map(({ scope, state }) => `${scope} ${state}`);
const history = ({ engine }: Shop) =>
  engine.reconciliation.consistencyView.history().map(({ kind, by }) => `${kind} by ${by}`);

describe.each([1, 4])("with %i partitions", (partitions) => {
  it("opens above the threshold, refuses every order from then on, and closes when compared again", async () => {
    const shop = await openShop(partitions);
    const { engine, clock, order, report } = shop;
    const { ledger } = engine.stock;
    const line = { id: chainId("S1", clock.now()), sku: "SKU-1", location: "main", units: 1 };
    const paidLine = { ...line, id: chainId("S1", clock.now()) };
    for (const each of [line, paidLine])
      expect((await ledger.apply({ kind: "reserve", ...each })).outcome).toBe("accepted");
    await report(0);
    await expect.poll(() => engine.reconciliation.consistencyView.last?.pairs[0]?.share, patience).toBe(0);
    expect(await order("SKU-2")).toBe("accepted");

    // Clients that never pause, while the breaker opens.
    let isOpen = false;
    let isOver = false;
    const outcomes = new Set<string>();
    const late: string[] = [];
    const clients = Array.from({ length: CLIENTS }, async (_, i) => {
      while (!isOver) {
        const hadOpened = isOpen;
        const outcome = await order(SKUS[i % SKUS.length] as string);
        outcomes.add(outcome);
        if (hadOpened && outcome !== "breaker_open") late.push(outcome);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    await report(60);
    await expect.poll(async () => (await ledger.openBreakers()).length, patience).toBe(1);
    isOpen = true;
    await expect.poll(() => stateOf(shop), patience).toEqual(["shop open"]);
    expect((await ledger.apply({ kind: "pay", ...paidLine })).outcome).toBe("accepted");
    expect((await ledger.apply({ kind: "outbound", ...paidLine })).outcome).toBe("accepted");
    expect((await ledger.apply({ kind: "cancel", ...line })).outcome).toBe("accepted");
    isOver = true;
    await Promise.all(clients);
    expect(late).toEqual([]);
    expect([...outcomes].sort()).toEqual(["accepted", "breaker_open"]);
    const [breaker] = await ledger.openBreakers();
    expect(breaker).toMatchObject({
      ...{ scope: { kind: "shop" }, state: "open", actor: "engine", atEnd: "half_open" },
      evidence: { pair: ["wms", "ledger"], threshold: 0.005, skus: ["SKU-0"] },
    });
    expect(breaker?.reason).toMatch(/^wms and ledger differ by 0\.\d+ %, more than 0\.5 %, most in SKU-0$/);

    await report(0);
    clock.leap(10 * MINUTE_MS);
    await expect.poll(() => order("SKU-2"), patience).toBe("accepted");
    await expect
      .poll(() => history(shop), patience)
      .toEqual([...["closed by engine", "half_opened by engine", "opened by engine"]]);
    expect(await ledger.openBreakers()).toEqual([]);
  });
});

describe("the breaker", () => {
  it("only records in a dry run that it would have opened", async () => {
    const shop = await openShop(4, { mode: "dry-run" });
    await shop.report(60);
    await expect.poll(() => history(shop), patience).toEqual(["would_have_opened by engine"]);
    expect(shop.engine.reconciliation.consistencyView.wouldBeOpen()).toEqual(["shop"]);
    expect(await shop.order("SKU-1")).toBe("accepted");
    expect(await shop.engine.stock.ledger.openBreakers()).toEqual([]);
  });

  it("that an operator closes stays closed until a newer snapshot disagrees", async () => {
    const shop = await openShop(4);
    const { ledger } = shop.engine.stock;
    await shop.report(60);
    await expect.poll(() => stateOf(shop), patience).toEqual(["shop open"]);
    await ledger.breakers.set({ kind: "shop" }, "close", { actor: "li.wei", reason: "counted" });
    await expect.poll(() => history(shop)[0], patience).toBe("closed by operator");
    const before = shop.engine.reconciliation.consistencyView.counts.comparisons;
    await shop.engine.reconciliation.requestComparison("li.wei");
    await expect
      .poll(() => shop.engine.reconciliation.consistencyView.counts.comparisons, patience)
      .toBeGreaterThan(before);
    expect(await ledger.openBreakers()).toEqual([]);
    await shop.report(60);
    await expect.poll(() => stateOf(shop), patience).toEqual(["shop open"]);
  });

  it("is decided by the comparison of a day although no process ran at its time, and stays open for a new owner", async () => {
    const compareAt = new Date(systemClock.now() + 30 * MINUTE_MS).toISOString().slice(11, 16);
    const shop = await openShop(4, { compareAt });
    await shop.report(60);
    await expect.poll(() => stateOf(shop), patience).toEqual(["shop open"]);
    expect(shop.engine.reconciliation.consistencyView.last?.cause).toBe("snapshot");
    const { prefix } = shop.engine.settings;
    await engines.stop();
    const later = await openShop(4, { compareAt }, { prefix, laterMs: 60 * MINUTE_MS });
    const causes = async () => (await later.engine.reconciliation.comparisons.list(10)).map(({ cause }) => cause);
    await expect.poll(causes, patience).toContain("schedule");
    await expect
      .poll(() => history(later), patience)
      .toEqual([...["opened by engine", "half_opened by engine", "opened by engine"]]);
    expect(await later.order("SKU-1")).toBe("breaker_open");
  });
});
