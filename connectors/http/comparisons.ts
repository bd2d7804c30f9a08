/**
 * Comparisons of sources with the ledger and with each other over HTTP (R13-R15): asking for one, reading what is kept,
 * their differences page by page, and the newest divergence of each pair. A comparison that is only asked for is made
 * by a worker; one that is waited for is made by this process, and opens no breaker.
 */
import type { FastifyInstance, FastifyReply } from "fastify";
import type { Static } from "typebox";
import type { LiveDivergence } from "../../engine/reconciliation/comparison/comparison-store.js";
import { type Comparison, type Divergence, type PairDivergence, shareOf } from "../../engine/reconciliation/model.js";
import { ConcurrencyLimit } from "./admission.js";
import { identityOf } from "./identity.js";
import { queriedInstant, readWhileConnected } from "./past.js";
import { refuse } from "./problem.js";
import { assertNoBody, isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import {
  ComparisonAnswer,
  ComparisonList,
  ComparisonParams,
  ComparisonQuery,
  ComparisonRequest,
  ComparisonRequested,
  DifferenceList,
  DifferenceQuerySchema,
  DivergenceAnswer,
} from "./schemas/comparisons.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

const DEFAULT_LIST = 20;
const DEFAULT_DIFFERENCES = 100;
/** One is made at a time in a process; the other waits for it. */
const MAX_WAITED_FOR = 2;
/** Each unpacks up to 100,000 differences: about 100 ms. */
const MAX_DIFFERENCE_PAGES = 4;

export const comparisonRoutes: RouteGroup = (server, context) => {
  makeRoute(server, context);
  listRoute(server, context);
  getRoute(server, context);
  differencesRoute(server, context);
  divergenceRoute(server, context);
};

function makeRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  const waiting = new ConcurrencyLimit(MAX_WAITED_FOR, "requests that wait for a comparison");
  server.post<{ Querystring: Static<typeof ComparisonRequest> }>(
    "/v1/comparisons",
    {
      onRequest: [
        authorize("operate"),
        (request, reply, done) => {
          if ((request.query as { wait?: unknown }).wait === "true") waiting.guard.call(server, request, reply, done);
          else done();
        },
      ],
      preValidation: queryWith(),
      schema: {
        tags: ["reconciliation"],
        operationId: "requestComparison",
        summary: "Asks for a comparison of the newest snapshots, now",
        description:
          "202: a worker makes it and acts on it as on any other: it may open or close breakers. `follow` lists it once it is made, within some seconds. With `?wait=true` this process makes it and answers with the result (200); it is kept like any other, but no breaker is opened or closed by it. At most 2 are waited for concurrently; further requests get 429.",
        security: TOKEN_NEEDED,
        querystring: ComparisonRequest,
        response: { 200: ComparisonAnswer, 202: ComparisonRequested, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      if (request.query.wait === "true")
        return answerOf(
          await readWhileConnected("comparison.make", reply, (signal) => deps.comparer.compare("demand", signal)),
        );
      if (!deps.requestComparison)
        return refuse(reply, "not_ready", "no worker of this deployment makes comparisons; ask with ?wait=true");
      const requestedMs = deps.clock.now();
      await fromStore("comparison.request", deps.requestComparison(identityOf(request).name));
      return reply.code(202).send({ requestedAt: isoOf(requestedMs), follow: "/v1/comparisons?limit=1" });
    },
  );
}

function listRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get<{ Querystring: Static<typeof ComparisonQuery> }>(
    "/v1/comparisons",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["reconciliation"],
        operationId: "listComparisons",
        summary: "Comparisons that were made, newest first",
        description: `Kept for 30 days, the newest 5,000. Default \`limit\`: ${DEFAULT_LIST}. With the divergence of each pair over the shop; a comparison by its id has more.`,
        security: TOKEN_NEEDED,
        querystring: ComparisonQuery,
        response: { 200: ComparisonList, ...problems },
      },
    },
    async (request) => {
      const { limit = DEFAULT_LIST, before } = request.query;
      const beforeMs = before === undefined ? undefined : queriedInstant(before, "before");
      const found = await fromStore("comparison.list", deps.comparisons.list(limit, beforeMs));
      const last = found.at(-1);
      return {
        comparisons: found.map((each) => ({ ...summaryOf(each), pairs: each.pairs.map(pairOf) })),
        ...(found.length === limit && last ? { next: isoOf(last.atMs) } : {}),
      };
    },
  );
}

function getRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get<{ Params: Static<typeof ComparisonParams> }>(
    "/v1/comparisons/:id",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["reconciliation"],
        operationId: "getComparison",
        summary: "One comparison: what was compared, and how far each pair parts",
        description:
          "With the divergence of each location (the 1,000 with the greatest differences), the 100 SKUs and the 20 cells that differ most.",
        security: TOKEN_NEEDED,
        params: ComparisonParams,
        response: { 200: ComparisonAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const found = await fromStore("comparison.get", deps.comparisons.get(request.params.id));
      return found ? answerOf(found) : unknownComparison(reply);
    },
  );
}

function differencesRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  const limit = new ConcurrencyLimit(MAX_DIFFERENCE_PAGES, "requests for differences");
  server.get<{ Params: Static<typeof ComparisonParams>; Querystring: Static<typeof DifferenceQuerySchema> }>(
    "/v1/comparisons/:id/differences",
    {
      onRequest: [authorize("read"), limit.guard],
      preValidation: queryWith("limit", "after"),
      schema: {
        tags: ["reconciliation"],
        operationId: "listDifferences",
        summary: "The cells in which a comparison's parties differ, greatest difference first",
        description: `Of all pairs, or of one (\`pair=wms:ledger\`) or one location. Up to 10,000 of each pair are kept, for the newest 200 comparisons; then 410 \`differences_removed\`. Default \`limit\`: ${DEFAULT_DIFFERENCES}.`,
        security: TOKEN_NEEDED,
        params: ComparisonParams,
        querystring: DifferenceQuerySchema,
        response: { 200: DifferenceList, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { pair, location, after, limit = DEFAULT_DIFFERENCES } = request.query;
      const [a = "", b = ""] = pair?.split(":") ?? [];
      const found = await fromStore(
        "comparison.differences",
        deps.comparisons.differences(id, {
          limit,
          ...(pair === undefined ? {} : { pair: { a, b } }),
          ...(location === undefined ? {} : { location }),
          ...(after === undefined ? {} : { after }),
        }),
      );
      if (found) {
        const { differences, next, differingCells } = found;
        return { differences: [...differences], ...(next === undefined ? {} : { next }), differingCells };
      }
      const known = await fromStore("comparison.get", deps.comparisons.get(id));
      return known
        ? refuse(reply, "differences_removed", "differences are kept for the newest 200 comparisons")
        : unknownComparison(reply);
    },
  );
}

function divergenceRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get(
    "/v1/divergence",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["reconciliation"],
        operationId: "getDivergence",
        summary: "How far each pair of parties parts, by its newest comparison",
        description: "The greatest share first.",
        security: TOKEN_NEEDED,
        response: { 200: DivergenceAnswer, ...problems },
      },
    },
    async () => {
      const nowMs = deps.clock.now();
      const live = await fromStore("comparison.live", deps.comparisons.live());
      const liveOf = ({ a, b, comparison, atMs, ...shop }: LiveDivergence) => ({
        ...{ a, b },
        ...sharesOf(shop),
        ...{ comparison, at: isoOf(atMs), ageMs: Math.max(0, nowMs - atMs) },
      });
      return { pairs: live.map(liveOf).sort((x, y) => y.share - x.share) };
    },
  );
}

const unknownComparison = (reply: FastifyReply): FastifyReply =>
  refuse(reply, "unknown_comparison", "comparisons are kept for 30 days, the newest 5,000");

const sharesOf = (sums: Divergence) => ({ share: shareOf(sums), ...sums });

const pairOf = ({ a, b, shop, onlyInA, onlyInB }: PairDivergence) => ({
  ...{ a, b },
  ...sharesOf(shop),
  ...{ onlyInA, onlyInB },
});

const summaryOf = ({ id, atMs, cause, durationMs, snapshots, leftOut }: Comparison) => ({
  ...{ id, at: isoOf(atMs), cause, durationMs },
  snapshots: snapshots.map(({ source, id, measure, asOfMs, skewMs, rows, completedMs }) => ({
    ...{ source, id, measure, asOf: isoOf(asOfMs), rows, completed: isoOf(completedMs) },
    ...(skewMs === undefined ? {} : { skewMs }),
  })),
  leftOut: Object.entries(leftOut).map(([source, reason]) => ({ source, reason })),
});

const answerOf = (comparison: Comparison) => ({
  ...summaryOf(comparison),
  pairs: comparison.pairs.map((pair) => ({
    ...pairOf(pair),
    locations: Object.entries(pair.locations).map(([location, sums]) => ({ location, ...sharesOf(sums) })),
    skus: pair.skus.map((sums) => ({ ...sums, share: shareOf(sums) })),
    top: [...pair.top],
  })),
});
