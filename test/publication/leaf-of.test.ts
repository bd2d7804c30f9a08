/**
 * Where SKUs are in a publication: the values that other implementations of the leaf function must also give, and how
 * evenly SKUs are spread. The values were computed with arbitrary-precision integers.
 */
import { describe, expect, it } from "vitest";
import { indexOfLeaf, leafOf, leafOfBytes } from "../../engine/publication/leaf-of.js";
import vectors from "./leaf-vectors.json" with { type: "json" };

describe("the leaf of a SKU", () => {
  it.each(vectors)("of $sku among $leaves is $leaf", ({ sku, leaves, indexes, leaf, index }) => {
    expect(leafOf(sku, leaves)).toBe(leaf);
    expect(leafOfBytes(new TextEncoder().encode(sku), leaves)).toBe(leaf);
    expect(indexOfLeaf(leaf, { leaves, indexes })).toBe(index);
  });

  it("spreads numbered SKUs so that no leaf has twice the average", () => {
    const leaves = 256;
    const sizes = new Array<number>(leaves).fill(0);
    for (let i = 0; i < leaves * 200; i++) {
      const leaf = leafOf(`SKU-${String(i).padStart(6, "0")}`, leaves);
      sizes[leaf] = (sizes[leaf] ?? 0) + 1;
    }
    expect(Math.max(...sizes)).toBeLessThan(400);
    expect(Math.min(...sizes)).toBeGreaterThan(100);
  });
});
