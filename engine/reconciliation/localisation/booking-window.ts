/**
 * Which sums a set of bookings can add up to (R13). Around the instant of a snapshot it is not known which events a
 * source had booked: each of them may or may not be in its count. A gap is explained when some choice of them makes
 * exactly that gap. Exact while the sums are few or lie close together; beyond that the answer is "may be", never a
 * wrong "no".
 */

/** So few are kept one by one, however far apart. */
const FEW_SUMS = 64;
/** Of more, each is a bit: 2^16 of them are 8 KiB, and one more choice takes some microseconds. */
const MAX_BITS = 2 ** 16;
/** Those that lie farther apart are distinguished up to this number: 4,096 × 50 B are 200 KB. */
const MAX_SUMS = 4_096;

/** The sums that a set of choices can make; every choice contributes exactly one of its values. */
export class PossibleSums {
  /** Neither these nor bits: too many to distinguish; then everything between `#least` and `#most` is possible. */
  #sums: Set<number> | undefined = new Set([0]);
  /** Instead of them; the first one is `#least`. */
  #bits: bigint | undefined;
  #least = 0;
  #most = 0;

  /** @param values what one choice may contribute, whole numbers; at least one value */
  add(values: readonly number[]): this {
    const least = Math.min(...values);
    this.#least += least;
    this.#most += Math.max(...values);
    const isClose = this.#most - this.#least < MAX_BITS;
    if (this.#bits !== undefined) {
      const before = this.#bits;
      this.#bits = isClose ? values.reduce((bits, value) => bits | (before << BigInt(value - least)), 0n) : undefined;
    } else if (this.#sums) {
      const next = new Set<number>();
      for (const sum of this.#sums) for (const value of values) next.add(sum + value);
      this.#sums = next.size > MAX_SUMS ? undefined : next;
      if (next.size > FEW_SUMS && isClose) {
        this.#bits = [...next].reduce((bits, sum) => bits | (1n << BigInt(sum - this.#least)), 0n);
        this.#sums = undefined;
      }
    }
    return this;
  }

  has(units: number): boolean {
    if (this.#sums) return this.#sums.has(units);
    const isWithin = this.#least <= units && units <= this.#most;
    return isWithin && (this.#bits === undefined || ((this.#bits >> BigInt(units - this.#least)) & 1n) === 1n);
  }

  /** The sums, when they are not more than `limit`, which is at most FEW_SUMS. */
  list(limit: number): readonly number[] {
    return this.#sums && this.#sums.size <= limit ? [...this.#sums] : [];
  }
}
