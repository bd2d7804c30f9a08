/**
 * What a shop does with orders of several lines: place, pay, cancel and send out, all lines or none (R3). The lines of
 * an order may lie in several partitions, which no Redis transaction spans: so each line is a command of its own, and
 * every attempt at an order has a number. The ledger does not let an older attempt undo what a newer one has reached,
 * or repeat what a newer one has undone; an attempt that is no longer the newest goes over the lines once more before
 * it accepts. A process that dies half-way leaves nothing behind: holds expire, and the same request sent again goes on
 * from there.
 */
import { monotonicClock, type Scheduler } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import type { Ledger } from "../stock/ledger.js";
import { isAccepted } from "../stock/model.js";
import { Cancellation } from "./cancellation.js";
import {
  allRepeated,
  firstRefusal,
  indexesOf,
  lineReplies,
  missingUnitsOf,
  replyOf,
  textOfNumbers,
  unknownOrder,
  withDetail,
} from "./line-replies.js";
import {
  type Evidence,
  type LineReply,
  type Order,
  type OrderDetails,
  type OrderReply,
  shopEvidence,
  type WithdrawalResult,
} from "./model.js";
import { type DetailFault, detailFaultOf, detailsOf } from "./order-details.js";
import { OrderLines } from "./order-lines.js";
import type { OrderStore, RecordOutcome } from "./order-store.js";
import { Payment } from "./payment.js";
import { Placement, prepareOrder } from "./placement.js";

/** Steps that warehouse, printer, carrier and stock count report; the others this service records itself. */
export type ReportedStep = "picking" | "labelled" | "waybill" | "reported" | "counted";

/** An order as it is now. */
export interface OrderReading {
  lines: LineReply[];
  details: OrderDetails;
}

export class OrderService {
  readonly #orderStore: OrderStore;
  readonly #lines: OrderLines;
  readonly #placement: Placement;
  readonly #payment: Payment;
  readonly #cancellation: Cancellation;
  readonly #underWay = new Map<string, Promise<OrderReply>>();

  /** @param clock for the pauses between attempts at the same order */
  constructor(ledger: Ledger, orderStore: OrderStore, clock: Scheduler = monotonicClock) {
    this.#orderStore = orderStore;
    this.#lines = new OrderLines(ledger, orderStore, clock);
    this.#placement = new Placement(this.#lines, orderStore);
    this.#cancellation = new Cancellation(this.#lines, orderStore);
    this.#payment = new Payment(this.#lines, orderStore, (id, actor) => this.cancel(id, actor));
  }

  /**
   * Reserves every line of an order, or none. Safe to repeat with the same id and body. The order's steps carry the
   * actor; the events of its lines carry the order's id.
   * @param actor who was authenticated
   * @throws EngineError `contended` (retryable) when the same order is placed again and again at the same time;
   *   `bad_input` when its details cannot be stored: `detailFaultOf`
   */
  async place(order: Order, actor?: string): Promise<OrderReply> {
    const fault = this.detailFaultOf(order);
    if (fault) throw badInput("orders.place", fault.field, fault.message);
    const prepared = prepareOrder(order);
    return this.#join(`place ${order.id} ${prepared.fingerprint}`, () => this.#placement.place(prepared, actor));
  }

  /**
   * Records the payment of an order. When a line's hold has expired and its units are gone, the whole payment is
   * refused. Safe to repeat.
   * @throws EngineError `contended` (retryable) when the same order is paid again and again at the same time
   */
  pay(id: string, actor?: string): Promise<OrderReply> {
    return this.#join(`pay ${id}`, () => this.#payment.pay(id, actor));
  }

  /**
   * Cancels an order, or the lines that are named by number from 1: all of them or none. `cancelled_paid`: the buyer
   * is to be refunded. Once the warehouse may have a paid order it is asked first (`cancelling`), and the units stay
   * committed until it has answered: `settleCancellation`. Safe to repeat.
   * @throws EngineError `contended` (retryable) when the order is paid, sent out or cancelled again and again at the
   *   same time
   */
  cancel(id: string, actor?: string, lines?: readonly number[]): Promise<OrderReply> {
    return this.#join(`cancel ${id} ${textOfNumbers(lines)}`, () => this.#cancellation.cancel(id, actor, lines));
  }

