/**
 * The requests to the WMS: an order to pick, and its withdrawal (R22, R23). A pick is checked against the contract
 * before it is sent; the buyer's other text goes into object storage at the same time. An order whose object could not
 * be stored is not sent again while the process runs. Whether a request is still needed is decided by the receiver
 * (index.ts).
 */
import { type PickRequest, WITHDRAW_EMIT, type Withdrawal } from "../../engine/jobs/order-flow/job.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { DeliveryOutcome } from "../../engine/outbox/receiver.js";
import type { KnownRefusal, WmsClient } from "./client.js";
import type { Contract } from "./contract.js";
import { preparePick, type WmsInboundOrder } from "./payload.js";
import { withoutBuyer } from "./redact.js";

/** The contract that comes with the product. */
export const WMS_CONTRACT = "wms-inbound";
const PICKING_ORDERS = "/v1/picking-orders";
/** The WMS has the order from an earlier attempt. */
const TAKEN_BEFORE: KnownRefusal = "409 already_exists";
/** The order's withdrawal arrived before it. */
export const WITHDRAWN_BEFORE: KnownRefusal = "409 already_withdrawn";
/** The warehouse has already picked the order. */
export const TOO_LATE: KnownRefusal = "409 already_picked";
const PICK_ENDS: readonly KnownRefusal[] = [TAKEN_BEFORE, WITHDRAWN_BEFORE];
/** Final answers to a withdrawal: too late, already withdrawn, or the WMS does not have the order. */
const WITHDRAWAL_ENDS: readonly KnownRefusal[] = [TOO_LATE, WITHDRAWN_BEFORE, "404 unknown_order"];
/** Above this number the WMS gets the order again; the idempotency key identifies it. */
const MAX_WITHOUT_OBJECT = 10_000;
/** Findings that a refusal names. */
const MAX_NAMED_FINDINGS = 3;

/** The part of object storage that is used here. */
export interface ObjectWriter {
  put(key: string, bytes: Uint8Array, contentType: string, signal: AbortSignal): Promise<void>;
}

/** Sends picks and withdrawals. */
export class WmsRequests {
  readonly #client: Pick<WmsClient, "post">;
  readonly #contract: Pick<Contract, "check">;
  readonly #objects: ObjectWriter;
  /** The WMS's answers for orders whose object is not stored yet, so that they are not sent again. */
  readonly #withoutObject = new Map<string, DeliveryOutcome>();

  constructor(client: Pick<WmsClient, "post">, contract: Pick<Contract, "check">, objects: ObjectWriter) {
    this.#client = client;
    this.#contract = contract;
    this.#objects = objects;
  }

  /** Sends an order, and stores what the contract has no field for. */
  async pick(request: PickRequest, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { body, detail } = preparePick(request);
    const findings = this.#contract.check(body);
    if (findings.length > 0) {
      const named = findings.slice(0, MAX_NAMED_FINDINGS).map(({ path, rule }) => `${path} ${rule}`);
      return { outcome: "refused", reason: `does not match the contract ${WMS_CONTRACT}: ${named.join("; ")}` };
    }
    const known = this.#withoutObject.get(request.order);
    const posted = known ?? this.#post(request, body, signal);
    if (!detail) return posted;
    // In parallel, so that the warehouse does not wait for the storage; done when both are.
    const [result, fault] = await Promise.all([
      posted,
      storageFault(this.#objects.put(detail.key, detail.bytes, detail.contentType, signal)),
    ]);
    this.#withoutObject.delete(request.order);
    if (result.outcome !== "done" || !fault) return result;
    if (this.#withoutObject.size < MAX_WITHOUT_OBJECT) this.#withoutObject.set(request.order, result);
    return fault;
  }

  async #post({ order, shipTo }: PickRequest, body: WmsInboundOrder, signal: AbortSignal): Promise<DeliveryOutcome> {
    const result = await this.#client.post(PICKING_ORDERS, JSON.stringify(body), order, signal, PICK_ENDS);
    return result.outcome === "done" ? result : { ...result, reason: withoutBuyer(result.reason, shipTo, body) };
  }

  /** Sends the withdrawal of an order. */
  async withdraw({ order, again }: Withdrawal, signal: AbortSignal): Promise<DeliveryOutcome> {
    const path = `${PICKING_ORDERS}/${order}/cancellation`;
    // Its own key: under the first request's key a WMS returns the first answer, whatever was sent since.
    const key = `${order}/${WITHDRAW_EMIT}${again ? "/again" : ""}`;
    const result = await this.#client.post(path, JSON.stringify({ orderNo: order }), key, signal, WITHDRAWAL_ENDS);
    // The buyer's text is no longer available, so it cannot be removed from the WMS's message: only the code is kept.
    return result.outcome === "done" ? result : { ...result, reason: result.brief ?? result.reason };
  }
}

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
