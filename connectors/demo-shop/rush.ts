/**
 * The demo shop's rush hour of 18 June (requirements F): new orders by second, and clients that repeat a request that
 * has no answer yet. A pure, lazy generator: the same arguments give the same actions.
 */
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import type { Action, OrderAction } from "./actions.js";
import { type Catalogue, MEAN_LINE_UNITS } from "./catalogue.js";
import { MEAN_LINES, PhaseTraffic, remainingActions } from "./phase-traffic.js";
import { StockEstimate } from "./stock-estimate.js";

/** Distinct orders of the rush hour (requirements F). */
export const RUSH_ORDERS = 12_843;
export const RUSH_MS = 60 * MINUTE_MS;

const SECOND_MS = 1_000;
const RUSH_SECONDS = RUSH_MS / SECOND_MS;

/** New orders in each of the first seconds of the rush, in addition to those of the curve. */
const OPENING_ORDERS = [2_050, 1_230, 738, 443, 266, 160, 96, 57, 34, 21] as const;
/**
 * Requests in each of the first seconds, retries included: clients without an answer send the request again. The
 * second second is the peak of 8,200 requests (requirements F), over six times the new orders of that second.
 */
const OPENING_REQUESTS = [3_600, 8_200, 6_100, 3_900, 2_400, 1_400, 800, 450, 250, 120] as const;
/** The shortest time until a client retries. */
const RETRY_AFTER_MS = 250;
/** The longest time for which a client retries: it ends before the first payment. */
const RETRY_FOR_MS = 4_500;

/**
 * The rush hour (requirements F): 12,843 distinct orders, 40 % of them in the first ten seconds, with retries (the same
 * order again, a higher `attempt`) up to 8,200 requests in the peak second. Steps of the orders continue for some four
 * hours after the hour.
 * @param estimate what is sellable at the start; left out, the opening stock
 */
export function* rush(
  catalogue: Catalogue,
  seed: number,
  startMs: number,
  estimate = new StockEstimate(catalogue),
): Generator<Action> {
  const traffic = new PhaseTraffic(catalogue, seed, "rush", startMs, estimate);
  const { random } = traffic;
  const shares = new Array<number>(catalogue.promotions.length).fill(0);
  const randomSku = (): number => {
    let rest = random.next();
    for (let i = 0; i < shares.length; i++) {
      rest -= shares[i] as number;
      if (rest < 0) return (catalogue.promotions[i] as Catalogue["promotions"][number]).sku;
    }
    return traffic.randomSku();
  };
  let unanswered: { action: OrderAction; sinceMs: number }[] = [];

  for (const [second, { orders, expected }] of rushPlan().entries()) {
    const secondMs = startMs + second * SECOND_MS;
    catalogue.promotions.forEach(({ startMinute, decayMinutes, lineShare, unitsPerMinute }, i) => {
      const minutes = second / 60 - startMinute;
      const steady = unitsPerMinute / 60 / MEAN_LINE_UNITS / (expected * MEAN_LINES);
      shares[i] = minutes < 0 ? 0 : (lineShare + steady) * Math.exp(-minutes / decayMinutes);
    });

    const requests = Array.from({ length: orders }, () => ({
      atMs: secondMs + random.below(SECOND_MS),
      isRetry: false,
    }));
    // In the first second no client has waited RETRY_AFTER_MS at once, so retries begin after twice that time.
    const quietMs = second === 0 ? 2 * RETRY_AFTER_MS : 0;
    for (let left = (OPENING_REQUESTS[second] ?? 0) - orders; left > 0; left--) {
      requests.push({ atMs: secondMs + quietMs + random.below(SECOND_MS - quietMs), isRetry: true });
    }
    requests.sort((a, b) => a.atMs - b.atMs);
    unanswered = unanswered.filter(({ action }) => action.order.placedAtMs + RETRY_FOR_MS >= secondMs + SECOND_MS);

    for (const { atMs, isRetry } of requests) {
      for (let due = traffic.nextDue(atMs); due; due = traffic.nextDue(atMs)) yield due;
      if (isRetry) {
        // A few tries to find a client that has waited long enough; after the last try, one that retries early.
        let waiting = random.pick(unanswered);
        for (let tries = 0; tries < 8 && atMs - waiting.sinceMs < RETRY_AFTER_MS; tries++)
          waiting = random.pick(unanswered);
        waiting.sinceMs = atMs;
        waiting.action = { ...waiting.action, atMs, attempt: waiting.action.attempt + 1 };
        yield waiting.action;
      } else {
        const action = traffic.drawOrder(atMs, "mixed", randomSku);
        if (second < OPENING_REQUESTS.length) unanswered.push({ action, sinceMs: atMs });
        yield action;
      }
    }
  }
  yield* remainingActions(traffic);
}

/**
 * New orders in each second of the rush hour: whole ones (they sum to RUSH_ORDERS), and the curve's exact value,
 * never 0.
 */
function rushPlan(): { orders: number; expected: number }[] {
  const weights = Array.from({ length: RUSH_SECONDS }, (_, second) => rushWeight(second));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const spread = RUSH_ORDERS - OPENING_ORDERS.reduce<number>((sum, orders) => sum + orders, 0);
  let sum = 0;
  let given = 0;
  return weights.map((weight, second) => {
    sum += weight;
    const orders = Math.round((spread * sum) / total) - given;
    given += orders;
    const opening = OPENING_ORDERS[second] ?? 0;
    return { orders: orders + opening, expected: (spread * weight) / total + opening };
  });
}

/** The relative number of new orders in a second, without those of the opening burst. */
function rushWeight(second: number): number {
  const minute = second / 60;
  let weight = Math.exp(-minute / 10) + 0.18;
  for (const start of [15, 30, 45]) if (minute >= start) weight += 0.6 * Math.exp(-(minute - start) / 5);
  return weight;
}
