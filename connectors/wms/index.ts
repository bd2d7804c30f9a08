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
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { Evidence, WithdrawalResult } from "../../engine/orders/model.js";
import type { OrderStatus } from "../../engine/orders/order-record.js";
import type { OrderStore } from "../../engine/orders/order-store.js";
import type { WaitingOrders } from "../../engine/orders/waiting-orders.js";
import type { Delivered, Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";
import { cursorField } from "../../engine/stream/commit.js";
import { ENTRY_CURSOR } from "../../engine/stream/sinks.js";
import type { KnownRefusal, WmsClient, WmsReceipt } from "./client.js";
import type { Contract } from "./contract.js";
import { preparePick, type WmsInboundOrder } from "./payload.js";
import { withoutBuyer } from "./redact.js";

export { wmsClient } from "./client.js";
export { loadContract } from "./contract.js";
export { wmsOptions } from "./options.js";
export { detailKey } from "./payload.js";

/** The contract that comes with the product. */
export const WMS_CONTRACT = "wms-inbound";
/** The name of its cursor, dead letters and rate limit, and the source of `picking` steps. */
export const WMS_SINK = "wms";
const PICKING_ORDERS = "/v1/picking-orders";
/** The WMS has the order from an earlier attempt. */
const TAKEN_BEFORE: KnownRefusal = "409 already_exists";
/** The order's withdrawal arrived before it. */
const WITHDRAWN_BEFORE: KnownRefusal = "409 already_withdrawn";
const PICK_ENDS: readonly KnownRefusal[] = [TAKEN_BEFORE, WITHDRAWN_BEFORE];
const TOO_LATE: KnownRefusal = "409 already_picked";
/** Final answers to a withdrawal: too late, already withdrawn, or the WMS does not have the order. */
const WITHDRAWAL_ENDS: readonly KnownRefusal[] = [TOO_LATE, WITHDRAWN_BEFORE, "404 unknown_order"];
/** Nothing was sent: the order's state no longer needs it. */
const NOT_SENT = { outcome: "done", isUnsent: true } as const;
/** Above this number the WMS gets the order again; the idempotency key identifies it. */
const MAX_WITHOUT_OBJECT = 10_000;
/** Findings that a refusal names. */
const MAX_NAMED_FINDINGS = 3;

export interface WmsOptions {
  client: Pick<WmsClient, "post">;
  contract: Pick<Contract, "check">;
  /** Stores what the contract has no field for. */
  objects: { put(key: string, bytes: Uint8Array, contentType: string, signal: AbortSignal): Promise<void> };
  orderStore: Pick<OrderStore, "record" | "markDeadLetters" | "status"> & { waiting: Pick<WaitingOrders, "correct"> };
  /** Called with the WMS's answer to a withdrawal; may be called again for the same one. */
  settle(order: string, result: WithdrawalResult, evidence: Evidence): Promise<unknown>;
  /** Called with the time from each order's payment to the warehouse, in ms: this machine's clock minus the log's. */
  onPicking(tookMs: number): void;
}

export function wmsReceiver({ client, contract, objects, orderStore, settle, onPicking }: WmsOptions): Receiver {
  /** The WMS's answers for orders whose object is not stored yet, so that they are not sent again. */
  const withoutObject = new Map<string, DeliveryOutcome>();

  async function pick(request: PickRequest, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { body, detail } = preparePick(request);
    const findings = contract.check(body);
    if (findings.length > 0) {
      const named = findings.slice(0, MAX_NAMED_FINDINGS).map(({ path, rule }) => `${path} ${rule}`);
      return { outcome: "refused", reason: `does not match the contract ${WMS_CONTRACT}: ${named.join("; ")}` };
    }
    const known = withoutObject.get(request.order);
    const posted = known ?? post(request, body, signal);
    if (!detail) return posted;
    // In parallel, so that the warehouse does not wait for the storage; done when both are.
    const [result, fault] = await Promise.all([
      posted,
      storageFault(objects.put(detail.key, detail.bytes, detail.contentType, signal)),
    ]);
    withoutObject.delete(request.order);
    if (result.outcome !== "done" || !fault) return result;
    if (withoutObject.size < MAX_WITHOUT_OBJECT) withoutObject.set(request.order, result);
    return fault;
  }

  async function post(
    { order, shipTo }: PickRequest,
    body: WmsInboundOrder,
    signal: AbortSignal,
  ): Promise<DeliveryOutcome> {
    const result = await client.post(PICKING_ORDERS, JSON.stringify(body), order, signal, PICK_ENDS);
    return result.outcome === "done" ? result : { ...result, reason: withoutBuyer(result.reason, shipTo, body) };
  }

  async function withdraw({ order, again }: Withdrawal, signal: AbortSignal): Promise<DeliveryOutcome> {
    const path = `${PICKING_ORDERS}/${order}/cancellation`;
    // Its own key: under the first request's key a WMS returns the first answer, whatever was sent since.
    const key = `${order}/${WITHDRAW_EMIT}${again ? "/again" : ""}`;
    const result = await client.post(path, JSON.stringify({ orderNo: order }), key, signal, WITHDRAWAL_ENDS);
    // The buyer's text is no longer available, so it cannot be removed from the WMS's message: only the code is kept.
    return result.outcome === "done" ? result : { ...result, reason: result.brief ?? result.reason };
  }

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
        return pick(withBuyer(payload as PickRequest, status), signal);
      }
      return status && !isWithdrawn(status) ? NOT_SENT : withdraw(payload as Withdrawal, signal);
    },

    async delivered(_partition, done) {
      const asked = done.filter(({ receipt }) => receipt !== undefined);
      const picked = asked.filter(
        ({ delivery, receipt }) => delivery.kind === PICK_EMIT && answerOf(receipt) !== WITHDRAWN_BEFORE,
      );
      await orderStore.record(picked.map(({ delivery }) => ({ id: delivery.key, step: "picking", source: WMS_SINK })));
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

/** The delivery outcome when the object storage fails; undefined when it stored the object. */
async function storageFault(put: Promise<void>): Promise<DeliveryOutcome | undefined> {
  try {
    await put;
    return undefined;
  } catch (thrown) {
    const reason = `object storage: ${messageOf(thrown)}`;
    // A refusal needs an operator, and the order must not be lost: it is retried until the storage is repaired.
    const retryAfterMs = thrown instanceof EngineError ? thrown.retryAfterMs : undefined;
    return {
      outcome: "retry",
      reason,
      dependencyFailed: true,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
}
