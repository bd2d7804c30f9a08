/**
 * Schemas of breakers that are open or half-open, of opening, half-opening or closing one, and of their history.
 */
import { Type } from "typebox";
import { BREAKER_MODES } from "../../../engine/jobs/consistency/events.js";
import { HISTORY_KEPT } from "../../../engine/jobs/consistency/state.js";
import { Actor, closed, Instant, Location, Reason, Sku } from "./common.js";

/** 30 days: longer than any breaker should stay open with an end. */
const MAX_BREAKER_MS = 30 * 86_400_000;

export const BreakerBody = Type.Object(
  {
    action: Type.Enum(["open", "half_open", "close"]),
    scope: Type.Object(
      { kind: Type.Enum(["shop", "location", "sku"]), location: Type.Optional(Location), sku: Type.Optional(Sku) },
      closed,
    ),
    actor: Actor,
    reason: Reason,
    forMs: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_BREAKER_MS })),
    atEnd: Type.Optional(
      Type.Enum(["close", "half_open"], { description: "what an open breaker becomes when its time is over" }),
    ),
  },
  {
    ...closed,
    examples: [
      { action: "open", scope: { kind: "shop" }, actor: "li.wei@ops", reason: "count differs", forMs: 600_000 },
    ],
  },
);

const Evidence = Type.Object(
  {
    comparison: Type.String({ description: "its id: GET /v1/comparisons/{id}" }),
    pair: Type.Array(Type.String(), { minItems: 2, maxItems: 2, description: "two sources, or a source and `ledger`" }),
    share: Type.Number({ description: "their divergence in the scope, from 0 to 1", examples: [0.012] }),
    threshold: Type.Number({ examples: [0.005] }),
    cells: Type.Optional(Type.Integer({ description: "that both reported" })),
    skus: Type.Optional(Type.Array(Type.String(), { description: "the SKUs that differ most" })),
  },
  { description: "the comparison that opened it" },
);

export const Breaker = Type.Object({
  scope: Type.Object({
    kind: Type.Enum(["shop", "location", "sku"]),
    location: Type.Optional(Type.String()),
    sku: Type.Optional(Type.String()),
  }),
  state: Type.Enum(["open", "half_open"], {
    description: "both refuse new orders; half_open until it is closed or opened: the stock is compared",
  }),
  since: Instant,
  until: Type.Optional(Type.String({ format: "date-time", description: "absent when it is changed by hand only" })),
  atEnd: Type.Optional(Type.Enum(["half_open"], { description: "what it becomes then; absent: closed" })),
  actor: Type.String({ description: "the authenticated client" }),
  onBehalfOf: Type.Optional(Type.String({ description: "the actor that the request named" })),
  reason: Type.String(),
  version: Type.Optional(Type.Integer({ description: "of its newest change; ascends" })),
  evidence: Type.Optional(Evidence),
  complete: Type.Boolean({ description: "whether this is in force in every partition of its scope" }),
  missing: Type.Optional(
    Type.Array(Type.Integer(), { description: "partitions where it is not in force yet, or that cannot be reached" }),
  ),
});

export const BreakerAnswer = Type.Object({ open: Type.Boolean(), breakers: Type.Array(Breaker) });

export const BreakerChange = Type.Object({
  changed: Type.Boolean(),
  version: Type.Integer({ description: "of this change" }),
  complete: Type.Boolean({ description: "whether the change is in force in every partition of the scope" }),
  missing: Type.Optional(
    Type.Array(Type.Integer(), {
      description: "partitions where it is not in force yet; they are updated when they can be reached",
    }),
  ),
  open: Type.Boolean(),
  breakers: Type.Array(Breaker),
});

export const BreakerHistoryQuery = Type.Object(
  { limit: Type.Optional(Type.Integer({ minimum: 1, maximum: HISTORY_KEPT })) },
  closed,
);

export const BreakerHistory = Type.Object({
  mode: Type.Enum([...BREAKER_MODES], { description: "whether breakers open by themselves" }),
  nextComparison: Type.Optional(
    Type.String({ format: "date-time", description: "when the next comparison by schedule is due" }),
  ),
  events: Type.Array(
    Type.Object({
      at: Instant,
      scope: Type.String({ description: "`shop`, `location:X` or `sku:X`" }),
      kind: Type.Enum(["opened", "extended", "half_opened", "closed", "would_have_opened"]),
      by: Type.Enum(["engine", "operator"], {
        description: "the engine: after a comparison, or because a time was over",
      }),
      actor: Type.String(),
      reason: Type.String(),
      until: Type.Optional(Type.String({ format: "date-time", description: "of an opening that ends by itself" })),
      evidence: Type.Optional(Evidence),
    }),
  ),
});
