/**
 * An audit from the log and nothing else: it folds events into balances, without the rules that made them,
 * and keeps what has come from outside for every SKU. A transfer that would take a pool below zero or past the limit,
 * an event out of order, or a sum that is not zero is a fault (R1, R2). It does not check whether an event should
 * have happened; the reference does that.
 */
import {
  type Balances,
  cellOf,
  emptyBalances,
  MAX_UNITS,
  onHandUnits,
  POOLS,
  type StockEvent,
} from "../../engine/stock/model.js";

export class Audit {
  readonly cells = new Map<string, Balances>();
  clockMs = 0;
  /** What every SKU has given to the outside, in units; exact, because sums over locations pass 2^53. */
  readonly #outside = new Map<string, bigint>();
  readonly #cellsBySku = new Map<string, Set<string>>();

  fold(event: StockEvent): void {
    const { sku, location, from, to, units, clockMs } = event;
    if (clockMs < this.clockMs) throw new Error(`the clock went back from ${this.clockMs} to ${clockMs}`);
    if (!Number.isSafeInteger(units) || units < 0) throw new Error(`${units} is no number of units`);
    this.clockMs = clockMs;
    if (event.atMs > clockMs) throw new Error(`an event of ${event.atMs} was written at ${clockMs}`);
    if (from === "outside") this.#give(sku, -units);
    else this.#shift(sku, location, from, -units);
    if (to === "outside") this.#give(sku, units);
    else this.#shift(sku, event.toLocation ?? location, to, units);
  }

  /** Throws unless all accounts of a SKU, the outside included, sum up to nothing. */
  checkSum(sku: string): void {
    let sum = this.#outside.get(sku) ?? 0n;
    for (const cell of this.#cellsBySku.get(sku) ?? []) {
      const balances = this.cells.get(cell) as Balances;
      for (const pool of POOLS) sum += BigInt(balances[pool]);
    }
    if (sum !== 0n) throw new Error(`${sum} units of ${sku} came from nowhere`);
  }

  #give(sku: string, units: number): void {
    this.#outside.set(sku, (this.#outside.get(sku) ?? 0n) + BigInt(units));
  }

  #shift(sku: string, location: string, pool: keyof Balances, units: number): void {
    const cell = cellOf(sku, location);
    let balances = this.cells.get(cell);
    if (!balances) {
      balances = emptyBalances();
      this.cells.set(cell, balances);
      const cells = this.#cellsBySku.get(sku) ?? new Set();
      this.#cellsBySku.set(sku, cells.add(cell));
    }
    balances[pool] += units;
    if (balances[pool] < 0) throw new Error(`${pool} of ${sku} at ${location} fell to ${balances[pool]}`);
    if (units > 0 && Math.max(onHandUnits(balances), balances.presale) > MAX_UNITS) {
      throw new Error(`${sku} at ${location} has more than can be counted`);
    }
  }
}
