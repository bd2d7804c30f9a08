/**
 * What is to be reordered, over HTTP (R7): SKUs whose sellable units and units on their way are below the reorder
 * point, the most urgent first. Answered from the views of this process; no request reads all SKUs from Redis.
 */
import type { Static } from "typebox";
import { type Replenishment, replenishmentOf } from "../../engine/alerting/replenishment-list.js";
import { refuse } from "./problem.js";
import { queryWith, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { problems } from "./schemas/problem.js";
import { ReplenishmentAnswer, ReplenishmentPage, ReplenishmentQuery } from "./schemas/purchasing.js";
import { fromStore } from "./store-errors.js";

const DEFAULT_LIMIT = 100;

export const replenishmentRoutes: RouteGroup = (server, { deps, authorize }) => {
  server.get<{ Querystring: Static<typeof ReplenishmentQuery> }>(
    "/v1/replenishment",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit", "after"),
      schema: {
        tags: ["skus"],
        operationId: "listReplenishment",
        summary: "SKUs to reorder, those with the fewest days of stock first",
        description: `Sellable + inbound < 1.8 × safety + 3 × daily average (R7). Some seconds old at most. The 10,000 most urgent are listed. Default \`limit\`: ${DEFAULT_LIMIT}.`,
        security: TOKEN_NEEDED,
        querystring: ReplenishmentQuery,
        response: { 200: ReplenishmentPage, ...problems },
      },
    },
    async (request) => {
      const { after = 0, limit = DEFAULT_LIMIT } = request.query;
      const { skus, total } = await fromStore("replenishment.read", deps.replenishment.read());
      const end = after + limit;
      return {
        skus: skus.slice(after, end).map(answerOf),
        total,
        ...(end < skus.length ? { next: end } : {}),
      };
    },
  );

  server.get<{ Params: Static<typeof SkuParams> }>(
    "/v1/replenishment/:sku",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["skus"],
        operationId: "getReplenishment",
        summary: "A SKU's reorder point and suggested order",
        description: "Also when nothing is to be ordered: then `suggestedUnits` is 0.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        response: { 200: ReplenishmentAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const levels = deps.storefrontView.get(sku);
      if (!levels) return refuse(reply, "unknown_sku", `SKU ${sku}`);
      const inboundUnits = await fromStore("inbound.units", deps.inbound.inboundUnits(sku));
      const { total, category } = levels;
      const dailyAverage = deps.depletionView.dailyAverage(sku);
      const stocked = { sku, category, sellableUnits: total.sellable, safetyUnits: total.safety, dailyAverage };
      return reply.send(answerOf(replenishmentOf(stocked, inboundUnits)));
    },
  );
};

const answerOf = ({ sku, category, sellableUnits, safetyUnits, inboundUnits, ...rest }: Replenishment) => ({
  ...{ sku, sellable: sellableUnits, safety: safetyUnits, inbound: inboundUnits },
  ...(category === undefined ? {} : { category }),
  ...(rest.dailyAverage === undefined ? {} : { dailyAverage: rest.dailyAverage }),
  ...(rest.reorderPoint === undefined ? {} : { reorderPoint: rest.reorderPoint }),
  ...(rest.suggestedUnits === undefined ? {} : { suggestedUnits: rest.suggestedUnits }),
  ...(rest.daysLeft === undefined ? {} : { daysLeft: rest.daysLeft }),
});
