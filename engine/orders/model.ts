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

/**
 * What rules and reports need of an order beside its lines. None of it may be personal data: it is kept as long as the
 * order, is in logs and states, and no erasure removes it.
 */
export interface OrderDetails {
  /** In minor units of the currency (fen, cents): a whole number from 0 to 2^53 - 1. Only with `currency`. */
  amount?: number;
  /** ISO 4217, such as `CNY`. Only with `amount`. */
  currency?: string;
  /** The kind of payment, such as `alipay`: 1 to 32 of a-z 0-9 _ -. */
  paymentKind?: string;
  /** The shop's reference to the buyer, never a name: 1 to 64 printable ASCII characters without spaces. */
  buyer?: string;
  /** At most MAX_ATTRIBUTES, and MAX_ATTRIBUTES_BYTES together. */
  attributes?: Readonly<Record<string, AttributeValue>>;
}

/** A text has at most MAX_ATTRIBUTE_CHARACTERS, a number is finite. */
export type AttributeValue = string | number | boolean;

/** What was ordered. */
export interface OrderBody extends OrderDetails {
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
export const MAX_ATTRIBUTES = 32;
export const MAX_ATTRIBUTE_CHARACTERS = 200;
/** As JSON. With the other details an order's record grows by less than 4.5 KiB, and its entry in the log as well. */
export const MAX_ATTRIBUTES_BYTES = 4_096;

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
   * Only with the steps after which the order goes to the warehouse: `locked` and `cancellation_refused`. With the
   * order's details. Holds personal data only in a deployment of format 1, which has no refused cancellation.
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
