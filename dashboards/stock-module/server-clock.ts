/**
 * The latest time that it can be on the server, without trusting the device's clock. Each answer bounds the time from
 * both sides; all bounds together make an interval, which is moved on by the browser's monotonic clock. Ages are
 * computed with its end, so no number is younger than it looks. When bounds contradict each other, the later time is
 * believed. It presumes that caches state `Date` and `Age` as RFC 9111 requires; behind one that hides how old its
 * copy is, the first answer of a page may be believed too long, and later ones correct it.
 */

/** By how much two clocks part in a millisecond: 100 in a million. */
const DRIFT = 1e-4;
/** The clocks of the device have parted by more: it has slept, or its clock was set. */
const JUMP_MS = 1_000;

export class ServerClock {
  /** Bounds of the server's time less the monotonic time. */
  #earliest = Number.NEGATIVE_INFINITY;
  #latest = Number.POSITIVE_INFINITY;
  #boundMs = 0;

  /**
   * @param earliestMs what the server's time is at least, now
   * @param latestMs what it is at most; left out: not known
   */
  observe(earliestMs: number, latestMs = Number.POSITIVE_INFINITY): void {
    // Written so that NaN is refused.
    if (!(earliestMs > 0)) return;
    const ownMs = performance.now();
    const drift = (ownMs - this.#boundMs) * DRIFT;
    this.#boundMs = ownMs;
    this.#earliest = Math.max(this.#earliest - drift, earliestMs - ownMs);
    this.#latest = Math.max(Math.min(this.#latest + drift, latestMs - ownMs), this.#earliest);
  }

  /** Infinity while nothing is known. */
  latestMs(): number {
    return performance.now() + this.#latest;
  }

  /** After a sleep the monotonic clock may lack that time. */
  forget(): void {
    this.#earliest = Number.NEGATIVE_INFINITY;
    this.#latest = Number.POSITIVE_INFINITY;
  }
}

/** Watches the device for sleep: returns a function that tells whether the device has slept since the last call. */
export function sleepDetector(): () => boolean {
  const difference = (): number => Date.now() - performance.now();
  let before = difference();
  return () => {
    const now = difference();
    const jumped = Math.abs(now - before) > JUMP_MS;
    before = now;
    return jumped;
  };
}
