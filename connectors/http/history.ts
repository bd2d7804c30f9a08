/**
 * Histories over HTTP: every change of a SKU's stock in a span of time with its cause, and the steps of an order with
 * their evidence, as fields or as sentences (`format=story`). They are read from the logs, so they are as complete as
 * these, and each answer states whether it is. No answer has a buyer's name or address.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import type { Change } from "../../engine/history/changes.js";
import { missingTexts, orderStory, type Story, skuStory } from "../../engine/history/story.js";
import type { Locations } from "../../engine/stock/as-of.js";
import { onHandUnits, type StockEvent } from "../../engine/stock/model.js";
import { ConcurrencyLimit } from "./admission.js";
import { queriedInstant, readWhileConnected, refusePast } from "./past.js";
import { badInputFault, refuse } from "./problem.js";
import { assertOrderId, isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { OrderParams, SkuParams } from "./schemas/common.js";
import { OrderHistoryAnswer, OrderHistoryQuery, SkuHistoryAnswer, SkuHistoryQuery } from "./schemas/history.js";
import { problems } from "./schemas/problem.js";
import { exceptionText } from "./steps.js";

/** Each reads two logs, up to 250,000 entries of each, in steps of 1 to 2 ms. */
const MAX_HISTORIES = 4;
const DEFAULT_LIMIT = 200;

export const historyRoutes: RouteGroup = (server, context) => {
  const limit = new ConcurrencyLimit(MAX_HISTORIES, "requests for histories");
  skuRoute(server, context, limit);
  orderRoute(server, context, limit);
};

