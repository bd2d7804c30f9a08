/** Schemas of histories: what has happened to a SKU's stock and to an order, and the same as sentences. */
import { Type } from "typebox";
import { LANGUAGES } from "../../../engine/history/dictionary.js";
import { MAX_CHANGES } from "../../../engine/history/sku-history.js";
import { EXCEPTION_KINDS } from "../../../engine/orders/flow.js";
import { ORDER_STEPS } from "../../../engine/orders/model.js";
import { ACCOUNTS, POOLS } from "../../../engine/stock/model.js";
import { Count, closed, Instant, Location } from "./common.js";

const InstantQuery = (description: string) =>
  Type.Optional(Type.String({ maxLength: 40, description, examples: ["2026-06-18T20:00:00+08:00"] }));

const story = {
  format: Type.Optional(Type.Enum(["story"], { description: "sentences instead of fields" })),
  lang: Type.Optional(Type.Enum([...LANGUAGES], { description: "of the sentences; `zh` when left out" })),
};

export const SkuHistoryQuery = Type.Object(
  {
    from: InstantQuery("an instant with its offset from UTC; left out: a day before `to`, or where the log begins"),
    to: InstantQuery("an instant with its offset from UTC; left out: now"),
    location: Type.Optional(Location),
    after: Type.Optional(
      Type.String({ pattern: "^[0-9]{1,15}-[0-9]{1,15}-[0-9]{1,6}$", description: "the `next` of the previous page" }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_CHANGES })),
    ...story,
  },
  closed,
);

export const OrderHistoryQuery = Type.Object(story, closed);

/** Below zero only where the log itself is wrong. */
const balances = { ...Object.fromEntries(POOLS.map((pool) => [pool, Type.Integer()])), onHand: Type.Integer() };
const ByLocation = Type.Array(Type.Object({ location: Type.String(), ...balances }));

const Account = Type.Enum([...ACCOUNTS]);

/** An event of the stock log. */
export const change = {
  at: Type.String({ format: "date-time", description: "when the ledger accepted it" }),
  happened: Type.Optional(Type.String({ format: "date-time", description: "when it had happened, if earlier" })),
  what: Type.String({ description: "the kind of the event, such as `StockReserved`" }),
  id: Type.String({ description: "the command's id" }),
  units: Count,
  from: Account,
  to: Account,
  location: Type.String(),
  toLocation: Type.Optional(Type.String()),
  order: Type.Optional(Type.String()),
  line: Type.Optional(Type.Integer({ minimum: 1 })),
  actor: Type.Optional(Type.String({ description: "who was authenticated" })),
  onBehalfOf: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  source: Type.Optional(Type.String({ description: "who or what reported the order's step that caused it" })),
  settled: Type.Optional(
    Type.Object(
      { source: Type.String(), snapshot: Type.String(), asOf: Instant },
      { description: "of a correction: the report of a source that it settles" },
    ),
  ),
  missingUnits: Type.Optional(Count),
  unexplained: Type.Optional(Type.Boolean({ description: "goods left that were not where the books had them" })),
  position: Type.Object({ partition: Type.Integer(), offset: Type.Integer(), index: Type.Integer() }),
};

const StoryAnswer = Type.Object({
  language: Type.Enum([...LANGUAGES]),
  title: Type.String(),
  before: Type.Array(Type.String()),
  changes: Type.Array(Type.Object({ at: Instant, time: Type.String(), text: Type.String() })),
  after: Type.Array(Type.String()),
  remarks: Type.Array(Type.String(), { description: "what does not add up, and whether anything is missing" }),
});

const Storied = { story: Type.Optional(StoryAnswer) };

export const SkuHistoryAnswer = Type.Object({
  sku: Type.String(),
  from: Instant,
  to: Type.String({ format: "date-time", description: "or the ledger's clock when that is earlier" }),
  final: Type.Boolean({ description: "false: further changes before `to` may follow" }),
  opening: ByLocation,
  changes: Type.Optional(Type.Array(Type.Object({ ...change, balances: ByLocation }))),
  closing: ByLocation,
  next: Type.Optional(Type.String({ description: "`after` of the next page; absent on the last page" })),
  complete: Type.Boolean({
    description: "the last page, and opening balances and all changes make what the ledger has for `to`, to the unit",
  }),
  mismatches: Type.Array(
    Type.Object({
      location: Type.String(),
      pool: Type.Enum([...POOLS]),
      countedUnits: Type.Integer(),
      storedUnits: Type.Integer(),
    }),
    { description: "on the last page: balances that the changes do not make" },
  ),
  missing: Type.Array(Type.String(), { description: "what could not be found out about who caused changes" }),
  ...Storied,
});

const evidence = Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])));

export const OrderHistoryAnswer = Type.Object({
  id: Type.String(),
  lines: Type.Array(Type.Object({ line: Type.Integer(), sku: Type.String(), location: Type.String(), units: Count })),
  steps: Type.Optional(
    Type.Array(
      Type.Object({ at: Instant, step: Type.Enum([...ORDER_STEPS]), source: Type.String(), detail: evidence }),
    ),
  ),
  changes: Type.Optional(Type.Array(Type.Object({ sku: Type.String(), ...change }))),
  exceptions: Type.Array(
    Type.Object({
      step: Type.Enum([...ORDER_STEPS]),
      kind: Type.Enum([...EXCEPTION_KINDS]),
      units: Type.Optional(Count),
      since: Instant,
    }),
    { description: "those that are open" },
  ),
  complete: Type.Boolean({ description: "nothing is missing" }),
  missing: Type.Array(Type.String(), { description: "what is, each in a sentence" }),
  ...Storied,
});
