/**
 * The words of orders: an order is a chain id (R4), its lines and where it goes; it is placed, paid, cancelled and
 * sent out as a whole (R3). Where its lines stand is the ledger's knowledge; the order book remembers what was
 * ordered and on what evidence it took each of its steps.
 */
import type { LineState, OrderPool, Outcome } from "../stock/model.js";
import type { LogEvent } from "../stream/job.js";

export interface OrderLine {
  sku: string;
  location: string;
  /** Whole units, at least 1. */
  units: number;
  pool?: OrderPool;
}

/** Whom the goods go to, as the shop was told it. */
export interface ShipTo {
  name?: string;
  phone?: string;
  /** Names, not codes. */
  province?: string;
  city?: string;
  district?: string;
  /** Free text, with or without province, city and district before it. */
  address?: string;
  note?: string;
}

/** What was ordered. */
export interface OrderBody {
  /** 1 to MAX_ORDER_LINES; line n has the id `<order id>-<n>`. */
  lines: OrderLine[];
  shipTo?: ShipTo;
  /** How long the units are held for payment, in milliseconds. */
  holdMs?: number;
}

export interface Order extends OrderBody {
  /** A chain id, without a line number. */
  id: string;
}

export const MAX_ORDER_LINES = 100;

/**
 * What may be noted of an order, in the order of its way (R16), and its end before it. `picking`: the warehouse has
 * the order. `waybill`: the carrier's number is back (R17). `cancelling`: the warehouse is asked to let go of it.
 * `partly_outbound`: some of its lines have left. `counted`: somebody has counted the stock that the books could not
 * explain. The last two may come more than once. The log and the order book tell them by position: append only.
 */
export const ORDER_STEPS = [
  "created",
  "paid",
  "locked",
  "picking",
  "labelled",
  "waybill",
  "outbound",
  "reported",
  "cancelled",
  "cancelling",
  "cancellation_refused",
  "partly_outbound",
  "counted",
] as const;
export type OrderStep = (typeof ORDER_STEPS)[number];

/** What a step is believed on: who says so, and the particulars. */
export interface Evidence {
  /** At most 64 characters, such as `api`, `wms`, `carrier:SF`. */
  source: string;
  /** `actor`: who was authenticated when it was told. */
  detail?: Readonly<Record<string, string | number>>;
}

/** What the shop itself says, and who was authenticated. */
export const shopEvidence = (actor: string | undefined): Evidence =>
  actor === undefined ? { source: "shop" } : { source: "shop", detail: { actor } };

/** One step of one order, as the log tells it. */
export interface OrderEvent extends LogEvent, Evidence {
  id: string;
  step: OrderStep;
  /** When the order was first placed, by the log's clock. */
  createdMs: number;
  /**
   * With `locked`: from here on the order goes to the warehouse; with `cancellation_refused`: it goes on. Names the
   * buyer only in a deployment of format 1, which knows no refused cancellation.
   */
  body?: OrderBody;
}

/**
 * Of an order as a whole. `cancelling`: the warehouse has been asked for it, and its answer settles the cancellation;
 * `cancellation_refused`: it has refused; `not_cancelling`: nobody has asked; `whole_order_only`: a warehouse takes
 * no part of an order back.
 */
export type OrderOutcome =
  | Outcome
  | "unknown_order"
  | "cancelling"
  | "cancellation_refused"
  | "not_cancelling"
  | "whole_order_only";

/** The warehouse's answer to a cancellation. `withdrawn`: it will not pick the order. `refused`: it has picked it. */
export type WithdrawalResult = "withdrawn" | "refused";

export interface LineReply extends OrderLine {
  id: string;
  outcome: Outcome;
  state: LineState;
  /** As the ledger tells it. */
  missingUnits?: number;
}

export interface OrderReply {
  id: string;
  /** The whole order's: accepted only when every line is. */
  outcome: OrderOutcome;
  /** True when it had been done before and this is the first answer again. */
  repeated: boolean;
  /** Empty when no line was asked. */
  lines: LineReply[];
}

export const lineId = (orderId: string, position: number): string => `${orderId}-${position + 1}`;
