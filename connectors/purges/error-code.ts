/**
 * Answers of clouds whose API answers JSON with the code of an error, such as `Throttling.User`: which codes may pass
 * is the vendor's, and every other needs an operator. An answer that is no such JSON is judged by its status; with
 * status 200 it may come from a proxy, so the purge counts as not done. Reasons have the vendor's own text; it may
 * quote the request, and who shows it removes secrets and then cuts it.
 */
import { type Clock, HOUR_MS } from "../../engine/kernel/clock.js";
import { type HttpAnswer, outcomeOfStatus } from "../channels/http-client.js";
import type { PurgeOutcome } from "../purger.js";
import { untilNextChinaDayMs } from "./china-day.js";
import { purgeOutcomeOf } from "./http.js";

/**
 * `later`: the same request may be accepted a moment later. `day`: the account's quota of this day is used; asked again
 * every hour, because an operator may have it raised. A number: too many requests, and how many milliseconds to wait.
 */
export type ErrorMeaning = "later" | "day" | number;

/** Meanings by pattern of the code; the first that fits counts. */
export type ErrorMeanings = readonly (readonly [code: RegExp, meaning: ErrorMeaning])[];

export function outcomeOfError(code: string, text: unknown, meanings: ErrorMeanings, clock: Clock): PurgeOutcome {
  const reason = `${code}: ${String(text ?? "")}`;
  const meaning = meanings.find(([pattern]) => pattern.test(code))?.[1];
  if (meaning === undefined) return { outcome: "refused", reason };
  if (meaning === "later") return { outcome: "retry", reason };
  const retryAfterMs = meaning === "day" ? Math.min(HOUR_MS, untilNextChinaDayMs(clock.now())) : meaning;
  return { outcome: "retry", reason, throttled: true, retryAfterMs };
}

/** Of an answer that has neither what a success has nor the code of an error. */
export function outcomeOfOther(answer: HttpAnswer, clock: Clock): PurgeOutcome {
  const byStatus = purgeOutcomeOf(outcomeOfStatus(answer, clock));
  if (byStatus.outcome !== "purged") return byStatus;
  return { outcome: "retry", reason: "the answer is not one of the vendor" };
}
