/**
 * Joins deliveries that are ready into one request of a receiver that takes several at once, and judges its outcomes.
 * A delivery whose requests fail is joined with fewer others each time, and is alone in the end: so one that the
 * receiver cannot process does not hold up those that were sent with it. The outcome of each delivery is its own; for
 * the circuit and the rate limiter a request counts once. Keeps nothing between calls.
 */
import { messageOf } from "../kernel/errors.js";
import type { Pending } from "./backlog.js";
import type { BatchLimits, Delivery, DeliveryOutcome, Receiver } from "./receiver.js";

/** A delivery of a request, and what ends when its outcome is not needed any more. */
interface Sent {
  readonly pending: Pending;
  readonly source: { readonly signal: AbortSignal };
}

/** Fills one request: `add` is called with ready deliveries in their order until it returns false. */
export class JoinedRequest<Item extends Sent> {
  readonly items: Item[] = [];
  readonly #limits: BatchLimits | undefined;
  #most = Number.POSITIVE_INFINITY;
  #bytes = 0;

  /** @param limits undefined: one delivery */
  constructor(limits: BatchLimits | undefined) {
    this.#limits = limits;
  }

  /** Returns whether the delivery is part of the request now; the first always is. */
  add(item: Item): boolean {
    const { deliveries = 1, bytes = Number.POSITIVE_INFINITY } = this.#limits ?? {};
    const { pending } = item;
    const most = Math.min(this.#most, Math.max(1, Math.floor(deliveries / 2 ** pending.tries.failedRequests)));
    if (this.items.length > 0 && (this.items.length >= most || this.#bytes + pending.bytes > bytes)) return false;
    this.#most = most;
    this.#bytes += pending.bytes;
    this.items.push(item);
    return true;
  }
}

/** Sends one request. Returns the outcome of each delivery; a throw of the receiver is one for all. */
export async function deliverJoined(receiver: Receiver, sent: readonly Sent[]): Promise<readonly DeliveryOutcome[]> {
  try {
    const [first] = sent as [Sent];
    if (sent.length === 1 || !receiver.deliverBatch) {
      const { delivery, mayHaveArrived } = first.pending;
      return [await receiver.deliver(delivery, first.source.signal, mayHaveArrived)];
    }
    return await deliverSeveral(receiver, sent);
  } catch (thrown) {
    return sent.map(() => ({ outcome: "retry", reason: messageOf(thrown), mayHaveArrived: true }));
  }
}

async function deliverSeveral(receiver: Receiver, sent: readonly Sent[]): Promise<readonly DeliveryOutcome[]> {
  const deliveries = sent.map(({ pending }) => pending.delivery);
  const mayHaveArrived = sent.map(({ pending }) => pending.mayHaveArrived);
  const { signal, release } = abortOfAll(new Set(sent.map(({ source }) => source.signal)));
  try {
    const outcomes = (await receiver.deliverBatch?.(deliveries, signal, mayHaveArrived)) ?? [];
    if (outcomes.length === sent.length && outcomes.every(Boolean)) return outcomes;
    throw new Error(
      `${receiver.name} returned ${outcomes.filter(Boolean).length} outcomes for ${sent.length} deliveries`,
    );
  } finally {
    release();
  }
}

/** A signal that aborts when all of these have. `release` ends it. */
function abortOfAll(signals: ReadonlySet<AbortSignal>): { signal: AbortSignal; release: () => void } {
  const [only] = signals;
  if (signals.size === 1 && only) return { signal: only, release: () => {} };
  const all = new AbortController();
  const abortIfAll = () => {
    if ([...signals].every(({ aborted }) => aborted)) all.abort();
  };
  for (const signal of signals) signal.addEventListener("abort", abortIfAll);
  abortIfAll();
  return {
    signal: all.signal,
    release: () => {
      for (const signal of signals) signal.removeEventListener("abort", abortIfAll);
    },
  };
}

/** One delivery's part of an answer. */
export interface Answer {
  readonly delivery: Delivery;
  readonly result: DeliveryOutcome;
}

/** Whether no request was sent for it. */
export const isUnsent = (result: DeliveryOutcome): boolean => result.outcome !== "refused" && result.isUnsent === true;

/** Whether no answer came that shows a receiver which works. */
export const isSilence = (result: DeliveryOutcome): result is DeliveryOutcome & { outcome: "retry" } =>
  result.outcome === "retry" && !result.throttled && !result.dependencyFailed && !isUnsent(result);

/** What a request shows of its receiver. */
export interface Judgement {
  /** `failed`: no delivery of it has an answer. `unsent`: none was sent. */
  readonly circuit: "answered" | "failed" | "unsent";
  /** Deliveries that were accepted or refused, and those without an answer. */
  readonly taken: number;
  readonly silent: number;
  readonly isThrottled: boolean;
  /** The longest that was asked for. */
  readonly retryAfterMs: number | undefined;
}

export function judgementOf(answers: readonly Answer[]): Judgement {
  let [sent, taken, silent, isThrottled] = [0, 0, 0, false];
  let retryAfterMs: number | undefined;
  for (const { result } of answers) {
    if (isUnsent(result)) continue;
    sent++;
    if (result.outcome !== "retry") taken++;
    if (isSilence(result)) silent++;
    if (result.outcome !== "retry" || !result.throttled) continue;
    isThrottled = true;
    if (result.retryAfterMs !== undefined) retryAfterMs = Math.max(retryAfterMs ?? 0, result.retryAfterMs);
  }
  const circuit = sent === 0 ? "unsent" : silent === sent ? "failed" : "answered";
  return { circuit, taken, silent, isThrottled, retryAfterMs };
}
