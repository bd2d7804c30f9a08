/**
 * Orders with several lines, all or nothing (R3). The lines of an order may lie in several partitions, which no Redis
 * transaction spans: so each line is reserved by itself, and when one is refused the others are aborted before the
 * caller hears of it; so it is with a payment. Every try at an order has a number: the ledger refuses to let an older
 * try undo what a newer one has seen, or do again what a newer one has undone, and a try that is no longer the newest
 * goes over the lines once more before it says yes. Before a caller hears no, every line is closed to this try and
 * older ones: what of them is still on its way comes to nothing. A desk that dies half-way leaks nothing: the holds
 * expire, and the same order or payment sent again goes on where it stopped.
 */
import { monotonicClock, type Scheduler } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { fingerprintOfAll, hash53 } from "../stock/fingerprint.js";
import type { Ledger } from "../stock/ledger.js";
import {
  type AbortLine,
  type AcceptLine,
  isAccepted,
  type LineState,
  OUTCOMES,
  type Outcome,
  type Reply,
  type ReserveStock,
  type StockCommand,
  type UnpayLine,
} from "../stock/model.js";
import {
  type Evidence,
  type LineReply,
  lineId,
  type Order,
  type OrderLine,
  type OrderOutcome,
  type OrderReply,
  shopEvidence,
} from "./model.js";
import type { FoundOrder, OrderStore, RecordOutcome } from "./order-store.js";

type LineStep = "cancel" | "outbound" | "suspend" | "resume";
/** What warehouse, printer, carrier and stock-takers tell of; the rest the desk sees by itself. */
export type ReportedStep = "picking" | "labelled" | "waybill" | "reported" | "counted";
/** What the warehouse answers when it is asked to let go of an order. */
export type Settlement = "withdrawn" | "refused";

/**
 * Each further round needs another try of the same order that began meanwhile; the waits before them add up to a
 * second and more.
 */
const MAX_ROUNDS = 20;
/** A try waits so long for each newer one, so that those of one order end one after the other. */
const TURN_MS = 5;
const LONGEST_QUEUE = 50;
const CONTENDED_RETRY_MS = 200;
/** What an accepted payment is evidence of: that it came, and that the ledger has locked the stock for it. */
const PAID = ["paid", "locked"] as const;

export class OrderService {
  readonly #ledger: Ledger;
  readonly #orderStore: OrderStore;
  readonly #clock: Scheduler;
  readonly #underWay = new Map<string, Promise<OrderReply>>();

  /** @param clock by which tries at one order take turns */
  constructor(ledger: Ledger, orderStore: OrderStore, clock: Scheduler = monotonicClock) {
    this.#ledger = ledger;
    this.#orderStore = orderStore;
    this.#clock = clock;
  }

  /**
   * Reserves every line of an order, or none. Safe to repeat with the same id and body. The order's steps bear who
   * asked for them; its lines' events name the order by their ids.
   * @param actor who was authenticated
   * @throws EngineError `contended` (retryable) when the same order is placed over and over at the same time
   */
  place(order: Order, actor?: string): Promise<OrderReply> {
    const first = reservations(order);
    const fingerprint = fingerprintOfOrder(order, first);
    return this.#join(`place ${order.id} ${fingerprint}`, () => this.#place(order, first, fingerprint, actor));
  }

