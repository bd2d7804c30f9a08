/**
 * The replay in small, with its real processes: 300 orders in a few seconds, in the old system (as it was) and in this
 * one (as it is). In the old system the rush overflows a queue that is as small as the replay, and orders are lost; in
 * this one every order is at the warehouse once, although it is down for a while. Only counts are checked, never times.
 * `npm test` builds before it runs this.
 */
import { expect, it } from "vitest";
import { asItIs } from "../../bench/618/as-it-is.js";
import { asItWas, type HourSettings } from "../../bench/618/as-it-was.js";

const ORDERS = 300;
const HOUR: HourSettings = {
  // The rush and the old storefront's last tries are over after 2.5 s; the rest of the hour takes a second.
  pace: { realMs: 2_600, factor: 3_600 },
  orders: ORDERS,
  signal: new AbortController().signal,
  onProgress: () => {},
  code: new URL("../../dist/bench/618/", import.meta.url),
};

it("loses orders in the old system", async () => {
  const { orders, atWms, lost, ends, wms } = await asItWas(HOUR);
  expect(orders).toBe(ORDERS);
  expect(ends).toEqual({ done: ORDERS });
  expect(atWms + lost).toBe(ORDERS);
  expect(lost).toBeGreaterThan(0);
  expect(wms.unavailable).toBeGreaterThan(lost);
}, 120_000);

it("sends every order to the warehouse once in this system, although the warehouse is down from minute 5 to 20", async () => {
  const { orders, atWms, lost, duplicates, maxPerSecond, ends } = await asItIs(
    { ...HOUR, pace: { realMs: 600, factor: 1_800 } },
    [5 * 60_000, 20 * 60_000],
  );
  expect({ orders, atWms, lost, duplicates }).toEqual({ orders: ORDERS, atWms: ORDERS, lost: 0, duplicates: 0 });
  expect(ends).toEqual({ done: ORDERS });
  expect(maxPerSecond).toBeLessThanOrEqual(5_000);
}, 120_000);
