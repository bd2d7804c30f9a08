/**
 * Alerts over HTTP (R10): the list in this process' view, and acknowledging an alert. An acknowledgement is a ledger
 * command, so it is in the log for every process; the list shows it as soon as the job has read it there. Alerts that
 * were cleared before this process started are not listed.
 */
import type { Static } from "typebox";
import type { Alert } from "../../engine/jobs/depletion/view.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { causeOf } from "./identity.js";
import { refuse } from "./problem.js";
import { isoOf, queryWith, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { Acknowledgement, AcknowledgementAnswer, AlertList, AlertParams, AlertQuery } from "./schemas/alerts.js";
import { problems } from "./schemas/problem.js";

const DEFAULT_LIMIT = 200;

export const alertRoutes: RouteGroup = (server, { deps, authorize, defaultLocation }) => {
  const { depletionView, ledger } = deps;

  server.get<{ Querystring: Static<typeof AlertQuery> }>(
    "/v1/alerts",
    {
      onRequest: authorize("read"),
      preValidation: queryWith("limit"),
      schema: {
        tags: ["alerts"],
        operationId: "listAlerts",
        summary: "Open alerts, newest first, and the latest cleared ones",
        description: `Default \`state\`: open. Default \`limit\`: ${DEFAULT_LIMIT}.`,
        security: TOKEN_NEEDED,
        querystring: AlertQuery,
        response: { 200: AlertList, ...problems },
      },
    },
    (request, reply) => {
      const { state = "open", limit = DEFAULT_LIMIT } = request.query;
      const open = state === "cleared" ? [] : depletionView.openAlerts();
      const cleared = state === "open" ? [] : depletionView.clearedAlerts();
      reply.send({ alerts: [...open, ...cleared].slice(0, limit).map(answerOf) });
    },
  );

  server.post<{ Params: Static<typeof AlertParams>; Body: Static<typeof Acknowledgement> }>(
    "/v1/alerts/:id/acknowledgement",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["alerts"],
        operationId: "acknowledgeAlert",
        summary: "Acknowledges an open alert",
        description:
          "Write the `#` of the id as `%23` in the path. 202: the acknowledgement is in the log; the list shows it soon after. Safe to repeat.",
        security: TOKEN_NEEDED,
        params: AlertParams,
        body: Acknowledgement,
        response: { 200: AcknowledgementAnswer, 202: AcknowledgementAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const cause = causeOf(request, request.body);
      const sku = id.slice(0, id.lastIndexOf("#"));
      const alert = depletionView.openAlert(sku);
      if (alert?.id !== id) {
        const cleared = depletionView.clearedAlerts().some((each) => each.id === id);
        return cleared
          ? refuse(reply, "alert_cleared", "the alert was cleared and needs no acknowledgement")
          : refuse(reply, "unknown_alert", "no open alert has this id");
      }
      if (alert.acknowledgedBy !== undefined)
        return reply.send({ id, sku, acknowledgedBy: alert.acknowledgedBy, repeated: true });
      await ledger.apply({
        kind: "acknowledge",
        id: chainId(deps.channel, deps.clock.now()),
        sku,
        location: defaultLocation,
        ...cause,
        alertId: id,
      });
      return reply.code(202).send({ id, sku, acknowledgedBy: cause.actor, repeated: false });
    },
  );
};

const answerOf = (alert: Alert) => ({
  id: alert.id,
  sku: alert.sku,
  state: alert.state,
  firedAt: isoOf(alert.firedAtMs),
  ...(alert.clearedAtMs === undefined ? {} : { clearedAt: isoOf(alert.clearedAtMs) }),
  hourUnits: alert.hourUnits,
  ...(alert.dailyAverage === undefined ? {} : { dailyAverage: alert.dailyAverage }),
  ...(alert.acknowledgedBy === undefined ? {} : { acknowledgedBy: alert.acknowledgedBy }),
});
