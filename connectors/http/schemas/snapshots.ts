/**
 * Schemas of snapshots and movements that sources report: the header of a part, which is in the query because the body
 * streams, the answer to a part, and the lists of what is kept.
 */
import { Type } from "typebox";
import { MEASURES } from "../../../engine/reconciliation/model.js";
import { Count, closed, Instant } from "./common.js";

const SourceName = Type.String({
  pattern: "^[a-z0-9][a-z0-9-]{0,31}$",
  description: "a source of 1 to 32 lower-case letters, digits and hyphens",
  examples: ["wms"],
});
const ReportId = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
  description: "an id of 1 to 64 letters, digits, dots, colons, hyphens and underscores",
  examples: ["2026-06-18T18:00"],
});
const InstantText = Type.String({
  minLength: 20,
  maxLength: 35,
  pattern: "^[0-9TZ.:+-]*$",
  description: "an instant like 2026-06-18T18:00:00+08:00",
  examples: ["2026-06-18T18:00:00+08:00"],
});
const Positive = Type.Integer({ minimum: 1, maximum: 1_000_000_000 });

export const SourceParams = Type.Object({ source: SourceName });
export const SnapshotParams = Type.Object({ source: SourceName, id: ReportId });

const partFields = {
  id: ReportId,
  rows: Positive,
  part: Type.Optional(Positive),
  parts: Type.Optional(Positive),
  sentAt: Type.Optional(InstantText),
};

export const SnapshotQuery = Type.Object(
  {
    ...partFields,
    asOf: InstantText,
    measure: Type.Enum([...MEASURES]),
    unit: Type.Optional(Type.String({ minLength: 1, maxLength: 32, description: "a unit of 1 to 32 characters" })),
  },
  closed,
);

export const MovementQuery = Type.Object({ ...partFields, from: InstantText, to: InstantText }, closed);

export const SnapshotRow = Type.Object({
  sku: Type.String(),
  location: Type.String(),
  units: Type.Integer({ minimum: 0 }),
});
export const MovementRow = Type.Object({
  id: Type.String(),
  sku: Type.String(),
  location: Type.String(),
  units: Type.Integer({ description: "signed: what was added" }),
  at: Type.Union([Type.String(), Type.Integer()], { description: "an instant, or milliseconds since 1970" }),
});

const Refusal = Type.Object({
  code: Type.String({ examples: ["unknown_location"] }),
  message: Type.String(),
  part: Type.Optional(Type.Integer()),
  row: Type.Optional(Type.Integer({ description: "in that part, from 1" })),
});

const keptFields = {
  source: Type.String(),
  id: Type.String(),
  state: Type.Enum(["receiving", "complete", "refused"]),
  parts: Count,
  partsReceived: Count,
  rows: Count,
  rowsReceived: Count,
  received: Type.String({ format: "date-time", description: "when the first part began" }),
  ended: Type.Optional(Type.String({ format: "date-time", description: "when it was complete or refused" })),
  skewMs: Type.Optional(Type.Integer({ description: "the source's clock minus the engine's, as measured" })),
  refusal: Type.Optional(Refusal),
};

export const SnapshotAnswer = Type.Object({
  ...keptFields,
  measure: Type.String(),
  asOf: Type.String({ format: "date-time", description: "by the engine's clock: the stated instant minus the skew" }),
  statedAsOf: Instant,
});
export const SnapshotList = Type.Object({ snapshots: Type.Array(SnapshotAnswer) });

const MovementAnswer = Type.Object({ ...keptFields, from: Instant, to: Instant });
export const MovementList = Type.Object({ movements: Type.Array(MovementAnswer) });

export const PartAnswer = Type.Object({
  outcome: Type.Enum(["received", "complete"]),
  source: Type.String(),
  id: Type.String(),
  part: Count,
  parts: Count,
  partsReceived: Count,
  rows: Type.Integer({ description: "of this part" }),
});
