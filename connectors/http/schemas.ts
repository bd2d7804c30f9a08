/**
 * What may be sent and what comes back, as JSON Schema: the same objects check requests, write answers and make the
 * OpenAPI pages. A schema's description completes the sentence "must be …" when a value does not fit. Unknown fields
 * are refused everywhere; nothing is converted from one type to another and nothing is filled in. What one schema
 * cannot say (an id's check character, a move between a pool and itself) is checked in commands.ts and orders.ts.
 */
import { Type } from "typebox";
import { CHAIN_ID_PATTERN, COMMAND_ID_PATTERN, chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { EXCEPTION_KINDS } from "../../engine/orders/flow.js";
import { MAX_ORDER_LINES, ORDER_STEPS } from "../../engine/orders/model.js";
import { LINE_STATES, MAX_HOLD_MS, MAX_UNITS, OUTCOMES, POOLS, type StockCommand } from "../../engine/stock/model.js";
import { ROLES } from "./identity.js";
import { LOCATION_PATTERN } from "./options.js";

const closed = { additionalProperties: false } as const;
/**
 * One character that is neither excluded nor a lone surrogate, the same with and without the `u` flag: clients'
 * validators and linters compile a document's patterns without it, where `\p{Cc}` is a class of letters. A pair of
 * surrogates is one character with the flag, two without.
 */
const character = (excluded: string): string => `(?:[^${excluded}\\ud800-\\udfff]|[\\ud800-\\udbff][\\udc00-\\udfff])`;
/** Any but control characters (`\p{Cc}`). */
const PLAIN = character("\\u0000-\\u001f\\u007f-\\u009f");
/** Not only blanks. Linear: one look ahead, one pass. */
const TEXT_PATTERN = `^(?!\\s*$)${PLAIN}+$`;

const text = (maxLength: number, what: string, example: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: TEXT_PATTERN,
    description: `${what} of 1 to ${maxLength} characters, without control characters and not only blanks`,
    examples: [example],
  });

export const Sku = text(64, "a SKU", "TEA-0042");
export const Actor = text(64, "an actor", "li.wei@warehouse");
export const Reason = text(200, "a reason", "stocktaking 2026-06-17");
export const Location = Type.String({
  pattern: LOCATION_PATTERN,
  description: "a location of up to 32 letters, digits, dots, dashes or underscores",
  examples: ["main"],
});
export const OrderId = Type.String({
  pattern: CHAIN_ID_PATTERN,
  description: "a chain id (channel, time, salt, check character)",
  examples: [chainIdFromNumber("WB", Date.UTC(2026, 5, 17, 16), 618)],
});
export const CommandId = Type.String({
  pattern: COMMAND_ID_PATTERN,
  description: "a chain id (channel, time, salt, check character, then maybe -line)",
});
export const Channel = Type.String({
  pattern: "^[0-9A-Z]{2}$",
  description: "2 characters of 0-9 A-Z",
  examples: ["WB"],
});
export const Units = Type.Integer({ minimum: 1, maximum: MAX_UNITS, examples: [2] });
export const HoldMs = Type.Integer({ minimum: 1, maximum: MAX_HOLD_MS, examples: [1_800_000] });
const OrderPool = Type.Enum(["sellable", "presale"]);
const OpenPool = Type.Enum(["sellable", "safety", "presale"]);
const CountedPool = Type.Enum(["sellable", "committed", "safety", "presale"]);
const MovePool = Type.Enum(["sellable", "safety"]);

/** As people write it: line breaks and tabs are kept, other control characters are not. */
const FREE_TEXT_PATTERN = `^${character("\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f")}+$`;
const freeText = (maxLength: number, what: string, example: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: FREE_TEXT_PATTERN,
    description: `${what} of 1 to ${maxLength} characters`,
    examples: [example],
  });

// Requests

const ShipTo = Type.Object(
  {
    name: Type.Optional(text(64, "a name", "李伟")),
    phone: Type.Optional(text(32, "a phone number", "13800000000")),
    province: Type.Optional(text(32, "a province", "浙江省")),
    city: Type.Optional(text(32, "a city", "杭州市")),
    district: Type.Optional(text(32, "a district", "西湖区")),
    address: Type.Optional(freeText(2_000, "an address", "浙江省杭州市西湖区文三路478号")),
    note: Type.Optional(freeText(500, "a note", "放在门卫处")),
  },
  { ...closed, minProperties: 1 },
);

