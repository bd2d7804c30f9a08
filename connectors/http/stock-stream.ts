/**
 * Push for the storefront's pages (R6): a stream of server-sent events that tells at once when one of up to 100 SKUs
 * sells out or is back in stock, and the server's time every 5 seconds, from which a page knows how old a number is.
 * It is public, and begins with the present states, so nothing is lost between a page's load and its subscription. It
 * sends no event for other changes of a number: pages read those from the query or the publication.
 */
import type { FastifyReply } from "fastify";
import { Counter } from "prom-client";
import type { Static } from "typebox";
import { systemClock } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { ConcurrencyLimit } from "./admission.js";
import { quotaClientOf } from "./client.js";
import { EVENT_STREAM } from "./connections.js";
import type { HttpMetrics } from "./operations.js";
import { SHARED_HEADERS } from "./public-answers.js";
import { isoOf, NO_TOKEN_NEEDED, queryWithList, type RouteGroup } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import { StockStreamQuery } from "./schemas/stock.js";
import { type StockAnswers, shown } from "./stock-answers.js";
import { EVENT_KINDS, StockSubscribers } from "./stock-subscribers.js";

/** Half of the connections: the others are for orders and queries. */
const MAX_STREAMS = 5_000;
/** Of one address: behind one of a mobile network there are many buyers. */
const MAX_STREAMS_EACH = MAX_STREAMS / 4;
/** After a stream ends, its clients come back within this time of each other. */
const RETRY_LEAST_MS = 1_000;
const RETRY_SPREAD_MS = 4_000;
const RETRY_STEPS = 256;

export const stockStreamRoutes =
  (answers: StockAnswers, metrics: HttpMetrics): RouteGroup =>
  (server, { deps }) => {
    const limit = new ConcurrencyLimit(MAX_STREAMS, "streams of stock", {
      requests: MAX_STREAMS_EACH,
      clientOf: (request) => quotaClientOf(request, deps.trustProxy === true),
    });
    const subscribers = new StockSubscribers({
      stockEvent: (sku) => stockEvent(sku, answers),
      isFresh: (sku) => answers.exactAsOfMs([sku]) !== undefined,
      timeEvent: () => eventText("time", { now: isoOf(systemClock.now()) }),
      listen: (publish) => deps.storefrontView.onAvailability(publish),
      ...streamCounters(metrics),
    });
    metrics.gauge("shuiwei_stock_streams", "Streams of stock that are open", () => subscribers.size);
    server.decorate("endStreams", () => subscribers.close());
    // Before the server waits for the requests under way: a stream ends only by this.
    server.addHook("preClose", (done) => {
      subscribers.close();
      done();
    });

    server.get<{ Querystring: Static<typeof StockStreamQuery> }>(
      "/v1/stock/stream",
      {
        config: { anyHost: true, ownLimit: true },
        exposeHeadRoute: false,
        onRequest: limit.guard,
        preValidation: queryWithList("sku"),
        schema: {
          tags: ["stock"],
          operationId: "getStockStream",
          summary: "A stream that tells when one of up to 100 SKUs sells out or is back in stock",
          description:
            "Server-sent events: `stock` with `sku`, `display`, `available` and `asOf`, at the start for each known SKU and then whenever it sells out or is back in stock; `time` with `now`, the server's time, at the start and every 5 s. Without an event for 15 s a page must not trust what it shows. A client that does not read is disconnected.",
          security: NO_TOKEN_NEEDED,
          querystring: StockStreamQuery,
          response: {
            200: { description: "The events", content: { [EVENT_STREAM]: { schema: { type: "string" } } } },
            ...problems,
          },
        },
      },
      (request, reply) => {
        open(reply);
        subscribers.add(reply.raw, new Set(request.query.sku));
        reply.raw.once("close", () => subscribers.remove(reply.raw));
      },
    );
  };

function streamCounters({ registry }: HttpMetrics) {
  const sent = new Counter({
    name: "shuiwei_stock_stream_events_total",
    help: "Events sent to streams of stock, without those at a stream's start",
    labelNames: ["kind"],
    registers: [registry],
  });
  for (const kind of EVENT_KINDS) sent.inc({ kind }, 0);
  const slow = new Counter({
    name: "shuiwei_stock_streams_dropped_total",
    help: "Streams of stock that were ended because the client did not read",
    registers: [registry],
  });
  return { onSent: (kind: (typeof EVENT_KINDS)[number]) => sent.inc({ kind }), onSlow: () => slow.inc() };
}

/** Sends the head of a stream, and how long its client waits before it connects again. */
function open(reply: FastifyReply): void {
  reply.hijack();
  const headers = {
    ...reply.getHeaders(),
    "content-type": EVENT_STREAM,
    "cache-control": "no-store",
    ...SHARED_HEADERS,
    // nginx: do not collect events before they are passed on.
    "x-accel-buffering": "no",
  };
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) reply.raw.setHeader(name, value);
  const retryMs = RETRY_LEAST_MS + (RETRY_SPREAD_MS * (secureBytes(1)[0] ?? 0)) / RETRY_STEPS;
  reply.raw.write(`retry: ${Math.round(retryMs)}\n\n`);
}

const eventText = (name: string, content: unknown): string => `event: ${name}\ndata: ${JSON.stringify(content)}\n\n`;

/** Undefined for a SKU without a display, and while the view is too old to be shown. */
function stockEvent(sku: string, answers: StockAnswers): string | undefined {
  const levels = answers.levels(sku);
  // To the millisecond: it decides which of an event and a cached answer is newer.
  const asOfMs = answers.exactAsOfMs([sku]);
  if (!levels || asOfMs === undefined) return undefined;
  return eventText("stock", { sku, ...shown(levels.total), asOf: isoOf(asOfMs) });
}
