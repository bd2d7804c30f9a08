/**
 * The schedule of the demo shop: future steps of open orders, expiries, and the warehouses' commands. Entries are
 * added in any order and taken by time; those of one instant are taken in the order in which they were added, so that
 * the same traffic gives the same stream. Adding or taking one costs O(log n). Entries are never removed: the
 * consumer decides whether an action still applies.
 */
import type { Action, Order } from "./actions.js";

/** A future action, or an expiry, which has none. When due, the units of `releases` are added to the stock estimate. */
export interface Entry {
  readonly atMs: number;
  readonly turn: number;
  readonly action: Action | undefined;
  readonly releases: Order | undefined;
}

/** Future entries: a binary heap by time, then by the order in which they were added. */
export class Agenda {
  readonly #heap: Entry[] = [];
  #turn = 0;

  add(atMs: number, action: Action | undefined, releases?: Order): void {
    const heap = this.#heap;
    const entry: Entry = { atMs, turn: this.#turn++, action, releases };
    let hole = heap.length;
    heap.push(entry);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const above = heap[parent] as Entry;
      if (!comesBefore(entry, above)) break;
      heap[hole] = above;
      hole = parent;
    }
    heap[hole] = entry;
  }

  /** Takes the earliest entry if it is due. */
  take(untilMs: number): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.atMs > untilMs) return undefined;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return first;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && comesBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      const below = heap[child] as Entry;
      if (!comesBefore(below, last)) break;
      heap[hole] = below;
      hole = child;
    }
    heap[hole] = last;
    return first;
  }
}

const comesBefore = (a: Entry, b: Entry): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.turn < b.turn);
