/**
 * Steps of an order over HTTP (R16): warehouse, printer and carrier report the steps that the shop does not do itself,
 * and exceptions are listed. A step is recorded once; a repeated report is answered as repeated, and the first evidence
 * stays.
 */
import type { Static } from "typebox";
import type { FlowException, TakenStep } from "../../engine/orders/flow.js";
import type { ReportedStep } from "../../engine/orders/order-service.js";
import { parsePosition } from "../../engine/stream/job-index.js";
import { identityOf } from "./identity.js";
import { badInputFault, refuse } from "./problem.js";
import { assertOrderId, isoOf, queryWith, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { OrderParams } from "./schemas/common.js";
import { EvidenceBodies, ExceptionList, ExceptionQuery, StepAnswer } from "./schemas/orders.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

const STEPS = [
  [
    "picking",
    "picking",
    "recordPicking",
    "Records that the warehouse has the order, for a warehouse without a connected WMS",
  ],
  ["label", "labelled", "recordLabel", "Records that the label was printed; with a waybill number, records that, too"],
  [
    "waybill",
    "waybill",
    "recordWaybill",
    "Records the carrier's waybill number; later than 15 minutes after the label is an exception (R17)",
  ],
  ["logistics", "reported", "recordLogistics", "Records the carrier's first report"],
  ["count", "counted", "recordCount", "Records that stock was counted, which closes the exceptions of missing units"],
] as const satisfies readonly (readonly [
  path: keyof typeof EvidenceBodies,
  step: ReportedStep,
  operationId: string,
  about: string,
])[];

const DEFAULT_LIMIT = 200;

export const stepRoutes: RouteGroup = (server, { deps, authorize }) => {
  for (const [path, step, operationId, about] of STEPS) {
    server.post<{ Params: Static<typeof OrderParams>; Body: Static<(typeof EvidenceBodies)[typeof path]> }>(
      `/v1/orders/:id/${path}`,
      {
        onRequest: authorize("order"),
        schema: {
          tags: ["orders"],
          operationId,
          summary: about,
          description: "Safe to repeat: the first evidence stays.",
          security: TOKEN_NEEDED,
          params: OrderParams,
          body: EvidenceBodies[path],
          response: { 200: StepAnswer, ...problems },
        },
      },
      async (request, reply) => {
        const { id } = request.params;
        assertOrderId(id);
        const { source, ...detail } = request.body;
        const actor = identityOf(request).name;
        const evidence = { source, detail: { ...(detail as Record<string, string>), actor } };
        const outcome = await fromStore(`orders.${step}`, deps.orderService.record(id, step, evidence));
        if (outcome === "unknown") return refuse(reply, "unknown_order", `order ${id}`, { id });
        // The number on the label is also the evidence of the waybill.
        if (step === "labelled" && "waybill" in detail) await deps.orderService.record(id, "waybill", evidence);
        return reply.send({ id, step, repeated: outcome === "repeated" });
      },
    );
  }

  server.get<{ Querystring: Static<typeof ExceptionQuery> }>(
    "/v1/exceptions",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["orders"],
        operationId: "listExceptions",
        summary: "Late or skipped steps of orders (R16), the oldest first, and the number of each kind",
        description:
          `Default \`limit\`: ${DEFAULT_LIMIT}. When there are more, \`next\` is set: send it as \`cursor\`. \`complete\` is false ` +
          "for a while after an older release has run the jobs; some exceptions are missing then.",
        security: TOKEN_NEEDED,
        querystring: ExceptionQuery,
        response: { 200: ExceptionList, ...problems },
      },
    },
    async (request, reply) => {
      const { limit = DEFAULT_LIMIT, cursor } = request.query;
      if (cursor !== undefined && !parsePosition(cursor)) {
        throw badInputFault([{ field: "cursor", message: "must be the next of the page before" }]);
      }
      const [page, counted] = await fromStore(
        "exceptions.list",
        Promise.all([deps.exceptions.page(limit, cursor), deps.exceptions.counts()]),
      );
      const { next } = page;
      const exceptions = page.exceptions.map(({ order, ...rest }) => ({ order, ...exceptionText(rest) }));
      return reply.send({ exceptions, ...(next === undefined ? {} : { next }), ...counted });
    },
  );
};

export const stepText = ({ step, atMs, source, detail }: TakenStep) => ({
  step,
  at: isoOf(atMs),
  source,
  ...(detail ? { detail } : {}),
});

export const exceptionText = ({ step, kind, sinceMs, units }: FlowException) => ({
  step,
  kind,
  since: isoOf(sinceMs),
  ...(units !== undefined && { units }),
});
