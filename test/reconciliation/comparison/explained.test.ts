/** Which gaps events around an instant explain, compared with all subsets of these events. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../engine/kernel/random.js";
import {
  type DisplayBase,
  NO_REACH,
  type Reach,
  reachOf,
  unexplainedUnits,
  withOrWithout,
} from "../../../engine/reconciliation/comparison/explained.js";
import { MEASURES, type Measure } from "../../../engine/reconciliation/model.js";
import { displayUnits } from "../../../engine/stock/model.js";

const SEED = Number(process.env["SHUIWEI_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const random = seededRandom(SEED);
const NO_BASE: DisplayBase = { sellable: 0, reserved: 0, coefficient: undefined };
/** Events that change units on hand only. */
const onHand = (...units: number[]): number[] => units.flatMap((each) => [0, 0, each]);

/** The numbers of all subsets, one by one. */
function allOf(effects: readonly number[], measure: Measure, base: DisplayBase): Set<number> {
  const found = new Set<number>();
  const events = effects.length / 3;
  for (let subset = 0; subset < 2 ** events; subset++) {
    let [sellable, reserved, units] = [0, 0, 0];
    for (let i = 0; i < events; i++) {
      if ((subset & (1 << i)) === 0) continue;
      sellable += effects[3 * i] as number;
      reserved += effects[3 * i + 1] as number;
      units += effects[3 * i + 2] as number;
    }
    const shown = (x: number, y: number) => displayUnits(base.sellable + x, base.reserved + y, base.coefficient);
    if (measure === "on_hand") found.add(units);
    else found.add(measure === "sellable" ? sellable : shown(sellable, reserved) - shown(0, 0));
  }
  return found;
}

describe("what events around an instant explain", () => {
  it("is a gap to which some of them add up, in whatever order the source has booked them", () => {
    const reach = reachOf(onHand(-5, 3, 20), "on_hand", NO_BASE);
    for (const gap of [-5, 3, -2, 20, 15, 23, 18]) expect(unexplainedUnits(gap, reach, NO_REACH)).toBe(0);
  });

  it("may be units that settled a difference, with the events or without them", () => {
    const reach = withOrWithout(reachOf(onHand(-5), "on_hand", NO_BASE), -3);
    for (const gap of [0, 3, -5, -2]) expect(unexplainedUnits(gap, reach, NO_REACH)).toBe(0);
    expect(unexplainedUnits(-3, reach, NO_REACH)).toBe(1);
    expect(withOrWithout({ low: -9, high: 9, values: undefined }, 4)).toEqual({ low: -13, high: 9, values: undefined });
  });

  it("is as much of a gap as some of them come to, when none of them add up to it", () => {
    const reach = reachOf(onHand(-5, 3), "on_hand", NO_BASE);
    expect(unexplainedUnits(1, reach, NO_REACH)).toBe(1);
    expect(unexplainedUnits(5, reach, NO_REACH)).toBe(2);
    expect(unexplainedUnits(-40, reach, NO_REACH)).toBe(35);
    expect(unexplainedUnits(40, NO_REACH, NO_REACH)).toBe(40);
  });

  it("equals the search through all subsets, of one source and of two", () => {
    const draw = (): { effects: number[]; measure: Measure; base: DisplayBase } => ({
      effects: Array.from({ length: 3 * random.below(7) }, () => random.below(9) - 4),
      measure: random.pick(MEASURES),
      base: {
        sellable: random.below(20),
        reserved: random.below(20),
        coefficient: [undefined, 0, 0.5, 1][random.below(4)],
      },
    });
    for (let round = 0; round < 1_500; round++) {
      const [a, b] = [draw(), draw()];
      const [reachA, reachB] = [a, b].map(({ effects, measure, base }) => reachOf(effects, measure, base)) as Reach[];
      const [allA, allB] = [a, b].map(({ effects, measure, base }) => allOf(effects, measure, base)) as Set<number>[];
      expect(reachA?.values, `SHUIWEI_SEED=${SEED}`).toEqual([...(allA as Set<number>)].sort((x, y) => x - y));
      const gap = random.below(61) - 30;
      let least = Number.POSITIVE_INFINITY;
      for (const x of allA as Set<number>)
        for (const y of allB as Set<number>) least = Math.min(least, Math.abs(gap - (x - y)));
      const found = unexplainedUnits(gap, reachA as Reach, reachB as Reach);
      expect(found, `SHUIWEI_SEED=${SEED}`).toBe(least);
    }
  });

  it("is counted exactly of ten thousand events of a busy SKU", () => {
    const effects = Array.from({ length: 10_000 }, () => onHand(-random.pick([2, 4]))).flat();
    const { low, high, values } = reachOf(effects, "on_hand", NO_BASE);
    expect(high).toBe(0);
    expect(values).toHaveLength(-low / 2 + 1);
  });

  it("is everything between the extremes when there are too many sums to count, and never less than the true one", () => {
    const effects = [...onHand(-(2 ** 40), 7, 11), 3, 2 ** 30, -1];
    const reach = reachOf(effects, "on_hand", NO_BASE);
    expect(reach).toEqual({ low: -(2 ** 40) - 1, high: 18, values: undefined });
    expect(unexplainedUnits(9, reach, NO_REACH)).toBe(0);
    expect(unexplainedUnits(20, reach, NO_REACH)).toBe(2);
    const display = reachOf([2 ** 30, -(2 ** 30), 0, -3, 5, 2], "display", {
      ...NO_BASE,
      sellable: 9,
      reserved: 2 ** 31,
    });
    for (const value of allOf([2 ** 30, -(2 ** 30), 0, -3, 5, 2], "display", {
      ...NO_BASE,
      sellable: 9,
      reserved: 2 ** 31,
    }))
      expect(unexplainedUnits(value, display, NO_REACH)).toBe(0);
  });
});
