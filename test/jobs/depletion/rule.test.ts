/** R8 and R10 as formulas: what fires, what stays, and what a day's average is, at their borders. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dailyAverageOf, fires, stays } from "../../../engine/jobs/depletion/rule.js";

describe("an alert", () => {
  it("fires above three daily averages, and not at them", () => {
    expect(fires(60, 20)).toBe(false);
    expect(fires(61, 20)).toBe(true);
  });

  it("fires at 50 units, and not below, however small the average", () => {
    expect(fires(49, 0)).toBe(false);
    expect(fires(50, 0)).toBe(true);
  });

  it("stays above 2.4 daily averages and at 40 units", () => {
    expect(stays(48, 20)).toBe(false);
    expect(stays(49, 20)).toBe(true);
    expect(stays(39, 0)).toBe(false);
    expect(stays(40, 0)).toBe(true);
  });

  it("uses 100 and 80 units in cold start, whatever the settings", () => {
    const rule = { factor: 0.1, floorUnits: 1 };
    expect([99, 100].map((units) => fires(units, undefined, rule))).toEqual([false, true]);
    expect([79, 80].map((units) => stays(units, undefined, rule))).toEqual([false, true]);
  });

  it("uses a SKU's own factor and floor", () => {
    const rule = { factor: 2, floorUnits: 10 };
    expect([20, 21].map((units) => fires(units, 10, rule))).toEqual([false, true]);
    expect([16, 17].map((units) => stays(units, 10, rule))).toEqual([false, true]);
    expect([9, 10].map((units) => fires(units, 1, rule))).toEqual([false, true]);
    expect([7, 8].map((units) => stays(units, 1, rule))).toEqual([false, true]);
  });

  it("is decided as exact fractions would decide it, at the border, too", () => {
    const tenths = fc.integer({ min: 1, max: 100 });
    const span = fc.integer({ min: 1, max: 7 });
    fc.assert(
      fc.property(
        tenths,
        span,
        fc.integer({ min: 0, max: 20_000 }),
        fc.integer({ min: -1, max: 1 }),
        (tenths, span, sum, beside) => {
          const rule = { factor: tenths / 10, floorUnits: 0 };
          const border = Math.floor((tenths * sum) / (10 * span)) + beside;
          expect(fires(border, sum / span, rule)).toBe(border >= 0 && border * 10 * span > tenths * sum);
          const low = Math.floor((tenths * 8 * sum) / (100 * span)) + beside;
          expect(stays(low, sum / span, rule)).toBe(low >= 0 && low * 100 * span > tenths * 8 * sum);
        },
      ),
      { numRuns: 5_000 },
    );
    expect(fires(7, 70 / 3, { factor: 0.3, floorUnits: 1 })).toBe(false);
  });

  it("that fires would also stay: it cannot alternate", () => {
    const average = fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined });
    fc.assert(
      fc.property(
        fc.nat(1_000_000),
        average,
        fc.integer({ min: 1, max: 99 }),
        fc.nat(500),
        (units, average, tenths, floorUnits) => {
          const rule = { factor: tenths / 10, floorUnits };
          if (fires(units, average, rule)) expect(stays(units, average, rule)).toBe(true);
        },
      ),
    );
  });
});

describe("the daily average", () => {
  it("is that of the last 7 complete days; today does not count", () => {
    const days = [92, 1_000, 93, 7, 95, 14, 99, 21, 100, 5_000];
    expect(dailyAverageOf(days, 50, 100)).toBe(6);
  });

  it("counts days without trade", () => {
    expect(dailyAverageOf([93, 70], 90, 100)).toBe(10);
    expect(dailyAverageOf([], 90, 100)).toBe(0);
  });

  it("uses the days there are while a SKU is new", () => {
    expect(dailyAverageOf([97, 30, 99, 6, 100, 9], 97, 100)).toBe(12);
    expect(dailyAverageOf([99, 6, 100, 9], 99, 100)).toBe(6);
    expect(dailyAverageOf([93, 70], 93, 100)).toBe(10);
    expect(dailyAverageOf([94, 60], 94, 100)).toBe(10);
  });

  it("is undefined before the first complete day", () => {
    expect(dailyAverageOf([100, 9], 100, 100)).toBeUndefined();
    expect(dailyAverageOf([101, 9], 101, 100)).toBeUndefined();
  });
});
