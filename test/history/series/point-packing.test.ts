/** Packed points: what was packed comes back, and damaged bytes are never points that were not packed. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PackedPoint, packPoints, unpackPoints } from "../../../engine/history/series/point-packing.js";

const SIZE = 60;
const number = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 52 - 1 }));
const point = fc.record(
  { index: fc.integer({ min: 0, max: SIZE - 1 }), value: number, stock: number },
  { requiredKeys: ["index"] },
);
const points = fc
  .uniqueArray(point, { selector: ({ index }) => index, maxLength: SIZE })
  .map((list) => list.sort((a, b) => a.index - b.index));

describe("packed points", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(points, (given) => {
        expect(unpackPoints(packPoints(given), SIZE)).toEqual(given);
      }),
    );
  });

  it("take 3 to 5 bytes for a busy minute", () => {
    const busy: PackedPoint[] = Array.from({ length: SIZE }, (_, index) => ({
      ...{ index, value: 3 + (index % 9), stock: 20_000 - 7 * index },
    }));
    expect(packPoints(busy).length).toBeLessThanOrEqual(3 * SIZE + 5);
  });

  it("are never more points than the stretch has, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const found = unpackPoints(bytes, SIZE);
        for (const { index, value = 0 } of found ?? []) {
          expect(index).toBeLessThan(SIZE);
          expect(Number.isSafeInteger(value)).toBe(true);
        }
      }),
    );
  });

  it("are undefined when the bytes end within a point", () => {
    const bytes = packPoints([{ index: 3, value: 1_000, stock: 70_000 }]);
    for (let length = 1; length < bytes.length; length++)
      expect(unpackPoints(bytes.subarray(0, length), SIZE)).toBeUndefined();
  });
});
