/** Schemas of where sources and the ledger part in a SKU, and of the events that explain it. */
import { Type } from "typebox";
import { MAX_MEMBERS } from "../../../engine/reconciliation/localisation/divergence-cause.js";
import { Count, closed, Instant } from "./common.js";
import { change } from "./history.js";

const SourceName = Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,31}$", description: "the name of a source" });

/** Without a source: all of them. */
export const PartingQuery = Type.Object({ source: Type.Optional(SourceName) }, closed);

const NamedSnapshot = Type.Object({ id: Type.String(), asOf: Instant });

const Fault = Type.Object({
  kind: Type.Enum(["missing", "doubled", "misplaced", "units_changed", "unknown_to_ledger"], {
    description:
      "what the source did with the event: not booked, booked twice, booked at another location, booked with other units; or it has a movement that no event of the ledger has",
  }),
  event: Type.Optional(Type.Object(change)),
  movement: Type.Optional(Type.String({ description: "the id of the source's movement that shows it" })),
  location: Type.String(),
  bookedAt: Type.Optional(Type.String({ description: "where the source booked it, or the rest of its units" })),
  off: Type.Array(Type.Object({ location: Type.String(), units: Type.Integer() }), {
    description: "by how many units the source's count of a location is off for it",
  }),
  at: Instant,
});

const Cause = Type.Object({
  faults: Type.Array(Fault, { description: "together they make exactly the difference; the oldest first" }),
  nearSnapshot: Type.Boolean({
    description: "a snapshot was made so near to the event that the source may have booked it before or after",
  }),
});

const CauseGroup = Type.Object({
  faults: Type.Integer({ minimum: 1, description: "how many faults have to have happened" }),
  count: Type.Integer({ minimum: 1, description: "how many causes explain it equally well" }),
  members: Type.Array(Cause, { description: `the first ${MAX_MEMBERS} of them` }),
});

const STATES = [
  "equal",
  "differs",
  "not_reported",
  "outside_retention",
  "too_many_entries",
  "too_many_events",
] as const;

const SourceParting = Type.Object({
  source: Type.String(),
  state: Type.Enum([...STATES], {
    description:
      "`equal`: events around the snapshots' instants explain every difference; the last four: not known, see `message`",
  }),
  message: Type.Optional(Type.String()),
  newest: Type.Optional(NamedSnapshot),
  cells: Type.Optional(
    Type.Array(Type.Object({ location: Type.String(), sourceUnits: Count, ledgerUnits: Type.Integer() }), {
      description: "of the newest snapshot, as of its instant and in its measure",
    }),
  ),
  basis: Type.Optional(Type.Enum(["snapshots", "movements"])),
  lastEqual: Type.Optional(NamedSnapshot),
  firstUnequal: Type.Optional(NamedSnapshot),
  agreesUntil: Type.Optional(NamedSnapshot),
  causes: Type.Optional(Type.Array(CauseGroup, { description: "the best group first; empty: nothing explains it" })),
  further: Type.Optional(
    Type.Array(CauseGroup, { description: "by movements: further faults before `firstUnequal`, each as a group" }),
  ),
  ambiguous: Type.Optional(
    Type.Boolean({ description: "several causes fit equally well, or an older event may be the cause" }),
  ),
  mayBeOlder: Type.Optional(Type.Boolean({ description: "the difference may be older than what is kept" })),
  persistent: Type.Optional(
    Type.Boolean({ description: "it stays over snapshots, although events around the instant explain it in each" }),
  ),
});

export const MovementSourceParams = Type.Object({ source: SourceName }, closed);

export const MovementFaultsAnswer = Type.Object({
  source: Type.String(),
  from: Instant,
  to: Type.String({ format: "date-time", description: "the latest span that the source has reported without a gap" }),
  ids: Type.Boolean({ description: "the source passes on the ledger's ids, so that these were compared, too" }),
  cells: Type.Array(
    Type.Object({
      sku: Type.String(),
      location: Type.String(),
      units: Type.Integer({ description: "what the ledger has booked more than the source" }),
      partedAt: Type.String({ format: "date-time", description: "the minute from which on they are never the same" }),
    }),
    { description: "the earliest first; also what is under way at the ends of the span" },
  ),
  count: Count,
  skus: Type.Array(
    Type.Object({
      sku: Type.String(),
      faults: Type.Array(CauseGroup, { description: "each fault as a group of what explains it equally well" }),
      count: Count,
    }),
    { description: "of the first SKUs among the cells: events and movements without partner" },
  ),
});

export const PartingAnswer = Type.Object({ sku: Type.String(), sources: Type.Array(SourceParting) });
