/**
 * The words of orders: an order is a chain id (R4) and its lines; it is placed, paid, cancelled and sent out as a whole (R3). Where its lines
 * stand is the ledger's knowledge; the order book only remembers which lines there are.
 */
import type { LineState, OrderPool, Outcome } from "../stock/model.js";

export interface OrderLine {
  sku: string;
  location: string;
  /** Whole units, at least 1. */
  units: number;
  pool?: OrderPool;
}

export interface Order {
  /** A chain id, without a line number. */
  id: string;
  /** 1 to MAX_ORDER_LINES; line n has the id `<order id>-<n>`. */
  lines: OrderLine[];
  /** How long the units are held for payment, in milliseconds. */
  holdMs?: number;
}

export const MAX_ORDER_LINES = 100;

export type OrderOutcome = Outcome | "unknown_order";

export interface LineReply extends OrderLine {
  id: string;
  outcome: Outcome;
  state: LineState;
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
