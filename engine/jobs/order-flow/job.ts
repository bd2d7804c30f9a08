/**
 * The order-flow job (R16, R17, R22): follows the steps of each paid order, emits a pick request as soon as the
 * ledger has locked its stock, and opens an exception when a step is skipped or late. Emits are part of the commit,
 * so there is one pick request for an order, however often a worker dies, and one more when its cancellation is
 * refused before the warehouse has confirmed the order. An unpaid order has no state here; a cancelled one has it for
 * an hour, so that a payment that was under way meanwhile emits no pick request.
 */

import type { FlowEffect, FlowException } from "../../orders/flow.js";
import {
  type Deadlines,
  endMs,
  newFlow,
  nextDeadlineMs,
  type OrderFlow,
  passTime,
  takeStep,
} from "../../orders/flow.js";
import type { OrderEvent, OrderLine, OrderStep, ShipTo } from "../../orders/model.js";
import type { Job, JobContext } from "../../stream/job.js";
import type { StateShape } from "../../stream/state-codec.js";

export const ORDER_FLOW_JOB = "order-flow.1";

/** What readers of the stored states need. */
export const ORDER_FLOW_STATE: StateShape<OrderFlow> = { name: ORDER_FLOW_JOB };

/** The index entry of an exception is its step and kind, with this between them. */
export const NAME_SEPARATOR = " ";

/** Emitted when an order's goods are to leave the shelf. */
export const PICK_EMIT = "pick";
/** Emitted when an order with a pick request is cancelled. */
export const WITHDRAW_EMIT = "withdraw";
const EXCEPTION_EMIT = "exception";

export interface PickRequest {
  order: string;
  /** By the orders' log. */
  placedMs: number;
  paidMs: number;
  lines: OrderLine[];
  /** Only in a deployment of format 1: otherwise the sink reads it from the order store. */
  shipTo?: ShipTo;
}

export interface Withdrawal {
  order: string;
  /** The warehouse has refused a withdrawal before. */
  again?: true;
}

export interface ExceptionChange {
  type: "opened" | "resolved";
  order: string;
  step: OrderStep;
  kind: FlowException["kind"];
  sinceMs: number;
}

/**
 * The view of an order for processes of format 1: its open exceptions, mostly none. Later ones read the index.
 */
export type OrderFlowView = readonly FlowException[];

/**
 * @param deadlines as they are now: read at each event and timer, because a warehouse may be connected meanwhile
 */
export function orderFlowJob(deadlines: () => Deadlines): Job<OrderEvent, OrderFlow> {
  const report = (effects: readonly FlowEffect[], order: string, context: JobContext): void => {
    for (const effect of effects) {
      if (effect.kind !== "opened" && effect.kind !== "resolved") continue;
      const change: ExceptionChange = { type: effect.kind, order, ...effect.exception };
      context.emit(EXCEPTION_EMIT, change);
    }
  };

  return {
    ...ORDER_FLOW_STATE,

    key: ({ step, id }) => (step === "created" ? undefined : id),

    initial: newFlow,

    onEvent(flow, event, context) {
      const { id, step, atMs, createdMs, source, detail, body } = event;
      if (flow.taken.length === 0) takeStep(flow, { step: "created", atMs: createdMs, source: "shop" }, deadlines());
      const effects = takeStep(flow, { step, atMs, source, ...(detail ? { detail } : {}) }, deadlines());
      for (const effect of effects) {
        const { kind } = effect;
        if (kind === "pick" && body) {
          const paidMs = flow.taken.find((taken) => taken.step === "paid")?.atMs ?? atMs;
          const { lines, shipTo } = body;
          const request: PickRequest = { order: id, placedMs: createdMs, paidMs, lines, ...(shipTo && { shipTo }) };
          context.emit(PICK_EMIT, request);
        } else if (kind === "withdraw") {
          const withdrawal: Withdrawal = { order: id, ...(effect.again && { again: true }) };
          context.emit(WITHDRAW_EMIT, withdrawal);
        }
      }
      report(effects, id, context);
      context.setTimer(nextDeadlineMs(flow, deadlines()));
    },

    onTimer(flow, atMs, context) {
      if (atMs >= endMs(flow)) {
        context.clear();
        return;
      }
      report(passTime(flow, atMs, deadlines()), context.key, context);
      context.setTimer(nextDeadlineMs(flow, deadlines()));
    },

    view: ({ open }): OrderFlowView => open,

    index: ({ open }) =>
      open.map(({ step, kind, sinceMs }) => ({ name: step + NAME_SEPARATOR + kind, score: sinceMs })),
  };
}
