/**
 * Deletion of a buyer's personal data before its retention ends, by an operator. Stock, lines and steps of the order
 * do not change.
 */
import type { Static } from "typebox";
import { refuse } from "./problem.js";
import { assertOrderId, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { OrderParams } from "./schemas/common.js";
import { ErasedAnswer } from "./schemas/orders.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

export const personalDataRoutes: RouteGroup = (server, { deps, authorize }) => {
  server.delete<{ Params: Static<typeof OrderParams> }>(
    "/v1/orders/:id/personal-data",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["orders"],
        operationId: "deletePersonalData",
        summary: "Deletes the personal data of an order's buyer; lines, steps and stock stay",
        description:
          "Deletes from the order store, its dead letters and the object storage (there within seconds, when another process does it). Safe to repeat. A paid order that the warehouse does not have yet is refused as `order_on_its_way` (409): cancel it first, or wait. Afterwards an unpaid order can no longer be paid (`hold_expired`).",
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
