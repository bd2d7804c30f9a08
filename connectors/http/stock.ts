/**
 * Stock over HTTP: the levels shown to customers (R5, R6), public and cacheable by a CDN, and the ledger's balances,
 * present and past, for clients with a token. Levels come from the view in memory and carry the time as of which they
 * are true. They are refused when they could become older than 15 seconds in caches. They do not promise that an order
 * will be accepted.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import type { SkuLevels } from "../../engine/jobs/storefront/view.js";
import { MAX_LAG_MS } from "../../engine/publication/freshness.js";
import type { Locations } from "../../engine/stock/as-of.js";
import { emptyBalances, onHandUnits, POOLS } from "../../engine/stock/model.js";
import { ConcurrencyLimit } from "./admission.js";
import type { FastRoute } from "./fast-entry.js";
import { queriedInstant, readWhileConnected, refusePast } from "./past.js";
import { refuse, retryAfter } from "./problem.js";
import { isKnown, setHead, shareWithPages } from "./public-answers.js";
import {
  isoOf,
  NO_TOKEN_NEEDED,
  queryWith,
  queryWithList,
  type RouteContext,
  type RouteGroup,
  TOKEN_NEEDED,
} from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { problems } from "./schemas/problem.js";
import { LedgerAnswer, LedgerQuery, SkuStockQuery, StockAnswer, StockListAnswer, StockQuery } from "./schemas/stock.js";
import { type CacheableAnswer, type StockAnswers, shown } from "./stock-answers.js";
import { fromStore } from "./store-errors.js";

/** Each reads up to 250,000 entries of a log, in steps of 1 to 2 ms: this many leave most of every turn to orders. */
const MAX_PAST_BALANCES = 4;

export const stockRoutes =
  (answers: StockAnswers): RouteGroup =>
  (server, context) => {
    levelRoute(server, answers);
    levelsRoute(server, answers);
    ledgerRoute(server, context);
  };

/** The short way to `/v1/stock/:sku` for SKUs that are known. */
export const stockFastRoute = (answers: StockAnswers): FastRoute => ({
  method: "GET",
  prefix: "/v1/stock/",
  path: "/v1/stock/:sku",
  answer({ headers }, response, sku) {
    if (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined) return false;
    const asOfMs = answers.asOfMs([sku]);
    const levels = answers.levels(sku);
    if (asOfMs === undefined || !levels) return false;
    const known = headers["if-none-match"];
    if (known !== undefined) {
      const { etag, unchangedHead } = answers.ofSku(sku, levels, asOfMs);
      if (isKnown(known, etag)) {
        response.writeHead(304, unchangedHead as string[]).end();
        return true;
      }
    }
    answers.sendSku(response, sku, levels, asOfMs);
    return true;
  },
});

function levelRoute(server: FastifyInstance, answers: StockAnswers): void {
  server.get<{ Params: Static<typeof SkuParams>; Querystring: Static<typeof SkuStockQuery> }>(
    "/v1/stock/:sku",
    {
      config: { anyHost: true },
      onRequest: shareWithPages,
      preValidation: queryWith(),
      schema: {
        tags: ["stock"],
        operationId: "getStock",
        summary: "The stock level of one SKU, as shown to customers",
        description:
          "A CDN caches it for some seconds; it is never more than 15 s behind the ledger, as of `asOf`. It does not promise that an order will be accepted.",
        security: NO_TOKEN_NEEDED,
        params: SkuParams,
        querystring: SkuStockQuery,
        response: { 200: StockAnswer, ...problems },
      },
    },
    (request, reply) => {
      const { sku } = request.params;
      const asOfMs = answers.asOfMs([sku]);
      if (asOfMs === undefined) return stale(reply);
      const levels = answers.levels(sku);
      if (!levels) {
        // Cacheable like any answer, so a new SKU appears as soon as one that was restocked.
        setHead(reply, answers.cacheHead([sku], asOfMs));
        return unknownSku(reply);
      }
      if (request.query.by === undefined) return cacheable(request, reply, answers.ofSku(sku, levels, asOfMs));
      const content = { ...shownOf(sku, true, levels), asOf: isoOf(asOfMs) };
      return cacheable(request, reply, answers.of([sku], content, asOfMs));
    },
  );
}

