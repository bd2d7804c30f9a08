/**
 * Keeps the greatest of many items, a limited number, in memory for that number: a heap whose first item is the least
 * of those that are kept. Of items of the same size at the limit, some are kept and some are not.
 */
export class Greatest<T> {
  readonly #limit: number;
  readonly #heap: { size: number; item: T }[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether an item of this size would be kept now; so that no other has to be made. */
  takes(size: number): boolean {
    return this.#heap.length < this.#limit || size > (this.#heap[0]?.size ?? Number.POSITIVE_INFINITY);
  }

  add(size: number, item: T): void {
    const heap = this.#heap;
    if (!this.takes(size)) return;
    if (heap.length < this.#limit) {
      heap.push({ size, item });
      this.#rise(heap.length - 1);
    } else {
      heap[0] = { size, item };
      this.#sink(0);
    }
  }

  /** All of them, in no order. */
  items(): T[] {
    return this.#heap.map(({ item }) => item);
  }

  #rise(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#isLess(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(from: number): void {
    for (let at = from; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      if (left < this.#heap.length && this.#isLess(left, least)) least = left;
      if (right < this.#heap.length && this.#isLess(right, least)) least = right;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #isLess(a: number, b: number): boolean {
    return (this.#heap[a] as { size: number }).size < (this.#heap[b] as { size: number }).size;
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap as { size: number; item: T }[];
    [heap[a], heap[b]] = [heap[b] as { size: number; item: T }, heap[a] as { size: number; item: T }];
  }
}
