/**
 * Orders over HTTP (R3): placed, paid, cancelled and sent out as a whole. An order placed again with the same id and body gets its first
 * answer again, so a client that lost an answer sends the same request once more. An order without an id gets one here: convenient,
 * but a repeat of such a request is a second order.
 */
import type { FastifyReply } from "fastify";
import type { Static } from "typebox";
import { CHAIN_ID_LENGTH, chainId } from "../../engine/kernel/chain-id.js";
import type { LineReply, Order, OrderLine, OrderReply } from "../../engine/orders/model.js";
import { isAccepted, type Outcome } from "../../engine/stock/model.js";
import { assertTakesNew, Queue } from "./admission.js";
import type { GateWatch } from "./breaker.js";
import { MAX_FAULTS } from "./faults.js";
import { identityOf } from "./identity.js";
import { assertNoBody, assertOrderId, fromStore, type Kit, type RouteGroup, TOKEN_NEEDED } from "./kit.js";
import { badInputFault, type ProblemCode, problemOf, refuse, retryAfter, sendProblem } from "./problem.js";
import { OrderAnswer, OrderParams, OrderView, PlaceOrder, problems } from "./schemas.js";
import { exceptionText, stepText } from "./steps.js";

/** Somebody has to set a clock right. */
const CLOCKS_SECONDS = 30;

const STEPS = [
  [
    "payment",
    "pay",
    "Notes the payment. After its hold has expired an order is admitted anew (`admitted_anew`) or refused (`hold_expired`)",
  ],
  ["cancellation", "cancel", "Cancels the order; `cancelled_paid` when money has to go back"],
  [
    "outbound",
    "outbound",
    "Notes that the goods left. When a line is refused the others are noted all the same, because they are gone",
  ],
] as const;

/** Why lines were refused, in the words of a client. */
const REASONS: Partial<Record<Outcome, string>> = {
  unknown_sku: "is not known at this location",
  insufficient_sellable: "are more than is sellable",
  insufficient_presale: "are more than the presale has left",
};
const ABOUT_UNITS: ReadonlySet<Outcome> = new Set(["insufficient_sellable", "insufficient_presale"]);

