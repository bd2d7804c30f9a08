/**
 * Turns errors of Redis calls into retryable errors, which clients get as 503.
 */
import { EngineError, messageOf } from "../../engine/kernel/errors.js";

/** Waits for a Redis call; any error of the client library becomes EngineError `unavailable`, retryable. */
export async function fromStore<T>(op: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError(
      `${op}: ${messageOf(cause)}`,
      { op, code: "unavailable", retryable: true, retryAfterMs: 1_000 },
      { cause },
    );
  }
}
