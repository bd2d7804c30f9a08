/**
 * Display stock (R5): what customers are shown.
 */
import { describe, expect, it } from "vitest";
import { displayUnits } from "../../engine/stock/model.js";
import { newId, stocked } from "./scene.js";

describe("display stock (R5)", () => {
  it("is sellable and 0.3 of what is reserved, rounded down", () => {
    expect([displayUnits(10, 0), displayUnits(10, 3), displayUnits(10, 4), displayUnits(0, 100)]).toEqual([
      10, 10, 11, 30,
    ]);
  });

  it("has no rounding error of binary fractions", () => {
    expect(displayUnits(0, 10)).toBe(3);
    for (let tens = 1; tens <= 1_000; tens++) expect(displayUnits(0, tens * 10)).toBe(tens * 3);
  });

  it("can have another coefficient for a SKU", () => {
    expect([displayUnits(5, 10, 0), displayUnits(5, 10, 0.5), displayUnits(5, 10, 1)]).toEqual([5, 10, 15]);
  });

  it("has no effect on the admission of orders", () => {
    const scene = stocked(4).line(newId(), 4);
    expect(displayUnits(scene.cell().sellable ?? 0, 4)).toBe(1);
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("insufficient_sellable");
  });
});