export const orderRoutes =
  (gates: GateWatch): RouteGroup =>
  (server, kit) => {
    const { deps, authorize } = kit;
    const queue = new Queue(deps.maxWaitMs);

    server.post<{ Body: Static<typeof PlaceOrder> }>(
      "/v1/orders",
      {
        onRequest: [authorize("order"), queue.guard],
        schema: {
          tags: ["orders"],
          operationId: "placeOrder",
          summary: "Reserves every line of an order, or none",
          description:
            "Send an `id` of your own (a chain id) to be able to repeat the request: the same id with the same body gets the first answer again (200), with another body `id_reused` (409). While the jobs are behind, too many orders wait for the warehouse, or those who came before wait too long (429), or the store is nearly full (503), no new order is taken: `Retry-After` says when to come again.",
          security: TOKEN_NEEDED,
          body: PlaceOrder,
          response: { 200: OrderAnswer, 201: OrderAnswer, ...problems },
        },
      },
      async (request, reply) => {
        const order = orderOf(request.body, kit);
        assertTakesNew(deps);
        const answer = await queue.pass(() =>
          fromStore("orders.place", deps.desk.place(order, identityOf(request).name)),
        );
        if (answer.outcome === "accepted") {
          if (answer.repeated) return reply.code(200).send(answer);
          return reply.code(201).header("location", `/v1/orders/${order.id}`).send(answer);
        }
        if (answer.outcome === "breaker_open") {
          const seconds = await gates.retryAfterSeconds(order.lines);
          return sendProblem(
            reply,
            problemOf("breaker_open", "the order was not taken; send it again with the same id", { id: order.id }),
            retryAfter(seconds),
          );
        }
        if (answer.outcome === "clocks_disagree") {
          const detail =
            "the order was not taken; send it again with the same id, until somebody has set the clocks right";
          return sendProblem(reply, problemOf("clocks_disagree", detail, { id: order.id }), retryAfter(CLOCKS_SECONDS));
        }
        return refused(reply, answer);
      },
    );

    for (const [path, step, about] of STEPS) {
      server.post<{ Params: Static<typeof OrderParams> }>(
        `/v1/orders/:id/${path}`,
        {
          onRequest: authorize("order"),
          schema: {
            tags: ["orders"],
            operationId: `${step}Order`,
            summary: about,
            description: "Takes no body. Safe to repeat.",
            security: TOKEN_NEEDED,
            params: OrderParams,
            response: { 200: OrderAnswer, ...problems },
          },
        },
        async (request, reply) => {
          assertNoBody(request.body);
          const { id } = request.params;
          assertOrderId(id);
          const answer = await fromStore(`orders.${step}`, deps.desk[step](id, identityOf(request).name));
          return answer.outcome !== "unknown_order" && isAccepted(answer.outcome) ? answer : refused(reply, answer);
        },
      );
    }

    server.get<{ Params: Static<typeof OrderParams> }>(
      "/v1/orders/:id",
      {
        onRequest: authorize("read"),
        schema: {
          tags: ["orders"],
          operationId: "lookAtOrder",
          summary: "An order's lines and where they stand, and its way so far",
          description: "A line in state `none` was refused or undone, or is older than the ledger's memory.",
          security: TOKEN_NEEDED,
          params: OrderParams,
          response: { 200: OrderView, ...problems },
        },
      },
      async (request, reply) => {
        const { id } = request.params;
        assertOrderId(id);
        const [lines, flow] = await fromStore("orders.look", Promise.all([deps.desk.look(id), deps.tracker.track(id)]));
        if (lines) return { id, lines, steps: flow.taken.map(stepText), exceptions: flow.open.map(exceptionText) };
        return refused(reply, { id, outcome: "unknown_order", repeated: false, lines: [] });
      },
    );
  };

/** The order that a body asks for; throws on what its schema could not see. */
function orderOf(body: Static<typeof PlaceOrder>, { deps, defaultLocation }: Kit): Order {
  const { id, channel, shipTo, holdMs } = body;
  if (id !== undefined) {
    assertOrderId(id);
    if (channel !== undefined && !id.startsWith(channel))
      throw badInputFault([{ field: "channel", message: "is not the channel of the id" }]);
  }
  const lines = body.lines.map(
    (line): OrderLine => (line.location === undefined ? { ...line, location: defaultLocation } : (line as OrderLine)),
  );
  const order: Order = { id: id ?? chainId(channel ?? deps.channel, deps.clock.now()), lines };
  if (shipTo !== undefined) order.shipTo = shipTo;
  if (holdMs !== undefined) order.holdMs = holdMs;
  return order;
}

function refused(reply: FastifyReply, { id, outcome, lines }: OrderReply): FastifyReply {
  const code = outcome as ProblemCode;
  const errors = lines
    .flatMap((line, i) => (isAccepted(line.outcome) ? [] : [lineFault(line, i, id)]))
    .slice(0, MAX_FAULTS);
  const detail =
    errors.length > 0
      ? errors
          .slice(0, 3)
          .map(({ field, message }) => `${field} ${message}`)
          .join("; ")
      : `order ${id}`;
  return refuse(reply, code, detail, errors.length > 0 ? { id, errors } : { id });
}

function lineFault({ outcome }: LineReply, position: number, id: string): { field: string; message: string } {
  const place = `lines[${position}]`;
  const part = ABOUT_UNITS.has(outcome) ? ".units" : outcome === "unknown_sku" ? ".sku" : "";
  return {
    field: place + part,
    message: REASONS[outcome] ?? `(${id.slice(0, CHAIN_ID_LENGTH)}-${position + 1}): ${outcome}`,
  };
}