function levelsRoute(server: FastifyInstance, answers: StockAnswers): void {
  server.get<{ Querystring: Static<typeof StockQuery> }>(
    "/v1/stock",
    {
      config: { anyHost: true },
      onRequest: shareWithPages,
      preValidation: queryWithList("sku"),
      schema: {
        tags: ["stock"],
        operationId: "listStock",
        summary: "The stock levels of up to 100 SKUs, as shown to customers",
        description: "`?sku=a&sku=b`. Unknown SKUs are listed in `unknown`.",
        security: NO_TOKEN_NEEDED,
        querystring: StockQuery,
        response: { 200: StockListAnswer, ...problems },
      },
    },
    (request, reply) => {
      const wanted = [...new Set(request.query.sku)];
      const asOfMs = answers.asOfMs(wanted);
      if (asOfMs === undefined) return stale(reply);
      const skus: ReturnType<typeof shownOf>[] = [];
      const unknown: string[] = [];
      for (const sku of wanted) {
        const levels = answers.levels(sku);
        if (levels) skus.push(shownOf(sku, request.query.by === "location", levels));
        else unknown.push(sku);
      }
      return cacheable(request, reply, answers.of(wanted, { asOf: isoOf(asOfMs), skus, unknown }, asOfMs));
    },
  );
}

function ledgerRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  const past = new ConcurrencyLimit(MAX_PAST_BALANCES, "requests for past balances");
  server.get<{ Params: Static<typeof SkuParams>; Querystring: Static<typeof LedgerQuery> }>(
    "/v1/ledger/:sku",
    {
      onRequest: [
        authorize("read"),
        (request, reply, done) => {
          if ("at" in (request.query as object)) past.guard.call(server, request, reply, done);
          else done();
        },
      ],
      preValidation: queryWith(),
      schema: {
        tags: ["stock"],
        operationId: "getLedger",
        summary: "All balances of a SKU, as they are in the ledger now or were at an instant",
        description:
          "Read from the ledger, not from a view: the total and each location. With `?at=<ISO instant>` they are what the ledger held when its clock had passed that instant, exact to the millisecond, as far back as its log is kept (3 days by default) or archived; before that 410 `outside_retention`. An instant that the ledger's clock has not passed yet is answered with the present balances, their `asOf` and `final: false`: an event of that same millisecond may still follow. At most 4 requests with `at` are served concurrently; further ones get 429.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        querystring: LedgerQuery,
        response: { 200: LedgerAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const { at } = request.query;
      if (at === undefined) {
        const cells = await fromStore("ledger.balances", deps.ledger.balances(sku));
        return cells ? ledgerAnswer(sku, cells) : unknownSku(reply);
      }
      const atMs = queriedInstant(at, "at");
      const result = await readWhileConnected("ledger.asOf", reply, (signal) => deps.history.asOf([sku], atMs, signal));
      if (result.outcome !== "found") return refusePast(reply, result);
      const cells = result.skus.get(sku);
      const [position] = result.positions;
      if (!cells || !position) return unknownSku(reply);
      const { partition, offset, asOfMs, isFinal } = position;
      return {
        ...ledgerAnswer(sku, cells),
        asOf: isoOf(asOfMs),
        final: isFinal,
        position: { partition, offset },
      };
    },
  );
}

const unknownSku = (reply: FastifyReply): FastifyReply =>
  refuse(reply, "unknown_sku", "no units of this SKU were ever received");

function ledgerAnswer(sku: string, cells: Locations) {
  const total = emptyBalances();
  const locations = [...cells].map(([location, cell]) => {
    for (const pool of POOLS) total[pool] += cell[pool];
    return { location, ...cell, onHand: onHandUnits(cell) };
  });
  return { sku, total: { ...total, onHand: onHandUnits(total) }, locations };
}

const stale = (reply: FastifyReply): FastifyReply =>
  refuse(reply, "stale_view", `the view is more than ${MAX_LAG_MS / 1_000} s behind the ledger`, {
    headers: retryAfter(1),
  });

function shownOf(sku: string, byLocation: boolean, { total, locations }: SkuLevels) {
  const answer = { sku, ...shown(total) };
  if (!byLocation) return answer;
  return { ...answer, locations: [...locations].map(([location, each]) => ({ location, ...shown(each) })) };
}

/** Sends an answer that caches may keep, or 304 when theirs is still the same. */
function cacheable(request: FastifyRequest, reply: FastifyReply, answer: CacheableAnswer): FastifyReply {
  if (isKnown(request.headers["if-none-match"], answer.etag)) {
    setHead(reply, answer.unchangedHead);
    return reply.code(304).send();
  }
  setHead(reply, answer.head);
  return reply.send(answer.body);
}
