/**
 * Sums of units that stay exact when they pass what a number holds exactly. A balance never does, but taking events
 * back in the order of the log may on the way: of two receipts of 2^52 units, of which the first had left before the
 * second came. What such a step rounds away is kept beside the sums, and added in the end.
 */
export class ExactSums<Place> {
  readonly #lost = new Map<Place, number>();

  /** The sum of a place's value and some units, both whole. */
  add(place: Place, value: number, units: number): number {
    const sum = value + units;
    if (sum <= Number.MAX_SAFE_INTEGER && sum >= -Number.MAX_SAFE_INTEGER) return sum;
    // Exact for every two numbers (Knuth's TwoSum).
    const added = sum - value;
    const lost = value - (sum - added) + (units - added);
    this.#lost.set(place, (this.#lost.get(place) ?? 0) + lost);
    return sum;
  }

  /** What each place has to get in the end; most often nothing. */
  rest(): IterableIterator<[Place, number]> {
    return this.#lost.entries();
  }
}
