/**
 * Which sums a set of bookings can add up to (R13). Around the instant of a snapshot it is not known which events a
 * source had booked: each of them may or may not be in its count. A gap is explained when some choice of them makes
 * exactly that gap. Exact up to MAX_SUMS different sums; beyond that the answer is "may be", never a wrong "no".
 */

/** Different sums that are told apart: 4,096 × 50 B are 200 KB, and a cell has seldom more than 20 events in 4 s. */
const MAX_SUMS = 4_096;

/** The sums that a set of choices can make; every choice contributes exactly one of its values. */
export class PossibleSums {
  /** Undefined: too many to tell apart; then everything between `#least` and `#most` is possible. */
  #sums: Set<number> | undefined = new Set([0]);
  #least = 0;
  #most = 0;

  /** @param values what one choice may contribute; at least one value */
  add(values: readonly number[]): this {
    this.#least += Math.min(...values);
    this.#most += Math.max(...values);
    if (!this.#sums) return this;
    const next = new Set<number>();
    for (const sum of this.#sums) for (const value of values) next.add(sum + value);
    this.#sums = next.size > MAX_SUMS ? undefined : next;
    return this;
  }

  has(units: number): boolean {
    return this.#sums ? this.#sums.has(units) : this.#least <= units && units <= this.#most;
  }

  /** The sums, when they are told apart and are not more than `limit`. */
  list(limit: number): readonly number[] {
    return this.#sums && this.#sums.size <= limit ? [...this.#sums] : [];
  }
}
