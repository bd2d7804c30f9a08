/**
 * The cancellation of an order or of some of its lines: all of them or none. Once the warehouse may have a paid order,
 * the cancellation is requested first and its units stay committed until the warehouse has answered. Every command
 * carries the number of its attempt, so that one that arrives late neither stops lines that have gone on nor gives
 * their units back. Safe to repeat.
 */
import type { Reply } from "../stock/model.js";
import {
  allRepeated,
  cancelEvidence,
  firstRefusal,
  indexesOf,
  isCancelled,
  isSuperseded,
  missingUnitsOf,
  replyOf,
  unknownOrder,
  withDetail,
} from "./line-replies.js";
import type { Evidence, Order, OrderOutcome, OrderReply, WithdrawalResult } from "./model.js";
import { contended, lost, MAX_ROUNDS, type OrderLines } from "./order-lines.js";
import type { OrderAttempt, OrderStore } from "./order-store.js";

export class Cancellation {
  readonly #lines: OrderLines;
  readonly #orderStore: OrderStore;

  constructor(lines: OrderLines, orderStore: OrderStore) {
    this.#lines = lines;
    this.#orderStore = orderStore;
  }

  /** @param numbers of the lines, from 1; undefined for all */
  async cancel(id: string, actor: string | undefined, numbers: readonly number[] | undefined): Promise<OrderReply> {
    if (this.#orderStore.format === 1) return this.#cancelInFormat1(id, actor);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(id);
      if (!begun && round > 0) throw lost(id);
      if (!begun) return unknownOrder(id);
      const reply = await this.#attempt({ id, lines: begun.lines }, begun, actor, numbers);
      if (reply) return reply;
      await this.#lines.takeTurn(1, round);
    }
    throw contended(id);
  }

