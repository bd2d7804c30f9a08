/** The stored form of rows: what is read is what was added, and equal rows give equal bytes. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../engine/kernel/random.js";
import type { Movement } from "../../../engine/reconciliation/model.js";
import {
  MovementChunkBuilder,
  movementsOf,
  SnapshotChunkBuilder,
  snapshotRowsOf,
  stored,
} from "../../../engine/reconciliation/reports/packed-rows.js";

const LOCATIONS = ["main", "W-1", "W-2", "hk.01"];

function randomRows(seed: number, count: number): [sku: string, location: string, units: number][] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => [
    random.pick(["TEA-", "茶-", "x"]) + random.below(50),
    random.pick(LOCATIONS),
    random.pick([0, 1, 127, 128, random.below(1_000_000_000)]),
  ]);
}

const packed = (rows: readonly (readonly [string, string, number])[]): Buffer => {
  const builder = new SnapshotChunkBuilder();
  for (const [sku, location, units] of rows) builder.add(sku, location, units);
  return Buffer.from(builder.take());
};

describe("a chunk of a snapshot", () => {
  it("has the rows that were added, in their order", () => {
    for (const seed of [1, 2, 3]) {
      const rows = randomRows(seed, 700);
      const { skus, locations, units } = snapshotRowsOf(stored(packed(rows)));
      expect(skus.map((sku, i) => [sku, locations[i], units[i]])).toEqual(rows);
    }
  });

  it("has the same bytes for the same rows, and others for another order", () => {
    const rows = randomRows(4, 100);
    expect(packed(rows)).toEqual(packed(rows));
    expect(packed(rows)).not.toEqual(packed([...rows].reverse()));
  });

  it("starts empty after its rows were taken", () => {
    const builder = new SnapshotChunkBuilder();
    builder.add("A", "main", 1);
    builder.take();
    builder.add("B", "other", 2);
    expect(snapshotRowsOf(stored(builder.take()))).toEqual({ skus: ["B"], locations: ["other"], units: [2] });
  });

  it("is refused when it is damaged or of another version", () => {
    const whole = stored(packed(randomRows(5, 100)));
    expect(() => snapshotRowsOf(whole.subarray(0, whole.length - 9))).toThrow("cannot be read");
    expect(() => snapshotRowsOf(Buffer.concat([Buffer.of(9), whole.subarray(1)]))).toThrow("cannot be read");
  });
});

describe("a chunk of movements", () => {
  it("has the movements that were added, in their order", () => {
    const random = seededRandom(6);
    const movements = randomRows(6, 500).map(
      ([sku, location, units], i): Movement => ({
        id: `m-${i}`,
        sku,
        location,
        units: i % 3 === 0 ? -units || -1 : units,
        atMs: 1_790_000_000_000 + random.below(60_000) - 30_000,
      }),
    );
    const builder = new MovementChunkBuilder();
    for (const movement of movements) builder.add(movement);
    expect(movementsOf(stored(builder.take()))).toEqual(movements);
  });
});
