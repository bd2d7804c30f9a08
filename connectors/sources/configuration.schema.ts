/**
 * The schema of the configuration of sources (R29): one JSON file that states which outside systems report stock, how
 * their rows are read, when they are asked, and which of them wins. What a schema cannot state is checked in
 * configuration.ts. The part `connection` of a source belongs to its kind.
 */
import { type Static, Type } from "typebox";
import { MEASURES } from "../../engine/reconciliation/model.js";

/** A shop has a few; each is a task with a lease. */
const MAX_SOURCES = 32;
/** Locations of an outside system: every shelf of a large warehouse would be 10,000. */
const MAX_LOCATIONS = 20_000;
const MAX_UNITS = 1_000;

const closed = { additionalProperties: false } as const;

/** A field of a row: a name, or a JSON pointer into nested objects. */
const FieldName = Type.String({ minLength: 1, maxLength: 200, description: "the name of a field, or a JSON pointer" });
const Fields = Type.Object(
  {
    sku: Type.Optional(FieldName),
    location: Type.Optional(FieldName),
    units: Type.Optional(FieldName),
    unit: Type.Optional(FieldName),
    time: Type.Optional(FieldName),
    id: Type.Optional(FieldName),
    version: Type.Optional(FieldName),
  },
  closed,
);

const Duration = Type.String({
  pattern: "^[1-9][0-9]{0,6}(ms|s|m|h|d)$",
  description: 'a duration such as "30s", "15m" or "24h"',
});

const Schedule = Type.Object(
  {
    every: Type.Optional(Duration),
    daily: Type.Optional(
      Type.Array(
        Type.String({ pattern: "^([01][0-9]|2[0-3]):[0-5][0-9]$", description: 'a time of day such as "17:45"' }),
        { minItems: 1, maxItems: 48 },
      ),
    ),
  },
  { ...closed, minProperties: 1, maxProperties: 1, description: 'either {"every": "15m"} or {"daily": ["17:45"]}' },
);

const Pull = Type.Object(
  {
    schedule: Schedule,
    fields: Type.Optional(Fields),
    timeFormat: Type.Optional(Type.String({ minLength: 1, maxLength: 60 })),
    /** Of movements: how far the first pull reaches back. */
    reach: Type.Optional(Duration),
  },
  closed,
);

const Name = Type.String({ minLength: 1, maxLength: 64, description: "1 to 64 characters" });

const Source = Type.Object(
  {
    name: Type.String({
      pattern: "^[a-z0-9][a-z0-9-]{0,31}$",
      description: "1 to 32 lower-case letters, digits and hyphens",
    }),
    about: Type.Optional(Type.String({ maxLength: 200 })),
    kind: Type.String({ minLength: 1, maxLength: 64 }),
    measure: Type.Enum([...MEASURES]),
    connection: Type.Object({}),
    snapshot: Type.Optional(Pull),
    movements: Type.Optional(Pull),
    location: Type.Optional(Name),
    locations: Type.Optional(
      Type.Record(Type.String(), Type.Union([Name, Type.Null()], { description: "a location of ours, or null" }), {
        maxProperties: MAX_LOCATIONS,
      }),
    ),
    otherLocations: Type.Optional(Type.Enum(["fault", "ignore", "same"])),
    units: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Integer({ minimum: 1, maximum: 1_000_000, description: "pieces in this unit, a whole number from 1" }),
        { maxProperties: MAX_UNITS, minProperties: 1 },
      ),
    ),
    perSecond: Type.Optional(Type.Number({ minimum: 0.001, maximum: 10_000, description: "requests a second" })),
    timeout: Type.Optional(Duration),
    retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 20, description: "a whole number from 0 to 20" })),
    freshness: Type.Optional(Duration),
  },
  closed,
);

const ConflictPolicy = Type.Object(
  {
    policy: Type.Enum(["rank", "newest", "ask"]),
    order: Type.Optional(
      Type.Array(Type.String(), { minItems: 1, maxItems: MAX_SOURCES + 1, description: "names of sources" }),
    ),
  },
  closed,
);

export const SourcesFile = Type.Object(
  {
    sources: Type.Array(Source, { minItems: 1, maxItems: MAX_SOURCES }),
    conflicts: Type.Optional(
      Type.Object(
        Object.fromEntries(MEASURES.map((measure) => [measure, Type.Optional(ConflictPolicy)])) as Record<
          (typeof MEASURES)[number],
          ReturnType<typeof Type.Optional<typeof ConflictPolicy>>
        >,
        closed,
      ),
    ),
  },
  closed,
);

export type SourcesJson = Static<typeof SourcesFile>;
export type SourceJson = SourcesJson["sources"][number];
export type PullJson = NonNullable<SourceJson["snapshot"]>;
