/**
 * The demo shop's goods: how many, how named, how popular, and what of each lies where. Pure and quick.
 */
import { describe, expect, it } from "vitest";
import { makeCatalogue, WAREHOUSES } from "../../../connectors/demo-shop/catalogue.js";

describe("the demo shop's catalogue", () => {
  const catalogue = makeCatalogue(618);

  it("has 2,000 SKUs with different codes, and different names in both languages", () => {
    expect(catalogue.skus).toHaveLength(2_000);
    expect(catalogue.skus.every((sku) => /^[A-Z]{3}-\d{4}$/.test(sku.code))).toBe(true);
    for (const names of [
      catalogue.skus.map((sku) => sku.code),
      catalogue.skus.map((sku) => sku.name.zh),
      catalogue.skus.map((sku) => sku.name.en),
    ]) {
      expect(new Set(names).size).toBe(2_000);
    }
  });

  it("is the same for the same seed, and differs between seeds", () => {
    const text = (seed: number) => JSON.stringify(makeCatalogue(seed));
    expect(text(618) === JSON.stringify(catalogue)).toBe(true);
    expect(text(619) === JSON.stringify(catalogue)).toBe(false);
  });

  it("has a heavy tail: a tenth of the SKUs sells about half, and each sells something", () => {
    const shares = catalogue.skus.map((sku) => sku.share).sort((a, b) => b - a);
    const tenth = shares.slice(0, 200).reduce((sum, share) => sum + share, 0);
    expect(tenth).toBeGreaterThan(0.45);
    expect(tenth).toBeLessThan(0.7);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(new Set(catalogue.popularity).size).toBe(2_000);
  });

  it("has sellable and safety stock of every SKU in every warehouse, and presale of a few", () => {
    const cells = catalogue.skus.flatMap((sku) => sku.cells);
    const locations = new Set(catalogue.skus.map((sku) => sku.cells.map((cell) => cell.location).join()));
    expect([...locations]).toEqual([WAREHOUSES.map((warehouse) => warehouse.location).join()]);
    expect(cells.every((cell) => cell.sellableUnits > 0 && cell.safetyUnits > 0 && cell.presaleUnits >= 0)).toBe(true);
    expect(catalogue.skus.filter((sku) => sku.cells.some((cell) => cell.presaleUnits > 0))).toHaveLength(24);
  });

  it("promotes every SKU at most once, at minutes throughout the rush hour", () => {
    const { promotions } = catalogue;
    expect(new Set(promotions.map((promotion) => promotion.sku)).size).toBe(promotions.length);
    for (const quarter of [0, 15, 30, 45]) {
      expect(promotions.some(({ startMinute }) => startMinute >= quarter && startMinute < quarter + 15)).toBe(true);
    }
  });
});
