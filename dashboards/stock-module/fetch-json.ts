/**
 * Fetches JSON from the shop's edge, and tells the clock what time the answer proves. What changes is always asked for
 * over the network (`no-cache`): an answer from the browser's own cache would prove nothing. What never changes comes
 * from there. An answer that is not JSON, such as the page of a hotel's network, proves no time.
 */
import { type ServerClock, sleepDetector } from "./server-clock.js";

/** Longer than any answer takes that is still of use. */
const TIMEOUT_MS = 8_000;
/** `Date` and `Age` are in whole seconds, rounded down. */
const ROUNDING_MS = 1_000;

/** @param isImmutable whether the path always has the same content @throws when there is no such answer in time */
// biome-ignore lint/suspicious/noExplicitAny: the shape is the caller's, by the path
export type FetchJson = (path: string, isImmutable?: boolean) => Promise<any>;

export function jsonFetcher(base: string, clock: ServerClock, isTimed: () => boolean): FetchJson {
  return async (path, isImmutable) => {
    const startMs = performance.now();
    const hasSlept = sleepDetector();
    const options = {
      cache: isImmutable ? "default" : "no-cache",
      credentials: "omit",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    } as const;
    const response = await fetch(base + path, options);
    const content = await response.json();
    // Of an answer that waited while the device slept nobody knows when it came.
    if (!response.ok || hasSlept()) throw new Error(path);
    if (!isImmutable && isTimed()) {
      const age = response.headers.get("age");
      const earliestMs = Date.parse(response.headers.get("date") ?? "") + Number(age) * 1_000;
      clock.observe(earliestMs, earliestMs + (age ? 2 : 1) * ROUNDING_MS + performance.now() - startMs);
    }
    return content;
  };
}
