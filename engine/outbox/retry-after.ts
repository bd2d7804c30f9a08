/**
 * The header `Retry-After` of an HTTP answer (RFC 9110, 10.2.3): seconds, or an HTTP date. Pure: the time is an
 * argument. Longer waits are cut to the outbox's longest.
 */
import { LONGEST_RETRY_AFTER_MS } from "./retry.js";

/** The wait in milliseconds; undefined when the header is absent or invalid. */
export function retryAfterMsOf(header: string | string[] | undefined, nowMs: number): number | undefined {
  const value = ((Array.isArray(header) ? header[0] : header) ?? "").trim();
  const ms = /^\d+$/.test(value)
    ? Number(value) * 1_000
    : /[a-z]/i.test(value)
      ? Date.parse(value) - nowMs
      : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.min(LONGEST_RETRY_AFTER_MS, Math.max(0, ms));
}
