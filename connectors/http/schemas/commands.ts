/**
 * Schemas of bulk stock commands and their outcomes. What a schema cannot check (a move between a pool and itself) is
 * checked in commands.ts.
 */
import { Type } from "typebox";
import { MAX_UNITS, type StockCommand } from "../../../engine/stock/model.js";
import type { SkuSetting } from "../../../engine/stock/settings.js";
import { AlertParams } from "./alerts.js";
import {
  Actor,
  CommandId,
  closed,
  HoldMs,
  LineOutcome,
  Location,
  MissingUnits,
  OrderPool,
  Reason,
  Sku,
  State,
  Units,
} from "./common.js";
import { settingsSchema } from "./settings.js";

const OpenPool = Type.Enum(["sellable", "safety", "presale"]);

const CountedPool = Type.Enum(["sellable", "committed", "safety", "presale"]);

const ExpectedCell = Type.Object(
  { onHandUnits: Type.Integer({ minimum: 0, maximum: MAX_UNITS }) },
  {
    ...closed,
    description:
      "what the cell must hold (sellable, reserved, committed and safety together); else the correction is refused as balance_changed, and so is every repeat of its id",
  },
);

const MovePool = Type.Enum(["sellable", "safety"]);

/** 2000-01-01: an earlier time was most likely given in seconds. */
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

/** Kinds that a client may send; the others are reserved for the order service. */
export type OpenKind = Exclude<StockCommand["kind"], "abort" | "unpay" | "accept" | "suspend" | "resume">;

const FixedSchemas = {
  receive: Type.Object({ kind: Type.Literal("receive"), ...goods }, closed),
  return: Type.Object({ kind: Type.Literal("return"), ...goods }, closed),
  correct: Type.Object(
    {
      kind: Type.Literal("correct"),
      ...common,
      ...givenCause,
      units: Type.Integer({ minimum: -MAX_UNITS, maximum: MAX_UNITS, not: { const: 0 } }),
      // Reserved units cannot be corrected: they belong to order lines.
      pool: Type.Optional(CountedPool),
      expected: Type.Optional(ExpectedCell),
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
} as const satisfies Record<Exclude<OpenKind, "configure">, unknown>;

/** The schema of each kind; that of `configure` has the registered settings. */
export const commandSchemas = (settings: readonly SkuSetting[]) =>
  ({
    ...FixedSchemas,
    configure: Type.Object(
      { kind: Type.Literal("configure"), ...common, ...cause, settings: settingsSchema(settings) },
      closed,
    ),
  }) as const satisfies Record<OpenKind, unknown>;

export const anyCommand = (settings: readonly SkuSetting[]) => Type.Union(Object.values(commandSchemas(settings)));

export const CommandReply = Type.Object({
  id: Type.String(),
  outcome: LineOutcome,
  repeated: Type.Boolean(),
  state: State,
  missingUnits: MissingUnits,
});
