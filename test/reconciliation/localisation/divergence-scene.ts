/** Short ways to write events of one SKU and what a source reports of it, for the tests of where two sides part. */
import type { BookableEvent } from "../../../engine/reconciliation/localisation/divergence-cause.js";
import type { Observation } from "../../../engine/reconciliation/localisation/gap-search.js";
import type { Movement } from "../../../engine/reconciliation/model.js";

/** Seconds after the scene's start. */
export const SECOND = 1_000;
export const WINDOW_MS = 2 * SECOND;

let offset = 0;

/** An event that takes units out of a location (negative) or brings them in. */
export function event(atS: number, units: number, location = "SH", id = `E-${atS}`): BookableEvent {
  const atMs = atS * SECOND;
  return {
    event: {
      type: units < 0 ? "LineOutbound" : "StockReceived",
      ...{ offset: ++offset, index: 1, id, sku: "CUP", location, units: Math.abs(units), atMs, clockMs: atMs },
      from: units < 0 ? "committed" : "outside",
      to: units < 0 ? "outside" : "sellable",
    },
    effects: new Map([[location, units]]),
  };
}

/** An event that moves units from SH to GZ. */
export function move(atS: number, units: number): BookableEvent {
  const moved = event(atS, -units);
  return {
    event: { ...moved.event, type: "StockMoved", from: "sellable", to: "sellable", toLocation: "GZ" },
    effects: new Map([
      ["SH", -units],
      ["GZ", units],
    ]),
  };
}

/** A snapshot: by how many units the source has more than the ledger. */
export const observation = (atS: number, gaps: Record<string, number>): Observation => ({
  snapshotId: `at-${atS}`,
  asOfMs: atS * SECOND,
  gaps: new Map(Object.entries(gaps)),
});

export const movement = (atS: number, units: number, location = "SH", id = `M-${atS}`): Movement => ({
  ...{ id, sku: "CUP", location, units },
  atMs: atS * SECOND,
});
