/** Any second counts, not only those of a clock; compared with counting by hand. */
import { expect, it } from "vitest";
import { SlidingSecond } from "../../../../connectors/wms/sandbox/sliding-second.js";
import { seededRandom } from "../../../../engine/kernel/random.js";

it("counts two half seconds around a full one as one second", () => {
  const second = new SlidingSecond();
  for (let i = 0; i < 100; i++) second.add(900 + i);
  for (let i = 0; i < 100; i++) second.add(1_000 + i);
  expect(second.most).toBe(200);
  expect(second.countAt(1_899.5)).toBe(200);
  expect(second.countAt(1_900)).toBe(199);
  expect(second.countAt(2_099)).toBe(0);
});

it("agrees with counting by hand, also while it grows", () => {
  const random = seededRandom(1);
  const second = new SlidingSecond();
  const instants: number[] = [];
  let most = 0;
  for (let i = 0, nowMs = 0; i < 6_000; i++) {
    nowMs += random.next() ** 8 * 4;
    instants.push(nowMs);
    second.add(nowMs);
    const count = instants.filter((instant) => instant > nowMs - 1_000).length;
    most = Math.max(most, count);
    expect(second.countAt(nowMs)).toBe(count);
  }
  expect(second.most).toBe(most);
  expect(most).toBeGreaterThan(2_000);
});
