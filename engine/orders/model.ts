/**
 * The types of orders: an order is a chain id (R4), its lines and an address; it is placed, paid, cancelled and sent
 * out as a whole (R3). The ledger keeps the states of its lines; the order store keeps what was ordered and which
 * steps it has taken, each on evidence.
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

/** The buyer and the address, as the shop sent them. */
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
  /** 1 to MAX_ORDER_LINES; line number n has the id `<order id>-<n>`. */
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
 * The steps of an order (R16), then those that end it early or stand beside. `picking`: the warehouse has the order.
 * `waybill`: the carrier's number is back (R17). `cancelling`: the warehouse is asked to withdraw it.
 * `partly_outbound`: some of its lines have left. `counted`: the stock of its missing units was counted. The last two
 * may come more than once. The log and the order store hold them by index: append only.
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

/** Who or what reported a step, and the details. */
export interface Evidence {
  /** At most 64 characters, such as `api`, `wms`, `carrier:SF`. */
  source: string;
  /** `actor`: who was authenticated when it was reported. */
  detail?: Readonly<Record<string, string | number>>;
}

/** Evidence of a step that the shop itself recorded. */
export const shopEvidence = (actor: string | undefined): Evidence =>
  actor === undefined ? { source: "shop" } : { source: "shop", detail: { actor } };

/** One step of one order, as the log holds it. */
export interface OrderEvent extends LogEvent, Evidence {
  id: string;
  step: OrderStep;
  /** When the order was first placed, by the log's clock. */
  createdMs: number;
  /**
   * Only with the steps after which the order goes to the warehouse: `locked` and `cancellation_refused`. Holds
   * personal data only in a deployment of format 1, which has no refused cancellation.
   */
  body?: OrderBody;
}

/**
 * The outcome of an order as a whole. `cancelling`: the warehouse has been asked, and its answer decides;
 * `cancellation_refused`: it has refused; `not_cancelling`: no cancellation was requested; `whole_order_only`: a
 * warehouse takes no part of an order back.
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
  /** As the ledger reports it. */
  missingUnits?: number;
}

export interface OrderReply {
  id: string;
  /** Of the whole order: accepted only when every line is. */
  outcome: OrderOutcome;
  /** True when it had been done before and this is the first reply again. */
  repeated: boolean;
  /** Empty when the ledger was not called. */
  lines: LineReply[];
}

export const lineId = (orderId: string, index: number): string => `${orderId}-${index + 1}`;
