/**
 * Placing an order: reserves all of its lines, or none (R3). When a line is refused, the other lines are given back
 * before the caller gets the refusal, and every line is closed to this attempt and older ones, so that commands still
 * on their way change nothing. A process that dies between two lines leaves holds that expire; the same order sent
 * again goes on from there.
 */
import { fingerprintOfAll, hash53 } from "../stock/fingerprint.js";
import { type AbortLine, isAccepted, type Outcome, type Reply, type ReserveStock } from "../stock/model.js";
import { firstRefusal, isSuperseded, replyOf } from "./line-replies.js";
import { lineId, type Order, type OrderReply } from "./model.js";
import { detailsOf, detailsText } from "./order-details.js";
import { contended, lineTarget, MAX_ROUNDS, type OrderLines } from "./order-lines.js";
import type { OrderStore } from "./order-store.js";

/** The commands of a first attempt, and the fingerprint by which a repeated order is compared with the first one. */
export interface PreparedOrder {
  readonly order: Order;
  readonly commands: readonly ReserveStock[];
  readonly fingerprint: number;
}

export function prepareOrder(order: Order): PreparedOrder {
  const commands = reservations(order);
  return { order, commands, fingerprint: fingerprintOf(order, commands) };
}

export class Placement {
  readonly #lines: OrderLines;
  readonly #orderStore: OrderStore;

  constructor(lines: OrderLines, orderStore: OrderStore) {
    this.#lines = lines;
    this.#orderStore = orderStore;
  }

  /** @throws EngineError `contended` (retryable) when the same order is placed again and again at the same time */
  async place({ order, commands, fingerprint }: PreparedOrder, actor: string | undefined): Promise<OrderReply> {
    // Nothing is written for an order that a breaker refuses: the orders of a long stop would fill Redis. One that is
    // known goes on: it may have been accepted before.
    if (this.#lines.areRefused(order) && (await this.#orderStore.newestAttempt(order.id)) === 0)
      return refusedByBreaker(order);
    let repeated = true;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const attempt = await this.#orderStore.open(order, fingerprint, actor);
      if (attempt === undefined) return { id: order.id, outcome: "id_reused", repeated: false, lines: [] };
      if (attempt > 1 && order.lines.length > 1) {
        // Refused before, with nothing left to undo: the same reply, without reserving and giving back the other
        // lines once more.
        const known = await this.#lines.recall(order);
        const before = firstRefusal(known);
        if (before && known.every(({ state }) => state === "none"))
          return replyOf(order, before, await this.#abort(order, known, attempt), true);
      }
      const replies = await this.#lines.send(
        attempt === 1 ? commands : commands.map((command) => ({ ...command, attempt })),
      );
      const refusal = firstRefusal(replies.filter((reply) => !isSuperseded(reply))) ?? firstRefusal(replies);
      repeated &&= replies.every((reply) => reply.repeated || reply.outcome !== (refusal ?? "accepted"));
      // A repeated line that is not held any more beside a new one: an earlier attempt died and its hold has expired.
      const outcome = refusal ?? (!repeated && replies.some(isLost) ? "hold_expired" : "accepted");
      if (outcome !== "accepted") return replyOf(order, outcome, await this.#abort(order, replies, attempt), repeated);
      // A newer attempt may have been refused by a breaker and be about to abort. It cannot any more once an attempt
      // that is newer still has reached the lines.
      const newest = order.lines.length === 1 ? attempt : await this.#orderStore.newestAttempt(order.id);
      if (newest === attempt) {
        await this.#lines.countDemand(order, replies);
        return replyOf(order, outcome, replies, repeated);
      }
      await this.#lines.takeTurn(newest - attempt, round);
    }
    throw contended(order.id);
  }

  /**
   * Gives back what a refused attempt holds, and closes to it what it could still reserve: every line whose refusal is
   * not remembered. Where every later attempt gets the same refusal, the holds of a newer one are ended as well: its
   * caller may have stopped, and nothing else would end them.
   * @throws EngineError `contended` when newer attempts have overtaken this one: their replies count
   */
  async #abort(order: Order, replies: readonly Reply[], attempt: number): Promise<Reply[]> {
    const isFinal = order.lines.length > 1 && replies.some(isPermanent);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const newest = isFinal ? Math.max(attempt, await this.#orderStore.newestAttempt(order.id)) : attempt;
      const { lines, undone } = await this.#lines.undo(
        replies,
        ({ state, outcome }) =>
          state === "held" ||
          isTemporary(outcome) ||
          (state === "none" && (isAccepted(outcome) || outcome === "superseded")),
        (i): AbortLine => ({ ...lineTarget(order, i), kind: "abort", attempt: newest }),
      );
      const isOvertaken = isFinal ? undone.some(isOfNewerAttempt) : [...replies, ...undone].some(isSuperseded);
      if (!isOvertaken) return lines;
      if (!isFinal) break;
      // A newer attempt began while this one read its number: it gets the same refusal, so its holds are ended too.
      await this.#lines.takeTurn(1, round);
    }
    throw contended(order.id);
  }
}

/** What a first attempt at an order asks of the ledger. */
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
    // A single line is the whole order; a presale line is demand when its goods leave.
    if (lines.length > 1 && pool !== "presale") command.uncounted = true;
    return command;
  });
}

/** The address and the details are parts of the order: the same id with others is another order. */
function fingerprintOf(order: Order, commands: readonly ReserveStock[]): number {
  const { shipTo } = order;
  const details = detailsOf(order);
  let fingerprint = fingerprintOfAll(commands);
  if (shipTo !== undefined) fingerprint = hash53(`${fingerprint} ${JSON.stringify(Object.entries(shipTo).sort())}`);
  return details === undefined ? fingerprint : hash53(`${fingerprint} details ${detailsText(details)}`);
}

function refusedByBreaker(order: Order): OrderReply {
  const outcome = "breaker_open";
  const replies = order.lines.map((): Reply => ({ outcome, repeated: false, state: "none" }));
  return replyOf(order, outcome, replies, false);
}

/** A refusal that is not remembered: a later attempt may be accepted. */
const isTemporary = (outcome: Outcome): boolean => outcome === "breaker_open" || outcome === "clocks_disagree";

/** A refusal that every later attempt gets as well. */
const isPermanent = ({ outcome }: Reply): boolean => outcome === "unknown_sku" || outcome.startsWith("insufficient_");

/** Whether a line that could not be undone is held by a newer attempt, or may become so. */
const isOfNewerAttempt = (reply: Reply): boolean =>
  isSuperseded(reply) && (reply.state === "held" || reply.state === "none");

const isLost = (reply: Reply): boolean => reply.repeated && reply.state !== "held" && reply.state !== "paid";
