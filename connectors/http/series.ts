/**
 * Histories of figures over HTTP, for charts: units depleted and stock of a SKU, and figures of the engine, by minute,
 * hour or day of the shop's zone. They come from what is recorded each minute; every single change of a SKU's stock is
 * at `/v1/ledger/{sku}/history`. Each answer states what of its span was not recorded.
 */
import type { FastifyInstance, FastifyReply } from "fastify";
import type { Static } from "typebox";
import { FIGURES } from "../../engine/history/series/figures.js";
import type { SeriesAnswer } from "../../engine/history/series/series-reader.js";
import { ConcurrencyLimit } from "./admission.js";
import { queriedInstant } from "./past.js";
import { badInputFault, refuse } from "./problem.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { problems } from "./schemas/problem.js";
import { FigureParams, FigureSeriesAnswer, SeriesQuerySchema, SkuSeriesAnswer } from "./schemas/series.js";
import { fromStore } from "./store-errors.js";

/** An answer has up to 1,500 points, and a phone shows a few charts at once. */
const MAX_SERIES_REQUESTS = 16;

type Query = Static<typeof SeriesQuerySchema>;

export const seriesRoutes: RouteGroup = (server, context) => {
  const limit = new ConcurrencyLimit(MAX_SERIES_REQUESTS, "requests for histories of figures");
  skuRoute(server, context, limit);
  figureRoute(server, context, limit);
};

function skuRoute(server: FastifyInstance, { deps, authorize }: RouteContext, limit: ConcurrencyLimit): void {
  server.get<{ Params: Static<typeof SkuParams>; Querystring: Query }>(
    "/v1/skus/:sku/history",
    {
      onRequest: [authorize("read"), limit.guard],
      preValidation: queryWith(),
      schema: {
        tags: ["stock"],
        operationId: "getSkuSeries",
        summary: "Units depleted and stock of a SKU by minute, hour or day",
        description:
          "Minutes are kept for 24 hours, hours for 30 days, days of the shop's zone for 2 years. A bucket without a point and outside `gaps` had no depletion and no change of stock. The minute that has not ended is not in it; the last hour and day have what was recorded so far. Every single change of the stock is at `/v1/ledger/{sku}/history`. At most 16 of these requests run concurrently; further ones get 429.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        querystring: SeriesQuerySchema,
        response: { 200: SkuSeriesAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const { series, clock } = deps;
      if (!series) return refuseOff(reply);
      const answer = await fromStore("series.read", series.reader.sku(sku, queryOf(request.query), clock.now()));
      if (answer.points.length === 0 && answer.openingStock === undefined && !deps.storefrontView.get(sku))
        return refuse(reply, "unknown_sku", "no units of this SKU were ever received");
      return {
        sku,
        ...spanOf(answer),
        unit: "units" as const,
        ...(answer.openingStock === undefined ? {} : { openingStock: answer.openingStock }),
        points: answer.points.map(({ atMs, value, stock }) => ({
          at: isoOf(atMs),
          ...(value === undefined ? {} : { units: value }),
          ...(stock === undefined ? {} : { stock }),
        })),
        ...recordedOf(answer, series.kind),
      };
    },
  );
}

function figureRoute(server: FastifyInstance, { deps, authorize }: RouteContext, limit: ConcurrencyLimit): void {
  server.get<{ Params: Static<typeof FigureParams>; Querystring: Query }>(
    "/v1/figures/:name/history",
    {
      onRequest: [authorize("read"), limit.guard],
      preValidation: queryWith(),
      schema: {
        tags: ["operations"],
        operationId: "getFigureSeries",
        summary: "A figure of the engine by minute, hour or day",
        description:
          "Commands that the ledger accepted are added up; of all other figures an hour and a day have the largest value. The same limits as for a SKU's history.",
        security: TOKEN_NEEDED,
        params: FigureParams,
        querystring: SeriesQuerySchema,
        response: { 200: FigureSeriesAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { series, clock } = deps;
      if (!series) return refuseOff(reply);
      const answer = await fromStore("series.read", series.reader.figure(name, queryOf(request.query), clock.now()));
      return {
        name,
        ...spanOf(answer),
        unit: FIGURES[name].unit,
        points: answer.points.flatMap(({ atMs, value }) => (value === undefined ? [] : [{ at: isoOf(atMs), value }])),
        ...recordedOf(answer, series.kind),
      };
    },
  );
}

const refuseOff = (reply: FastifyReply) =>
  refuse(reply, "not_found", "no history of figures is recorded: this process was started with --history off");

function queryOf({ resolution, from, to }: Query) {
  const fromMs = from === undefined ? undefined : queriedInstant(from, "from");
  const toMs = to === undefined ? undefined : queriedInstant(to, "to");
  if (fromMs !== undefined && toMs !== undefined && fromMs > toMs)
    throw badInputFault([{ field: "from", message: "must not be after `to`" }]);
  return { resolution, fromMs, toMs };
}

const spanOf = ({ resolution, fromMs, toMs }: SeriesAnswer) => ({ resolution, from: isoOf(fromMs), to: isoOf(toMs) });

const recordedOf = ({ recordedToMs, isComplete, gaps }: SeriesAnswer, store: "redis" | "time-series") => ({
  ...(recordedToMs === 0 ? {} : { recordedTo: isoOf(recordedToMs) }),
  complete: isComplete,
  gaps: gaps.map((gap) => ({ from: isoOf(gap.fromMs), to: isoOf(gap.toMs), missing: gap.missing })),
  store,
});
