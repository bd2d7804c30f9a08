/**
 * The WMS as a receiver of the order-flow job's emits (R22, R23). A pick request becomes a body with only the
 * contract's fields; the buyer's other text goes into object storage. An order that the WMS has accepted gets the step
 * `picking`. An order is sent under its chain id, so that a WMS which supports the idempotency key has it once, however
 * often it is sent. Before a request is sent, the order's current state is read: an old request, or one retried by
 * hand, may no longer be needed.
 */
import {
  ORDER_FLOW_JOB,
  PICK_EMIT,
  type PickRequest,
  WITHDRAW_EMIT,
  type Withdrawal,
} from "../../engine/jobs/order-flow/job.js";
import type { Evidence, WithdrawalResult } from "../../engine/orders/model.js";
import type { OrderStatus } from "../../engine/orders/order-record.js";
import type { OrderStore } from "../../engine/orders/order-store.js";
import type { WaitingOrders } from "../../engine/orders/waiting-orders.js";
import type { Delivered, Delivery, Receiver } from "../../engine/outbox/receiver.js";
import { cursorField } from "../../engine/stream/commit.js";
import { ENTRY_CURSOR } from "../../engine/stream/sinks.js";
import type { WmsClient, WmsReceipt } from "./client.js";
import type { Contract } from "./contract.js";
import { type ObjectWriter, TOO_LATE, WITHDRAWN_BEFORE, WmsRequests } from "./requests.js";

export { wmsClient } from "./client.js";
export { loadContract } from "./contract.js";
export { wmsOptions } from "./options.js";
export { detailKey } from "./payload.js";
export { WMS_CONTRACT } from "./requests.js";

/** The name of its cursor, dead letters and rate limit, and the source of `picking` steps. */
export const WMS_SINK = "wms";
/** Nothing was sent: the order's state no longer needs it. */
const NOT_SENT = { outcome: "done", isUnsent: true } as const;

export interface WmsOptions {
  client: Pick<WmsClient, "post">;
  contract: Pick<Contract, "check">;
  /** Stores what the contract has no field for. */
  objects: ObjectWriter;
  orderStore: Pick<OrderStore, "recordDelivered" | "markDeadLetters" | "status"> & {
    waiting: Pick<WaitingOrders, "correct">;
  };
  /** Called with the WMS's answer to a withdrawal; may be called again for the same one. */
  settle(order: string, result: WithdrawalResult, evidence: Evidence): Promise<unknown>;
  /** Called with the time from each order's payment to the warehouse, in ms: this machine's clock minus the log's. */
  onPicking(tookMs: number): void;
}

export function wmsReceiver({ client, contract, objects, orderStore, settle, onPicking }: WmsOptions): Receiver {
  const requests = new WmsRequests(client, contract, objects);

  /** @returns undefined when the store cannot be read now; the delivery is then retried */
  async function readStatus(order: string): Promise<{ status: OrderStatus | undefined } | undefined> {
    try {
      return { status: await orderStore.status(order) };
    } catch {
      // The store's writers report its failures.
      return undefined;
    }
  }

  return {
    name: WMS_SINK,

    wants: (kind) => kind === PICK_EMIT || kind === WITHDRAW_EMIT,

    async deliver({ kind, key, payload }: Delivery, signal, mayHaveArrived) {
      const found = await readStatus(key);
      if (!found) return { outcome: "retry", reason: "the order store cannot be read", isUnsent: true };
      const { status } = found;
      // An order that the store lost with its newest writes is sent as requested: twice is better than never.
      if (kind === PICK_EMIT) {
        if (status && !isNeeded(status, mayHaveArrived)) return NOT_SENT;
        return requests.pick(withBuyer(payload as PickRequest, status), signal);
      }
      return status && !isWithdrawn(status) ? NOT_SENT : requests.withdraw(payload as Withdrawal, signal);
    },

    async delivered(_partition, done) {
      const asked = done.filter(({ receipt }) => receipt !== undefined);
      const picked = asked.filter(
        ({ delivery, receipt }) => delivery.kind === PICK_EMIT && answerOf(receipt) !== WITHDRAWN_BEFORE,
      );
      await orderStore.recordDelivered(
        picked.map(({ delivery }) => ({ id: delivery.key, step: "picking", source: WMS_SINK })),
      );
      for (const each of picked) onPicking(tookMs(each));
      // A pick that finds its own withdrawal settles it, too: the process that got the first answer may have died.
      const withdrawn = asked.filter(
        ({ delivery, receipt }) => delivery.kind === WITHDRAW_EMIT || answerOf(receipt) === WITHDRAWN_BEFORE,
      );
      await Promise.all(withdrawn.map(({ delivery, receipt }) => settle(delivery.key, ...resultOf(receipt))));
    },

    async deadLettered(_partition, deliveries) {
      await orderStore.markDeadLetters(deliveries.filter(({ kind }) => kind === PICK_EMIT).map(({ key }) => key));
    },

    async idle(partition) {
      await orderStore.waiting.correct(partition, WMS_SINK, CURSORS);
    },
  };
}

/** Adds the buyer from the order store; in a deployment of format 1 the emit has it. */
function withBuyer(request: PickRequest, status: OrderStatus | undefined): PickRequest {
  const shipTo = request.shipTo ?? status?.shipTo;
  return shipTo === undefined ? request : { ...request, shipTo };
}

/** The cursor fields of the orders' job and of this sink. */
const CURSORS = { job: cursorField(ORDER_FLOW_JOB), sink: cursorField(ENTRY_CURSOR) };

/**
 * Whether an order must still be sent: not when the warehouse has it, the goods have left, or it is cancelled. One that
 * may have arrived is sent until the WMS confirms it; otherwise a withdrawal that arrived before the order would have
 * no effect.
 */
const isNeeded = (status: OrderStatus, mayHaveArrived: boolean): boolean =>
  !status.hasStep("picking") && !status.hasStep("outbound") && (mayHaveArrived || !isWithdrawn(status));

/** Cancelled, or being cancelled without a refusal of the warehouse. */
const isWithdrawn = ({ hasStep }: OrderStatus): boolean =>
  hasStep("cancelled") || (hasStep("cancelling") && !hasStep("cancellation_refused"));

const answerOf = (receipt: unknown): string => {
  const { status, code = "" } = receipt as WmsReceipt;
  return `${status} ${code}`;
};

function resultOf(receipt: unknown): [result: WithdrawalResult, evidence: Evidence] {
  const { code } = receipt as WmsReceipt;
  const result = answerOf(receipt) === TOO_LATE ? "refused" : "withdrawn";
  return [result, { source: WMS_SINK, ...(code === undefined ? {} : { detail: { answer: code } }) }];
}

const tookMs = ({ delivery, atMs }: Delivered): number => atMs - (delivery.payload as PickRequest).paidMs;
