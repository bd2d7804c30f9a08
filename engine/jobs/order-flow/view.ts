/**
 * The exceptions that are open on orders' ways (R16), as any process sees them. Filled by the follower; reads nothing itself. It lists so many
 * and counts all: a warehouse that stands still makes an exception of every order.
 */
import type { FlowException } from "../../orders/flow.js";
import type { OrderStep } from "../../orders/model.js";
import type { View } from "../../stream/follower.js";
import { ORDER_FLOW_JOB, type OrderFlowView } from "./job.js";

export interface OrderException extends FlowException {
  order: string;
}

/** Orders whose exceptions are kept to be listed. */
const LISTED_ORDERS = 20_000;

export class ExceptionBoard implements View {
  readonly job = ORDER_FLOW_JOB;
  readonly #orders = new Map<string, OrderFlowView>();

  onView(order: string, told: unknown): void {
    const open = told as OrderFlowView;
    if (open.length > 0) this.#orders.set(order, open);
    else this.#orders.delete(order);
  }

  onForget(order: string): void {
    this.#orders.delete(order);
  }

  onReset(isOf: (key: string) => boolean): void {
    for (const order of this.#orders.keys()) if (isOf(order)) this.#orders.delete(order);
  }

  /** The oldest first. */
  list(limit: number): OrderException[] {
    const all: OrderException[] = [];
    for (const [order, open] of this.#orders) {
      for (const exception of open) all.push({ order, ...exception });
      if (all.length >= LISTED_ORDERS) break;
    }
    return all.sort((a, b) => a.sinceMs - b.sinceMs).slice(0, limit);
  }

  /** How many are open, by step and kind. */
  counts(): { step: OrderStep; kind: FlowException["kind"]; open: number }[] {
    const counts = new Map<string, { step: OrderStep; kind: FlowException["kind"]; open: number }>();
    for (const open of this.#orders.values()) {
      for (const { step, kind } of open) {
        const name = `${step} ${kind}`;
        const count = counts.get(name);
        if (count) count.open++;
        else counts.set(name, { step, kind, open: 1 });
      }
    }
    return [...counts.values()];
  }
}
