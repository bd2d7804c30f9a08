/**
 * Where sources and the ledger part in a SKU, over HTTP (R15): the snapshots between which they do, and the events
 * whose faulty booking explains it. Causes that explain it equally well are one group. Without a source in the query
 * every source is answered for, each with its own state; a refusal then concerns that source only. It changes nothing.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import type { Cause, CauseGroup, Fault } from "../../engine/reconciliation/localisation/divergence-cause.js";
import type {
  LocalisationResult,
  MovementFaults,
  NamedSnapshot,
} from "../../engine/reconciliation/localisation/localisation.js";
import { ConcurrencyLimit } from "./admission.js";
import { eventAnswer } from "./history.js";
import { pastRefusalText, readWhileConnected } from "./past.js";
import { refuse } from "./problem.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { MovementFaultsAnswer, MovementSourceParams, PartingAnswer, PartingQuery } from "./schemas/divergence.js";
import { problems } from "./schemas/problem.js";

/** Each reads up to 8 snapshots of each source and as many entries of a log as a history: in steps of 1 to 2 ms. */
const MAX_SEARCHES = 2;

export const divergenceRoutes: RouteGroup = (server, context) => {
  const limit = new ConcurrencyLimit(MAX_SEARCHES, "searches for where sources part");
  partingRoute(server, context, limit);
  movementFaultsRoute(server, context, limit);
};

function partingRoute(server: FastifyInstance, { deps, authorize }: RouteContext, limit: ConcurrencyLimit): void {
  server.get<{ Params: Static<typeof SkuParams>; Querystring: Static<typeof PartingQuery> }>(
    "/v1/divergence/:sku",
    {
      onRequest: [authorize("read"), limit.guard],
      preValidation: queryWith(),
      schema: {
        tags: ["reconciliation"],
        operationId: "getParting",
        summary: "Where sources and the ledger part in a SKU, and which events explain it",
        description:
          "Looks back from a source's newest snapshot to the last one that agrees with the ledger, as far as snapshots and the log are kept. Each possible fault of booking one event (and pairs of them, when no single one does) is tested against every snapshot; what explains all of them equally well is one group. Never is one cause named where several fit: `ambiguous` is true then. At most 2 searches run concurrently; further requests get 429.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        querystring: PartingQuery,
        response: { 200: PartingAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const { source } = request.query;
      const partition = deps.ledger.partitionOf(sku);
      const located = await readWhileConnected("divergence.locate", reply, async (signal) => {
        const results: [string, LocalisationResult][] = [];
        // One after the other, so that memory and load of Redis are those of one.
        for (const name of source === undefined ? await deps.localiser.sources() : [source])
          results.push([name, await deps.localiser.locate(sku, name, signal)]);
        return results;
      });
      const [[, only] = []] = located;
      if (source !== undefined && only && only.outcome !== "located")
        return refuse(reply, only.outcome, refusalText(only));
      return { sku, sources: located.map(([name, result]) => sourceAnswer(name, result, partition)) };
    },
  );
}

function movementFaultsRoute(
  server: FastifyInstance,
  { deps, authorize }: RouteContext,
  limit: ConcurrencyLimit,
): void {
  server.get<{ Params: Static<typeof MovementSourceParams> }>(
    "/v1/movements/:source/divergence",
    {
      onRequest: [authorize("read"), limit.guard],
      schema: {
        tags: ["reconciliation"],
        operationId: "listMovementFaults",
        summary: "Where a source's movements and the ledger's events part",
        description:
          "Over the latest span that the source has reported without a gap, a day at most. Digests of units, number and content by cell are bisected, from the shop to locations and SKUs; cells that differ are read again by minutes, and the movements of the first 20 SKUs are paired with events, by id where the source passes on the ledger's, else by location, units and time. At most 2 searches run concurrently; further requests get 429.",
        security: TOKEN_NEEDED,
        params: MovementSourceParams,
        response: { 200: MovementFaultsAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { source } = request.params;
      const found = await readWhileConnected("divergence.movements", reply, (signal) =>
        deps.localiser.movementFaults(source, signal),
      );
      if (found.outcome !== "found") return refuse(reply, found.outcome, refusalText(found));
      return {
        source,
        from: isoOf(found.span.fromMs),
        to: isoOf(found.span.toMs),
        ids: found.withIds,
        cells: found.cells.map(({ partedMs, ...cell }) => ({ ...cell, partedAt: isoOf(partedMs) })),
        count: found.count,
        skus: found.skus.map(({ sku, pairing }) => ({
          sku,
          faults: pairing.parts.map((group) => groupAnswer(group, deps.ledger.partitionOf(sku))),
          count: pairing.count,
        })),
      };
    },
  );
}

type Refusal = Exclude<LocalisationResult, { outcome: "located" }> | Exclude<MovementFaults, { outcome: "found" }>;

function refusalText(refusal: Refusal): string {
  if (refusal.outcome === "not_reported") return "no complete snapshot of this source has the SKU";
  if (refusal.outcome === "too_many_events")
    return `more than ${refusal.limit} changes of the SKU lie between the snapshots`;
  if (refusal.outcome === "not_covered") return "no batch of movements of this source is complete";
  if (refusal.outcome === "display_measure") return "the source counts what customers are shown";
  return pastRefusalText(refusal);
}

function sourceAnswer(source: string, result: LocalisationResult, partition: number) {
  if (result.outcome !== "located") return { source, state: result.outcome, message: refusalText(result) };
  const { cells, basis, causes, isAmbiguous, mayBeOlder, isPersistent, newest } = result;
  return {
    source,
    state: result.firstUnequal ? "differs" : "equal",
    newest: snapshotAnswer(newest),
    cells: [...cells],
    basis,
    ...snapshotField("lastEqual", result.lastEqual),
    ...snapshotField("firstUnequal", result.firstUnequal),
    ...snapshotField("agreesUntil", result.agreesUntil),
    causes: causes.map((group) => groupAnswer(group, partition)),
    further: result.further.map((group) => groupAnswer(group, partition)),
    ambiguous: isAmbiguous,
    mayBeOlder,
    persistent: isPersistent,
  };
}

const snapshotAnswer = ({ id, asOfMs }: NamedSnapshot) => ({ id, asOf: isoOf(asOfMs) });
const snapshotField = (name: string, snapshot: NamedSnapshot | undefined) =>
  snapshot ? { [name]: snapshotAnswer(snapshot) } : {};

const groupAnswer = ({ faults, count, members }: CauseGroup, partition: number) => ({
  ...{ faults, count },
  members: members.map((cause: Cause) => ({
    faults: cause.faults.map((fault) => faultAnswer(fault, partition)),
    nearSnapshot: cause.isNearSnapshot,
  })),
});

const faultAnswer = ({ kind, event, movementId, location, bookedAt, offUnits, atMs }: Fault, partition: number) => ({
  kind,
  ...(event && { event: eventAnswer(event, partition) }),
  ...(movementId !== undefined && { movement: movementId }),
  location,
  ...(bookedAt !== undefined && { bookedAt }),
  off: Object.entries(offUnits).map(([at, units]) => ({ location: at, units })),
  at: isoOf(atMs),
});
