/**
 * The WMS as a receiver of the order-flow job's emits (R22, R23): a pick request becomes a body with the contract's
 * fields and nothing else, what the buyer wrote beyond them goes into object storage, and what the WMS has taken is
 * noted as the order's `picking` step. An order goes under its chain id, so that a WMS which honours the idempotency
 * key has it once, however often it is sent. Before anything leaves, it is looked up where the order stands now: what
 * was asked for long ago, or is tried again by hand, may not be wanted any more.
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
/** Names its cursor, dead letters and pace; and who says that the warehouse has an order. */
export const WMS_SINK = "wms";
const PICKING_ORDERS = "/v1/picking-orders";
/** The WMS has the order from a try before this one. */
const TAKEN_BEFORE: KnownRefusal = "409 already_exists";
/** Its withdrawal was there before it. */
const WITHDRAWN_BEFORE: KnownRefusal = "409 already_withdrawn";
const PICK_ENDS: readonly KnownRefusal[] = [TAKEN_BEFORE, WITHDRAWN_BEFORE];
const TOO_LATE: KnownRefusal = "409 already_picked";
/**
 * What ends the question whether an order can be taken back: it is too late; it had been; the WMS has never heard of
 * it.
 */
const WITHDRAWAL_ENDS: readonly KnownRefusal[] = [TOO_LATE, WITHDRAWN_BEFORE, "404 unknown_order"];
/** Nothing was sent, for the order has gone on. */
const NOT_SENT = { outcome: "done", isUnsent: true } as const;
/** Beyond these the WMS is asked again, and knows them by their key. */
const MAX_LACKING = 10_000;
/** Findings told in a refusal. */
const TOLD = 3;

export interface WmsOptions {
  client: Pick<WmsClient, "post">;
  contract: Pick<Contract, "check">;
  /** Takes what the contract has no field for. */
  objects: { put(key: string, bytes: Uint8Array, contentType: string, signal: AbortSignal): Promise<void> };
  orderStore: Pick<OrderStore, "record" | "markDeadLetters" | "status"> & { waiting: Pick<WaitingOrders, "correct"> };
  /** Told once the WMS has answered whether it takes an order back; may be told again. */
  settle(order: string, result: WithdrawalResult, evidence: Evidence): Promise<unknown>;
  /**
   * Told how long each order took from its payment to the warehouse, in ms by this machine's clock against the log's.
   */
  onPicking(tookMs: number): void;
}

