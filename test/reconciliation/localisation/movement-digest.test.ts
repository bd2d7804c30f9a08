/** Digests of movements: what differs is found, whatever the order and however late. */
import { describe, expect, it } from "vitest";
import { seededRandom, shuffled } from "../../../engine/kernel/random.js";
import {
  type DigestedMovement,
  DigestTree,
  MinuteDigests,
} from "../../../engine/reconciliation/localisation/movement-digest.js";

const random = seededRandom(Number(process.env["SHUIWEI_SEED"] ?? 15));
const MINUTE_MS = 60_000;
const all: DigestedMovement[] = Array.from({ length: 5_000 }, (_, i) => ({
  id: `E-${i}`,
  sku: `SKU-${random.below(200)}`,
  location: random.pick(["SH", "GZ"]),
  units: random.pick([-3, -2, -1, 1, 2]),
  atMs: i * 1_000,
}));

function treeOf(ledger: readonly DigestedMovement[], source: readonly DigestedMovement[]): DigestTree {
  const tree = new DigestTree();
  for (const each of ledger) tree.add(1, each);
  for (const each of source) tree.add(-1, each);
  return tree;
}
const cellsOf = (tree: DigestTree, withIds = false): string[] =>
  [...tree.differing(withIds)].map(({ sku, location, digest }) => `${sku} ${location} ${digest.units}`);

describe("a roll-up of movements", () => {
  it("has no difference between the same movements in any order", () => {
    expect(cellsOf(treeOf(all, shuffled(all, random)), true)).toEqual([]);
  });

  it("names the one cell of a movement that is missing, and both of one that is misplaced", () => {
    const one = all[1_234] as DigestedMovement;
    const others = all.filter((each) => each !== one);
    expect(cellsOf(treeOf(all, others))).toEqual([`${one.sku} ${one.location} ${one.units}`]);
    const elsewhere = { ...one, location: one.location === "SH" ? "GZ" : "SH" };
    expect(cellsOf(treeOf(all, [...others, elsewhere]))).toHaveLength(2);
  });

  it("distinguishes movements with other ids only where ids are shared", () => {
    const [first, ...rest] = all as [DigestedMovement, ...DigestedMovement[]];
    const source = [{ ...first, id: "another" }, ...rest];
    expect(cellsOf(treeOf(all, source))).toEqual([]);
    expect(cellsOf(treeOf(all, source), true)).toEqual([`${first.sku} ${first.location} 0`]);
  });

  it("sees units that are exchanged between two cells, although their sum is the same", () => {
    const a = { id: "a", sku: "A", location: "SH", units: 2, atMs: 0 };
    const b = { id: "b", sku: "B", location: "SH", units: 3, atMs: 0 };
    expect(
      cellsOf(
        treeOf(
          [a, b],
          [
            { ...a, units: 3 },
            { ...b, units: 2 },
          ],
        ),
      ),
    ).toHaveLength(2);
  });
});

// minute     0     1     2     3
// ledger     | L   | L   |   L |
// source     | S   |     | S   |     one of the last two is not booked: the first minute in which that may be is named
describe("a cell by minutes", () => {
  const at = (minute: number): DigestedMovement => ({
    ...{ id: `${minute}`, sku: "A", location: "SH", units: -1 },
    atMs: minute * MINUTE_MS + 500,
  });

  it("parts where the two sides are never the same again", () => {
    const digests = new MinuteDigests();
    for (const minute of [0, 1, 2.5]) digests.add(1, at(minute));
    for (const minute of [0, 2]) digests.add(-1, at(minute));
    expect(digests.partedMs(false)).toBe(MINUTE_MS);
  });

  it("does not part for what is only late", () => {
    const digests = new MinuteDigests();
    digests.add(1, at(1));
    digests.add(-1, at(2));
    expect(digests.partedMs(false)).toBeUndefined();
  });
});
