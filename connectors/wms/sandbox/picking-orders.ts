/**
 * The picking orders that the sandbox has made: when each order got its first, and how many it got beyond that. One
 * picking order per idempotency key; without keys every parsed request makes another. Memory is bounded: past a
 * limit the oldest order is dropped, and a repeat of it would count as a new one.
 */
export class PickingOrders {
  readonly #limit: number;
  /** The oldest first. */
  readonly #firstMs = new Map<string, number>();
  readonly #withdrawn = new Set<string>();
  readonly #picked = new Set<string>();
  /** Orders that got a picking order, dropped ones included. */
  accepted = 0;
  /** Picking orders beyond an order's first. */
  duplicates = 0;

  /** @param limit orders that are kept */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Records a picking order that was made at `atMs`. */
  make(order: string, atMs: number): void {
    if (this.#firstMs.has(order)) {
      this.duplicates++;
      return;
    }
    this.accepted++;
    this.#firstMs.set(order, atMs);
    if (this.#firstMs.size <= this.#limit) return;
    const oldest = this.#firstMs.keys().next().value as string;
    for (const kept of [this.#firstMs, this.#picked, this.#withdrawn]) kept.delete(oldest);
  }

  /** Records that the goods of an order were taken from the shelf. */
  pick(order: string): void {
    this.#picked.add(order);
  }

  /** Withdraws an order. One that was never received is not accepted later either. */
  withdraw(order: string): "withdrawn" | "already_withdrawn" | "already_picked" | "unknown_order" {
    if (this.#picked.has(order)) return "already_picked";
    const isKnown = this.#firstMs.has(order);
    if (isKnown && this.#withdrawn.has(order)) return "already_withdrawn";
    this.#withdrawn.add(order);
    if (this.#withdrawn.size > this.#limit) this.#withdrawn.delete(this.#withdrawn.keys().next().value as string);
    return isKnown ? "withdrawn" : "unknown_order";
  }

  isWithdrawn(order: string): boolean {
    return this.#withdrawn.has(order);
  }

  /** Every kept order and the instant of its first picking order. */
  get orders(): [order: string, firstMs: number][] {
    return [...this.#firstMs];
  }
}
