/**
 * A message as the body of a webhook (body.schema.ts). The same message has the same body whenever it is sent, so a
 * repeat changes nothing but the time in the header.
 */
import { createHash } from "node:crypto";
import type { Alert } from "../../engine/alerting/alert.js";
import { markdownOf, titleOf } from "../../engine/alerting/texts.js";
import type { OutgoingMessage } from "../channel.js";
import { BODY_VERSION, type WebhookBody } from "./body.schema.js";

/** Of the text; with 20 alerts of some hundred bytes each the body stays far below the 20 KB of the specification. */
const TEXT_BYTES = 4_000;

/** @param nowMs the time of a message about no alert */
export function bodyOf({ message, url }: OutgoingMessage, nowMs: number): WebhookBody {
  const { id, type, alerts, total } = message;
  const newestMs = Math.max(...alerts.map(changedMs));
  return {
    type: `notification.${type}`,
    timestamp: instant(alerts.length === 0 ? nowMs : newestMs),
    data: {
      version: BODY_VERSION,
      messageId: id,
      total,
      title: titleOf(message),
      text: markdownOf(message, { maxBytes: TEXT_BYTES }),
      ...(url === undefined ? {} : { url }),
      alerts: alerts.map(alertOf),
    },
  };
}

/** The header `webhook-id`: the same for a message and an endpoint whenever it is sent, and without a full stop. */
export const webhookIdOf = ({ message, to }: OutgoingMessage): string =>
  `msg_${createHash("sha256").update(`${to}\n${message.id}`).digest("base64url").slice(0, 32)}`;

const instant = (ms: number): string => new Date(ms).toISOString();

const changedMs = ({ firedMs, acknowledgedMs = 0, clearedMs = 0 }: Alert): number =>
  Math.max(firedMs, acknowledgedMs, clearedMs);

function alertOf(alert: Alert): WebhookBody["data"]["alerts"][number] {
  const { id, rule, subject, severity, state, figures, outlook, category, locations } = alert;
  const { firedMs, acknowledgedMs, acknowledgedBy, clearedMs } = alert;
  return {
    ...{ id, rule, subject, severity, state, firedAt: instant(firedMs) },
    ...(acknowledgedMs === undefined ? {} : { acknowledgedAt: instant(acknowledgedMs) }),
    ...(acknowledgedBy === undefined ? {} : { acknowledgedBy }),
    ...(clearedMs === undefined ? {} : { clearedAt: instant(clearedMs) }),
    ...(category === undefined ? {} : { category }),
    ...(locations === undefined ? {} : { locations: [...locations] }),
    figures,
    ...(outlook === undefined ? {} : { outlook }),
  };
}