export const PlaceOrder = Type.Object(
  {
    id: Type.Optional(OrderId),
    channel: Type.Optional(Channel),
    lines: Type.Array(
      Type.Object(
        { sku: Sku, location: Type.Optional(Location), units: Units, pool: Type.Optional(OrderPool) },
        closed,
      ),
      { minItems: 1, maxItems: MAX_ORDER_LINES },
    ),
    shipTo: Type.Optional(ShipTo),
    holdMs: Type.Optional(HoldMs),
  },
  { ...closed, examples: [{ lines: [{ sku: "TEA-0042", units: 2 }] }] },
);

const Source = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
  description: "who says so: up to 64 letters, digits, dots, dashes, underscores or colons",
  examples: ["printer-3"],
});
const Waybill = Type.String({
  pattern: "^[0-9A-Za-z-]{4,40}$",
  description: "a waybill number of 4 to 40 letters, digits or dashes",
  examples: ["SF1234567890123"],
});
const Carrier = text(32, "a carrier", "SF");
/** What is told with a step that the shop does not take itself, by the step's path. */
export const EvidenceBodies = {
  picking: Type.Object({ source: Source, reference: Type.Optional(text(64, "a reference", "PK-2026-0618")) }, closed),
  label: Type.Object({ source: Source, waybill: Type.Optional(Waybill), carrier: Type.Optional(Carrier) }, closed),
  waybill: Type.Object({ source: Source, waybill: Waybill, carrier: Type.Optional(Carrier) }, closed),
  count: Type.Object({ source: Source, reference: Type.Optional(text(64, "a reference", "IC-2026-0618")) }, closed),
  logistics: Type.Object(
    { source: Source, status: text(64, "a status", "picked up"), carrier: Type.Optional(Carrier) },
    closed,
  ),
};

/** What the warehouse answers when it is asked to let go of an order. */
export const WithdrawalBody = Type.Object(
  { result: Type.Enum(["withdrawn", "refused"]), source: Source },
  { ...closed, examples: [{ result: "withdrawn", source: "warehouse-2" }] },
);
/** Lines of an order by number from 1; all of them when left out. */
export const NamedLines = Type.Object(
  {
    lines: Type.Optional(
      Type.Array(Type.Integer({ minimum: 1, maximum: MAX_ORDER_LINES }), {
        minItems: 1,
        maxItems: MAX_ORDER_LINES,
        uniqueItems: true,
        description: "lines by number from 1; all of them when left out",
      }),
    ),
  },
  { ...closed, examples: [{ lines: [1, 3] }] },
);

export const ExceptionQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
    cursor: Type.Optional(
      Type.String({ pattern: "^[A-Za-z0-9_-]{1,400}$", description: "the `next` of the page before" }),
    ),
  },
  closed,
);

export const OrderParams = Type.Object({ id: OrderId });
export const SkuParams = Type.Object({ sku: Sku });

/** `?sku=a&sku=b`: a single one is made a list before this is asked. */
export const StockQuery = Type.Object(
  { sku: Type.Array(Sku, { minItems: 1, maxItems: 100 }), by: Type.Optional(Type.Enum(["location"])) },
  closed,
);
export const SkuStockQuery = Type.Object({ by: Type.Optional(Type.Enum(["location"])) }, closed);

export const AlertQuery = Type.Object(
  {
    state: Type.Optional(Type.Enum(["open", "cleared", "all"])),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  },
  closed,
);
export const AlertParams = Type.Object({
  id: Type.String({
    maxLength: 80,
    pattern: `^${PLAIN}+#[1-9][0-9]{0,14}$`,
    description: "an alert's id: the SKU, # and a number, percent-encoded in the path",
  }),
});
export const Acknowledgement = Type.Object({ actor: Actor }, closed);

