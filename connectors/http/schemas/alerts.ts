/**
 * Schemas of alerts and their acknowledgement.
 */
import { Type } from "typebox";
import { Actor, Count, closed, Instant, PLAIN } from "./common.js";

export const AlertQuery = Type.Object(
  {
    state: Type.Optional(Type.Enum(["open", "cleared", "all"])),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  },
  closed,
);

export const AlertParams = Type.Object({
  id: Type.String({
    maxLength: 80,
    pattern: `^${PLAIN}+#[1-9][0-9]{0,14}$`,
    description: "an alert's id: the SKU, # and a number, percent-encoded in the path",
  }),
});

export const Acknowledgement = Type.Object({ actor: Actor }, closed);

export const AlertList = Type.Object({
  alerts: Type.Array(
    Type.Object({
      id: Type.String(),
      sku: Type.String(),
      state: Type.Enum(["fired", "acknowledged", "cleared"]),
      firedAt: Instant,
      clearedAt: Type.Optional(Instant),
      hourUnits: Count,
      dailyAverage: Type.Optional(Type.Number({ description: "absent while there is too little history" })),
      acknowledgedBy: Type.Optional(Type.String()),
    }),
  ),
});

export const AcknowledgementAnswer = Type.Object({
  id: Type.String(),
  sku: Type.String(),
  acknowledgedBy: Type.String(),
  repeated: Type.Boolean({ description: "it was acknowledged before, by acknowledgedBy" }),
});
