/**
 * Schemas of comparisons between sources and the ledger, their differences, and the live divergence (R13–R15).
 */
import { Type } from "typebox";
import { CHAIN_ID_PATTERN } from "../../../engine/kernel/chain-id.js";
import { MEASURES } from "../../../engine/reconciliation/model.js";
import { Count, closed, Instant, Location } from "./common.js";

const PARTY = "[a-z0-9][a-z0-9-]{0,31}";

export const ComparisonParams = Type.Object({
  id: Type.String({ pattern: CHAIN_ID_PATTERN, description: "a comparison's id" }),
});

export const ComparisonRequest = Type.Object(
  {
    wait: Type.Optional(
      Type.Enum(["true", "false"], { description: "whether the answer is the result, instead of where it will be" }),
    ),
  },
  closed,
);

export const ComparisonQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200 })),
    before: Type.Optional(Type.String({ maxLength: 40, description: "an instant: only comparisons made before it" })),
  },
  closed,
);

export const DifferenceQuerySchema = Type.Object(
  {
    pair: Type.Optional(
      Type.String({
        pattern: `^${PARTY}:${PARTY}$`,
        description: "two parties, as a pair of the comparison names them",
      }),
    ),
    location: Type.Optional(Location),
    after: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  },
  closed,
);

const divergence = {
  share: Type.Number({ minimum: 0, description: "Σ|a−b| ÷ Σ max(a, b) over the cells that both report" }),
  differingUnits: Type.Number({ minimum: 0, description: "Σ|a−b| without what events around the instant explain" }),
  totalUnits: Type.Number({ minimum: 0 }),
  cells: Count,
  differingCells: Count,
};

const parties = {
  a: Type.String(),
  b: Type.String({ description: "a source, or `ledger`; brought to the instant and measure of `a`" }),
};

const differenceFields = {
  sku: Type.String(),
  location: Type.String(),
  aUnits: Type.Number(),
  bUnits: Type.Number(),
  explainedUnits: Type.Number({ description: "of |aUnits − bUnits|: what events around the instant explain" }),
};

const Pair = Type.Object({
  ...parties,
  ...divergence,
  onlyInA: Type.Integer({ minimum: 0, description: "cells with units that only `a` reports; in no divergence" }),
  onlyInB: Count,
});

const ComparedSnapshot = Type.Object({
  source: Type.String(),
  id: Type.String(),
  measure: Type.Enum([...MEASURES]),
  asOf: Instant,
  skewMs: Type.Optional(Type.Number({ description: "the source's clock minus the engine's" })),
  rows: Count,
  completed: Instant,
});

const summary = {
  id: Type.String(),
  at: Instant,
  cause: Type.Enum(["schedule", "demand", "snapshot", "half_open"]),
  durationMs: Type.Integer({ minimum: 0 }),
  snapshots: Type.Array(ComparedSnapshot),
  leftOut: Type.Array(Type.Object({ source: Type.String(), reason: Type.String() })),
};

export const ComparisonList = Type.Object({
  comparisons: Type.Array(Type.Object({ ...summary, pairs: Type.Array(Pair) })),
  next: Type.Optional(Type.String({ description: "`before` of the next page" })),
});

export const ComparisonAnswer = Type.Object({
  ...summary,
  pairs: Type.Array(
    Type.Object({
      ...Pair.properties,
      locations: Type.Array(Type.Object({ location: Type.String(), ...divergence })),
      skus: Type.Array(
        Type.Object({
          sku: Type.String(),
          share: divergence.share,
          differingUnits: divergence.differingUnits,
          totalUnits: divergence.totalUnits,
        }),
      ),
      top: Type.Array(Type.Object(differenceFields)),
    }),
  ),
});

export const ComparisonRequested = Type.Object({
  requestedAt: Type.String({ format: "date-time", description: "comparisons that were made after this instant" }),
  follow: Type.String({ description: "where the result will be the first one" }),
});

export const DifferenceList = Type.Object({
  differences: Type.Array(Type.Object({ ...parties, ...differenceFields })),
  next: Type.Optional(Type.Integer({ description: "`after` of the next page" })),
  differingCells: Type.Integer({
    minimum: 0,
    description: "cells that differ in these pairs at all locations, also those that are not kept",
  }),
});

export const DivergenceAnswer = Type.Object({
  pairs: Type.Array(
    Type.Object({
      ...parties,
      ...divergence,
      comparison: Type.String(),
      at: Instant,
      ageMs: Type.Integer({ minimum: 0, description: "of the comparison; its snapshots are older" }),
    }),
  ),
});
