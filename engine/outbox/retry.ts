/**
 * When a delivery is tried again, and when it is given up. The pause doubles with every try and is drawn from its whole length ("full jitter"), so that
 * deliveries which failed together do not come back together. A failure is held against a delivery only if the receiver has taken
 * another one meanwhile: a receiver that is dead or overloaded uses up nobody's tries. Pure: time and luck are arguments.
 */
import type { Random } from "../kernel/random.js";

export const FIRST_PAUSE_MS = 100;
export const LONGEST_PAUSE_MS = 10_000;
/** With the pauses above, 12 tries last about half a minute. */
export const TRIES_LIMIT = 12;

/**
 * How long to wait before the next try.
 * @param failures how often it has failed in a row, from 1
 * @param retryAfterMs what the receiver has asked for: never less than that
 */
export function pauseMs(failures: number, retryAfterMs: number | undefined, random: Random): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  return (retryAfterMs ?? 0) + Math.ceil(random.next() * longest);
}

/** The failures of one delivery. */
export class Tries {
  /** All of them: what the pause goes by. */
  failures = 0;
  /** Those that are held against it. */
  counted = 0;
  #takenBefore: number | undefined;

  /** @param taken how many deliveries the receiver had taken from this process when this one went out */
  started(taken: number): void {
    this.#takenBefore ??= taken;
  }

  /**
   * Notes a failure. Returns whether the delivery is to be given up.
   * @param taken how many deliveries the receiver has taken by now
   */
  failed(taken: number, throttled: boolean): boolean {
    this.failures++;
    if (throttled) return false;
    if (taken > (this.#takenBefore ?? taken)) this.counted++;
    this.#takenBefore = taken;
    return this.counted >= TRIES_LIMIT;
  }
}
