/**
 * When a delivery is tried again, and when it is given up. The pause doubles with every try and is drawn from its
 * whole length ("full jitter"), so that deliveries which failed together do not come back together. A failure is held
 * against a delivery only if the receiver has taken more than it failed meanwhile: one that is dead, overloaded, or
 * fails at random uses up nobody's tries. Pure: time and luck are arguments.
 */
import type { Random } from "../kernel/random.js";

export const FIRST_PAUSE_MS = 100;
export const LONGEST_PAUSE_MS = 10_000;
/** With the pauses above, 12 tries last about half a minute. */
export const TRIES_LIMIT = 12;
/** A receiver that wants to be left alone for longer is asked again after this; the pace does so, too. */
export const LONGEST_WISH_MS = 300_000;

/**
 * How long to wait before the next try.
 * @param failures how often it has failed in a row, from 1
 * @param retryAfterMs what the receiver has asked for: never less than that, within LONGEST_WISH_MS
 */
export function pauseMs(failures: number, retryAfterMs: number | undefined, random: Random): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  return Math.min(LONGEST_WISH_MS, retryAfterMs ?? 0) + Math.ceil(random.next() * longest);
}

/** What a receiver has done with all deliveries that this process has sent. */
export interface ReceiverRecord {
  /** Taken or refused: it has looked at them. */
  readonly taken: number;
  readonly failed: number;
}

/** The failures of one delivery. */
export class Tries {
  /** All of them: what the pause goes by. */
  failures = 0;
  /** Those that are held against it. */
  counted = 0;
  #before: ReceiverRecord | undefined;

  /** @param record as it was when this one went out */
  started(record: ReceiverRecord): void {
    this.#before ??= record;
  }

  /** Notes a failure that is held against nobody. */
  passed(): void {
    this.failures++;
  }

  /**
   * Notes a failure. Returns whether the delivery is to be given up.
   * @param record as it is now, without this failure
   */
  failed(record: ReceiverRecord, throttled: boolean): boolean {
    this.failures++;
    if (throttled) return false;
    const { taken, failed } = this.#before ?? record;
    if (record.taken - taken > record.failed - failed) this.counted++;
    // What fails now is this one's own, and is not to be held against the receiver the next time.
    this.#before = { taken: record.taken, failed: record.failed + 1 };
    return this.counted >= TRIES_LIMIT;
  }
}