const DisplayCoefficient = Type.Number({ minimum: 0, maximum: 1 });
const AlertFactor = Type.Number({ exclusiveMinimum: 0, maximum: 1_000 });
const AlertFloorUnits = Type.Integer({ minimum: 0, maximum: MAX_UNITS });
const settings = {
  displayCoefficient: Type.Optional(DisplayCoefficient),
  alertFactor: Type.Optional(AlertFactor),
  alertFloorUnits: Type.Optional(AlertFloorUnits),
};
const Settings = Type.Object(settings, { ...closed, minProperties: 1 });
const Category = text(64, "a category", "umbrellas");
export const SkuSettingsBody = Type.Object(
  {
    id: Type.Optional(CommandId),
    settings: Type.Optional(Settings),
    category: Type.Optional(Category),
    actor: Type.Optional(Actor),
    reason: Type.Optional(Reason),
  },
  {
    ...closed,
    anyOf: [{ required: ["settings"] }, { required: ["category"] }],
    examples: [{ settings: { displayCoefficient: 0.2 }, category: "umbrellas", actor: "li.wei@purchasing" }],
  },
);
export const CategoryParams = Type.Object({ category: Category });
export const CategorySettingsBody = Type.Object(
  { settings: Type.Object(settings, closed), actor: Type.Optional(Actor), reason: Type.Optional(Reason) },
  { ...closed, examples: [{ settings: { alertFactor: 5 }, actor: "li.wei@purchasing" }] },
);

/** 30 days: longer than any breaker should stay open by the clock. */
const MAX_BREAKER_MS = 30 * 86_400_000;
export const BreakerBody = Type.Object(
  {
    action: Type.Enum(["open", "close"]),
    scope: Type.Object(
      { kind: Type.Enum(["shop", "location", "sku"]), location: Type.Optional(Location), sku: Type.Optional(Sku) },
      closed,
    ),
    actor: Actor,
    reason: Reason,
    forMs: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_BREAKER_MS })),
  },
  {
    ...closed,
    examples: [
      { action: "open", scope: { kind: "shop" }, actor: "li.wei@ops", reason: "count differs", forMs: 600_000 },
    ],
  },
);

export const IdQuery = Type.Object(
  { count: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })), channel: Type.Optional(Channel) },
  closed,
);

// Sessions

const RoleName = Type.Enum([...ROLES]);
export const PairingBody = Type.Object(
  {
    label: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9][A-Za-z0-9._@-]{0,31}$",
        description: "what is paired: up to 32 letters, digits, dots, dashes, underscores or @",
        examples: ["wall-2"],
      }),
    ),
    role: Type.Optional(RoleName),
    days: Type.Optional(Type.Integer({ minimum: 1, maximum: 365 })),
  },
  { ...closed, examples: [{ label: "wall-2" }] },
);
export const SessionBody = Type.Object(
  { code: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: "a pairing code" })) },
  { ...closed, examples: [{ code: "7G3K-9QXA-0MTC-W2EB" }] },
);
export const SessionParams = Type.Object({
  id: Type.String({ pattern: "^[0-9a-f]{16}$", description: "a session's id", examples: ["0a1b2c3d4e5f6071"] }),
});

// Bulk commands

/** 2000-01-01: a time before it was most likely given in seconds. */
const EARLIEST_MS = 946_684_800_000;
const common = {
  id: CommandId,
  sku: Sku,
  location: Type.Optional(Location),
  atMs: Type.Optional(Type.Integer({ minimum: EARLIEST_MS, maximum: MAX_UNITS })),
};
const cause = { actor: Type.Optional(Actor), reason: Type.Optional(Reason) };
const givenCause = { actor: Actor, reason: Reason };
const line = { ...common, ...cause, units: Units, pool: Type.Optional(OrderPool) };
const goods = { ...common, ...cause, units: Units, pool: Type.Optional(OpenPool) };

/** Kinds that a caller may send; what undoes a part of an order belongs to the order desk alone. */
export type OpenKind = Exclude<StockCommand["kind"], "abort" | "unpay" | "accept" | "suspend" | "resume">;
export const CommandSchemas = {
  receive: Type.Object({ kind: Type.Literal("receive"), ...goods }, closed),
  return: Type.Object({ kind: Type.Literal("return"), ...goods }, closed),
  correct: Type.Object(
    {
      kind: Type.Literal("correct"),
      ...common,
      ...givenCause,
      units: Type.Integer({ minimum: -MAX_UNITS, maximum: MAX_UNITS, not: { const: 0 } }),
      // Units held for orders are not counted: they belong to their lines.
      pool: Type.Optional(CountedPool),
    },
    closed,
  ),
  move: Type.Object(
    {
      kind: Type.Literal("move"),
      ...common,
      ...givenCause,
      units: Units,
      from: MovePool,
      to: MovePool,
      toLocation: Type.Optional(Location),
    },
    closed,
  ),
  reserve: Type.Object({ kind: Type.Literal("reserve"), ...line, holdMs: Type.Optional(HoldMs) }, closed),
  pay: Type.Object({ kind: Type.Literal("pay"), ...line }, closed),
  cancel: Type.Object({ kind: Type.Literal("cancel"), ...line }, closed),
  outbound: Type.Object({ kind: Type.Literal("outbound"), ...line }, closed),
  configure: Type.Object({ kind: Type.Literal("configure"), ...common, ...cause, settings: Settings }, closed),
  acknowledge: Type.Object(
    {
      kind: Type.Literal("acknowledge"),
      ...common,
      actor: Actor,
      reason: Type.Optional(Reason),
      alertId: AlertParams.properties.id,
    },
    closed,
  ),
} as const satisfies Record<OpenKind, unknown>;
export const AnyCommand = Type.Union(Object.values(CommandSchemas));

