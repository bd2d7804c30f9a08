/**
 * The schema of the configuration of alerts (R11): one JSON file that states which endpoints there are, and who is
 * notified of which alerts. What a schema cannot state is checked in configuration.ts. The part `connection` of an
 * endpoint belongs to its channel.
 */
import { type Static, Type } from "typebox";
import { ALERT_RULES, type AlertRuleName, type Severity } from "../../engine/alerting/rules.js";

/** Groups and systems of one shop. */
const MAX_ENDPOINTS = 64;
const MAX_ROUTES = 128;
const MAX_LEVELS = 8;
const MAX_TARGETS = 32;
const MAX_MATCHED = 200;
/** A day: an alert that nobody has acknowledged by then reaches nobody by a further level. */
const MAX_AFTER_MINUTES = 1_440;

const closed = { additionalProperties: false } as const;

const Name = Type.String({
  pattern: "^[a-z0-9][a-z0-9-]{0,31}$",
  description: "1 to 32 lower-case letters, digits and hyphens",
});

const Endpoint = Type.Object(
  {
    name: Name,
    about: Type.Optional(Type.String({ maxLength: 200 })),
    channel: Type.String({ minLength: 1, maxLength: 32 }),
    language: Type.Optional(Type.Enum(["zh", "en"])),
    /** Acknowledgements and ends, too; left out: as the channel does by itself. */
    sendsChanges: Type.Optional(Type.Boolean()),
    connection: Type.Object({}),
  },
  closed,
);

const Time = Type.String({ pattern: "^([01][0-9]|2[0-3]):[0-5][0-9]$", description: 'a time of day such as "22:30"' });

const Names = Type.Array(Type.String({ minLength: 1, maxLength: 200 }), { minItems: 1, maxItems: MAX_MATCHED });

const Match = Type.Object(
  {
    rules: Type.Optional(
      Type.Array(Type.Enum(Object.keys(ALERT_RULES) as AlertRuleName[]), { minItems: 1, maxItems: MAX_MATCHED }),
    ),
    severities: Type.Optional(
      Type.Array(Type.Enum(["critical", "warning"] satisfies Severity[]), { minItems: 1, maxItems: 2 }),
    ),
    categories: Type.Optional(Names),
    locations: Type.Optional(Names),
    hours: Type.Optional(Type.Object({ from: Time, to: Time }, closed)),
  },
  closed,
);

const Target = Type.String({
  pattern: "^(everybody|(role|person|endpoint):[a-z0-9][a-z0-9._-]{0,31})$",
  description: '"role:<role>", "person:<id>", "endpoint:<name>" or "everybody"',
});

const Level = Type.Object(
  {
    afterMinutes: Type.Number({ minimum: 0, maximum: MAX_AFTER_MINUTES, description: "minutes from 0 to 1440" }),
    to: Type.Array(Target, { minItems: 1, maxItems: MAX_TARGETS }),
  },
  closed,
);

const Route = Type.Object(
  {
    name: Name,
    match: Type.Optional(Match),
    levels: Type.Array(Level, { minItems: 1, maxItems: MAX_LEVELS }),
  },
  closed,
);

export const AlertsFile = Type.Object(
  {
    endpoints: Type.Optional(Type.Array(Endpoint, { maxItems: MAX_ENDPOINTS })),
    routes: Type.Optional(Type.Array(Route, { maxItems: MAX_ROUTES })),
  },
  closed,
);

export type AlertsJson = Static<typeof AlertsFile>;
export type EndpointJson = NonNullable<AlertsJson["endpoints"]>[number];
export type RouteJson = NonNullable<AlertsJson["routes"]>[number];
