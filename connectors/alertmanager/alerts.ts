/**
 * Alerts as Alertmanager's API takes them (v2, `POST /api/v2/alerts`). Labels identify an alert: they stay the same
 * from fired to cleared, and again when the same subject fires later, so no label has an id that grows without bound.
 * What changes (who acknowledged it, the figures) is in annotations. Alertmanager has no acknowledgement.
 */
import type { Alert } from "../../engine/alerting/alert.js";
import type { Message } from "../../engine/alerting/notification.js";
import type { AlertRuleName } from "../../engine/alerting/rules.js";
import { linesOf, titleOf } from "../../engine/alerting/texts.js";
import type { OutgoingMessage } from "../channel.js";

export interface PostableAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly startsAt: string;
  /** The end; of an open alert in the future: then Alertmanager ends it unless it comes again. */
  readonly endsAt: string;
  readonly generatorURL?: string;
}

/** Label `alertname` by rule. */
const NAMES: Readonly<Record<AlertRuleName, string>> = {
  depletion: "ShuiweiDepletion",
  breaker: "ShuiweiBreaker",
  order_exceptions: "ShuiweiOrderExceptions",
  receiver_circuit: "ShuiweiReceiverCircuit",
  jobs_behind: "ShuiweiJobsBehind",
  dead_letters: "ShuiweiDeadLetters",
  redis_full: "ShuiweiRedisFull",
};
const TEST_NAME = "ShuiweiTest";

export interface PostableContext {
  readonly nowMs: number;
  /** How long an open alert lasts in Alertmanager when it does not come again. */
  readonly lastsMs: number;
  /** Label `deployment`. */
  readonly deployment: string;
}

/** The alerts of a message; a test is an alert, too, which ends by itself. */
export function postableAlerts({ message, url }: OutgoingMessage, context: PostableContext): PostableAlert[] {
  const link = url === undefined ? {} : { generatorURL: url };
  if (message.type === "test") return [{ ...testOf(message, context), ...link }];
  return message.alerts.map((alert) => ({ ...postableOf(alert, message, context), ...link }));
}

function postableOf(alert: Alert, { language }: Message, context: PostableContext): PostableAlert {
  const { id, rule, subject, severity, category, firedMs, clearedMs, acknowledgedBy } = alert;
  // As it was when it fired, also in a message about its end: otherwise the annotations of one alert would alternate.
  const one: Message = { id, type: "alert", alerts: [alert], total: 1, language };
  return {
    labels: {
      ...{ alertname: NAMES[rule], rule, subject, severity, deployment: context.deployment },
      ...(category === undefined || category === "" ? {} : { category }),
    },
    annotations: {
      ...{ summary: titleOf(one), description: linesOf(one).join("\n"), alert_id: id },
      ...(acknowledgedBy === undefined ? {} : { acknowledged_by: acknowledgedBy }),
    },
    startsAt: instant(firedMs),
    // An end before the start would be refused, and with it the whole request.
    endsAt: instant(clearedMs === undefined ? context.nowMs + context.lastsMs : Math.max(firedMs, clearedMs)),
  };
}

const testOf = (message: Message, { nowMs, lastsMs, deployment }: PostableContext): PostableAlert => ({
  labels: { alertname: TEST_NAME, severity: "info", deployment },
  annotations: { summary: titleOf(message), description: linesOf(message).join("\n") },
  startsAt: instant(nowMs),
  endsAt: instant(nowMs + lastsMs),
});

const instant = (ms: number): string => new Date(ms).toISOString();
