/**
 * Schemas of orders: placing, steps, exceptions and fresh ids. What a schema cannot check (an id's check character) is
 * checked in orders.ts and steps.ts.
 */
import { Type } from "typebox";
import { EXCEPTION_KINDS } from "../../../engine/orders/flow.js";
import {
  MAX_ATTRIBUTE_CHARACTERS,
  MAX_ATTRIBUTES,
  MAX_ATTRIBUTES_BYTES,
  MAX_ORDER_LINES,
  ORDER_STEPS,
} from "../../../engine/orders/model.js";
import {
  Channel,
  Count,
  character,
  closed,
  HoldMs,
  Instant,
  LineOutcome,
  Location,
  MissingUnits,
  OrderId,
  OrderPool,
  PLAIN,
  Sku,
  State,
  text,
  Units,
} from "./common.js";

/** Free text: line breaks and tabs are allowed, other control characters are not. */
const FREE_TEXT_PATTERN = `^${character("\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f")}+$`;

const freeText = (maxLength: number, what: string, example: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: FREE_TEXT_PATTERN,
    description: `${what} of 1 to ${maxLength} characters`,
    examples: [example],
  });

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

const ATTRIBUTE_NAME_PATTERN = "^[a-z][a-z0-9_.-]{0,31}$";

const AttributeValue = Type.Union(
  [Type.String({ maxLength: MAX_ATTRIBUTE_CHARACTERS, pattern: `^${PLAIN}*$` }), Type.Number(), Type.Boolean()],
  {
    description: `a text of at most ${MAX_ATTRIBUTE_CHARACTERS} characters without control characters, a number, or true or false`,
  },
);

/** Of a request and of an answer. */
const details = {
  amount: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "what the buyer pays, in minor units of the currency (fen, cents); only with `currency`",
      examples: [25_900],
    }),
  ),
  currency: Type.Optional(
    Type.String({
      pattern: "^[A-Z]{3}$",
      description: "a currency of ISO 4217, 3 letters A-Z; only with `amount`",
      examples: ["CNY"],
    }),
  ),
  paymentKind: Type.Optional(
    Type.String({
      pattern: "^[a-z0-9_-]{1,32}$",
      description: "a kind of payment of 1 to 32 of a-z 0-9 _ -",
      examples: ["alipay"],
    }),
  ),
  buyer: Type.Optional(
    Type.String({
      pattern: "^[!-~]{1,64}$",
      description:
        "your reference to the buyer, 1 to 64 printable ASCII characters without spaces; never a name, a phone number or an e-mail address: it is not erased with personal data",
      examples: ["buyer-81027"],
    }),
  ),
  attributes: Type.Optional(
    Type.Unsafe<Record<string, string | number | boolean>>({
      type: "object",
      propertyNames: {
        pattern: ATTRIBUTE_NAME_PATTERN,
        description: "a letter a-z and up to 31 of a-z 0-9 _ . -",
      },
      additionalProperties: AttributeValue,
      maxProperties: MAX_ATTRIBUTES,
      description: `what your rules need of the order: at most ${MAX_ATTRIBUTES} values and ${MAX_ATTRIBUTES_BYTES} bytes as JSON, each named by a letter a-z and up to 31 of a-z 0-9 _ . -; no personal data: it is not erased`,
      examples: [{ "address.kind": "hotel", "coupon.share": 0.15, "first-order": true }],
    }),
  ),
};

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
    ...details,
  },
  {
    ...closed,
    examples: [
      {
        lines: [{ sku: "TEA-0042", units: 2 }],
        amount: 25_900,
        currency: "CNY",
        paymentKind: "alipay",
        buyer: "buyer-81027",
        attributes: { "address.kind": "hotel" },
      },
    ],
  },
);

const Source = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
  description: "the reporter: up to 64 letters, digits, dots, dashes, underscores or colons",
  examples: ["printer-3"],
});

const Waybill = Type.String({
  pattern: "^[0-9A-Za-z-]{4,40}$",
  description: "a waybill number of 4 to 40 letters, digits or dashes",
  examples: ["SF1234567890123"],
});

const Carrier = text(32, "a carrier", "SF");

/** The evidence of steps that others than the shop report, by the step's path. */
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

/** The warehouse's answer to the request to release an order. */
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
      Type.String({ pattern: "^[A-Za-z0-9_-]{1,400}$", description: "the `next` of the previous page" }),
    ),
  },
  closed,
);

export const IdQuery = Type.Object(
  { count: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })), channel: Type.Optional(Channel) },
  closed,
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
  repeated: Type.Boolean({ description: "it was done before; this is the first answer again" }),
  lines: Type.Array(Type.Object({ ...orderLine, outcome: LineOutcome, state: State, missingUnits: MissingUnits })),
});

const FlowException = {
  step: Type.Enum([...ORDER_STEPS]),
  kind: Type.Enum([...EXCEPTION_KINDS]),
  units: Type.Optional(Type.Integer({ minimum: 0, description: "units that are in no balance" })),
  since: Type.String({ format: "date-time", description: "when the step was due, or when a later step was reported" }),
};

export const OrderView = Type.Object({
  id: Type.String(),
  ...details,
  lines: Type.Array(Type.Object({ ...orderLine, state: State, missingUnits: MissingUnits })),
  steps: Type.Array(
    Type.Object({
      step: Type.Enum([...ORDER_STEPS]),
      at: Instant,
      source: Type.String(),
      detail: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]))),
    }),
    {
      description:
        "the steps of a paid order (R16) with their evidence; empty before payment, and from a day after the last step",
    },
  ),
  exceptions: Type.Array(Type.Object(FlowException)),
});

export const ErasedAnswer = Type.Object({ id: Type.String(), outcome: Type.Literal("erased") });

export const StepAnswer = Type.Object({
  id: Type.String(),
  step: Type.Enum([...ORDER_STEPS]),
  repeated: Type.Boolean({ description: "it was recorded before; the first evidence stays" }),
});

export const ExceptionList = Type.Object({
  exceptions: Type.Array(Type.Object({ order: Type.String(), ...FlowException })),
  next: Type.Optional(Type.String({ description: "the cursor of the next page; absent on the last page" })),
  counts: Type.Array(Type.Object({ step: FlowException.step, kind: FlowException.kind, open: Count })),
  complete: Type.Boolean({ description: "false: the list is being rebuilt, and some are missing" }),
});

export const IdList = Type.Object({ ids: Type.Array(Type.String()) });
