/**
 * When a delivery is tried again, and when it becomes a dead letter. The pause doubles with every try and is drawn from
 * its whole length ("full jitter"), so that deliveries which failed together are not repeated together. A failure
 * counts against a delivery only if the receiver has accepted more deliveries than it failed meanwhile: a receiver that
 * is down, overloaded, or fails at random uses up no tries. Pure: time and randomness are arguments.
 */
import type { Random } from "../kernel/random.js";

export const FIRST_PAUSE_MS = 100;
export const LONGEST_PAUSE_MS = 10_000;
/** With the pauses above, 12 tries last about half a minute. */
export const TRIES_LIMIT = 12;
/** The longest Retry-After of a receiver that is obeyed; the rate limiter has the same. */
export const LONGEST_RETRY_AFTER_MS = 300_000;

/**
 * How long to wait before the next try.
 * @param failures how often it has failed in a row, from 1
 * @param retryAfterMs what the receiver has asked for: never less than that, within LONGEST_RETRY_AFTER_MS
 */
export function pauseMs(failures: number, retryAfterMs: number | undefined, random: Random): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  return Math.min(LONGEST_RETRY_AFTER_MS, retryAfterMs ?? 0) + Math.ceil(random.next() * longest);
}

/** How a receiver has answered all deliveries of this process. */
export interface ReceiverRecord {
  /** Accepted or refused. */
  readonly taken: number;
  readonly failed: number;
}

/** The failures of one delivery. */
export class Tries {
  /** All of them: the pause depends on it. */
  failures = 0;
  /** Those that count against the delivery. */
  counted = 0;
  /** Requests with it that failed without an answer: each time it is sent with fewer others. */
  failedRequests = 0;
  #before: ReceiverRecord | undefined;

  /** @param record as it was when this one went out */
  started(record: ReceiverRecord): void {
    this.#before ??= record;
  }

  /** Records a failure that does not count against the delivery. */
  failedUncounted(): void {
    this.failures++;
  }

  /**
   * Records a failure. Returns whether the delivery is to become a dead letter.
   * @param record as it is now, without this failure
   */
  failed(record: ReceiverRecord, throttled: boolean): boolean {
    this.failures++;
    if (throttled) return false;
    const { taken, failed } = this.#before ?? record;
    if (record.taken - taken > record.failed - failed) this.counted++;
    // This failure is the delivery's own, and does not count as the receiver's the next time.
    this.#before = { taken: record.taken, failed: record.failed + 1 };
    return this.counted >= TRIES_LIMIT;
  }
}
