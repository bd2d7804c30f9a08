/**
 * Stock over HTTP: the levels shown to customers (R5, R6), public and cacheable by a CDN, and the ledger's balances,
 * present and past, for clients with a token. Levels come from the view in memory and carry the time as of which they
 * are true. They are refused when they could become older than 15 seconds in caches. They do not promise that an order
 * will be accepted.
 */
import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import type { Levels } from "../../engine/jobs/storefront/view.js";
import type { Locations } from "../../engine/stock/as-of.js";
import { emptyBalances, onHandUnits, POOLS } from "../../engine/stock/model.js";
import { ConcurrencyLimit } from "./admission.js";
import { queriedInstant, readWhileConnected, refusePast } from "./past.js";
import { refuse, retryAfter } from "./problem.js";
import {
  assertQuery,
  isoOf,
  NO_TOKEN_NEEDED,
  queryWith,
  type RouteContext,
  type RouteGroup,
  TOKEN_NEEDED,
} from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { problems } from "./schemas/problem.js";
import { LedgerAnswer, LedgerQuery, SkuStockQuery, StockAnswer, StockListAnswer, StockQuery } from "./schemas/stock.js";
import { fromStore } from "./store-errors.js";

/** R6: no answer is older than this, in whatever cache it was. */
const OLDEST_ANSWER_MS = 15_000;
/** A shared cache keeps an answer this long, */
const EDGE_SECONDS = 6;
/** a CDN may serve it this much longer while it fetches the next one, */
const REVALIDATE_SECONDS = 5;
/** and a browser does not keep it. */
const BROWSER_SECONDS = 0;
/** What is left for the engine: 15 - 6 - 5 - 0 = 4 s. An older view is refused. */
export const OLDEST_VIEW_MS = OLDEST_ANSWER_MS - (EDGE_SECONDS + REVALIDATE_SECONDS + BROWSER_SECONDS) * 1_000;
/**
 * Without `stale-while-revalidate`, which has no form for shared caches only: a browser would show a stale answer,
 * too.
 */
const CACHE_CONTROL = `public, max-age=${BROWSER_SECONDS}, must-revalidate, s-maxage=${EDGE_SECONDS}`;
/** For CDNs only (RFC 9213), instead of the above. */
const CDN_CACHE_CONTROL = `max-age=${EDGE_SECONDS}, stale-while-revalidate=${REVALIDATE_SECONDS}`;
export const CACHE_HEADERS = { "cache-control": CACHE_CONTROL, "cdn-cache-control": CDN_CACHE_CONTROL };

/**
 * `asOf` in whole seconds, rounded down: never later than true, and all answers of one second are the same for a
 * cache.
 */
const AS_OF_STEP_MS = 1_000;

/** Each reads up to 250,000 entries of a log, in steps of 1 to 2 ms: this many leave most of every turn to orders. */
const MAX_PAST_BALANCES = 4;

export const stockRoutes: RouteGroup = (server, context) => {
  levelRoute(server, context);
  levelsRoute(server, context);
  ledgerRoute(server, context);
};

function levelRoute(server: FastifyInstance, context: RouteContext): void {
  server.get<{ Params: Static<typeof SkuParams>; Querystring: Static<typeof SkuStockQuery> }>(
    "/v1/stock/:sku",
    {
      config: { anyHost: true },
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
      const asOf = freshAsOf([sku], context);
      if (asOf === undefined) return stale(reply);
      const found = shownOf(sku, request.query.by === "location", context);
      // Cacheable like any answer, so a new SKU appears as soon as one that was restocked.
      if (!found)
        return refuse(reply, "unknown_sku", "no units of this SKU were ever received", {
          headers: CACHE_HEADERS,
        });
      return cacheable(request, reply, { ...found, asOf });
    },
  );
}

function levelsRoute(server: FastifyInstance, context: RouteContext): void {
  server.get<{ Querystring: Static<typeof StockQuery> }>(
    "/v1/stock",
    {
      config: { anyHost: true },
      preValidation: (request, _reply, done) => {
        const query = assertQuery(request);
        if (typeof query["sku"] === "string") query["sku"] = [query["sku"]];
        done();
      },
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
      const asOf = freshAsOf(wanted, context);
      if (asOf === undefined) return stale(reply);
      const skus: NonNullable<ReturnType<typeof shownOf>>[] = [];
      const unknown: string[] = [];
      for (const sku of wanted) {
        const found = shownOf(sku, request.query.by === "location", context);
        if (found) skus.push(found);
        else unknown.push(sku);
      }
      return cacheable(request, reply, { asOf, skus, unknown });
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

/** The time up to which the views of all these SKUs are complete, or undefined when that is too long ago. */
function freshAsOf(skus: readonly string[], { deps }: RouteContext): string | undefined {
  let asOfMs = Number.POSITIVE_INFINITY;
  for (const sku of skus) {
    // Written so that NaN is refused.
    if (!(deps.ageMs(sku) <= OLDEST_VIEW_MS)) return undefined;
    asOfMs = Math.min(asOfMs, deps.asOf(sku));
  }
  return isoOf(Math.floor(asOfMs / AS_OF_STEP_MS) * AS_OF_STEP_MS);
}

const stale = (reply: FastifyReply): FastifyReply =>
  refuse(reply, "stale_view", `the view is more than ${OLDEST_VIEW_MS / 1_000} s behind the ledger`, {
    headers: retryAfter(1),
  });

const shown = ({ display }: Levels) => ({ display, available: display > 0 });

function shownOf(sku: string, byLocation: boolean, { deps }: RouteContext) {
  const levels = deps.storefrontView.get(sku);
  // A SKU that was configured but never received has no location yet.
  if (!levels || levels.locations.size === 0) return undefined;
  const answer = { sku, ...shown(levels.total) };
  if (!byLocation) return answer;
  return { ...answer, locations: [...levels.locations].map(([location, each]) => ({ location, ...shown(each) })) };
}

/** Sends an answer that caches may keep, or 304 when theirs is still the same. */
function cacheable(request: FastifyRequest, reply: FastifyReply, answer: unknown): FastifyReply {
  const text = JSON.stringify(answer);
  // Over the whole answer with its asOf, so that a 304 never prolongs an old asOf.
  const tag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;
  reply.headers({ ...CACHE_HEADERS, etag: tag });
  if (isKnown(request.headers["if-none-match"], tag)) return reply.code(304).send();
  return reply.type("application/json; charset=utf-8").send(text);
}

function isKnown(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((each) => each.trim() === "*" || each.trim().replace(/^W\//, "") === tag);
}
