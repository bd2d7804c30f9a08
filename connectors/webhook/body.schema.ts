/**
 * The body of a webhook, version 1. Fields are only added to a version; receivers ignore fields that they do not use.
 * Its outer form (`type`, `timestamp`, `data`) is that of the Standard Webhooks specification. README.md describes it
 * for the people who write a receiver.
 */
import { type Static, Type } from "typebox";
import type { Message } from "../../engine/alerting/notification.js";
import { ALERT_RULES } from "../../engine/alerting/rules.js";

export const BODY_VERSION = 1;

const Instant = Type.String({ description: "UTC, such as 2026-06-18T02:30:00.000Z" });

const WebhookAlert = Type.Object({
  id: Type.String(),
  rule: Type.Enum(Object.keys(ALERT_RULES)),
  subject: Type.String({ description: "a SKU, a breaker's scope, a receiver, by the rule" }),
  severity: Type.Enum(["critical", "warning"]),
  state: Type.Enum(["fired", "acknowledged", "cleared"]),
  firedAt: Instant,
  acknowledgedAt: Type.Optional(Instant),
  acknowledgedBy: Type.Optional(Type.String()),
  clearedAt: Type.Optional(Instant),
  category: Type.Optional(Type.String()),
  locations: Type.Optional(Type.Array(Type.String())),
  figures: Type.Object({}, { description: "the figures by which the rule fired" }),
  outlook: Type.Optional(Type.Object({}, { description: "of depletion: stock, minutes left, suggested purchase" })),
});

export const WebhookBody = Type.Object({
  type: Type.Enum(["alert", "summary", "change", "repeat", "test"].map((type) => `notification.${type}`)),
  timestamp: Instant,
  data: Type.Object({
    version: Type.Literal(BODY_VERSION),
    messageId: Type.String(),
    total: Type.Integer({ description: "alerts that this is about; more than `alerts` has when some are left out" }),
    title: Type.String(),
    text: Type.String({ description: "the title and its explanation in the endpoint's language, Markdown" }),
    url: Type.Optional(Type.String()),
    alerts: Type.Array(WebhookAlert, { maxItems: 20 }),
  }),
});

export type WebhookBody = Omit<Static<typeof WebhookBody>, "type"> & {
  readonly type: `notification.${Message["type"]}`;
};
