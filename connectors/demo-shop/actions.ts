/**
 * Actions of the demo shop: an order is placed or retried, an open one is paid, cancelled or sent out, a warehouse
 * sends a stock command. An action is plain data with its time and everything that a runner needs. The order and
 * frequency of actions are defined in ordinary-days.ts and rush.ts.
 */
import type { StockCommand } from "../../engine/stock/model.js";

/** One line of an order; a SKU occurs once in an order. */
export interface OrderLine {
  readonly sku: string;
  readonly location: string;
  readonly units: number;
}

/** An order as its client sends it; a retry sends the same object. */
export interface Order {
  /** Chain id; lines are `<id>-1`, `<id>-2`, …. */
  readonly id: string;
  readonly channel: string;
  /** When it was first sent: the `atMs` of its lines' commands, so that a retry has the same body. */
  readonly placedAtMs: number;
  readonly lines: readonly OrderLine[];
}

/** A client asks for an order; `attempt` is 1 at first, then one more for each retry. */
export interface OrderAction {
  readonly atMs: number;
  readonly kind: "order";
  readonly order: Order;
  readonly attempt: number;
}
/** A step of an order placed before, if the ledger admitted it. */
export interface OrderStepAction {
  readonly atMs: number;
  readonly kind: "pay" | "cancel" | "outbound";
  readonly orderId: string;
  readonly order: Order;
}
/** A stock command of a warehouse; its `atMs` is the action's. */
export interface CommandAction {
  readonly atMs: number;
  readonly kind: "command";
  readonly command: StockCommand;
}
/** Something that happens at `atMs` (milliseconds since the epoch). */
export type Action = OrderAction | OrderStepAction | CommandAction;
