/**
 * The payment of an order: locks the stock of all of its lines, or of none (R3), and is recorded before the caller
 * gets the reply, so that a payment that was accepted is on its way to the warehouse. A refused payment is taken back
 * line by line. Safe to repeat.
 */
import { isAccepted, type Reply, type UnpayLine } from "../stock/model.js";
import { allRepeated, firstRefusal, isSuperseded, replyOf, unknownOrder } from "./line-replies.js";
import { type Order, type OrderReply, shopEvidence } from "./model.js";
import { contended, lineTarget, lost, MAX_ROUNDS, type OrderLines } from "./order-lines.js";
import type { OrderStore } from "./order-store.js";

/** What an accepted payment proves: that it came, and that the ledger has locked the stock for it. */
const PAID_STEPS = ["paid", "locked"] as const;

export class Payment {
  readonly #lines: OrderLines;
  readonly #orderStore: OrderStore;
  readonly #cancel: (id: string, actor: string | undefined) => Promise<OrderReply>;

  /** @param cancel completes a cancellation that came before the payment */
  constructor(
    lines: OrderLines,
    orderStore: OrderStore,
    cancel: (id: string, actor: string | undefined) => Promise<OrderReply>,
  ) {
    this.#lines = lines;
    this.#orderStore = orderStore;
    this.#cancel = cancel;
  }

  /** @throws EngineError `contended` (retryable) when the same order is paid again and again at the same time */
  async pay(id: string, actor: string | undefined): Promise<OrderReply> {
    let repeated = true;
    let anew = false;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(id);
      if (!begun) return unknownOrder(id);
      // The address has been erased: a buyer who still wants the goods places the order anew.
      if (begun.isErased && !begun.hasStep("locked"))
        return { id, outcome: "hold_expired", repeated: false, lines: [] };
      const { attempt, lines, holdMs } = begun;
      const order: Order = { id, lines, ...(holdMs !== undefined && { holdMs }) };
      const replies = await this.#lines.send(
        order.lines.map((_, i) => ({ ...lineTarget(order, i), kind: "pay", attempt })),
      );
      anew ||= replies.some((reply) => reply.outcome === "admitted_anew");
      const outcome = firstRefusal(replies) ?? (anew ? "admitted_anew" : "accepted");
      repeated &&= allRepeated(replies);
      if (!isAccepted(outcome)) return replyOf(order, outcome, await this.#unpay(order, replies, attempt), repeated);
      // An older payment may have been refused and be about to undo a line. It cannot any more once a newer one has
      // reached that line.
      const newest = order.lines.length === 1 ? attempt : await this.#orderStore.newestAttempt(id);
      if (newest === attempt) {
        await this.#lines.countDemand(order, replies);
        if (!begun.hasStep("locked")) {
          const recorded = await this.#orderStore.record(
            PAID_STEPS.map((step) => ({ id, step, ...shopEvidence(actor) })),
          );
          if (recorded.includes("unknown")) throw lost(id);
          if (recorded.includes("late")) {
            // The cancellation came first. The process that began it may be dead: it is completed here, too.
            await this.#cancel(id, actor);
            return replyOf(order, "line_cancelled", await this.#lines.recall(order), false);
          }
        }
        return replyOf(order, outcome, replies, repeated);
      }
      await this.#lines.takeTurn(newest - attempt, round);
    }
    throw contended(id);
  }

  /**
   * Takes back what a refused payment has paid. A line that has lost its hold, or never had one, has never been paid,
   * so the order has not either: its paid lines, whether this payment or one that died half-way paid them, are taken
   * back. Beside a line that was cancelled by hand the others stay paid.
   * @throws EngineError `contended` when a newer payment has overtaken this one: its reply counts
   */
  async #unpay(order: Order, replies: readonly Reply[], attempt: number): Promise<Reply[]> {
    const neverPaid = replies.some((reply) => reply.outcome === "hold_expired" || reply.outcome === "unknown_line");
    const { lines, undone } = await this.#lines.undo(
      replies,
      (reply) => reply.state === "paid" && (neverPaid || !reply.repeated),
      (i): UnpayLine => ({ ...lineTarget(order, i), kind: "unpay", attempt }),
    );
    if ([...replies, ...undone].some(isSuperseded)) throw contended(order.id);
    return lines;
  }
}
