/**
 * What the ledger's replies to the lines of one order mean for the order as a whole: the refusal that decides, which
 * lines have ended, and the reply to the caller. Pure.
 */
import { isAccepted, type LineState, OUTCOMES, type Outcome, type Reply } from "../stock/model.js";
import {
  type Evidence,
  type LineReply,
  lineId,
  type Order,
  type OrderOutcome,
  type OrderReply,
  shopEvidence,
} from "./model.js";
import type { FoundOrder } from "./order-store.js";

/** The reply for a line that the ledger has no record of. */
export const NO_LINE: Reply = { outcome: "accepted", repeated: true, state: "none" };

export const unknownOrder = (id: string): OrderReply => ({
  id,
  outcome: "unknown_order",
  repeated: false,
  lines: [],
});

export const replyOf = (
  order: Order,
  outcome: OrderOutcome,
  replies: readonly Reply[],
  repeated: boolean,
): OrderReply => ({
  id: order.id,
  outcome,
  repeated,
  lines: lineReplies(order, replies),
});

export const lineReplies = (order: Order, replies: readonly Reply[]): LineReply[] =>
  order.lines.map((line, i) => {
    const { outcome, state, missingUnits } = replies[i] as Reply;
    return { ...line, id: lineId(order.id, i), outcome, state, ...(missingUnits !== undefined && { missingUnits }) };
  });

export const allRepeated = (replies: readonly Reply[]): boolean => replies.every(({ repeated }) => repeated);

/** The refusal that comes first in precedence, or undefined when every line was accepted. */
export function firstRefusal(replies: readonly Reply[]): Outcome | undefined {
  let first: number = OUTCOMES.length;
  for (const { outcome } of replies) if (!isAccepted(outcome)) first = Math.min(first, OUTCOMES.indexOf(outcome));
  return (OUTCOMES as readonly Outcome[])[first];
}

/** The indexes of the lines that are named by number from 1, or of all; undefined when the order has no such line. */
export function indexesOf({ lines }: Order, numbers: readonly number[] | undefined): number[] | undefined {
  if (!numbers) return lines.map((_, i) => i);
  const indexes = sortedUnique(numbers).map((number) => number - 1);
  return indexes.every((i) => i in lines) ? indexes : undefined;
}

/** A text that is the same for the same lines. */
export const textOfNumbers = (numbers: readonly number[] | undefined): string =>
  numbers ? sortedUnique(numbers).join(",") : "all";

const sortedUnique = (numbers: readonly number[]): number[] => [...new Set(numbers)].sort((a, b) => a - b);

export const isCancelled = (state: LineState): boolean => state === "cancelled" || state === "cancelled_paid";

export const isEnded = (state: LineState): boolean => state === "outbound" || isCancelled(state);

export const isSuperseded = ({ outcome }: Reply): boolean => outcome === "superseded";

/** Units that no account had when lines came to this state. Lines in other states reported theirs before. */
export const missingUnitsOf = (replies: readonly Reply[], inState: LineState): number =>
  replies.reduce((sum, { state, missingUnits = 0 }) => (state === inState ? sum + missingUnits : sum), 0);

/** Evidence with more details; without any, the evidence has none. */
export function withDetail({ source, detail }: Evidence, missing: number, more: Record<string, string> = {}): Evidence {
  const all = { ...detail, ...more, ...(missing > 0 && { missing }) };
  return Object.keys(all).length > 0 ? { source, detail: all } : { source };
}

/**
 * Evidence of a cancellation. `after: locked` reports that the warehouse may have the order and has not been asked
 * yet, to a job that reads the log only from here on.
 */
export const cancelEvidence = (actor: string | undefined, { hasStep }: Pick<FoundOrder, "hasStep">): Evidence =>
  withDetail(shopEvidence(actor), 0, hasStep("locked") && !hasStep("cancelling") ? { after: "locked" } : {});
