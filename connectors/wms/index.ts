/**
 * The WMS as a receiver of the order-flow job's emits (R22, R23): a pick request becomes a body with the contract's fields and nothing else, what the
 * buyer wrote beyond them goes into object storage, and what the WMS has taken is noted as the order's `picking` step. An order goes
 * under its chain id, so that a WMS which honours the idempotency key has it once, however often it is sent.
 */
import { PICK_EMIT, type PickRequest, WITHDRAW_EMIT, type Withdrawal } from "../../engine/jobs/order-flow/job.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { OrderBook } from "../../engine/orders/order-book.js";
import type { Delivered, Delivery, Receiver, Verdict } from "../../engine/outbox/receiver.js";
import type { WmsClient } from "./client.js";
import type { Contract } from "./contract.js";
import { preparePick } from "./payload.js";

export { wmsClient } from "./client.js";
export { loadContract } from "./contract.js";
export { wmsOptions } from "./options.js";

/** The contract that comes with the product. */
export const WMS_CONTRACT = "wms-inbound";
/** Names its cursor, dead letters and pace; and who says that the warehouse has an order. */
export const WMS_SINK = "wms";
const PICKING_ORDERS = "/v1/picking-orders";
/** Beyond these the WMS is asked again, and knows them by their key. */
const MAX_LACKING = 10_000;
/** Findings told in a refusal. */
const TOLD = 3;

export interface WmsOptions {
  client: Pick<WmsClient, "post">;
  contract: Pick<Contract, "check">;
  /** Takes what the contract has no field for. */
  objects: { put(key: string, bytes: Uint8Array, contentType: string, signal: AbortSignal): Promise<void> };
  book: Pick<OrderBook, "note">;
  /** Told how long each order took from its payment to the warehouse, in ms by this machine's clock against the log's. */
  onPicking(tookMs: number): void;
}

export function wmsReceiver({ client, contract, objects, book, onPicking }: WmsOptions): Receiver {
  /** What the WMS said to orders whose object the storage does not take: it is not asked again. */
  const lacking = new Map<string, Verdict>();

  async function pick(request: PickRequest, signal: AbortSignal): Promise<Verdict> {
    const { body, detail } = preparePick(request);
    const findings = contract.check(body);
    if (findings.length > 0) {
      const told = findings.slice(0, TOLD).map(({ path, rule }) => `${path} ${rule}`);
      return { outcome: "refused", reason: `does not fit the contract ${WMS_CONTRACT}: ${told.join("; ")}` };
    }
    const known = lacking.get(request.order);
    const posted = known ?? client.post(PICKING_ORDERS, JSON.stringify(body), request.order, signal);
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

  return {
    name: WMS_SINK,

    wants: (kind) => kind === PICK_EMIT || kind === WITHDRAW_EMIT,

    deliver({ kind, payload }: Delivery, signal) {
      if (kind === PICK_EMIT) return pick(payload as PickRequest, signal);
      const { order } = payload as Withdrawal;
      const path = `${PICKING_ORDERS}/${order}/cancellation`;
      return client.post(path, JSON.stringify({ orderNo: order }), `${order}/${WITHDRAW_EMIT}`, signal);
    },

    async delivered(_partition, done) {
      const picked = done.filter(({ delivery }) => delivery.kind === PICK_EMIT);
      await book.note(picked.map(({ delivery }) => ({ id: delivery.key, step: "picking", source: WMS_SINK })));
      for (const each of picked) onPicking(tookMs(each));
    },
  };
}

const tookMs = ({ delivery, atMs }: Delivered): number => atMs - (delivery.payload as PickRequest).paidMs;

/** What an object storage that does not take an object means for the order that it belongs to. */
async function kept(put: Promise<void>): Promise<Verdict | undefined> {
  try {
    await put;
    return undefined;
  } catch (thrown) {
    const reason = `object storage: ${messageOf(thrown)}`;
    // A storage that refuses needs a hand, and the order must not be lost over it: it is tried again until somebody has helped.
    const retryAfterMs = thrown instanceof EngineError ? thrown.retryAfterMs : undefined;
    return { outcome: "again", reason, elsewhere: true, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }
}
