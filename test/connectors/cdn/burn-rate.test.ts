/** Burn rates over several windows, by a clock that the test moves. */
import { expect, it } from "vitest";
import { BurnRate } from "../../../connectors/cdn/probe/burn-rate.js";
import { HOUR_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";

const EVERY_MS = 5_000;
const START_MS = 1_796_112_000_000;
/** Of a thousand bodies, one may be late. */
const budget = () => new BurnRate(0.999, EVERY_MS);

function bad(burn: BurnRate, fromMs: number, count: number, everyMs = EVERY_MS): number {
  for (let i = 0; i < count; i++) burn.recordBad(fromMs + i * everyMs);
  return fromMs + (count - 1) * everyMs;
}

it("a rate of 1 spends exactly the budget", () => {
  const burn = budget();
  // 4,320 readings in 6 h, of which 4.32 may be late.
  const nowMs = bad(burn, START_MS, 4, HOUR_MS);
  expect(burn.rate("6h", nowMs)).toBeCloseTo(4 / 4.32);
  expect(burn.rate("1h", nowMs)).toBeCloseTo(2 / 0.72);
  expect(burn.rate("5m", nowMs)).toBeCloseTo(1 / 0.06);
});

it("one bad reading after a start is not a fault, and eleven in a row are", () => {
  const burn = budget();
  expect(burn.burning(bad(burn, START_MS, 1))).toBeUndefined();
  expect(burn.burning(bad(burn, START_MS, 10))).toMatchObject({ window: "1h" });
});

it("it ends when the short window is good again, although the long one is not", () => {
  const burn = budget();
  const nowMs = bad(burn, START_MS, 20);
  expect(burn.burning(nowMs + 4 * MINUTE_MS)).toMatchObject({ window: "1h", rate: expect.closeTo(20 / 0.72, 5) });
  expect(burn.burning(nowMs + 7 * MINUTE_MS)).toBeUndefined();
  expect(burn.rate("1h", nowMs + 7 * MINUTE_MS)).toBeGreaterThan(14.4);
});

it("few bad readings for hours burn in the long window", () => {
  const burn = budget();
  // One in ten minutes: 0.8 % of the readings.
  const nowMs = bad(burn, START_MS, 36, 10 * MINUTE_MS);
  expect(burn.burning(nowMs)).toMatchObject({ window: "6h" });
});

it("what is older than a window does not count, after a pause of any length", () => {
  for (const pauseMs of [6.1 * HOUR_MS, 100 * HOUR_MS]) {
    const burn = budget();
    const nowMs = bad(burn, START_MS, 100) + pauseMs;
    for (const window of ["5m", "30m", "1h", "6h"] as const) expect(burn.rate(window, nowMs)).toBe(0);
  }
});