  async #place(
    order: Order,
    first: readonly ReserveStock[],
    fingerprint: number,
    actor: string | undefined,
  ): Promise<OrderReply> {
    let repeated = true;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const attempt = await this.#orderStore.open(order, fingerprint, actor);
      if (attempt === undefined) return { id: order.id, outcome: "id_reused", repeated: false, lines: [] };
      if (attempt > 1 && order.lines.length > 1) {
        // Refused before, with nothing left to undo: the same answer, without taking and giving back the other lines
        // once more.
        const known = await this.#recall(order);
        const before = worst(known);
        if (before && known.every(({ state }) => state === "none"))
          return answer(order, before, await this.#abort(order, known, attempt), true);
      }
      const replies = await this.#ledger.applyMany(
        attempt === 1 ? first : first.map((command) => ({ ...command, attempt })),
      );
      const refusal = worst(replies.filter(({ outcome }) => outcome !== "superseded")) ?? worst(replies);
      repeated &&= replies.every((reply) => reply.repeated || reply.outcome !== (refusal ?? "accepted"));
      // A line that is repeated but no longer held beside a fresh one: an earlier try died and its hold has run out.
      const outcome = refusal ?? (!repeated && replies.some(isLost) ? "hold_expired" : "accepted");
      if (outcome !== "accepted") return answer(order, outcome, await this.#abort(order, replies, attempt), repeated);
      // A newer try may have met a closed breaker and be about to abort: it cannot once a try that is newer still has
      // seen the lines.
      const newest = order.lines.length === 1 ? attempt : await this.#orderStore.newestAttempt(order.id);
      if (newest === attempt) {
        await this.#count(order, replies);
        return answer(order, outcome, replies, repeated);
      }
      await this.#clock.sleep(turnMs(newest - attempt, round));
    }
    throw contended(order.id);
  }

  /**
   * Notes the payment of an order. When a line's hold has expired and its units are gone, the whole payment is refused.
   * @throws EngineError `contended` (retryable) when the same order is paid over and over at the same time
   */
  pay(id: string, actor?: string): Promise<OrderReply> {
    return this.#join(`pay ${id}`, () => this.#pay(id, actor));
  }

  async #pay(id: string, actor: string | undefined): Promise<OrderReply> {
    let repeated = true;
    let anew = false;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(id);
      if (!begun) return unknown(id);
      // It is not known any more whom the goods go to: whoever still wants them places the order anew.
      if (begun.isErased && !begun.hasStep("locked"))
        return { id, outcome: "hold_expired", repeated: false, lines: [] };
      const { attempt, lines, holdMs } = begun;
      const order: Order = { id, lines, ...(holdMs !== undefined && { holdMs }) };
      const replies = await this.#ledger.applyMany(
        order.lines.map((_, i) => ({ ...place(order, i), kind: "pay", attempt })),
      );
      anew ||= replies.some((reply) => reply.outcome === "admitted_anew");
      const outcome = worst(replies) ?? (anew ? "admitted_anew" : "accepted");
      repeated &&= replies.every((reply) => reply.repeated);
      if (!isAccepted(outcome)) return answer(order, outcome, await this.#unpay(order, replies, attempt), repeated);
      // An older payment may have been refused and be about to undo a line: it cannot once a newer one has seen it.
      const newest = order.lines.length === 1 ? attempt : await this.#orderStore.newestAttempt(id);
      if (newest === attempt) {
        await this.#count(order, replies);
        // Before the caller hears yes: what is answered is on its way to the warehouse.
        if (!begun.hasStep("locked")) {
          const noted = await this.#orderStore.record(PAID.map((step) => ({ id, step, ...shopEvidence(actor) })));
          if (noted.includes("unknown")) throw lost(id);
          if (noted.includes("late")) {
            // Its cancellation came first. Whoever began that may be gone: it is brought to its end here, too.
            await this.cancel(id, actor);
            return answer(order, "line_cancelled", await this.#recall(order), false);
          }
        }
        return answer(order, outcome, replies, repeated);
      }
      await this.#clock.sleep(turnMs(newest - attempt, round));
    }
    throw contended(id);
  }

  /**
   * Cancels an order, or the lines that are named by number from 1: all of them or none. `cancelled_paid`: money has
   * to go back. Once the warehouse may know of a paid order it is asked first (`cancelling`), and the units stay
   * committed until it has answered: `settleCancellation`. Safe to repeat.
   * @throws EngineError `contended` (retryable) when the order is paid, sent out or cancelled over and over at the
   *   same time
   */
  cancel(id: string, actor?: string, named?: readonly number[]): Promise<OrderReply> {
    return this.#join(`cancel ${id} ${namesOf(named)}`, () => this.#cancel(id, actor, named));
  }

  async #cancel(id: string, actor: string | undefined, named: readonly number[] | undefined): Promise<OrderReply> {
    if (this.#orderStore.format === 1) return this.#cancelInFormat1(id, actor);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      // Numbered like a payment: what of an older try arrives late must not stop lines that have gone on, nor give
      // their units back.
      const standing = await this.#orderStore.beginAttempt(id);
      if (!standing && round > 0) throw lost(id);
      if (!standing) return unknown(id);
      const { attempt, lines } = standing;
      const order: Order = { id, lines };
      const chosen = positionsOf(order, named);
      if (!chosen) return { ...unknown(id), outcome: "unknown_line" };
      if (standing.hasStep("cancelling") && !standing.hasStep("cancelled")) {
        const known = await this.#recall(order);
        if (standing.hasStep("cancellation_refused")) return answer(order, "cancellation_refused", known, true);
        const isAsked = standing.hasStep("locked") && known.some(({ state }) => state === "cancelling");
        if (isAsked) return answer(order, "cancelling", known, true);
      }
      // All lines can be cancelled, or those that could go on.
      const asked = await this.#withForgotten(id, await this.#apply(order, chosen, "suspend", attempt));
      if (asked.some(isSuperseded)) {
        await this.#clock.sleep(turnMs(1, round));
        continue;
      }
      const isPart = chosen.length < order.lines.length;
      const isSuspended = asked.some(({ state }) => state === "cancelling");
      const mayKnow = isSuspended && (standing.hasStep("picking") || (await this.#orderStore.hasWarehouse(id)));
      const refusal = worst(asked) ?? (isPart ? partRefusal(asked, mayKnow) : undefined);
      if (refusal !== undefined) {
        const resumed = await this.#resume(order, chosen);
        const known = isPart ? await this.#recall(order) : [...asked];
        for (const [k, i] of chosen.entries())
          known[i] = { ...(asked[k] as Reply), state: (resumed[k] as Reply).state };
        return answer(order, refusal, known, false);
      }
      // Noted as cancelled already: the ledger has lost it with its newest writes, and nobody would ask the warehouse
      // again.
      if (mayKnow && !standing.hasStep("cancelled")) {
        await this.#orderStore.record([{ id, step: "cancelling", ...cancelEvidence(actor, standing) }]);
        // From now on no payment is noted; one that was noted before has sent the order to the warehouse.
        const isLocked = standing.hasStep("locked") || (await this.#orderStore.find(id))?.hasStep("locked");
        if (isLocked)
          return answer(
            order,
            "cancelling",
            asked,
            asked.every((line) => line.repeated),
          );
      }
      const ended = await this.#apply(order, chosen, "cancel", attempt);
      // A line was paid meanwhile, or another hand has let it go on.
      if (!ended.some(isSuperseded)) return this.#cancelled(order, chosen, ended, cancelEvidence(actor, standing));
      await this.#clock.sleep(turnMs(1, round));
    }
    throw contended(id);
  }

  /**
   * What the warehouse has answered to a cancellation. `withdrawn`: the units return and the order is cancelled
   * (`cancelled_paid`). `refused`: its lines are paid as before, the order goes on (`accepted`), and an exception
   * tells it. A warehouse that has refused may still let go later; one that has let go cannot refuse any more. Lines
   * that have left stay outbound, whatever is answered. Safe to repeat.
   */
  settleCancellation(id: string, result: Settlement, evidence: Evidence): Promise<OrderReply> {
    return this.#join(`settle ${id} ${result}`, () => this.#settleCancellation(id, result, evidence));
  }

  async #settleCancellation(id: string, result: Settlement, evidence: Evidence): Promise<OrderReply> {
    const found = await this.#orderStore.find(id);
    if (!found) return unknown(id);
    const { order } = found;
    // An order that is not locked never goes to a warehouse, and its cancellation has only to be brought to its end.
    if (!found.hasStep("cancelling") || !found.hasStep("locked"))
      return answer(order, "not_cancelling", await this.#recall(order), false);
    const chosen = order.lines.map((_, i) => i);
    if (result === "refused") {
      const resumed = await this.#resume(order, chosen);
      if (resumed.some(({ outcome }) => outcome === "line_cancelled"))
        return answer(order, "line_cancelled", resumed, found.hasStep("cancelled"));
      const [noted] = await this.#orderStore.record([{ id, step: "cancellation_refused", ...evidence }]);
      // The warehouse has let go after all, between the two calls.
      if (noted === "late") return answer(order, "line_cancelled", await this.#recall(order), true);
      return answer(order, "accepted", resumed, noted === "repeated");
    }
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(id);
      if (!begun) throw lost(id);
      await this.#apply(order, chosen, "suspend", begun.attempt);
      const ended = await this.#apply(order, chosen, "cancel", begun.attempt);
      if (!ended.some(isSuperseded)) return this.#cancelled(order, chosen, ended, evidence);
      await this.#clock.sleep(turnMs(1, round));
    }
    throw contended(id);
  }

  /** Lets suspended lines go on, and closes them to what of older tries is still on its way. */
  async #resume(order: Order, chosen: readonly number[]): Promise<Reply[]> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const begun = await this.#orderStore.beginAttempt(order.id);
      if (!begun) throw lost(order.id);
      const resumed = await this.#apply(order, chosen, "resume", begun.attempt);
      if (!resumed.some(isSuperseded)) return resumed;
      await this.#clock.sleep(turnMs(1, round));
    }
    throw contended(order.id);
  }

  /** Notes the cancellation when nothing of the order is left; what has left meanwhile stays outbound. */
  async #cancelled(
    order: Order,
    chosen: readonly number[],
    ended: readonly Reply[],
    evidence: Evidence,
  ): Promise<OrderReply> {
    const { id } = order;
    const known = chosen.length < order.lines.length ? await this.#recall(order) : ended;
    const isOut = ended.every(({ state }) => state === "outbound");
    if (!isOut && (await this.#areEnded(id, known))) {
      await this.#orderStore.record([{ id, step: "cancelled", ...told(evidence, missingOf(known, "cancelled_paid")) }]);
    }
    const isPaid = ended.some(({ outcome }) => outcome === "cancelled_paid");
    const outcome = isOut ? "already_outbound" : isPaid ? "cancelled_paid" : "accepted";
    return answer(
      order,
      outcome,
      known,
      ended.every((line) => line.repeated || line.state === "outbound"),
    );
  }

  /** As the previous release does, which reads along: at once, and each line by itself. */
  async #cancelInFormat1(id: string, actor: string | undefined): Promise<OrderReply> {
    const found = await this.#orderStore.find(id);
    if (!found) return unknown(id);
    const { order } = found;
    const replies = await this.#step(order, "cancel");
    const paid = replies.some((line) => line.outcome === "cancelled_paid");
    if (worst(replies) === undefined)
      await this.#orderStore.record([{ id, step: "cancelled", ...cancelEvidence(actor, found) }]);
    return reply(order, worst(replies) ?? (paid ? "cancelled_paid" : "accepted"), replies);
  }

  /**
   * Notes that the goods of an order left the warehouse, all of them or the lines that are named by number from 1. A
   * fact about the world: whatever state a line is in, it is gone (R3). The order is `outbound` when no line is left
   * that could still go. Safe to repeat.
   */
  outbound(id: string, actor?: string, named?: readonly number[]): Promise<OrderReply> {
    return this.#join(`outbound ${id} ${namesOf(named)}`, () => this.#outbound(id, actor, named));
  }

  async #outbound(id: string, actor: string | undefined, named: readonly number[] | undefined): Promise<OrderReply> {
    const found = await this.#orderStore.find(id);
    if (!found) return unknown(id);
    const { order } = found;
    const chosen = positionsOf(order, named);
    if (!chosen) return { ...unknown(id), outcome: "unknown_line" };
    const replies = await this.#withForgotten(id, await this.#apply(order, chosen, "outbound"));
    const isPart = chosen.length < order.lines.length;
    const known = isPart ? await this.#recall(order) : replies;
    if (replies.some(({ outcome }) => isAccepted(outcome))) {
      // The previous release knows no part of an order, and may refuse one of its lines.
      const isWhole = this.#orderStore.format === 1 || (await this.#areEnded(id, known));
      const lines = chosen.map((i) => i + 1).join(",");
      const step = isWhole ? "outbound" : "partly_outbound";
      const evidence = told(shopEvidence(actor), missingOf(known, "outbound"), isWhole ? {} : { lines });
      if (!isPart || this.#orderStore.format > 1) await this.#orderStore.record([{ id, step, ...evidence }]);
    }
    return answer(
      order,
      worst(replies) ?? "accepted",
      known,
      replies.every((line) => line.repeated),
    );
  }

  /** Notes a step on somebody's evidence, each step once. The ledger is not asked: such a step moves no stock. */
  async record(id: string, step: ReportedStep, evidence: Evidence): Promise<RecordOutcome> {
    const [outcome] = await this.#orderStore.record([{ id, step, ...evidence }]);
    return outcome as RecordOutcome;
  }

  /**
   * Which of these are orders, so that nobody else moves their lines: the ledger cannot tell of a line that was
   * reserved in format 1, or never. In format 1 none, for the previous release, which works beside this one, lets
   * anybody.
   */
  async knownOrders(ids: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    return this.#orderStore.format === 1 || ids.size === 0 ? new Set() : this.#orderStore.known(ids);
  }

  /** Where an order's lines stand, or undefined when it is not known. */
  async read(id: string): Promise<LineReply[] | undefined> {
    const found = await this.#orderStore.find(id);
    return found && lineReplies(found.order, await this.#recall(found.order));
  }

  /**
   * Does what is asked, or waits for the same that is under way here already: a client that is impatient makes no
   * second try of its own.
   */
  async #join(name: string, work: () => Promise<OrderReply>): Promise<OrderReply> {
    const first = this.#underWay.get(name);
    if (first) return { ...(await first), repeated: true };
    const own = work().finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, own);
    return own;
  }

  /** What was answered to each line, and where it stands; one that was given up again, or never asked for, is free. */
  async #recall(order: Order): Promise<Reply[]> {
    const known = await this.#ledger.recall(order.lines.map(({ sku }, i) => ({ id: lineId(order.id, i), sku })));
    return known.map((reply) => reply ?? FREE);
  }

  /** Whether no line of an order is left that could still go. */
  async #areEnded(id: string, known: readonly Reply[]): Promise<boolean> {
    if (!known.every(({ state }) => state === "none" || isEnded(state))) return false;
    return known.every(({ state }) => isEnded(state)) || (await this.#isUnderWay(id));
  }

  /**
   * Of an order under way some lines may have ended so long ago that the ledger has forgotten them: what is asked has
   * been done to them.
   */
  async #withForgotten(id: string, replies: readonly Reply[]): Promise<readonly Reply[]> {
    const isForgotten = ({ outcome }: Reply) => outcome === "unknown_line";
    if (!replies.some(isForgotten) || replies.every(isForgotten) || !(await this.#isUnderWay(id))) return replies;
    return replies.map((reply) => (isForgotten(reply) ? FREE : reply));
  }

  /** Whether an order was paid and has not come to its end: every line of it was known once. */
  async #isUnderWay(id: string): Promise<boolean> {
    const standing = await this.#orderStore.status(id);
    if (!standing?.hasStep("locked")) return false;
    return !standing.hasStep("outbound") && !standing.hasStep("cancelled");
  }

  #step(order: Order, step: LineStep): Promise<Reply[]> {
    return this.#ledger.applyMany(order.lines.map((_, i) => command(order, i, step)));
  }

  #apply(order: Order, chosen: readonly number[], step: LineStep, attempt?: number): Promise<Reply[]> {
    return this.#ledger.applyMany(
      chosen.map((i) => ({ ...command(order, i, step), ...(attempt !== undefined && { attempt }) })),
    );
  }

  /**
   * Takes back what a refused payment has paid. A line that has lost its hold, or never was, has never been paid, so
   * nor has the order: what is paid of it, by this payment or by one that died half-way, goes back. Beside a line
   * that was cancelled by hand the others stay paid.
   * @throws EngineError `contended` when a newer payment has overtaken this one: its answer counts
   */
  async #unpay(order: Order, replies: readonly Reply[], attempt: number): Promise<Reply[]> {
    const neverPaid = replies.some((reply) => reply.outcome === "hold_expired" || reply.outcome === "unknown_line");
    const { lines, undone } = await this.#undo(
      replies,
      (reply) => reply.state === "paid" && (neverPaid || !reply.repeated),
      (i): UnpayLine => ({ ...place(order, i), kind: "unpay", attempt }),
    );
    if ([...replies, ...undone].some(isSuperseded)) throw contended(order.id);
    return lines;
  }

  /**
   * The order is accepted as a whole: its lines count as demand, each once, before the caller hears yes (R9). A desk
   * that died before leaves it to the next try, or to the payment.
   * @throws EngineError `contended` when a line has gone meanwhile, with the store's newest writes: the same order
   *   sent again takes it anew
   */
  async #count(order: Order, replies: readonly Reply[]): Promise<void> {
    const { holdMs } = order;
    const commands = replies.flatMap(({ uncounted }, i): AcceptLine[] =>
      uncounted ? [{ ...place(order, i), kind: "accept", ...(holdMs !== undefined && { holdMs }) }] : [],
    );
    if (commands.length === 0) return;
    const counted = await this.#ledger.applyMany(commands);
    if (worst(counted) !== undefined) throw contended(order.id);
  }

  /**
   * Gives up what a refused try holds, and closes to it what it could still take: every line whose refusal is not
   * remembered. Where every later try gets the same refusal, what a newer one holds or is about to take goes with it:
   * its caller may have given up, and nobody else would end its holds.
   * @throws EngineError `contended` when newer tries have overtaken this one: their answers count
   */
  async #abort(order: Order, replies: readonly Reply[], attempt: number): Promise<Reply[]> {
    const isFinal = order.lines.length > 1 && replies.some(isForGood);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const newest = isFinal ? Math.max(attempt, await this.#orderStore.newestAttempt(order.id)) : attempt;
      const { lines, undone } = await this.#undo(
        replies,
        ({ state, outcome }) =>
          state === "held" ||
          isForNow(outcome) ||
          (state === "none" && (isAccepted(outcome) || outcome === "superseded")),
        (i): AbortLine => ({ ...place(order, i), kind: "abort", attempt: newest }),
      );
      const isOvertaken = isFinal ? undone.some(isNewers) : [...replies, ...undone].some(isSuperseded);
      if (!isOvertaken) return lines;
      if (!isFinal) break;
      // A newer try began while this one read its number: it is answered the same, so what it holds is undone as well.
      await this.#clock.sleep(turnMs(1, round));
    }
    throw contended(order.id);
  }

  /** Undoes some lines. Returns the replies with the states after it, and what undoing them was answered. */
  async #undo(
    replies: readonly Reply[],
    which: (reply: Reply) => boolean,
    commandAt: (position: number) => StockCommand,
  ): Promise<{ lines: Reply[]; undone: Reply[] }> {
    const chosen = replies.flatMap((reply, i) => (which(reply) ? [i] : []));
    const undone = await this.#ledger.applyMany(chosen.map(commandAt));
    const lines = replies.map((reply, i) => {
      const state = undone[chosen.indexOf(i)]?.state;
      return state === undefined ? reply : { ...reply, state };
    });
    return { lines, undone };
  }
}

