/**
 * The purges for one CDN that wait in this process, one a SKU. A SKU that is added again replaces itself: the newest
 * state counts, and it is purged once. What is sold out comes before what is back in stock, and the newest first,
 * because its copies live the longest; a second purge comes last. What is too late is taken out, because its copies end
 * by themselves. Bounded. Pure: times are arguments, of a clock that cannot be set.
 */
import type { PurgeTarget } from "../purger.js";

/** A whole catalogue of a sale that sells out in a minute, several times over. About 300 bytes each. */
export const MOST_WAITING = 20_000;
/**
 * Caches end a copy within 11 s of its instant (engine/publication/freshness.ts): what is purged later than this after
 * the change has no older copy, or one that ends within a second.
 */
export const LATE_MS = 10_000;

export interface WaitingPurge {
  readonly target: PurgeTarget;
  readonly isSoldOut: boolean;
  /** When the stock changed. */
  readonly changedMs: number;
  /** The earliest time to send it. */
  readonly dueMs: number;
  /** Requests of it that have failed. */
  readonly failures: number;
  /** Whether it has been purged, and is now repeated. */
  readonly isRepeat: boolean;
}

export class PurgeQueue {
  /** Each in the order in which they were added, the oldest first. A SKU is in one of them at most. */
  readonly #soldOut = new Map<string, WaitingPurge>();
  readonly #back = new Map<string, WaitingPurge>();
  readonly #repeats = new Map<string, WaitingPurge>();

  get size(): number {
    return this.#lists.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Adds one, in place of the same SKU.
   * @returns how many had to leave for it
   */
  add(purge: WaitingPurge): number {
    const { sku } = purge.target;
    for (const list of this.#lists) list.delete(sku);
    let dropped = 0;
    while (this.size >= MOST_WAITING) {
      this.#dropOldest();
      dropped++;
    }
    this.#listOf(purge).set(sku, purge);
    return dropped;
  }

  /** Adds one again whose request failed, or that is to be repeated, unless a newer state of its SKU waits. */
  addAgain(purge: WaitingPurge): number {
    const isReplaced = this.#lists.some((list) => list.has(purge.target.sku));
    return isReplaced ? 0 : this.add(purge);
  }

  /** How many may be sent now. */
  due(nowMs: number): number {
    let due = 0;
    for (const { dueMs } of this.#all()) if (dueMs <= nowMs) due++;
    return due;
  }

  /** How long until one may be sent; Infinity when none waits. */
  waitMs(nowMs: number): number {
    let firstMs = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#all()) firstMs = Math.min(firstMs, dueMs);
    return Math.max(0, firstMs - nowMs);
  }

  /** Takes out those that are due, the most useful first. */
  take(nowMs: number, most: number): WaitingPurge[] {
    const taken: WaitingPurge[] = [];
    for (const list of this.#lists) {
      for (const [sku, purge] of [...list].reverse()) {
        if (taken.length >= most) return taken;
        if (purge.dueMs > nowMs) continue;
        list.delete(sku);
        taken.push(purge);
      }
    }
    return taken;
  }

  /** Takes out what is too late. @returns how many */
  dropLate(nowMs: number): number {
    let dropped = 0;
    for (const list of this.#lists) {
      for (const [sku, { changedMs }] of list) {
        if (nowMs - changedMs <= LATE_MS) continue;
        list.delete(sku);
        dropped++;
      }
    }
    return dropped;
  }

  get #lists(): readonly Map<string, WaitingPurge>[] {
    return [this.#soldOut, this.#back, this.#repeats];
  }

  *#all(): Generator<WaitingPurge> {
    for (const list of this.#lists) yield* list.values();
  }

  #listOf({ isSoldOut, isRepeat }: WaitingPurge): Map<string, WaitingPurge> {
    if (isRepeat) return this.#repeats;
    return isSoldOut ? this.#soldOut : this.#back;
  }

  #dropOldest(): void {
    for (const list of [this.#repeats, this.#back, this.#soldOut]) {
      const [oldest] = list.keys();
      if (oldest === undefined) continue;
      list.delete(oldest);
      return;
    }
  }
}
