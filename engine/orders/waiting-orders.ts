/**
 * How many orders wait for the warehouse, and whether the deployment has one. The count is derived from the heads of
 * the partitions, where each order is counted once by its own record; so neither a repeat nor the removal of a dead
 * letter counts twice.
 */
import { sinkKeys } from "../stream/keys.js";
import { readFields } from "../stream/reads.js";
import { ORDER_STEPS } from "./model.js";
import type { OrderCalls } from "./order-calls.js";

/** Fields of a partition's head: those that orders.lua writes for each step, `s<step>`, and two more. */
const LOCKED = `s${ORDER_STEPS.indexOf("locked")}`;
const PICKING = `s${ORDER_STEPS.indexOf("picking")}`;
/** Locked orders that never go to the warehouse: they were paid before there was one. Its presence means one exists. */
const WAITING_BASE = "waiting-base";
/** Orders that ended before the warehouse had them. Stored name. */
const LEFT = "left";

export class WaitingOrders {
  readonly #calls: OrderCalls;
  readonly #prefix: string;
  #hasWarehouse = false;

  constructor(calls: OrderCalls, prefix: string) {
    this.#calls = calls;
    this.#prefix = prefix;
  }

  /** Whether a warehouse is or was connected to the deployment; every partition holds the answer. */
  async readHasWarehouse(partition: number): Promise<boolean> {
    if (this.#hasWarehouse) return true;
    const [base] = await readFields(this.#calls.redis, this.#calls.keysOf(partition).head, [WAITING_BASE]);
    if (base !== null) this.#hasWarehouse = true;
    return base !== null;
  }

  /** The same as far as this process has read it. Never becomes false again. */
  get hasWarehouse(): boolean {
    return this.#hasWarehouse;
  }

  /** Called when a tick has reported a warehouse. */
  setHasWarehouse(): void {
    this.#hasWarehouse = true;
  }

  /** Begins to count, once in a deployment's life: orders that were paid before that never go to the warehouse. */
  async begin(): Promise<void> {
    const { redis, keys } = this.#calls;
    for (const { head } of keys) {
      const [locked, picking, left] = await readFields(redis, head, [LOCKED, PICKING, LEFT]);
      await redis.hsetnx(head, WAITING_BASE, numberOf(locked) - numberOf(picking) - numberOf(left));
    }
  }

  /**
   * Orders whose stock is locked and which are not at the warehouse, cancelled or outbound, nor have their request
   * among the dead letters.
   */
  async count(): Promise<number> {
    const { redis, keys } = this.#calls;
    const fields = [LOCKED, PICKING, WAITING_BASE, LEFT];
    const heads = await Promise.all(keys.map(({ head }) => readFields(redis, head, fields)));
    return heads.reduce((sum, head) => {
      const [locked, picking, base, left] = head.map(numberOf) as [number, number, number, number];
      return sum + Math.max(0, locked - picking - base - left);
    }, 0);
  }

  /**
   * Corrects a count of older releases, if no order of a partition waits for the warehouse now. Returns whether none
   * waits.
   * @param cursors fields of the tasks of the jobs and of the sink that hold their cursors
   */
  async correct(partition: number, sink: string, cursors: { job: string; sink: string }): Promise<boolean> {
    const { head, task } = this.#calls.keysOf(partition);
    const keys = [head, task, sinkKeys(this.#prefix, "orders", partition, sink).task];
    return (await this.#calls.write("order_correct_waiting", keys, [cursors.job, cursors.sink])) === 1;
  }
}

export const numberOf = (bytes: Buffer | null | undefined): number => Number(bytes?.toString("latin1") ?? 0);
