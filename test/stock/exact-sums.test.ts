/** Sums that pass what a number holds exactly on the way, and end where they should. */
import { expect, it } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import { ExactSums } from "../../engine/stock/exact-sums.js";

it("sums of whole units are exact when they end within what a number holds, whatever is between", () => {
  const random = seededRandom(618);
  for (let round = 0; round < 200; round++) {
    const sums = new ExactSums<string>();
    let [value, exact] = [0, 0n];
    const add = (units: number) => {
      value = sums.add("a cell", value, units);
      exact += BigInt(units);
    };
    for (let i = 0; i < 40; i++) add(Math.floor((random.next() - 0.5) * 2 ** (20 + random.below(33))));
    const high = 2n ** 53n - 1n;
    while (exact > high || exact < 0n) {
      const back = exact > high ? -Number.MAX_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
      add(back);
    }
    for (const [place, units] of sums.rest()) if (place === "a cell") value += units;
    expect(value).toBe(Number(exact));
  }
});
