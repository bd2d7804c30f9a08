/**
 * Counts the events of the last second at any instant, not only at whole seconds of a clock, and the largest count
 * so far. Instants are real milliseconds that never go back. Memory: one number per event of the last second.
 */
const SECOND_MS = 1_000;
const INITIAL_CAPACITY = 1_024;

export class SlidingSecond {
  /** A ring: the instants of the last second, the oldest first. */
  #instants = new Float64Array(INITIAL_CAPACITY);
  #first = 0;
  #length = 0;
  #most = 0;

  /** Events in the second that ends at `nowMs`. */
  countAt(nowMs: number): number {
    const { length } = this.#instants;
    while (this.#length > 0 && (this.#instants[this.#first] as number) <= nowMs - SECOND_MS) {
      this.#first = (this.#first + 1) % length;
      this.#length--;
    }
    return this.#length;
  }

  add(nowMs: number): void {
    this.countAt(nowMs);
    if (this.#length === this.#instants.length) this.#grow();
    this.#instants[(this.#first + this.#length) % this.#instants.length] = nowMs;
    this.#length++;
    if (this.#length > this.#most) this.#most = this.#length;
  }

  /** The most events that any sliding second has held. */
  get most(): number {
    return this.#most;
  }

  #grow(): void {
    const next = new Float64Array(this.#instants.length * 2);
    const tail = this.#instants.subarray(this.#first);
    next.set(tail);
    next.set(this.#instants.subarray(0, this.#first), tail.length);
    this.#instants = next;
    this.#first = 0;
  }
}
