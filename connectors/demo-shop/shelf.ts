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
 * The generator's book of sellable units by cell. Hand one book to the phases that follow one another, so that the
 * second starts from what the first left.
 */
export class Shelf {
  readonly #units: Int32Array;
  readonly #placeOf: Map<string, number>;

  constructor(catalogue: Catalogue) {
    this.#units = new Int32Array(catalogue.skus.length * WAREHOUSES.length);
    this.#placeOf = new Map(catalogue.skus.map((sku, i) => [sku.code, i]));
    catalogue.skus.forEach((sku, i) => {
      for (const [warehouse, cell] of sku.cells.entries()) this.add(i, warehouse, cell.sellableUnits);
    });
  }

  /** Units of a SKU in a warehouse, both by their places in the catalogue and in WAREHOUSES. */
  at(sku: number, warehouse: number): number {
    return this.#units[sku * WAREHOUSES.length + warehouse] as number;
  }

  /** Units of a SKU in all warehouses. */
  of(sku: number): number {
    return WAREHOUSES.reduce((sum, _, warehouse) => sum + this.at(sku, warehouse), 0);
  }

  /** A warehouse that has the units: the given one, or the fullest; undefined when none has. */
  source(sku: number, warehouse: number, units: number): number | undefined {
    if (this.at(sku, warehouse) >= units) return warehouse;
    let best = 0;
    for (let other = 1; other < WAREHOUSES.length; other++) if (this.at(sku, other) > this.at(sku, best)) best = other;
    return this.at(sku, best) >= units ? best : undefined;
  }

  /** Changes the units of a cell; negative units leave it. */
  add(sku: number, warehouse: number, units: number): void {
    const cell = sku * WAREHOUSES.length + warehouse;
    this.#units[cell] = (this.#units[cell] as number) + units;
  }

  /** An order that was admitted ends before it went out. */
  giveBack(order: Order): void {
    for (const line of order.lines) this.#addLine(line.sku, line.location, line.units);
  }

  /** Follows a command of this module: receipts and returns into sellable, and corrections of it. */
  follow(command: StockCommand): void {
    if (command.kind !== "receive" && command.kind !== "return" && command.kind !== "correct") return;
    if ((command.pool ?? "sellable") === "sellable") this.#addLine(command.sku, command.location, command.units);
  }

  #addLine(sku: string, location: string, units: number): void {
    const place = this.#placeOf.get(sku);
    const warehouse = WAREHOUSES.findIndex((candidate) => candidate.location === location);
    if (place !== undefined && warehouse >= 0) this.add(place, warehouse, units);
  }
}
