/**
 * Receipts on their way, over HTTP (R7): they raise what is expected, not stock, until their arrival is booked as a
 * command of the ledger. Every change may be repeated: a receipt has the caller's id, and an arrival a name.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import type { ReceiptStatus } from "../../engine/stock/receipt-list.js";
import { causeOf } from "./identity.js";
import { refuse } from "./problem.js";
import { assertNoBody, isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import {
  ArrivalAnswer,
  ArrivalBody,
  ReceiptAnswer,
  ReceiptBody,
  ReceiptList,
  ReceiptParams,
  ReceiptQuery,
} from "./schemas/purchasing.js";
import { fromStore } from "./store-errors.js";

type Params = Static<typeof ReceiptParams>;

const DEFAULT_LIMIT = 200;
/** The name of an arrival that names none: a receipt that arrives as a whole. */
const ONLY_ARRIVAL = "1";

export const inboundRoutes: RouteGroup = (server, context) => {
  listRoute(server, context);
  putRoute(server, context);
  deleteRoute(server, context);
  arrivalRoute(server, context);
};

function listRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.get<{ Querystring: Static<typeof ReceiptQuery> }>(
    "/v1/inbound",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["stock"],
        operationId: "listReceipts",
        summary: "Receipts on their way, the earliest first",
        description: `Of a SKU, or all. Default \`limit\`: ${DEFAULT_LIMIT}.`,
        security: TOKEN_NEEDED,
        querystring: ReceiptQuery,
        response: { 200: ReceiptList, ...problems },
      },
    },
    async (request) => {
      const { sku, limit = DEFAULT_LIMIT } = request.query;
      return { receipts: (await fromStore("inbound.list", deps.inbound.list(sku, limit))).map(answerOf) };
    },
  );
}

function putRoute(server: FastifyInstance, { deps, authorize, defaultLocation }: RouteContext): void {
  server.put<{ Params: Params; Body: Static<typeof ReceiptBody> }>(
    "/v1/inbound/:id",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["stock"],
        operationId: "setReceipt",
        summary: "Adds a receipt on its way, or changes its units, time and reference",
        description: "Its SKU and location stay: remove it to change them. 10,000 at most. Safe to repeat.",
        security: TOKEN_NEEDED,
        params: ReceiptParams,
        body: ReceiptBody,
        response: { 200: ReceiptAnswer, 201: ReceiptAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { sku, location = defaultLocation, units, expectedAt, reference } = request.body;
      const receipt = {
        ...{ id, sku, location, units, expectedMs: Date.parse(expectedAt) },
        ...(reference === undefined ? {} : { reference }),
      };
      const outcome = await fromStore("inbound.put", deps.inbound.put(receipt));
      if (outcome === "differs") return refuse(reply, "receipt_differs", `receipt ${id} has another SKU or location`);
      if (outcome === "too_many") return refuse(reply, "too_many_receipts", "remove some first");
      const known = await fromStore("inbound.get", deps.inbound.get(id));
      const status = known ?? { ...receipt, arrivedUnits: 0, remainingUnits: units };
      return reply.code(outcome === "created" ? 201 : 200).send(answerOf(status));
    },
  );
}

function deleteRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.delete<{ Params: Params }>(
    "/v1/inbound/:id",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["stock"],
        operationId: "deleteReceipt",
        summary: "Removes a receipt: it does not arrive, or not any more of it",
        description: "What has arrived stays in stock.",
        security: TOKEN_NEEDED,
        params: ReceiptParams,
        response: { 204: { description: "It is removed", type: "null" }, ...problems },
      },
    },
    async (request, reply) => {
      assertNoBody(request.body);
      const { id } = request.params;
      const isKnown = await fromStore("inbound.remove", deps.inbound.remove(id));
      return isKnown ? reply.code(204).send() : refuse(reply, "unknown_receipt", `receipt ${id}`);
    },
  );
}

function arrivalRoute(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  server.post<{ Params: Params; Body: Static<typeof ArrivalBody> }>(
    "/v1/inbound/:id/arrival",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["stock"],
        operationId: "recordArrival",
        summary: "Books what has arrived of a receipt as sellable units",
        description:
          "Name each part delivery in `arrival` when a receipt arrives in parts (100 at most). The same arrival again is booked once; with other units it is refused as `arrival_differs`. More than was ordered is booked, too.",
        security: TOKEN_NEEDED,
        params: ReceiptParams,
        body: ArrivalBody,
        response: { 200: ArrivalAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { units, arrival = ONLY_ARRIVAL } = request.body;
      const cause = causeOf(request, request.body);
      const result = await fromStore("inbound.arrive", deps.inbound.arrive(id, arrival, units, cause));
      if (result.outcome === "unknown") return refuse(reply, "unknown_receipt", `receipt ${id}`);
      if (result.outcome === "arrival_differs")
        return refuse(reply, "arrival_differs", `arrival ${arrival} was recorded with other units: name another one`);
      if (result.outcome === "too_many_arrivals") return refuse(reply, "too_many_arrivals", `receipt ${id}`);
      if (result.outcome === "refused") {
        const { refusal } = result;
        const code = refusal === "limit_exceeded" || refusal === "clocks_disagree" ? refusal : "id_outside_window";
        return refuse(reply, code, `arrival ${arrival} of receipt ${id}: ${refusal}`);
      }
      return reply.send({ receipt: answerOf(result.receipt), repeated: result.outcome === "repeated" });
    },
  );
}

const answerOf = ({ expectedMs, ...receipt }: ReceiptStatus) => ({ ...receipt, expectedAt: isoOf(expectedMs) });
