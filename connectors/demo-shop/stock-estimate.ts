/**
 * The generator's own estimate of sellable units: one number per SKU and warehouse, changed by the orders it generates
 * and by its own receipts, returns and corrections. It decides deliveries, sold-out SKUs and livestreams without a call
 * to the ledger. It assumes that the ledger accepts what is available, and refuses nothing itself: a cell may go below
 * zero. It does not contain safety and presale stock.
 */
import type { StockCommand } from "../../engine/stock/model.js";
import type { Order } from "./actions.js";
import { type Catalogue, WAREHOUSES } from "./catalogue.js";

/**
 * Sellable units by cell, as the generator estimates them. Use one for all phases, so that each starts from what the
 * one before left.
 */
export class StockEstimate {
  readonly #units: Int32Array;
  readonly #indexOf: Map<string, number>;

  constructor(catalogue: Catalogue) {
    this.#units = new Int32Array(catalogue.skus.length * WAREHOUSES.length);
    this.#indexOf = new Map(catalogue.skus.map((sku, i) => [sku.code, i]));
    catalogue.skus.forEach((sku, i) => {
      for (const [warehouse, cell] of sku.cells.entries()) this.add(i, warehouse, cell.sellableUnits);
    });
  }

  /** Units of a SKU in a warehouse, by their indexes in the catalogue and in WAREHOUSES. */
  at(sku: number, warehouse: number): number {
    return this.#units[sku * WAREHOUSES.length + warehouse] as number;
  }

  /** Units of a SKU in all warehouses. */
  of(sku: number): number {
    return WAREHOUSES.reduce((sum, _, warehouse) => sum + this.at(sku, warehouse), 0);
  }

  /** A warehouse with enough units: the given one, or the one with the most; undefined when none has enough. */
  source(sku: number, warehouse: number, units: number): number | undefined {
    if (this.at(sku, warehouse) >= units) return warehouse;
    let best = 0;
    for (let other = 1; other < WAREHOUSES.length; other++) if (this.at(sku, other) > this.at(sku, best)) best = other;
    return this.at(sku, best) >= units ? best : undefined;
  }

  /** Adds units to a cell; negative units are deducted. */
  add(sku: number, warehouse: number, units: number): void {
    const cell = sku * WAREHOUSES.length + warehouse;
    this.#units[cell] = (this.#units[cell] as number) + units;
  }

  /** Adds the units of an accepted order that was cancelled or has expired. */
  release(order: Order): void {
    for (const line of order.lines) this.#addLine(line.sku, line.location, line.units);
  }

  /** Applies a generated command: receipts and returns into sellable, and corrections of it. */
  apply(command: StockCommand): void {
    if (command.kind !== "receive" && command.kind !== "return" && command.kind !== "correct") return;
    if ((command.pool ?? "sellable") === "sellable") this.#addLine(command.sku, command.location, command.units);
  }

  #addLine(sku: string, location: string, units: number): void {
    const index = this.#indexOf.get(sku);
    const warehouse = WAREHOUSES.findIndex((candidate) => candidate.location === location);
    if (index !== undefined && warehouse >= 0) this.add(index, warehouse, units);
  }
}
