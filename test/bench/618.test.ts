/** The hour's orders, its clock and its outcome, without a process or a network. */
import { describe, expect, it } from "vitest";
import { clockOf } from "../../bench/618/as-it-was.js";
import { ADDRESS_CHARACTERS, INCIDENT_ORDERS, ordersOf } from "../../bench/618/orders.js";
import { type HourOutcome, outcomeOf, percentile, spanOf } from "../../bench/618/outcome.js";
import { pictureOf } from "../../bench/618/picture.js";
import { HOUR_MS, ShopHour } from "../../bench/618/shop-hour.js";
import { tableOf } from "../../bench/618/table.js";
import { freeTextOf } from "../../connectors/wms/sandbox/parser.js";
import { chainIdFault } from "../../engine/kernel/chain-id.js";

const START_MS = Date.UTC(2026, 5, 17, 16);

describe("the hour's orders", () => {
  const orders = ordersOf(START_MS);

  it("are as many as on 18 June, all different, the same for a seed", () => {
    expect(orders).toHaveLength(INCIDENT_ORDERS);
    expect(new Set(orders.map(({ id }) => id)).size).toBe(INCIDENT_ORDERS);
    expect(orders.every(({ id }) => chainIdFault(id) === undefined)).toBe(true);
    expect(ordersOf(START_MS, 500)).toEqual(ordersOf(START_MS, 500));
    expect(ordersOf(START_MS, 500, 1)).not.toEqual(ordersOf(START_MS, 500));
  });

  it("come fastest in the first seconds, and until the end faster than the old system could process them", () => {
    const within = (from: number, to: number) =>
      orders.filter(({ placedMs }) => placedMs >= from && placedMs < to).length;
    expect(within(0, 10_000)).toBeGreaterThan(4_000);
    expect(within(10_000, 20_000)).toBeLessThan(within(0, 10_000) / 2);
    for (let minute = 17; minute < 60; minute++)
      expect(within(minute * 60_000, (minute + 1) * 60_000)).toBeGreaterThan(1.25 * 60);
    expect(within(0, HOUR_MS)).toBe(INCIDENT_ORDERS);
  });

  it("have the incident's address, all of it free text for the WMS", () => {
    for (const { shipTo } of orders.slice(0, 100)) {
      expect(shipTo.address).toHaveLength(ADDRESS_CHARACTERS);
      expect(freeTextOf({ buyer_full_address_detail: shipTo.address, name: shipTo.name })).toBe(ADDRESS_CHARACTERS);
    }
  });
});

describe("the hour's clock", () => {
  it("runs at real speed first and then accelerated, and converts both ways across the change", () => {
    const hour = new ShopHour({ realMs: 30_000, factor: 60 });
    hour.begin(START_MS);
    expect(hour.shopOf(START_MS - 500)).toBe(-500);
    expect(hour.shopOf(START_MS + 30_000)).toBe(30_000);
    expect(hour.shopOf(START_MS + 31_000)).toBe(90_000);
    expect(hour.realOf(HOUR_MS)).toBe(START_MS + 30_000 + (HOUR_MS - 30_000) / 60);
    for (const shopMs of [-100, 0, 29_999, 30_000, 30_001, 1_800_000])
      expect(hour.shopOf(hour.realOf(shopMs))).toBeCloseTo(shopMs, 1);
  });

  it("formats the time of day", () => {
    expect(clockOf(-1)).toBe("00:00:00");
    expect(clockOf(3_599_999)).toBe("00:59:59");
  });
});

describe("an hour's outcome", () => {
  const hour = new ShopHour({ realMs: 30_000, factor: 60 });
  hour.begin(START_MS);
  const buyer = (id: string, placedMs: number, paidDueMs: number | null) => ({
    id,
    placedMs,
    paidDueMs,
    answeredInRealMs: paidDueMs === null ? null : 10,
    end: paidDueMs === null ? ("gave up" as const) : ("done" as const),
  });
  const buyers = {
    buyers: [buyer("A", 0, 200), buyer("B", 100, 300), buyer("C", 90_000, 90_500), buyer("D", 95_000, null)],
    requests: 9,
    requestsPerSecondMost: 5,
    answers: { 200: 7 },
    requestsBySecond: [5, 4],
    lateMsMost: 2,
    lateMsP99: 1,
  };
  const wms = {
    arrived: 4,
    arrivedPerSecondMost: 2,
    throttled: 0,
    unavailable: 0,
    rolledBack: 0,
    repeats: 0,
    cancellations: 0,
    duplicates: 1,
    orders: [
      ["A", START_MS + 250],
      ["C", hour.realOf(90_500) + 100],
    ] as [string, number][],
    arrivedBySecond: [1],
    madeBySecond: [1],
  };

  it("counts orders that arrived, were lost, and were made twice", () => {
    const outcome = outcomeOf(hour, buyers, wms, "real");
    expect(outcome).toMatchObject({
      orders: 4,
      atWms: 2,
      lost: 2,
      duplicates: 1,
      maxPerSecond: 2,
      firstAtWmsSecond: 0,
    });
    expect(outcome.ends).toEqual({ done: 3, "gave up": 1 });
    expect(outcome.series.ordersBySecond).toHaveLength(96);
  });

  it("reports the time from payment to picking in real time or in the shop's time", () => {
    expect(outcomeOf(hour, buyers, wms, "real")).toMatchObject({ paidToPickingP50Ms: 50, paidToPickingP99Ms: 100 });
    expect(outcomeOf(hour, buyers, wms, "shop").paidToPickingP99Ms).toBe(6_000);
    expect(outcomeOf(hour, buyers, wms, "real").series.paidToPicking).toEqual([
      { fromSecond: 0, toSecond: 1, p50Ms: 50, p99Ms: 50 },
      { fromSecond: 60, toSecond: 120, p50Ms: 100, p99Ms: 100 },
    ]);
  });

  it("is reported by the second in the rush and by the minute after it", () => {
    expect(spanOf(29.9)).toEqual({ fromSecond: 29, toSecond: 30 });
    expect(spanOf(30)).toEqual({ fromSecond: 30, toSecond: 60 });
    expect(spanOf(3_599)).toEqual({ fromSecond: 3_540, toSecond: 3_600 });
    expect(percentile([], 0.5)).toBeNull();
    expect(percentile([3, 1, 2, 4], 0.5)).toBe(2);
    expect(percentile([3, 1, 2, 4], 0.99)).toBe(4);
  });

  it("makes a table and a picture, also of an hour in which nothing arrived", () => {
    const outcome = outcomeOf(hour, buyers, wms, "real");
    const nothing: HourOutcome = outcomeOf(hour, buyers, { ...wms, orders: [], madeBySecond: [] }, "shop");
    const replay = { asItWas: nothing, asItIs: outcome, wmsDead: outcome };
    const table = tableOf(replay, 60, 800);
    expect(
      table
        .find((line) => line.startsWith("at the WMS"))
        ?.trim()
        .split(/\s+/)
        .slice(-3),
    ).toEqual(["0", "2", "2"]);
    expect(table.find((line) => line.startsWith("first order"))).toContain("never");
    const picture = pictureOf(replay, 60);
    expect(picture).toMatch(/^<svg [^>]+>/);
    expect(picture).not.toMatch(/NaN|undefined|Infinity/);
  });
});