export function wmsReceiver({ client, contract, objects, orderStore, settle, onPicking }: WmsOptions): Receiver {
  /** What the WMS said to orders whose object the storage does not take: it is not asked again. */
  const lacking = new Map<string, DeliveryOutcome>();

  async function pick(request: PickRequest, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { body, detail } = preparePick(request);
    const findings = contract.check(body);
    if (findings.length > 0) {
      const told = findings.slice(0, TOLD).map(({ path, rule }) => `${path} ${rule}`);
      return { outcome: "refused", reason: `does not fit the contract ${WMS_CONTRACT}: ${told.join("; ")}` };
    }
    const known = lacking.get(request.order);
    const posted = known ?? post(request, body, signal);
    if (!detail) return posted;
    // Side by side, so that the warehouse does not wait for the storage; done when both have theirs.
    const [verdict, fault] = await Promise.all([
      posted,
      kept(objects.put(detail.key, detail.bytes, detail.contentType, signal)),
    ]);
    lacking.delete(request.order);
    if (verdict.outcome !== "done" || !fault) return verdict;
    if (lacking.size < MAX_LACKING) lacking.set(request.order, verdict);
    return fault;
  }

  async function post(
    { order, shipTo }: PickRequest,
    body: WmsInboundOrder,
    signal: AbortSignal,
  ): Promise<DeliveryOutcome> {
    const verdict = await client.post(PICKING_ORDERS, JSON.stringify(body), order, signal, PICK_ENDS);
    return verdict.outcome === "done" ? verdict : { ...verdict, reason: withoutBuyer(verdict.reason, shipTo, body) };
  }

  async function withdraw({ order, again }: Withdrawal, signal: AbortSignal): Promise<DeliveryOutcome> {
    const path = `${PICKING_ORDERS}/${order}/cancellation`;
    // A request of its own: under the first one's key a WMS gives the first answer, whatever it was sent since.
    const key = `${order}/${WITHDRAW_EMIT}${again ? "/again" : ""}`;
    const verdict = await client.post(path, JSON.stringify({ orderNo: order }), key, signal, WITHDRAWAL_ENDS);
    // What the buyer's words are is not known any more: none of the WMS's are kept.
    return verdict.outcome === "done" ? verdict : { ...verdict, reason: verdict.brief ?? verdict.reason };
  }

  /** @returns undefined when the store cannot tell now, and the delivery has to wait */
  async function standingOf(order: string): Promise<{ standing: OrderStatus | undefined } | undefined> {
    try {
      return { standing: await orderStore.status(order) };
    } catch {
      // Whoever writes to the store tells of its trouble.
      return undefined;
    }
  }

  return {
    name: WMS_SINK,

    wants: (kind) => kind === PICK_EMIT || kind === WITHDRAW_EMIT,

    async deliver({ kind, key, payload }: Delivery, signal, mayHaveArrived) {
      const found = await standingOf(key);
      if (!found) return { outcome: "retry", reason: "the order store cannot be read", isUnsent: true };
      const { standing } = found;
      // An order that the store has lost with its newest writes goes as it was asked for: rather twice than never.
      if (kind === PICK_EMIT) {
        if (standing && !isWanted(standing, mayHaveArrived)) return NOT_SENT;
        return pick(withBuyer(payload as PickRequest, standing), signal);
      }
      return standing && !isWithdrawn(standing) ? NOT_SENT : withdraw(payload as Withdrawal, signal);
    },

    async delivered(_partition, done) {
      const asked = done.filter(({ receipt }) => receipt !== undefined);
      const picked = asked.filter(
        ({ delivery, receipt }) => delivery.kind === PICK_EMIT && answerOf(receipt) !== WITHDRAWN_BEFORE,
      );
      await orderStore.record(picked.map(({ delivery }) => ({ id: delivery.key, step: "picking", source: WMS_SINK })));
      for (const each of picked) onPicking(tookMs(each));
      // A pick that meets its own withdrawal tells it, too: whoever was told before may have died with the answer.
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

/** Emits name the buyer only in a deployment of format 1; otherwise the order store does. */
function withBuyer(request: PickRequest, standing: OrderStatus | undefined): PickRequest {
  const shipTo = request.shipTo ?? standing?.shipTo;
  return shipTo === undefined ? request : { ...request, shipTo };
}

/** How far the orders' job is, and this sink. */
const CURSORS = { job: cursorField(ORDER_FLOW_JOB), sink: cursorField(ENTRY_CURSOR) };

/**
 * Whether the warehouse is still to be asked for an order: not when it has it, nor when the goods have left or nobody
 * wants them any more. One that may be there is asked for until the WMS says that it has it: a withdrawal that
 * overtook the order on its way would come to nothing.
 */
const isWanted = (standing: OrderStatus, mayHaveArrived: boolean): boolean =>
  !standing.hasStep("picking") && !standing.hasStep("outbound") && (mayHaveArrived || !isWithdrawn(standing));

/** Cancelled, or about to be unless the warehouse refuses, which it has not. */
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

/** What an object storage that does not take an object means for the order that it belongs to. */
async function kept(put: Promise<void>): Promise<DeliveryOutcome | undefined> {
  try {
    await put;
    return undefined;
  } catch (thrown) {
    const reason = `object storage: ${messageOf(thrown)}`;
    // A storage that refuses needs a hand, and the order must not be lost over it: it is tried again until somebody
    // has helped.
    const retryAfterMs = thrown instanceof EngineError ? thrown.retryAfterMs : undefined;
    return {
      outcome: "retry",
      reason,
      dependencyFailed: true,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
}