// Answers

const Instant = Type.String({ format: "date-time", examples: ["2026-06-18T00:00:07.000Z"] });
const Count = Type.Integer({ minimum: 0 });
const LineOutcome = Type.Enum([...OUTCOMES]);
const State = Type.Enum([...LINE_STATES]);
const MissingUnits = Type.Optional(
  Type.Integer({ minimum: 1, description: "units that the books had nowhere when the line left or was cancelled" }),
);
const orderLine = {
  id: Type.String(),
  sku: Type.String(),
  location: Type.String(),
  units: Count,
  pool: Type.Optional(OrderPool),
};

export const OrderAnswer = Type.Object({
  id: Type.String({ description: "the order's chain id" }),
  outcome: Type.Enum(["accepted", "admitted_anew", "cancelled_paid", "cancelling"]),
  repeated: Type.Boolean({ description: "it had been done before; this is the first answer again" }),
  lines: Type.Array(Type.Object({ ...orderLine, outcome: LineOutcome, state: State, missingUnits: MissingUnits })),
});
const FlowException = {
  step: Type.Enum([...ORDER_STEPS]),
  kind: Type.Enum([...EXCEPTION_KINDS]),
  units: Type.Optional(Type.Integer({ minimum: 0, description: "units that the books have nowhere" })),
  since: Type.String({ format: "date-time", description: "when the step ought to have come, or a later one came" }),
};
export const OrderView = Type.Object({
  id: Type.String(),
  lines: Type.Array(Type.Object({ ...orderLine, state: State, missingUnits: MissingUnits })),
  steps: Type.Array(
    Type.Object({
      step: Type.Enum([...ORDER_STEPS]),
      at: Instant,
      source: Type.String(),
      detail: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]))),
    }),
    { description: "the steps of a paid order (R16), each on its evidence; empty before, and a day after the last" },
  ),
  exceptions: Type.Array(Type.Object(FlowException)),
});
export const ErasedAnswer = Type.Object({ id: Type.String(), outcome: Type.Literal("erased") });
export const StepAnswer = Type.Object({
  id: Type.String(),
  step: Type.Enum([...ORDER_STEPS]),
  repeated: Type.Boolean({ description: "it had been noted before; the first evidence stays" }),
});
export const ExceptionList = Type.Object({
  exceptions: Type.Array(Type.Object({ order: Type.String(), ...FlowException })),
  next: Type.Optional(Type.String({ description: "where the next page begins; left out after the last" })),
  counts: Type.Array(Type.Object({ step: FlowException.step, kind: FlowException.kind, open: Count })),
  complete: Type.Boolean({ description: "false: some are missing, for the list is being made anew" }),
});

const shown = {
  display: Type.Integer({ description: "sellable + floor(coefficient × reserved) (R5); admission never looks at it" }),
  available: Type.Boolean(),
};
const ByLocation = Type.Array(Type.Object({ location: Type.String(), ...shown }), {
  description: "with ?by=location; a location's share is floored by itself, so they may sum to less than the whole",
});
const SkuStock = { sku: Type.String(), ...shown, locations: Type.Optional(ByLocation) };
export const StockAnswer = Type.Object({ ...SkuStock, asOf: Instant });
export const StockListAnswer = Type.Object({
  asOf: Type.String({ format: "date-time", description: "the least fresh SKU's" }),
  skus: Type.Array(Type.Object(SkuStock)),
  unknown: Type.Array(Type.String()),
});

const balances = { ...Object.fromEntries(POOLS.map((pool) => [pool, Count])), onHand: Count };
export const LedgerAnswer = Type.Object({
  sku: Type.String(),
  total: Type.Object(balances),
  locations: Type.Array(Type.Object({ location: Type.String(), ...balances })),
});

