/** Schemas of sources of stock and of requests to pull one. */
import { Type } from "typebox";
import { MEASURES } from "../../../engine/reconciliation/model.js";
import { Actor, Count, closed, Instant, Reason } from "./common.js";

const SourceName = Type.String({
  pattern: "^[a-z0-9][a-z0-9-]{0,31}$",
  description: "1 to 32 lower-case letters, digits and hyphens",
  examples: ["erp"],
});

export const SourceParams = Type.Object({ name: SourceName });

export const PullBody = Type.Object({ actor: Type.Optional(Actor), reason: Reason }, closed);

export const PullAnswer = Type.Object({ source: SourceName, requested: Type.Boolean() });

const Pull = Type.Object({
  pulled: Type.Enum(["snapshot", "movements"]),
  schedule: Type.String({ examples: ["every 15m"] }),
  outcome: Type.Optional(Type.Enum(["stored", "nothing_new", "refused", "failed"])),
  rows: Type.Optional(Count),
  failures: Type.Optional(Count),
  lastAttempt: Type.Optional(Instant),
  lastSuccess: Type.Optional(Instant),
  nextDue: Type.Optional(Instant),
  lagMs: Type.Optional(Count),
  overdue: Type.Boolean(),
  faults: Type.Array(Type.Object({ at: Instant, message: Type.String() }), { description: "the newest first" }),
});

export const SourceList = Type.Object({
  sources: Type.Array(
    Type.Object({
      name: Type.String(),
      kind: Type.String({ examples: ["http"], description: "of outside system; pushed: it sends its snapshots" }),
      about: Type.String(),
      measure: Type.Enum([...MEASURES]),
      freshnessMs: Type.Optional(Count),
      pulls: Type.Array(Pull),
      snapshot: Type.Optional(
        Type.Object(
          { id: Type.String(), asOf: Instant, rows: Count, lagMs: Count },
          { description: "the newest complete one" },
        ),
      ),
    }),
  ),
});
