/**
 * Fresh chain ids over HTTP (R4), for clients that do not make their own. Nothing is stored or reserved.
 */
import type { Static } from "typebox";
import { chainId } from "../../engine/kernel/chain-id.js";
import { assertNoBody, queryWith, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { IdList, IdQuery } from "./schemas/orders.js";
import { problems } from "./schemas/problem.js";

export const idRoutes: RouteGroup = (server, { deps, authorize }) => {
  server.post<{ Querystring: Static<typeof IdQuery> }>(
    "/v1/ids",
    {
      onRequest: authorize("order"),
      preValidation: queryWith("count"),
      schema: {
        tags: ["orders"],
        operationId: "createIds",
        summary: "Creates fresh chain ids (R4)",
        description:
          "Takes no body. Default `count`: 1. Default `channel`: the server's. Nothing is reserved: an id exists once it is used.",
        security: TOKEN_NEEDED,
        querystring: IdQuery,
        response: { 200: IdList, ...problems },
      },
    },
    (request, reply) => {
      assertNoBody(request.body);
      const { count = 1, channel = deps.channel } = request.query;
      reply.send({ ids: Array.from({ length: count }, () => chainId(channel, deps.clock.now())) });
    },
  );
};
