/**
 * Orders over HTTP (R3): placed, paid, cancelled and sent out as a whole. An order placed again with the same id and
 * body gets its first answer again, so a client that lost an answer repeats the request. An order without an id gets
 * one here; a repeat of such a request is a second order.
 */
import type { FastifyInstance, FastifyReply } from "fastify";
import type { Static } from "typebox";
import { CHAIN_ID_LENGTH, chainId } from "../../engine/kernel/chain-id.js";
import type { LineReply, Order, OrderLine, OrderReply } from "../../engine/orders/model.js";
import { isAccepted, type Outcome } from "../../engine/stock/model.js";
import { assertAcceptsNewWork, WaitingTimeLimit } from "./admission.js";
import type { BreakerWatch } from "./breaker.js";
import { MAX_FAULTS } from "./faults.js";
import { identityOf } from "./identity.js";
import { badInputFault, type ProblemCode, problemOf, refuse, retryAfter, sendProblem } from "./problem.js";
import { assertNoBody, assertOrderId, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { OrderParams } from "./schemas/common.js";
import { NamedLines, OrderAnswer, OrderView, PlaceOrder, WithdrawalBody } from "./schemas/orders.js";
import { problems } from "./schemas/problem.js";
import { exceptionText, stepText } from "./steps.js";
import { fromStore } from "./store-errors.js";

/** An operator must correct a clock first. */
const CLOCKS_RETRY_SECONDS = 30;

const PAYMENT_SUMMARY =
  "Records the payment. After its hold has expired, an order is accepted again (`admitted_anew`) or refused (`hold_expired`)";
/** Steps of the whole order, or of the lines that the body names. */
const STEPS = [
  [
    "cancellation",
    "cancel",
    "cancelOrder",
    "Cancels the order",
    "All lines or none, or the lines that the body names. `cancelled_paid`: the payment must be refunded. When the warehouse may have a paid order (a WMS is connected, or `picking` was recorded), it is asked first: 202 with `cancelling` until it answers. Then the order is cancelled, or it continues with an exception; from then on the answer is `cancellation_refused` (409). Lines can be named only when the order is paid (else `not_paid`) and the warehouse does not have it (else `whole_order_only`). Safe to repeat.",
  ],
  [
    "outbound",
    "outbound",
    "recordOutbound",
    "Records that the goods have left",
    "All lines, or the lines that the body names when an order leaves in parts. Goods that have left are never refused: in any state of a line its units are taken from where they are. `missingUnits` are units that were in no balance; they become an exception, which a stock count closes (`POST …/count`). Safe to repeat.",
  ],
] as const;

/** Why lines were refused, for the client. */
const REASONS: Partial<Record<Outcome, string>> = {
  unknown_sku: "is not known at this location",
  insufficient_sellable: "are more than the sellable units",
  insufficient_presale: "are more than the presale units left",
};
const ABOUT_UNITS: ReadonlySet<Outcome> = new Set(["insufficient_sellable", "insufficient_presale"]);

export const orderRoutes =
  (breakers: BreakerWatch): RouteGroup =>
  (server, context) => {
    placementRoute(server, context, breakers);
    paymentRoute(server, context);
    lineRoutes(server, context);
    withdrawalRoute(server, context);
    viewRoute(server, context);
  };

function placementRoute(server: FastifyInstance, context: RouteContext, breakers: BreakerWatch): void {
  const { deps, authorize } = context;
  const waitingTime = new WaitingTimeLimit(deps.maxWaitMs);
  server.post<{ Body: Static<typeof PlaceOrder> }>(
    "/v1/orders",
    {
      onRequest: [authorize("order"), waitingTime.guard],
      schema: {
        tags: ["orders"],
        operationId: "placeOrder",
        summary: "Places an order: reserves every line, or none",
        description:
          "Send your own `id` (a chain id) to be able to repeat the request: the same id with the same body gets the first answer again (200), with another body `id_reused` (409). New orders are refused while the jobs are behind, too many orders wait for the warehouse, or earlier orders wait too long (429), or the store is nearly full (503). Send the order again after `Retry-After`.",
        security: TOKEN_NEEDED,
        body: PlaceOrder,
        response: { 200: OrderAnswer, 201: OrderAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const order = orderOf(request.body, context);
      assertAcceptsNewWork(deps);
      const answer = await waitingTime.run(() =>
        fromStore("orders.place", deps.orderService.place(order, identityOf(request).name)),
      );
      if (answer.outcome === "accepted") {
        if (answer.repeated) return reply.code(200).send(answer);
        return reply.code(201).header("location", `/v1/orders/${order.id}`).send(answer);
      }
      if (answer.outcome === "breaker_open") {
        const { seconds, why } = await breakers.refusalOf(order.lines);
        const again = "the order was not accepted; send it again with the same id";
        const detail = why === "" ? again : `${again} after ${Math.max(1, Math.ceil(seconds))} s: ${why}`;
        return sendProblem(reply, problemOf("breaker_open", detail, { id: order.id }), retryAfter(seconds));
      }
      if (answer.outcome === "clocks_disagree") {
        const detail = "the order was not accepted; send it again with the same id when the clocks have been corrected";
        return sendProblem(
          reply,
          problemOf("clocks_disagree", detail, { id: order.id }),
          retryAfter(CLOCKS_RETRY_SECONDS),
        );
      }
      return refused(reply, answer);
    },
  );
}

function paymentRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.post<{ Params: Static<typeof OrderParams> }>(
    "/v1/orders/:id/payment",
    {
      onRequest: authorize("order"),
      schema: {
        tags: ["orders"],
        operationId: "payOrder",
        summary: PAYMENT_SUMMARY,
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
      return sendAnswer(reply, await fromStore("orders.pay", deps.orderService.pay(id, identityOf(request).name)));
    },
  );
}

/** Cancellation and outbound. */
function lineRoutes(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  for (const [path, step, operationId, about, description] of STEPS) {
    server.post<{ Params: Static<typeof OrderParams>; Body: Static<typeof NamedLines> }>(
      `/v1/orders/:id/${path}`,
      {
        onRequest: authorize("order"),
        preValidation: (request, _reply, done) => {
          // The body is optional.
          request.body ??= {};
          done();
        },
        schema: {
          tags: ["orders"],
          operationId,
          summary: about,
          description,
          security: TOKEN_NEEDED,
          params: OrderParams,
          body: NamedLines,
          response: { 200: OrderAnswer, ...(step === "cancel" && { 202: OrderAnswer }), ...problems },
        },
      },
      async (request, reply) => {
        const { id } = request.params;
        assertOrderId(id);
        const actor = identityOf(request).name;
        const answer = await fromStore(`orders.${step}`, deps.orderService[step](id, actor, request.body.lines));
        return sendAnswer(reply, answer);
      },
    );
  }
}

function withdrawalRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.post<{ Params: Static<typeof OrderParams>; Body: Static<typeof WithdrawalBody> }>(
    "/v1/orders/:id/withdrawal",
    {
      onRequest: authorize("order"),
      schema: {
        tags: ["orders"],
        operationId: "settleCancellation",
        summary: "Records whether the warehouse releases an order whose cancellation was requested",
        description:
          "For a warehouse without a connected WMS; the engine records a connected WMS's answer itself. `withdrawn`: the units return and the order is cancelled (`cancelled_paid`). `refused`: the order continues (`accepted`), with an exception. A warehouse that has refused may still release the order later. Safe to repeat.",
        security: TOKEN_NEEDED,
        params: OrderParams,
        body: WithdrawalBody,
        response: { 200: OrderAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      assertOrderId(id);
      const { result, source } = request.body;
      const evidence = { source, detail: { actor: identityOf(request).name } };
      return sendAnswer(
        reply,
        await fromStore("orders.settle", deps.orderService.settleCancellation(id, result, evidence)),
      );
    },
  );
}

function viewRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get<{ Params: Static<typeof OrderParams> }>(
    "/v1/orders/:id",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["orders"],
        operationId: "getOrder",
        summary: "An order: its details, the states of its lines, its steps and its exceptions",
        description: "A line in state `none` was refused or undone, or is older than the ledger remembers.",
        security: TOKEN_NEEDED,
        params: OrderParams,
        response: { 200: OrderView, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      assertOrderId(id);
      const [order, flow] = await fromStore(
        "orders.read",
        Promise.all([deps.orderService.read(id), deps.tracker.track(id)]),
      );
      if (order) {
        const { lines, details } = order;
        return { id, ...details, lines, steps: flow.taken.map(stepText), exceptions: flow.open.map(exceptionText) };
      }
      return refused(reply, { id, outcome: "unknown_order", repeated: false, lines: [] });
    },
  );
}

/** The order of a request body; throws on faults that its schema cannot find. */
function orderOf(body: Static<typeof PlaceOrder>, { deps, defaultLocation }: RouteContext): Order {
  const { id, channel, ...others } = body;
  if (id !== undefined) {
    assertOrderId(id);
    if (channel !== undefined && !id.startsWith(channel))
      throw badInputFault([{ field: "channel", message: "differs from the channel of the id" }]);
  }
  const lines = others.lines.map(
    (line): OrderLine => (line.location === undefined ? { ...line, location: defaultLocation } : (line as OrderLine)),
  );
  const order: Order = { id: id ?? chainId(channel ?? deps.channel, deps.clock.now()), ...others, lines };
  const fault = deps.orderService.detailFaultOf(order);
  if (fault) throw badInputFault([fault]);
  return order;
}

function sendAnswer(reply: FastifyReply, answer: OrderReply): FastifyReply {
  if (answer.outcome === "cancelling") return reply.code(202).send(answer);
  return isAccepted(answer.outcome) ? reply.send(answer) : refused(reply, answer);
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

function lineFault({ outcome }: LineReply, index: number, id: string): { field: string; message: string } {
  const field = `lines[${index}]`;
  const part = ABOUT_UNITS.has(outcome) ? ".units" : outcome === "unknown_sku" ? ".sku" : "";
  return {
    field: field + part,
    message: REASONS[outcome] ?? `(${id.slice(0, CHAIN_ID_LENGTH)}-${index + 1}): ${outcome}`,
  };
}
