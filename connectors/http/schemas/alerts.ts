/**
 * Schemas of alerts of all rules, their acknowledgement, and silences.
 */
import { Type } from "typebox";
import { ALERT_RULES, type AlertRuleName } from "../../../engine/alerting/rules.js";
import { Actor, Count, closed, Instant, Location, PLAIN, Reason, Sku, text } from "./common.js";
import { Delivery } from "./notifications.js";

const Rule = Type.Enum(Object.keys(ALERT_RULES) as AlertRuleName[]);
const Severity = Type.Enum(["critical", "warning"]);
const Category = text(64, "a category", "umbrellas");

export const AlertQuery = Type.Object(
  {
    state: Type.Optional(Type.Enum(["open", "cleared", "all"])),
    rule: Type.Optional(Rule),
    severity: Type.Optional(Severity),
    sku: Type.Optional(Sku),
    category: Type.Optional(Category),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  },
  closed,
);

/** The longest: a breaker's rule, the scope of a SKU, and a number. */
const MAX_ALERT_ID = 128;

export const AlertParams = Type.Object({
  id: Type.String({
    maxLength: MAX_ALERT_ID,
    pattern: `^${PLAIN}+#[1-9][0-9]{0,14}$`,
    description:
      "an alert's id: the SKU, or another rule with ~ and its subject; then # and a number; percent-encoded in the path",
  }),
});

export const Acknowledgement = Type.Object({ actor: Type.Optional(Actor), reason: Type.Optional(Reason) }, closed);

const Outlook = Type.Object(
  {
    sellableUnits: Type.Integer(),
    safetyUnits: Count,
    inboundUnits: Count,
    minutesLeft: Type.Union([Type.Number(), Type.Null()], {
      description: "until nothing is sellable at the pace of the trailing hour; null: it is not sold now",
    }),
    suggestedUnits: Type.Union([Count, Type.Null()], { description: "units to order; null in cold start" }),
  },
  { description: "of depletion, as it was when people were notified" },
);

const alert = {
  id: Type.String({ examples: ["TEA-0042#3"] }),
  rule: Rule,
  subject: Type.String({ description: "what it is about: a SKU, a breaker's scope, a sink, a topic" }),
  severity: Severity,
  sku: Type.Optional(Type.String({ description: "of depletion" })),
  category: Type.Optional(Type.String()),
  locations: Type.Optional(Type.Array(Type.String())),
  state: Type.Enum(["fired", "acknowledged", "cleared"]),
  firedAt: Instant,
  acknowledgedAt: Type.Optional(Instant),
  acknowledgedBy: Type.Optional(Type.String()),
  clearedAt: Type.Optional(Instant),
  hourUnits: Type.Optional({ ...Count, description: "of depletion, as all figures when it fired" }),
  dailyAverage: Type.Optional(Type.Number({ description: "absent while there is too little history" })),
  thresholdUnits: Type.Optional(Type.Number({ description: "of depletion: it fires above so many units" })),
  actor: Type.Optional(Type.String({ description: "of a breaker: who changed it" })),
  reason: Type.Optional(Type.String()),
  until: Type.Optional({ ...Instant, description: "of a breaker: when its state ends by itself" }),
  divergence: Type.Optional(Type.Number({ description: "of a breaker that a comparison opened, from 0 to 1" })),
  value: Type.Optional(Type.Number({ description: "of a condition: the figure that has passed its limit" })),
  limit: Type.Optional(Type.Number()),
  outlook: Type.Optional(Outlook),
  silencedUntil: Type.Optional({ ...Instant, description: "nobody is notified until then" }),
};

export const AlertList = Type.Object({ alerts: Type.Array(Type.Object(alert)) });

export const AlertAnswer = Type.Object({
  ...alert,
  level: Type.Integer({ minimum: 0, description: "the level that was notified last; 0: the first" }),
  nextLevelAt: Type.Optional({ ...Instant, description: "when the next level is notified unless it is acknowledged" }),
  recipients: Type.Array(Type.String({ examples: ["person:li.wei"] }), { description: "who was notified" }),
  deliveries: Type.Array(Delivery, { description: "how far each message about it has come" }),
});

export const AcknowledgementAnswer = Type.Object({
  id: Type.String(),
  sku: Type.Optional(Type.String({ description: "of depletion" })),
  acknowledgedBy: Type.String(),
  repeated: Type.Boolean({ description: "it was acknowledged before, by acknowledgedBy" }),
});

/** A silence of a promotion; longer ones hide what nobody looks at any more. */
const MAX_SILENCE_MS = 30 * 86_400_000;

const matched = {
  rule: Type.Optional(Rule),
  sku: Type.Optional(Sku),
  category: Type.Optional(Category),
  location: Type.Optional(Location),
};

export const SilenceBody = Type.Object(
  {
    ...matched,
    until: Type.Optional(Instant),
    forMs: Type.Optional(
      Type.Integer({ minimum: 1_000, maximum: MAX_SILENCE_MS, description: "a time in ms of up to 30 days" }),
    ),
    reason: Reason,
    actor: Type.Optional(Actor),
  },
  {
    ...closed,
    examples: [{ sku: "TEA-0042", until: "2026-06-18T08:00:00.000Z", reason: "promotion until tomorrow" }],
  },
);

export const SilenceParams = Type.Object({
  id: Type.String({ pattern: "^[A-Za-z0-9_-]{16}$", description: "a silence's id", examples: ["b1Jt0pXw9QmY3zKd"] }),
});

export const SilenceAnswer = Type.Object({
  id: Type.String(),
  ...matched,
  until: Instant,
  reason: Type.String(),
  actor: Type.String(),
  createdAt: Instant,
  active: Type.Boolean({ description: "it has not ended" }),
  endedBy: Type.Optional(Type.String({ description: "who ended it before its time" })),
});

export const SilenceList = Type.Object({ silences: Type.Array(SilenceAnswer) });

/** Ms from now at most that a silence may last. */
export const LONGEST_SILENCE_MS = MAX_SILENCE_MS;