  /**
   * Applies the warehouse's answer to a cancellation. `withdrawn`: the units return and the order is cancelled
   * (`cancelled_paid`). `refused`: its lines are paid as before, the order goes on (`accepted`), and an exception
   * reports it. A warehouse that has refused may still withdraw later; one that has withdrawn cannot refuse any more.
   * Lines that have left stay outbound, whatever the answer is. Safe to repeat.
   */
  settleCancellation(id: string, result: WithdrawalResult, evidence: Evidence): Promise<OrderReply> {
    return this.#join(`settle ${id} ${result}`, () => this.#cancellation.settle(id, result, evidence));
  }

  /**
   * Records that the goods of an order left the warehouse, all of them or the lines that are named by number from 1.
   * This is a fact and is never refused because of a line's state (R3). The order is `outbound` when no line is left
   * that could still leave. Safe to repeat.
   */
  outbound(id: string, actor?: string, lines?: readonly number[]): Promise<OrderReply> {
    return this.#join(`outbound ${id} ${textOfNumbers(lines)}`, () => this.#outbound(id, actor, lines));
  }

  async #outbound(id: string, actor: string | undefined, numbers: readonly number[] | undefined): Promise<OrderReply> {
    const found = await this.#orderStore.find(id);
    if (!found) return unknownOrder(id);
    const { order } = found;
    const chosen = indexesOf(order, numbers);
    if (!chosen) return { ...unknownOrder(id), outcome: "unknown_line" };
    const replies = await this.#lines.withDeletedLines(id, await this.#lines.apply(order, chosen, "outbound"));
    const isPart = chosen.length < order.lines.length;
    const known = isPart ? await this.#lines.recall(order) : replies;
    if (replies.some(({ outcome }) => isAccepted(outcome))) {
      // The previous release cannot read a part of an order, and may refuse one of its lines.
      const isWhole = this.#orderStore.format === 1 || (await this.#lines.areEnded(id, known));
      const lines = chosen.map((i) => i + 1).join(",");
      const step = isWhole ? "outbound" : "partly_outbound";
      const missing = missingUnitsOf(known, "outbound");
      const evidence = withDetail(shopEvidence(actor), missing, isWhole ? {} : { lines });
      if (!isPart || this.#orderStore.format > 1) await this.#orderStore.record([{ id, step, ...evidence }]);
    }
    return replyOf(order, firstRefusal(replies) ?? "accepted", known, allRepeated(replies));
  }

  /** Records a reported step, each once. The ledger is not called: such a step moves no stock. */
  async record(id: string, step: ReportedStep, evidence: Evidence): Promise<RecordOutcome> {
    const [outcome] = await this.#orderStore.record([{ id, step, ...evidence }]);
    return outcome as RecordOutcome;
  }

  /**
   * Which of these ids are orders, whose lines must not be changed by stock commands: the ledger has no mark of it for
   * a line that was reserved in format 1, and no record of one that never was. In format 1 none, because the previous
   * release, which runs beside this one, allows such commands.
   */
  async knownOrders(ids: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    return this.#orderStore.format === 1 || ids.size === 0 ? new Set() : this.#orderStore.known(ids);
  }

  /** Why an order's details cannot be stored in this deployment now, or undefined. */
  detailFaultOf(order: OrderDetails): DetailFault | undefined {
    return detailFaultOf(order, this.#orderStore.format);
  }

  /** The states of an order's lines and its details, or undefined when the order is not known. */
  async read(id: string): Promise<OrderReading | undefined> {
    const found = await this.#orderStore.find(id);
    if (!found) return undefined;
    const { order } = found;
    return { lines: lineReplies(order, await this.#lines.recall(order)), details: detailsOf(order) ?? {} };
  }

  /**
   * Does the work, or waits for the same request that is under way in this process: an impatient client starts no
   * second attempt.
   */
  async #join(name: string, work: () => Promise<OrderReply>): Promise<OrderReply> {
    const first = this.#underWay.get(name);
    if (first) return { ...(await first), repeated: true };
    const own = work().finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, own);
    return own;
  }
}
