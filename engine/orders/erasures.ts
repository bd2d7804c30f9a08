/**
 * The erasure of personal data in the order store: what is due, erasing it, and confirming that no other storage holds
 * any of it. An order stays in the list of erasures until that is confirmed, so that an erasure that was interrupted
 * is repeated. Stock, lines and steps of the orders stay.
 */
import { HOUR_MS } from "../kernel/clock.js";
import { type Argument, dayNumber, keysBeforeDays, type OrderCalls } from "./order-calls.js";

/** `not_due`: to be kept for now. `on_its_way`: the order is paid and the warehouse does not have it yet. */
export type EraseOutcome = "erased" | "not_due" | "unknown" | "on_its_way";

/**
 * An erasure that was begun and not confirmed, because a storage is down or a process died, is due again after this.
 */
const RETRY_AFTER_MS = HOUR_MS;

/** By the number that `order_erase` returns. */
const ERASE_OUTCOMES = new Map<number, EraseOutcome>([
  [1, "erased"],
  [0, "not_due"],
  [-1, "unknown"],
  [-2, "on_its_way"],
]);

export class Erasures {
  readonly #calls: OrderCalls;

  constructor(calls: OrderCalls) {
    this.#calls = calls;
  }

  /** Orders of a partition whose personal data is to be erased, and has been for `dueForMs`; `limit` at most. */
  async due(partition: number, limit: number, dueForMs = 0): Promise<string[]> {
    const { head, erasures } = this.#calls.keysOf(partition);
    const args = [this.#calls.now(), limit, dueForMs];
    const ids = (await this.#calls.call("order_due_erasures", [head, erasures], args)) as Buffer[];
    return ids.map((id) => id.toString("latin1"));
  }

  /**
   * Erases the personal data that the order store holds. Safe to repeat. An order is due again until `confirm` is
   * called for it.
   * @param ids of one partition
   * @param onlyDue false: on request, before it is due
   */
  async erase(partition: number, ids: readonly string[], onlyDue: boolean): Promise<EraseOutcome[]> {
    const { orders, buyers, ...partitionKeys } = this.#calls.keysOf(partition);
    const keys = keysBeforeDays(partitionKeys);
    // On request the order is due again at once: another process may reach the storages that this one cannot.
    const args: Argument[] = [this.#calls.now(), onlyDue ? 1 : 0, onlyDue ? RETRY_AFTER_MS : 0];
    for (const id of ids) args.push(dayNumber(keys, orders, buyers, id), id);
    const results = (await this.#calls.write("order_erase", keys, args)) as number[];
    return results.map((result) => ERASE_OUTCOMES.get(result) as EraseOutcome);
  }

  /** Confirms that no storage holds personal data of these orders: they are not due again. */
  async confirm(partition: number, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#calls.redis.zrem(this.#calls.keysOf(partition).erasures, ...ids);
  }
}