/** How long a try waits for `newer` ones, longer from round to round. */
const turnMs = (newer: number, round: number): number => Math.min(newer, LONGEST_QUEUE) * TURN_MS * (round + 1);

/** A Redis that has lost its newest writes may have lost the order while it was being paid. */
const lost = (id: string): EngineError =>
  new EngineError(`${id}: the order was lost with the store's newest writes; place it again, then pay`, {
    op: "orders",
    code: "unavailable",
    retryable: true,
    retryAfterMs: CONTENDED_RETRY_MS,
    input: id,
  });

const contended = (id: string): EngineError =>
  new EngineError(`${id}: is being asked for many times at once`, {
    op: "orders",
    code: "contended",
    retryable: true,
    retryAfterMs: CONTENDED_RETRY_MS,
    input: id,
  });

const FREE: Reply = { outcome: "accepted", repeated: true, state: "none" };

const unknown = (id: string): OrderReply => ({ id, outcome: "unknown_order", repeated: false, lines: [] });

/** Of the lines that are named by number from 1, or of all; undefined when the order has no such line. */
function positionsOf({ lines }: Order, named: readonly number[] | undefined): number[] | undefined {
  if (!named) return lines.map((_, i) => i);
  const positions = [...new Set(named)].sort((a, b) => a - b).map((number) => number - 1);
  return positions.every((i) => i in lines) ? positions : undefined;
}