  /** One attempt. Returns undefined when another request for the order came between its calls. */
  async #attempt(
    order: Order,
    begun: OrderAttempt,
    actor: string | undefined,
    numbers: readonly number[] | undefined,
  ): Promise<OrderReply | undefined> {
    const { id } = order;
    const { attempt } = begun;
    const chosen = indexesOf(order, numbers);
    if (!chosen) return { ...unknownOrder(id), outcome: "unknown_line" };
    const before = await this.#requestedBefore(order, begun);
    if (before) return before;
    // All lines can be cancelled, or those that were suspended go on.
    const suspended = await this.#lines.withDeletedLines(
      id,
      await this.#lines.apply(order, chosen, "suspend", attempt),
    );
    if (suspended.some(isSuperseded)) return undefined;
    const isPart = chosen.length < order.lines.length;
    const isSuspended = suspended.some(({ state }) => state === "cancelling");
    const mayBeAtWarehouse = isSuspended && (begun.hasStep("picking") || (await this.#orderStore.hasWarehouse(id)));
    const refusal = firstRefusal(suspended) ?? (isPart ? partRefusal(suspended, mayBeAtWarehouse) : undefined);
    if (refusal !== undefined) {
      const resumed = await this.#resume(order, chosen);
      const known = isPart ? await this.#lines.recall(order) : [...suspended];
      for (const [k, i] of chosen.entries())
        known[i] = { ...(suspended[k] as Reply), state: (resumed[k] as Reply).state };
      return replyOf(order, refusal, known, false);
    }
    // If `cancelled` is recorded already, the ledger has lost the cancellation with its newest writes, and nothing
    // would ask the warehouse again.
    if (mayBeAtWarehouse && !begun.hasStep("cancelled")) {
      await this.#orderStore.record([{ id, step: "cancelling", ...cancelEvidence(actor, begun) }]);
      // From now on no payment is recorded; one that was recorded before has sent the order to the warehouse.
      const isLocked = begun.hasStep("locked") || (await this.#orderStore.find(id))?.hasStep("locked");
      if (isLocked) return replyOf(order, "cancelling", suspended, allRepeated(suspended));
    }
    const ended = await this.#lines.apply(order, chosen, "cancel", attempt);
    // Superseded: a line was paid meanwhile, or another request has let it go on.
    if (ended.some(isSuperseded)) return undefined;
    return this.#complete(order, chosen, ended, cancelEvidence(actor, begun));
  }

  /** The reply when the cancellation has been requested before and waits for the warehouse, or was refused by it. */
  async #requestedBefore(order: Order, { hasStep }: OrderAttempt): Promise<OrderReply | undefined> {
    if (!hasStep("cancelling") || hasStep("cancelled")) return undefined;
    const known = await this.#lines.recall(order);
    if (hasStep("cancellation_refused")) return replyOf(order, "cancellation_refused", known, true);
    const isRequested = hasStep("locked") && known.some(({ state }) => state === "cancelling");
    return isRequested ? replyOf(order, "cancelling", known, true) : undefined;
  }

  async settle(id: string, result: WithdrawalResult, evidence: Evidence): Promise<OrderReply> {
    const found = await this.#orderStore.find(id);
    if (!found) return unknownOrder(id);
    const { order } = found;
    // An order that is not locked never goes to a warehouse; its cancellation only has to be completed.
    if (!found.hasStep("cancelling") || !found.hasStep("locked"))
      return replyOf(order, "not_cancelling", await this.#lines.recall(order), false);
    const all = order.lines.map((_, i) => i);
    if (result === "refused") {
      const resumed = await this.#resume(order, all);
      if (resumed.some(({ outcome }) => outcome === "line_cancelled"))
        return replyOf(order, "line_cancelled", resumed, found.hasStep("cancelled"));
      const [recorded] = await this.#orderStore.record([{ id, step: "cancellation_refused", ...evidence }]);
      // The warehouse has withdrawn the order after all, between the two calls.
      if (recorded === "late") return replyOf(order, "line_cancelled", await this.#lines.recall(order), true);
      return replyOf(order, "accepted", resumed, recorded === "repeated");
    }
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(id);
      if (!begun) throw lost(id);
      await this.#lines.apply(order, all, "suspend", begun.attempt);
      const ended = await this.#lines.apply(order, all, "cancel", begun.attempt);
      if (!ended.some(isSuperseded)) return this.#complete(order, all, ended, evidence);
      await this.#lines.takeTurn(1, round);
    }
    throw contended(id);
  }

  /** Lets suspended lines go on, and closes them to commands of older attempts that are still on their way. */
  async #resume(order: Order, chosen: readonly number[]): Promise<Reply[]> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(order.id);
      if (!begun) throw lost(order.id);
      const resumed = await this.#lines.apply(order, chosen, "resume", begun.attempt);
      if (!resumed.some(isSuperseded)) return resumed;
      await this.#lines.takeTurn(1, round);
    }
    throw contended(order.id);
  }

  /** Records the cancellation when no line of the order is left; lines that have left meanwhile stay outbound. */
  async #complete(
    order: Order,
    chosen: readonly number[],
    ended: readonly Reply[],
    evidence: Evidence,
  ): Promise<OrderReply> {
    const { id } = order;
    const known = chosen.length < order.lines.length ? await this.#lines.recall(order) : ended;
    const isOut = ended.every(({ state }) => state === "outbound");
    if (!isOut && (await this.#lines.areEnded(id, known))) {
      const missing = missingUnitsOf(known, "cancelled_paid");
      await this.#orderStore.record([{ id, step: "cancelled", ...withDetail(evidence, missing) }]);
    }
    const isPaid = ended.some(({ outcome }) => outcome === "cancelled_paid");
    const outcome = isOut ? "already_outbound" : isPaid ? "cancelled_paid" : "accepted";
    return replyOf(
      order,
      outcome,
      known,
      ended.every((line) => line.repeated || line.state === "outbound"),
    );
  }

  /** As the previous release does, which reads the same data: at once, and each line by itself. */
  async #cancelInFormat1(id: string, actor: string | undefined): Promise<OrderReply> {
    const found = await this.#orderStore.find(id);
    if (!found) return unknownOrder(id);
    const { order } = found;
    const replies = await this.#lines.apply(
      order,
      order.lines.map((_, i) => i),
      "cancel",
    );
    const refusal = firstRefusal(replies);
    const isPaid = replies.some((line) => line.outcome === "cancelled_paid");
    if (refusal === undefined)
      await this.#orderStore.record([{ id, step: "cancelled", ...cancelEvidence(actor, found) }]);
    return replyOf(order, refusal ?? (isPaid ? "cancelled_paid" : "accepted"), replies, allRepeated(replies));
  }
}

/**
 * Why a part of an order is not cancelled: a warehouse gives no part back, and the rest of an unpaid order could not
 * be paid.
 */
function partRefusal(suspended: readonly Reply[], mayBeAtWarehouse: boolean): OrderOutcome | undefined {
  if (suspended.some(({ state }) => state !== "cancelling" && !isCancelled(state))) return "not_paid";
  return mayBeAtWarehouse ? "whole_order_only" : undefined;
}
