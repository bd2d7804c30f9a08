/**
 * Alerts of all rules over HTTP (R10, R11): the list in this process' views, one alert with who was notified, and
 * acknowledging it, which a person does with a phone, too. An acknowledgement is in a log when it is answered, for
 * every process; the list shows it as soon as the jobs have read it there.
 */
import type { FastifyInstance } from "fastify";
import type { Static } from "typebox";
import type { AlertRecord } from "../../engine/jobs/alerts/state.js";
import { deliveryAnswer } from "./deliveries.js";
import { causeOf, identityOf } from "./identity.js";
import { badInputFault, refuse } from "./problem.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import {
  Acknowledgement,
  AcknowledgementAnswer,
  AlertAnswer,
  AlertList,
  AlertParams,
  AlertQuery,
} from "./schemas/alerts.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

type Params = Static<typeof AlertParams>;
type Query = Static<typeof AlertQuery>;

const DEFAULT_LIMIT = 200;

export const alertRoutes: RouteGroup = (server, context) => {
  readRoutes(server, context);
  acknowledgementRoute(server, context);
};

function readRoutes(
  server: FastifyInstance,
  { deps: { alertList, notificationsView }, authorize }: RouteContext,
): void {
  server.get<{ Querystring: Query }>(
    "/v1/alerts",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["alerts"],
        operationId: "listAlerts",
        summary: "Open alerts, newest first, and those cleared within a day",
        description: `Of all rules; \`sku\` and the figures of an hour belong to depletion. Default \`state\`: open. Default \`limit\`: ${DEFAULT_LIMIT}.`,
        security: TOKEN_NEEDED,
        querystring: AlertQuery,
        response: { 200: AlertList, ...problems },
      },
    },
    (request, reply) => {
      const { state = "open", limit = DEFAULT_LIMIT } = request.query;
      const open = state === "cleared" ? [] : alertList.open();
      const cleared = state === "open" ? [] : alertList.cleared();
      const matching = [...open, ...cleared].filter((record) => isAskedFor(record, request.query));
      reply.send({ alerts: matching.slice(0, limit).map(alertAnswer) });
    },
  );

  server.get<{ Params: Params }>(
    "/v1/alerts/:id",
    {
      onRequest: authorize("read"),
      schema: {
        tags: ["alerts"],
        operationId: "getAlert",
        summary: "An alert, open or cleared within a day, with who was notified",
        description: "Write the `#` of the id as `%23` in the path.",
        security: TOKEN_NEEDED,
        params: AlertParams,
        response: { 200: AlertAnswer, ...problems },
      },
    },
    (request, reply) => {
      const { id } = request.params;
      const record = alertList.get(id);
      if (!record) return refuse(reply, "unknown_alert", "no open alert, and none of the last day, has this id");
      const { level, nextMs, recipients } = record;
      return reply.send({
        ...alertAnswer(record),
        ...{ level, recipients: [...recipients] },
        deliveries: notificationsView.funnelsOf(id).map(deliveryAnswer),
        ...(nextMs === undefined ? {} : { nextLevelAt: isoOf(nextMs) }),
      });
    },
  );
}

function acknowledgementRoute(
  server: FastifyInstance,
  { deps: { alertRequests }, access, authorizePerson }: RouteContext,
): void {
  server.post<{ Params: Params; Body: Static<typeof Acknowledgement> }>(
    "/v1/alerts/:id/acknowledgement",
    {
      onRequest: authorizePerson("operate"),
      schema: {
        tags: ["alerts"],
        operationId: "acknowledgeAlert",
        summary: "Acknowledges an open alert",
        description:
          "By a person with a phone, or with the role operate; a person and a browser with a session may leave out `actor`. Nobody further is notified then. Write the `#` of the id as `%23` in the path. 202: the acknowledgement is in the log; the list shows it soon after. Safe to repeat.",
        security: TOKEN_NEEDED,
        params: AlertParams,
        body: Acknowledgement,
        response: { 200: AcknowledgementAnswer, 202: AcknowledgementAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      // A token is often shared by several people; a person and a session have a name of their own.
      const isNamed = identityOf(request).person !== undefined || access.isSession(request.raw);
      if (request.body.actor === undefined && !isNamed)
        throw badInputFault([{ field: "actor", message: "is missing" }]);
      const cause = causeOf(request, request.body);
      const result = await fromStore("alerts.acknowledge", alertRequests.acknowledge(id, cause));
      if (result.outcome === "cleared")
        return refuse(reply, "alert_cleared", "the alert was cleared and needs no acknowledgement");
      if (result.outcome === "unknown") return refuse(reply, "unknown_alert", "no open alert has this id");
      const { rule, subject } = result.record.alert;
      const answer = { id, acknowledgedBy: result.acknowledgedBy, repeated: result.outcome === "repeated" };
      return reply.code(answer.repeated ? 200 : 202).send(rule === "depletion" ? { ...answer, sku: subject } : answer);
    },
  );
}

/** A SKU's alerts are those of depletion, also where another rule has a subject of this name. */
const isAskedFor = ({ alert }: AlertRecord, { rule, severity, sku, category }: Query): boolean =>
  (rule === undefined || alert.rule === rule) &&
  (severity === undefined || alert.severity === severity) &&
  (sku === undefined || (alert.rule === "depletion" && alert.subject === sku)) &&
  (category === undefined || alert.category === category);

function alertAnswer({ alert, silence }: AlertRecord): Static<typeof AlertList>["alerts"][number] {
  const { id, rule, subject, severity, state, firedMs, acknowledgedMs, acknowledgedBy, clearedMs } = alert;
  const { dailyAverage, untilMs, ...figures } = alert.figures;
  return {
    ...{ id, rule, subject, severity, state, firedAt: isoOf(firedMs) },
    ...(rule === "depletion" ? { sku: subject } : {}),
    ...(clearedMs === undefined ? {} : { clearedAt: isoOf(clearedMs) }),
    ...figures,
    // Null, and absent here, in cold start.
    ...(typeof dailyAverage === "number" ? { dailyAverage } : {}),
    ...(untilMs ? { until: isoOf(untilMs) } : {}),
    ...(acknowledgedMs === undefined ? {} : { acknowledgedAt: isoOf(acknowledgedMs) }),
    ...(acknowledgedBy === undefined ? {} : { acknowledgedBy }),
    ...(alert.outlook === undefined ? {} : { outlook: alert.outlook }),
    ...(alert.category === undefined ? {} : { category: alert.category }),
    ...(alert.locations === undefined ? {} : { locations: [...alert.locations] }),
    ...(silence === undefined || state === "cleared" ? {} : { silencedUntil: isoOf(silence.untilMs) }),
  };
}
