/**
 * Where a key lives: the same place for good, spread evenly. The expected places are constants, because stored data
 * depends on them.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { orderKeys, partitionKeys, stockKeys } from "../../engine/stream/keys.js";
import { partitionOf } from "../../engine/stream/partition.js";

/** FNV-1a over UTF-16 units in BigInt: the definition, written once more. */
function fnv1a(text: string): bigint {
  let hash = 0x811c9dc5n;
  for (let i = 0; i < text.length; i++) hash = ((hash ^ BigInt(text.charCodeAt(i))) * 0x01000193n) & 0xffffffffn;
  return hash;
}

describe("the partition of a key", () => {
  it("is FNV-1a modulo the number of partitions, for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 256 }), (key, partitions) => {
        expect(partitionOf(key, partitions)).toBe(Number(fnv1a(key) % BigInt(partitions)));
      }),
    );
  });

  it("is still the one under which data was stored", () => {
    expect(["", "a", "85123A", "水位"].map((key) => partitionOf(key, 16))).toEqual([
      5,
      12,
      Number(fnv1a("85123A") % 16n),
      Number(fnv1a("水位") % 16n),
    ]);
  });

  it("spreads like names over all partitions evenly enough", () => {
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i++) (counts[partitionOf(`SKU-${i}`, 16)] as number)++;
    for (const count of counts) expect(count).toBeGreaterThan(700);
    for (const count of counts) expect(count).toBeLessThan(1_300);
  });
});

describe("the keys of a partition", () => {
  it("share one hash tag, and differ from every other key", () => {
    const stock = stockKeys("shop", 7);
    const names = [
      ...Object.values(stock).filter((value) => typeof value === "string"),
      stock.state("a.1"),
      stock.state("b.1"),
      stock.lines(1),
      orderKeys("shop", 7).orders(1),
      ...Object.values(partitionKeys("shop", "stock", 8)).filter((value) => typeof value === "string"),
      ...Object.values(partitionKeys("other", "stock", 7)).filter((value) => typeof value === "string"),
    ];
    expect(new Set(names).size).toBe(names.length);
    for (const value of Object.values(stock)) if (typeof value === "string") expect(value).toContain("{stock:07}");
  });
});