/** Which lines are named, as a text that is the same for the same lines. */
const namesOf = (named: readonly number[] | undefined): string =>
  named ? [...new Set(named)].sort((a, b) => a - b).join(",") : "all";

/**
 * Why a part of an order is not cancelled: a warehouse gives no part back, and what is left of an unpaid order could
 * not be paid.
 */
function partRefusal(asked: readonly Reply[], mayKnow: boolean): OrderOutcome | undefined {
  if (asked.some(({ state }) => state !== "cancelling" && !isCancelled(state))) return "not_paid";
  return mayKnow ? "whole_order_only" : undefined;
}

const isCancelled = (state: LineState): boolean => state === "cancelled" || state === "cancelled_paid";

const isEnded = (state: LineState): boolean => state === "outbound" || isCancelled(state);

/** Units that the books had nowhere when lines came to a state: what the others lacked was told with theirs. */
const missingOf = (replies: readonly Reply[], ofState: LineState): number =>
  replies.reduce((sum, { state, missingUnits = 0 }) => (state === ofState ? sum + missingUnits : sum), 0);

/** Evidence with more particulars; none stays none. */
function told({ source, detail }: Evidence, missing: number, more: Record<string, string> = {}): Evidence {
  const particulars = { ...detail, ...more, ...(missing > 0 && { missing }) };
  return Object.keys(particulars).length > 0 ? { source, detail: particulars } : { source };
}

