/**
 * The lines of an order as commands to the ledger: all or some of them in one call, their states, and how they are
 * undone. Each line is a command of its own, because the lines of an order may lie in several partitions. Nothing here
 * decides about the order as a whole.
 */
import type { Scheduler } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { Ledger } from "../stock/ledger.js";
import type { AcceptLine, Reply, StockCommand } from "../stock/model.js";
import { firstRefusal, isEnded, NO_LINE } from "./line-replies.js";
import { lineId, type Order, type OrderLine } from "./model.js";
import type { OrderStore } from "./order-store.js";

export type LineCommand = "cancel" | "outbound" | "suspend" | "resume";

/**
 * Each further round needs another attempt at the same order that began meanwhile; the waits before them add up to
 * more than a second.
 */
export const MAX_ROUNDS = 20;
/** An attempt waits this long for each newer one, so that the attempts at one order end one after the other. */
const TURN_MS = 5;
const MAX_TURNS = 50;
const CONTENDED_RETRY_MS = 200;

export class OrderLines {
  readonly #ledger: Ledger;
  readonly #orderStore: OrderStore;
  readonly #clock: Scheduler;

  constructor(ledger: Ledger, orderStore: OrderStore, clock: Scheduler) {
    this.#ledger = ledger;
    this.#orderStore = orderStore;
    this.#clock = clock;
  }

  send(commands: readonly StockCommand[]): Promise<Reply[]> {
    return this.#ledger.applyMany(commands);
  }

  /** Whether a breaker refuses a new order, by what this process has read in the last two seconds. */
  areRefused({ lines }: Order): boolean {
    return this.#ledger.isRefusedByBreaker(lines);
  }

  /** Sends the same command for the lines at these indexes. */
  apply(order: Order, indexes: readonly number[], kind: LineCommand, attempt?: number): Promise<Reply[]> {
    return this.#ledger.applyMany(
      indexes.map((i) => ({ ...lineTarget(order, i), kind, ...(attempt !== undefined && { attempt }) })),
    );
  }

  /** The last reply to each line, and its state; a line that was given back or never reserved has the state `none`. */
  async recall(order: Order): Promise<Reply[]> {
    const known = await this.#ledger.recall(order.lines.map(({ sku }, i) => ({ id: lineId(order.id, i), sku })));
    return known.map((reply) => reply ?? NO_LINE);
  }

  /** Waits for `newer` attempts, longer from round to round. */
  takeTurn(newer: number, round: number): Promise<void> {
    return this.#clock.sleep(Math.min(newer, MAX_TURNS) * TURN_MS * (round + 1));
  }

  /**
   * Counts the lines of an accepted order as demand, each once, before the caller gets its reply (R9). If the process
   * dies before this call, the next attempt or the payment counts them.
   * @throws EngineError `contended` when the ledger has lost a line meanwhile, with Redis' newest writes: the same
   *   order sent again reserves it anew
   */
  async countDemand(order: Order, replies: readonly Reply[]): Promise<void> {
    const { holdMs } = order;
    const commands = replies.flatMap(({ uncounted }, i): AcceptLine[] =>
      uncounted ? [{ ...lineTarget(order, i), kind: "accept", ...(holdMs !== undefined && { holdMs }) }] : [],
    );
    if (commands.length === 0) return;
    const counted = await this.#ledger.applyMany(commands);
    if (firstRefusal(counted) !== undefined) throw contended(order.id);
  }

  /** Undoes some lines. Returns the replies with the new states, and the replies to undoing them. */
  async undo(
    replies: readonly Reply[],
    isChosen: (reply: Reply) => boolean,
    commandAt: (index: number) => StockCommand,
  ): Promise<{ lines: Reply[]; undone: Reply[] }> {
    const chosen = replies.flatMap((reply, i) => (isChosen(reply) ? [i] : []));
    const undone = await this.#ledger.applyMany(chosen.map(commandAt));
    const lines = replies.map((reply, i) => {
      const state = undone[chosen.indexOf(i)]?.state;
      return state === undefined ? reply : { ...reply, state };
    });
    return { lines, undone };
  }

  /** Whether no line of an order is left that could still leave. */
  async areEnded(id: string, replies: readonly Reply[]): Promise<boolean> {
    if (!replies.every(({ state }) => state === "none" || isEnded(state))) return false;
    return replies.every(({ state }) => isEnded(state)) || (await this.#isUnderWay(id));
  }

  /**
   * Some lines of an order under way may have ended so long ago that the ledger has deleted them: the command has
   * been carried out for them.
   */
  async withDeletedLines(id: string, replies: readonly Reply[]): Promise<readonly Reply[]> {
    const isDeleted = ({ outcome }: Reply) => outcome === "unknown_line";
    if (!replies.some(isDeleted) || replies.every(isDeleted) || !(await this.#isUnderWay(id))) return replies;
    return replies.map((reply) => (isDeleted(reply) ? NO_LINE : reply));
  }

  /** Whether an order was paid and has not ended: the ledger had every line of it once. */
  async #isUnderWay(id: string): Promise<boolean> {
    const status = await this.#orderStore.status(id);
    if (!status?.hasStep("locked")) return false;
    return !status.hasStep("outbound") && !status.hasStep("cancelled");
  }
}

/** The fields that every command about a line has. */
export function lineTarget(
  order: Order,
  index: number,
): { id: string; sku: string; location: string; units: number; pool?: "presale"; ofOrder: true } {
  const { sku, location, units, pool } = order.lines[index] as OrderLine;
  const target = { id: lineId(order.id, index), sku, location, units, ofOrder: true as const };
  return pool === "presale" ? { ...target, pool } : target;
}

/** A Redis that has lost its newest writes may have lost the order while it was being paid. */
export const lost = (id: string): EngineError =>
  new EngineError(`${id}: the order was lost with Redis' newest writes; place it again, then pay`, {
    op: "orders",
    code: "unavailable",
    retryable: true,
    retryAfterMs: CONTENDED_RETRY_MS,
    input: id,
  });

export const contended = (id: string): EngineError =>
  new EngineError(`${id}: too many requests for this order at the same time`, {
    op: "orders",
    code: "contended",
    retryable: true,
    retryAfterMs: CONTENDED_RETRY_MS,
    input: id,
  });