export const AlertList = Type.Object({
  alerts: Type.Array(
    Type.Object({
      id: Type.String(),
      sku: Type.String(),
      state: Type.Enum(["fired", "acknowledged", "cleared"]),
      firedAt: Instant,
      clearedAt: Type.Optional(Instant),
      hourUnits: Count,
      dailyAverage: Type.Optional(Type.Number({ description: "left out in cold start" })),
      acknowledgedBy: Type.Optional(Type.String()),
    }),
  ),
});
export const AcknowledgementAnswer = Type.Object({
  id: Type.String(),
  sku: Type.String(),
  acknowledgedBy: Type.String(),
  repeated: Type.Boolean({ description: "somebody had acknowledged it before; it is theirs" }),
});
export const SettingsAnswer = Type.Object({
  id: Type.String(),
  sku: Type.String(),
  settings: Type.Optional(Type.Object(settings)),
  category: Type.Optional(Type.String()),
  repeated: Type.Boolean(),
});
export const CategoryAnswer = Type.Object({
  category: Type.String(),
  settings: Type.Object(settings),
  skus: Type.Integer({ description: "SKUs of the category that have been told" }),
});

const Breaker = Type.Object({
  scope: Type.Object({
    kind: Type.Enum(["shop", "location", "sku"]),
    location: Type.Optional(Type.String()),
    sku: Type.Optional(Type.String()),
  }),
  since: Instant,
  until: Type.Optional(Type.String({ format: "date-time", description: "left out when it is closed by hand only" })),
  actor: Type.String({ description: "who was authenticated" }),
  onBehalfOf: Type.Optional(Type.String({ description: "for whom, as the request said" })),
  reason: Type.String(),
  complete: Type.Boolean({ description: "it is open in every partition of its scope" }),
  missing: Type.Optional(
    Type.Array(Type.Integer(), { description: "partitions where it is not open yet, or that cannot be asked" }),
  ),
});
export const BreakerAnswer = Type.Object({ open: Type.Boolean(), breakers: Type.Array(Breaker) });
export const BreakerChange = Type.Object({
  changed: Type.Boolean(),
  complete: Type.Boolean({ description: "the change is in force in every partition of the scope" }),
  missing: Type.Optional(
    Type.Array(Type.Integer(), {
      description: "partitions where it is not in force yet: it will be when they can be reached",
    }),
  ),
  open: Type.Boolean(),
  breakers: Type.Array(Breaker),
});
const session = {
  name: Type.String({ description: "who paired it, and what: events bear it as their actor" }),
  role: RoleName,
  expiresAt: Instant,
};
export const PairingAnswer = Type.Object({
  code: Type.String({ description: "to be used once" }),
  link: Type.String({ description: "opens a browser's session; what follows the # is never sent to a server" }),
  validUntil: Instant,
  name: session.name,
  role: RoleName,
});
export const SessionAnswer = Type.Object(session);
export const WhoAnswer = Type.Object({ name: Type.String(), role: RoleName });
export const SessionList = Type.Object({
  sessions: Type.Array(Type.Object({ id: Type.String(), ...session, since: Instant })),
});
export const IdList = Type.Object({ ids: Type.Array(Type.String()) });
export const Status = Type.Object({ status: Type.String() });
export const Readiness = Type.Object({ status: Type.String(), warnings: Type.Optional(Type.Array(Type.String())) });

export const CommandReply = Type.Object({
  id: Type.String(),
  outcome: LineOutcome,
  repeated: Type.Boolean(),
  state: State,
  missingUnits: MissingUnits,
});

/** RFC 9457. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String({ examples: ["urn:shuiwei:insufficient_sellable"] }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: "the outcome or the fault; the last part of type" }),
    id: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String()),
    errors: Type.Optional(Type.Array(Type.Object({ field: Type.String(), message: Type.String() }))),
  },
  {
    $id: "Problem",
    examples: [
      {
        type: "urn:shuiwei:bad_input",
        title: "The input is at fault",
        status: 400,
        detail: "lines[2].units must be a whole number",
        code: "bad_input",
        errors: [{ field: "lines[2].units", message: "must be a whole number" }],
      },
    ],
  },
);

const problem = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: { $ref: "Problem#" } } },
});
/** What a route may also answer that needs nothing of the store. */
export const requestFaults = { "4xx": problem("The request is at fault, or the ledger refused: `code` says what") };
/** What every other route may also answer. */
export const problems = {
  ...requestFaults,
  "5xx": problem("Not now: `Retry-After` says when. Sent again with the same ids, it is applied once"),
};