/**
 * Tells whether the warehouse may have the order, for whoever reads the log from here on, and that nobody has asked
 * it yet.
 */
const cancelEvidence = (actor: string | undefined, { hasStep }: Pick<FoundOrder, "hasStep">): Evidence =>
  told(shopEvidence(actor), 0, hasStep("locked") && !hasStep("cancelling") ? { after: "locked" } : {});

const answer = (order: Order, outcome: OrderOutcome, replies: readonly Reply[], repeated: boolean): OrderReply => ({
  id: order.id,
  outcome,
  repeated,
  lines: lineReplies(order, replies),
});

/** The answer to a step that is the lines' alone. */
const reply = (order: Order, outcome: Outcome, replies: readonly Reply[]): OrderReply =>
  answer(
    order,
    outcome,
    replies,
    replies.every((line) => line.repeated),
  );

/** A refusal that is not remembered: a later try may be accepted. */
const isForNow = (outcome: Outcome): boolean => outcome === "breaker_open" || outcome === "clocks_disagree";

/** A refusal that every later try gets as well. */
const isForGood = ({ outcome }: Reply): boolean => outcome === "unknown_sku" || outcome.startsWith("insufficient_");

const isSuperseded = ({ outcome }: Reply): boolean => outcome === "superseded";

/**
 * Whether a line that could not be undone is a newer try's, or may become so. One whose hold has ended since is
 * nobody's.
 */
