/** Which sums a set of choices makes, compared with trying all of them. */
import { expect, it } from "vitest";
import { seededRandom } from "../../../engine/kernel/random.js";
import { PossibleSums } from "../../../engine/reconciliation/localisation/booking-window.js";

const SEED = Number(process.env["SHUIWEI_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const random = seededRandom(SEED);
const whole = (from: number, to: number): number => from + random.below(to - from + 1);

it(`computes exactly which sums are possible, whether few, many or far apart (SHUIWEI_SEED=${SEED})`, () => {
  for (let round = 0; round < 200; round++) {
    const greatest = [3, 50, 1_000_000][round % 3] as number;
    // 3^7 are below the bound of sums that are distinguished, however far apart they are.
    const choices = Array.from({ length: whole(0, 7) }, () =>
      Array.from({ length: whole(1, 3) }, () => whole(-greatest, greatest)),
    );
    const sums = new PossibleSums();
    let all = new Set([0]);
    for (const values of choices) {
      sums.add(values);
      all = new Set([...all].flatMap((sum) => values.map((value) => sum + value)));
    }
    for (const sum of all) {
      expect(sums.has(sum)).toBe(true);
      for (const near of [sum - 1, sum + 1]) expect(sums.has(near)).toBe(all.has(near));
    }
    expect(new Set(sums.list(64))).toEqual(all.size <= 64 ? all : new Set());
  }
});

it("never denies a sum that is possible, however many there are", () => {
  const sums = new PossibleSums();
  let sum = 0;
  for (let i = 0; i < 400; i++) {
    const units = whole(-1_000_000, 1_000_000);
    sums.add([0, units]);
    if (i % 3 === 0) sum += units;
  }
  expect(sums.has(sum)).toBe(true);
});
