/**
 * Errors of Redis calls, as clients get them.
 */
import { EngineError, messageOf } from "../../engine/kernel/errors.js";

/** A Redis read that failed is trouble with the world that may pass, whatever the client library calls it. */
export async function fromStore<T>(op: string, asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError(
      `${op}: ${messageOf(cause)}`,
      { op, code: "unavailable", retryable: true, retryAfterMs: 1_000 },
      { cause },
    );
  }
}