const isNewers = (reply: Reply): boolean => isSuperseded(reply) && (reply.state === "held" || reply.state === "none");

const isLost = (reply: Reply): boolean => reply.repeated && reply.state !== "held" && reply.state !== "paid";

/** What every command about a line says. */
function place(
  order: Order,
  position: number,
): { id: string; sku: string; location: string; units: number; pool?: "presale"; ofOrder: true } {
  const { sku, location, units, pool } = order.lines[position] as OrderLine;
  const at = { id: lineId(order.id, position), sku, location, units, ofOrder: true as const };
  return pool === "presale" ? { ...at, pool } : at;
}

const command = (order: Order, position: number, kind: LineStep): StockCommand => ({ ...place(order, position), kind });

/** What a first try at an order asks of the ledger. */
function reservations({ id, lines, holdMs }: Order): ReserveStock[] {
  return lines.map(({ sku, location, units, pool }, i) => {
    const command: ReserveStock = {
      kind: "reserve",
      id: lineId(id, i),
      sku,
      location,
      units,
      attempt: 1,
      ofOrder: true,
    };
    if (pool === "presale") command.pool = pool;
    if (holdMs !== undefined) command.holdMs = holdMs;
    // A line by itself is the whole order; one from presale is demand when it goes out.
    if (lines.length > 1 && pool !== "presale") command.uncounted = true;
    return command;
  });
}

/** Where the goods go is a part of the order: the same id with another address is another order. */
function fingerprintOfOrder({ shipTo }: Order, commands: readonly ReserveStock[]): number {
  const lines = fingerprintOfAll(commands);
  return shipTo === undefined ? lines : hash53(`${lines} ${JSON.stringify(Object.entries(shipTo).sort())}`);
}

/** The refusal that comes first in precedence, or undefined when every line was accepted. */
function worst(replies: readonly Reply[]): Outcome | undefined {
  let first: number = OUTCOMES.length;
  for (const { outcome } of replies) if (!isAccepted(outcome)) first = Math.min(first, OUTCOMES.indexOf(outcome));
  return (OUTCOMES as readonly Outcome[])[first];
}

const lineReplies = (order: Order, replies: readonly Reply[]): LineReply[] =>
  order.lines.map((line, i) => {
    const { outcome, state, missingUnits } = replies[i] as Reply;
    return { ...line, id: lineId(order.id, i), outcome, state, ...(missingUnits !== undefined && { missingUnits }) };
  });
