/**
 * Schemas of stock levels, as shown to customers, and of the ledger's balances.
 */
import { Type } from "typebox";
import { POOLS } from "../../../engine/stock/model.js";
import { Count, closed, Instant, Sku } from "./common.js";

/** `?sku=a&sku=b`: a single one is made a list before validation. */
export const StockQuery = Type.Object(
  { sku: Type.Array(Sku, { minItems: 1, maxItems: 100 }), by: Type.Optional(Type.Enum(["location"])) },
  closed,
);

/** `?sku=a&sku=b`, as above. */
export const StockStreamQuery = Type.Object({ sku: Type.Array(Sku, { minItems: 1, maxItems: 100 }) }, closed);

export const SkuStockQuery = Type.Object({ by: Type.Optional(Type.Enum(["location"])) }, closed);

const shown = {
  display: Type.Integer({
    description: "sellable + floor(coefficient × reserved) (R5); orders are not accepted by this number",
  }),
  available: Type.Boolean(),
};

const ByLocation = Type.Array(Type.Object({ location: Type.String(), ...shown }), {
  description: "with ?by=location; each location is rounded down by itself, so the sum may be less than the total",
});

const SkuStock = { sku: Type.String(), ...shown, locations: Type.Optional(ByLocation) };

export const StockAnswer = Type.Object({ ...SkuStock, asOf: Instant });

export const StockListAnswer = Type.Object({
  asOf: Type.String({ format: "date-time", description: "of the least fresh SKU" }),
  skus: Type.Array(Type.Object(SkuStock)),
  unknown: Type.Array(Type.String()),
});

const balances = { ...Object.fromEntries(POOLS.map((pool) => [pool, Count])), onHand: Count };

export const LedgerQuery = Type.Object(
  {
    at: Type.Optional(
      Type.String({
        maxLength: 40,
        description: "an instant with its offset from UTC; left out: now",
        examples: ["2026-06-18T20:00:00+08:00"],
      }),
    ),
  },
  closed,
);

export const LedgerAnswer = Type.Object({
  sku: Type.String(),
  asOf: Type.Optional(
    Type.String({
      format: "date-time",
      description: "with ?at: that instant, or the time up to which the ledger's log goes when that is earlier",
    }),
  ),
  final: Type.Optional(
    Type.Boolean({
      description:
        "with ?at: the ledger's clock has passed the instant, so every later answer has the same balances; false: events at `asOf` or later may still follow",
    }),
  ),
  position: Type.Optional(
    Type.Object(
      { partition: Type.Integer(), offset: Type.Integer() },
      { description: "with ?at: the last entry of the log that may be in the balances; 0: none" },
    ),
  ),
  total: Type.Object(balances),
  locations: Type.Array(Type.Object({ location: Type.String(), ...balances })),
});