function skuRoute(server: FastifyInstance, { deps, authorize }: RouteContext, limit: ConcurrencyLimit): void {
  server.get<{ Params: Static<typeof SkuParams>; Querystring: Static<typeof SkuHistoryQuery> }>(
    "/v1/ledger/:sku/history",
    {
      onRequest: [authorize("read"), limit.guard],
      preValidation: queryWith("limit"),
      schema: {
        tags: ["stock"],
        operationId: "getLedgerHistory",
        summary: "Every change of a SKU's stock in a span of time, with its cause and the balances after it",
        description:
          "The changes after `from`, up to and with `to`, the oldest first, from the ledger's log. The last page adds them up: `complete` is true when the opening balances and all changes make what the ledger has for `to`, to the unit. With `format=story` the answer has sentences in Chinese or English instead of `changes`. At most 4 histories are read concurrently; further requests get 429.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        querystring: SkuHistoryQuery,
        response: { 200: SkuHistoryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const { from, to, location, after, limit: given = DEFAULT_LIMIT, format, lang = "zh" } = request.query;
      const fromMs = from === undefined ? undefined : queriedInstant(from, "from");
      const toMs = to === undefined ? deps.clock.now() : queriedInstant(to, "to");
      if (fromMs !== undefined && fromMs > toMs)
        throw badInputFault([{ field: "from", message: "must not be after `to`" }]);
      const query = { fromMs, toMs, location, after, limit: given };
      const result = await readWhileConnected("ledger.history", reply, async (signal) => {
        const span = await deps.skuHistory.read(sku, query, signal);
        if (span.outcome !== "found") return span;
        const { changes, reasons } = await deps.orderHistory.withEvidence(span.changes, signal);
        return { ...span, changes, reasons };
      });
      if (result.outcome === "unknown_sku")
        return refuse(reply, "unknown_sku", "no units of this SKU were ever received");
      if (result.outcome !== "found") return refusePast(reply, result);
      const { partition, opening, closing, next, isFinal, isComplete, mismatches, reasons } = result;
      const story = format === "story" ? skuStory(result, { language: lang, zone: deps.zone }, reasons) : undefined;
      return {
        sku,
        from: isoOf(result.fromMs),
        to: isoOf(result.toMs),
        final: isFinal,
        opening: locationList(opening),
        ...(story
          ? { story: storyAnswer(story) }
          : { changes: result.changes.map((change) => changeAnswer(change, partition)) }),
        closing: locationList(closing),
        ...(next === undefined ? {} : { next }),
        complete: isComplete,
        mismatches: [...mismatches],
        missing: missingTexts(reasons, "en", isoOf),
      };
    },
  );
}

function orderRoute(server: FastifyInstance, { deps, authorize }: RouteContext, limit: ConcurrencyLimit): void {
  server.get<{ Params: Static<typeof OrderParams>; Querystring: Static<typeof OrderHistoryQuery> }>(
    "/v1/orders/:id/history",
    {
      onRequest: [authorize("read"), limit.guard],
      preValidation: queryWith(),
      schema: {
        tags: ["orders"],
        operationId: "getOrderHistory",
        summary: "An order's steps with their evidence, and what its lines did to the stock",
        description:
          "From the logs of orders and of stock, so as far back as they go: `complete: false` and `missing` state what is not there any more. With `format=story` the answer has sentences in Chinese or English instead of `steps` and `changes`. No personal data. At most 4 histories are read concurrently; further requests get 429.",
        security: TOKEN_NEEDED,
        params: OrderParams,
        querystring: OrderHistoryQuery,
        response: { 200: OrderHistoryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      assertOrderId(id);
      const { format, lang = "zh" } = request.query;
      const [history, flow] = await readWhileConnected("orders.history", reply, (signal) =>
        Promise.all([deps.orderHistory.read(id, deps.clock.now(), signal), deps.tracker.track(id)]),
      );
      if (history.outcome !== "found") return refuse(reply, "unknown_order", `order ${id}`, { id });
      const { lines, steps, changes, isComplete, reasons } = history;
      const story =
        format === "story" ? orderStory(history, flow.open, { language: lang, zone: deps.zone }) : undefined;
      return {
        id,
        lines: lines.map(({ sku, location, units }, i) => ({ line: i + 1, sku, location, units })),
        ...(story
          ? { story: storyAnswer(story) }
          : {
              steps: steps.map(({ clockMs, step, source, detail }) => ({ at: isoOf(clockMs), step, source, detail })),
              changes: changes.map((event) => ({
                sku: event.sku,
                ...eventAnswer(event, deps.ledger.partitionOf(event.sku)),
              })),
            }),
        exceptions: flow.open.map(exceptionText),
        complete: isComplete,
        missing: missingTexts(reasons, "en", isoOf),
      };
    },
  );
}

const locationList = (locations: Locations) =>
  [...locations].map(([location, cell]) => ({ location, ...cell, onHand: onHandUnits(cell) }));

const changeAnswer = ({ event, after, line, evidence }: Change, partition: number) => ({
  ...eventAnswer(event, partition),
  ...line,
  ...(evidence ? { source: evidence.source, ...textFields(evidence.detail, ["actor"]) } : {}),
  balances: locationList(after),
});

/** An event of the stock log, as answers have it. */
export function eventAnswer(event: StockEvent, partition: number) {
  const { type, id, units, from, to, location, toLocation, clockMs, atMs, offset, index, detail } = event;
  const missing = detail?.["missingUnits"];
  return {
    at: isoOf(clockMs),
    ...(atMs < clockMs ? { happened: isoOf(atMs) } : {}),
    ...{ what: type, id, units, from, to, location },
    ...(toLocation === undefined ? {} : { toLocation }),
    ...textFields(detail, ["actor", "onBehalfOf", "reason"]),
    ...settledOf(detail),
    ...(typeof missing === "number" ? { missingUnits: missing } : {}),
    ...(detail?.["unexplained"] === true ? { unexplained: true } : {}),
    position: { partition, offset, index },
  };
}

/** The report of a source that a correction settles. */
function settledOf(detail: StockEvent["detail"]) {
  const { source, snapshot, asOfMs } = (detail?.["settlement"] ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof source !== "string" || typeof snapshot !== "string" || typeof asOfMs !== "number") return {};
  return { settled: { source, snapshot, asOf: isoOf(asOfMs) } };
}

/** Those of some fields that are texts. */
const textFields = (record: Readonly<Record<string, unknown>> | undefined, names: readonly string[]) =>
  Object.fromEntries(names.flatMap((name) => (typeof record?.[name] === "string" ? [[name, record[name]]] : [])));

const storyAnswer = ({ language, title, before, changes, after, remarks }: Story) => ({
  ...{ language, title, before: [...before], after: [...after], remarks: [...remarks] },
  changes: changes.map(({ atMs, time, text }) => ({ at: isoOf(atMs), time, text })),
});
