/**
 * What the warehouse will pick: every picking order that was made, when its order got its first, and how many it got
 * beyond that. One picking order per idempotency key; without keys each parsed request makes another. Bounded: past
 * so many orders it takes no new one.
 */
const MAX_ORDERS = 1_000_000;

export class PickingBook {
  readonly #firstMs = new Map<string, number>();
  /** Picking orders beyond an order's first. */
  duplicates = 0;
  readonly #withdrawn = new Set<string>();
  readonly #picked = new Set<string>();

  get isFull(): boolean {
    return this.#firstMs.size >= MAX_ORDERS;
  }

  /** Notes a picking order that was made at `atMs`. */
  make(order: string, atMs: number): void {
    if (this.#firstMs.has(order)) this.duplicates++;
    else this.#firstMs.set(order, atMs);
  }

  /** Somebody has gone and taken the goods of an order from the shelf. */
  pick(order: string): void {
    this.#picked.add(order);
  }

  /** Takes an order back. One that it does not have it will not take later either. */
  withdraw(order: string): "withdrawn" | "already_withdrawn" | "already_picked" | "unknown_order" {
    if (this.#picked.has(order)) return "already_picked";
    const isKnown = this.#firstMs.has(order);
    if (isKnown && this.#withdrawn.has(order)) return "already_withdrawn";
    if (this.#withdrawn.size < MAX_ORDERS) this.#withdrawn.add(order);
    return isKnown ? "withdrawn" : "unknown_order";
  }

  isWithdrawn(order: string): boolean {
    return this.#withdrawn.has(order);
  }

  /** Every order and the instant of its first picking order. */
  get orders(): [order: string, firstMs: number][] {
    return [...this.#firstMs];
  }

  get size(): number {
    return this.#firstMs.size;
  }
}
