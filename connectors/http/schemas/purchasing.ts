/**
 * Schemas of what is to be reordered, and of receipts on their way.
 */
import { Type } from "typebox";
import { Actor, Count, closed, Instant, Location, Reason, Sku, text, Units } from "./common.js";

const ReceiptId = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
  description: "a receipt's id of up to 64 letters, digits, dots, dashes or underscores",
  examples: ["PO-2026-0617-3"],
});

export const ReplenishmentQuery = Type.Object(
  {
    after: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })),
  },
  closed,
);

export const ReplenishmentAnswer = Type.Object({
  sku: Type.String(),
  category: Type.Optional(Type.String()),
  sellable: Type.Integer({ description: "over all locations" }),
  safety: Count,
  inbound: { ...Count, description: "units of receipts on their way" },
  dailyAverage: Type.Optional(Type.Number({ description: "absent while there is too little history" })),
  reorderPoint: Type.Optional(Type.Number({ description: "1.8 × safety + 3 × daily average" })),
  suggestedUnits: Type.Optional({ ...Count, description: "units to order; 0: none" }),
  daysLeft: Type.Optional(Type.Number({ description: "days of sellable units; absent when nothing is sold" })),
});

export const ReplenishmentPage = Type.Object({
  skus: Type.Array(ReplenishmentAnswer),
  total: { ...Count, description: "SKUs that are to be reordered" },
  next: Type.Optional({ ...Count, description: "the `after` of the next page" }),
});

export const ReceiptParams = Type.Object({ id: ReceiptId });

export const ReceiptBody = Type.Object(
  {
    sku: Sku,
    location: Type.Optional(Location),
    units: Units,
    expectedAt: Instant,
    reference: Type.Optional(text(64, "a reference", "supplier 4711")),
  },
  {
    ...closed,
    examples: [{ sku: "TEA-0042", location: "main", units: 500, expectedAt: "2026-06-20T09:00:00.000Z" }],
  },
);

export const ReceiptAnswer = Type.Object({
  id: Type.String(),
  sku: Type.String(),
  location: Type.String(),
  units: Count,
  expectedAt: Instant,
  reference: Type.Optional(Type.String()),
  arrivedUnits: Count,
  remainingUnits: { ...Count, description: "still on their way" },
});

export const ReceiptQuery = Type.Object(
  { sku: Type.Optional(Sku), limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })) },
  closed,
);

export const ReceiptList = Type.Object({ receipts: Type.Array(ReceiptAnswer) });

export const ArrivalBody = Type.Object(
  {
    units: Units,
    arrival: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description: "a name of this part delivery, of up to 32 letters, digits, dots, dashes or underscores",
        examples: ["2"],
      }),
    ),
    actor: Type.Optional(Actor),
    reason: Type.Optional(Reason),
  },
  { ...closed, examples: [{ units: 500 }] },
);

export const ArrivalAnswer = Type.Object({ receipt: ReceiptAnswer, repeated: Type.Boolean() });
