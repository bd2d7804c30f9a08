/**
 * A buyer's text on request: whoever operates the shop may have it taken away before its time. Stock, lines and steps
 * stay as they are.
 */
import type { Static } from "typebox";
import { refuse } from "./problem.js";
import { assertOrderId, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { ErasedAnswer, OrderParams, problems } from "./schemas.js";
import { fromStore } from "./store-errors.js";

export const personalDataRoutes: RouteGroup = (server, { deps, authorize }) => {
  server.delete<{ Params: Static<typeof OrderParams> }>(
    "/v1/orders/:id/personal-data",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["orders"],
        operationId: "deletePersonalData",
        summary: "Takes away what is known of an order's buyer; lines, steps and stock stay",
        description:
          "From the order store, its dead letters and the object storage (there within seconds when another process has to do it). Safe to repeat. A paid order that the warehouse does not have is refused as `order_on_its_way` (409): cancel it first, or wait. An unpaid order cannot be paid any more after that (`hold_expired`).",
        security: TOKEN_NEEDED,
        params: OrderParams,
        response: { 200: ErasedAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      assertOrderId(id);
      const outcome = await fromStore("orders.erase", deps.eraseBuyer(id));
      if (outcome === "unknown") return refuse(reply, "unknown_order", `order ${id}`, { id });
      if (outcome === "on_its_way")
        return refuse(reply, "order_on_its_way", "cancel it, or wait until the warehouse has it", { id });
      return reply.send({ id, outcome: "erased" });
    },
  );
};
