/**
 * Numbers cells from 0 on, and finds a cell's number by SKU and location: a hash table of whole numbers, because a
 * million names as keys of a Map cost ten times the memory and a joined text for each look-up. It only grows; it holds
 * the cells of one partition while one comparison reads them.
 */
import { EngineError } from "../kernel/errors.js";

/** Cells of one partition at most: 2^24 of them take some 1.5 GB here and in what belongs to them. */
const MAX_CELLS = 2 ** 24;
const FIRST_CELLS = 1_024;

export class CellIndex {
  readonly skus: string[] = [];
  readonly locations: string[] = [];
  /** Numbers of a cell's SKU and location. */
  skuOf = new Uint32Array(FIRST_CELLS);
  locationOf = new Uint32Array(FIRST_CELLS);
  #length = 0;
  readonly #skus = new Map<string, number>();
  readonly #locations = new Map<string, number>();
  /** A cell's number plus 1, by the hash of its SKU and location; 0: free. Half of it is free at least. */
  #slots = new Uint32Array(2 * FIRST_CELLS);
  /** Rows often come sorted by SKU or by location: the previous ones are tried first. */
  #lastSku = "";
  #lastSkuNumber = -1;
  #lastLocation = "";
  #lastLocationNumber = -1;

  get length(): number {
    return this.#length;
  }

  /** The cell's number; -1 when it is not there. */
  find(sku: string, location: string): number {
    const s = this.#skuNumber(sku);
    const l = this.#locationNumber(location);
    return s < 0 || l < 0 ? -1 : (this.#slots[this.#slotOf(s, l)] as number) - 1;
  }

  /**
   * The cell's number; a new one when it is not there.
   * @throws EngineError `too_many_cells` when a partition has more than can be compared
   */
  add(sku: string, location: string): number {
    const s = this.#skuNumber(sku, true);
    const l = this.#locationNumber(location, true);
    let slot = this.#slotOf(s, l);
    const found = this.#slots[slot] as number;
    if (found > 0) return found - 1;
    const cell = this.#length;
    if (cell >= MAX_CELLS) {
      const detail = { op: "stock.scan", code: "too_many_cells", retryable: false };
      throw new EngineError(`more than ${MAX_CELLS} cells in one partition`, detail);
    }
    if (cell === this.skuOf.length) {
      this.#grow();
      slot = this.#slotOf(s, l);
    }
    this.skuOf[cell] = s;
    this.locationOf[cell] = l;
    this.#slots[slot] = cell + 1;
    this.#length++;
    return cell;
  }

  /** Whether a cell has this SKU and location: cheaper than finding it, where the number can be guessed. */
  is(cell: number, sku: string, location: string): boolean {
    return cell < this.#length && this.sku(cell) === sku && this.location(cell) === location;
  }

  sku(cell: number): string {
    return this.skus[this.skuOf[cell] as number] as string;
  }

  location(cell: number): string {
    return this.locations[this.locationOf[cell] as number] as string;
  }

  #skuNumber(sku: string, isAdding = false): number {
    if (sku === this.#lastSku && this.#lastSkuNumber >= 0) return this.#lastSkuNumber;
    const found = numberIn(this.#skus, this.skus, sku, isAdding);
    this.#lastSku = sku;
    this.#lastSkuNumber = found;
    return found;
  }

  #locationNumber(location: string, isAdding = false): number {
    if (location === this.#lastLocation && this.#lastLocationNumber >= 0) return this.#lastLocationNumber;
    const found = numberIn(this.#locations, this.locations, location, isAdding);
    this.#lastLocation = location;
    this.#lastLocationNumber = found;
    return found;
  }

  /** The slot of a cell, or the free one where it would be. */
  #slotOf(sku: number, location: number): number {
    const mask = this.#slots.length - 1;
    let slot = hash(sku, location) & mask;
    for (;;) {
      const cell = (this.#slots[slot] as number) - 1;
      if (cell < 0 || (this.skuOf[cell] === sku && this.locationOf[cell] === location)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    this.skuOf = longer(this.skuOf);
    this.locationOf = longer(this.locationOf);
    this.#slots = new Uint32Array(2 * this.skuOf.length);
    for (let cell = 0; cell < this.#length; cell++)
      this.#slots[this.#slotOf(this.skuOf[cell] as number, this.locationOf[cell] as number)] = cell + 1;
  }
}

function numberIn(numbers: Map<string, number>, names: string[], name: string, isAdding: boolean): number {
  const found = numbers.get(name);
  if (found !== undefined) return found;
  if (!isAdding) return -1;
  numbers.set(name, names.length);
  return names.push(name) - 1;
}

function longer(numbers: Uint32Array): Uint32Array<ArrayBuffer> {
  const copy = new Uint32Array(2 * numbers.length);
  copy.set(numbers);
  return copy;
}

/** Mixes two small numbers (the finalizer of MurmurHash3, public domain). */
function hash(sku: number, location: number): number {
  let mixed = Math.imul(sku, 0x9e3779b1) ^ Math.imul(location, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
