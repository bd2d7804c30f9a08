/**
 * Schemas of settlements: rows of a comparison with what is proposed, approvals, rejections, and what was decided.
 */
import { Type } from "typebox";
import { ROW_STATES } from "../../../engine/reconciliation/settlement/settlement-rows.js";
import { MAX_UNITS, OUTCOMES } from "../../../engine/stock/model.js";
import { Actor, closed, Instant, Location, Reason } from "./common.js";

/** A JSON body has at most 1,024 values. */
const MAX_IDS = 1_000;
const MAX_LIMIT = 500;

const ComparisonId = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^[A-Za-z0-9-]+$",
  description: "a comparison's id",
});
const Source = Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,31}$", description: "a source's name", examples: ["wms"] });
const ProposalId = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: "^[A-Za-z0-9~._-]+$",
  description: "a proposal's id",
});

export const SettlementQuery = Type.Object(
  {
    comparison: Type.Optional(ComparisonId),
    source: Type.Optional(Source),
    location: Type.Optional(Location),
    state: Type.Optional(Type.Enum([...ROW_STATES, "refused"])),
    after: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LIMIT })),
  },
  closed,
);

export const DecisionQuery = Type.Object(
  { after: Type.Optional(ProposalId), limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LIMIT })) },
  closed,
);

export const SettlementBody = Type.Object(
  {
    ids: Type.Optional(Type.Array(ProposalId, { minItems: 1, maxItems: MAX_IDS })),
    comparison: Type.Optional(ComparisonId),
    source: Type.Optional(Source),
    location: Type.Optional(Location),
    actor: Type.Optional(Actor),
    reason: Reason,
    maxRows: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_UNITS })),
    maxUnits: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_UNITS })),
  },
  {
    ...closed,
    description:
      "either `ids`, or every row of `comparison` and `source` (at `location`) that waits for a decision, with the most rows and units that may be decided",
    examples: [
      { comparison: "CP01K8Z0Q3M00000000X", source: "wms", reason: "recounted 06-18", maxRows: 40, maxUnits: 120 },
    ],
  },
);

const SignedUnits = Type.Integer({ minimum: -MAX_UNITS, maximum: MAX_UNITS });

const Proposal = Type.Object({
  id: Type.String({ description: "names the row and what is proposed on which balance" }),
  comparison: Type.String(),
  source: Type.String(),
  snapshot: Type.String(),
  asOf: Instant,
  sku: Type.String(),
  location: Type.String(),
  sourceUnits: SignedUnits,
  ledgerUnits: SignedUnits,
  gapUnits: Type.Integer({
    ...{ minimum: -MAX_UNITS, maximum: MAX_UNITS },
    description: "the source's units minus the ledger's, without what events around the instant explain",
  }),
  winner: Type.Optional(
    Type.String({ description: "who is right by the conflict policy: a source or `ledger`; absent: a person chooses" }),
  ),
  correctionUnits: Type.Integer({
    ...{ minimum: -MAX_UNITS, maximum: MAX_UNITS },
    description: "what an approval adds to sellable; 0: nothing can be corrected in the ledger",
  }),
  restUnits: Type.Integer({ minimum: 0, description: "lost units that are not sellable and need a decision" }),
  onHandUnits: Type.Integer({ minimum: 0, description: "what the cell must still hold when this is approved" }),
});

const Decision = Type.Object({
  kind: Type.Enum(["approve", "reject"]),
  actor: Type.String(),
  onBehalfOf: Type.Optional(Type.String()),
  reason: Type.String(),
  at: Instant,
  outcome: Type.Optional(
    Type.Enum([...OUTCOMES], { description: "the ledger's answer to an approval; absent: not recorded" }),
  ),
});

export const SettlementList = Type.Object({
  comparison: Type.String(),
  rows: Type.Array(
    Type.Object({
      state: Type.Enum([...ROW_STATES]),
      proposal: Proposal,
      decision: Type.Optional(Decision),
      refused: Type.Optional(Decision),
    }),
  ),
  next: Type.Optional(Type.Integer({ description: "`after` of the next page, which may be empty" })),
});

export const DecisionList = Type.Object({
  decisions: Type.Array(Type.Object({ proposal: Proposal, decision: Decision })),
  next: Type.Optional(Type.String({ description: "`after` of the next page" })),
});

export const SettlementAnswer = Type.Object({
  settled: Type.Integer({ minimum: 0, description: "rows that are approved, or rejected, as this request states" }),
  rows: Type.Array(
    Type.Object({
      id: Type.String(),
      outcome: Type.String({
        description:
          "`approved`, `rejected`, `approving` (send the approval again), `unknown_proposal` (list the rows again), `outdated` (corrected since the snapshot, or reported anew: see the newest comparison), `not_correctable`, or the ledger's refusal, such as `balance_changed`",
      }),
      repeated: Type.Boolean({ description: "it was decided before, and this is how" }),
      next: Type.Optional(Proposal),
    }),
  ),
});
