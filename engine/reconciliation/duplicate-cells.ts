/**
 * Finds a cell that a snapshot has twice: it is given the rows of one partition, chunk by chunk. It keeps each SKU once
 * and a bit for each SKU and location, so that a million rows take some 30 MB. A source that reports a cell twice may
 * mean the sum or the later row; nobody knows, so it is a fault.
 */
import type { RowChunk } from "./model.js";

export class DuplicateCells {
  readonly #numbers = new Map<string, number>();
  readonly #seen = new Map<string, Uint8Array>();

  /** The first cell of the chunk that has come before, in it or in an earlier one. */
  find({ skus, locations }: RowChunk): { sku: string; location: string } | undefined {
    let lastSku: string | undefined;
    let number = 0;
    for (let i = 0; i < skus.length; i++) {
      const sku = skus[i] as string;
      const location = locations[i] as string;
      if (sku !== lastSku) number = this.#numberOf(sku);
      lastSku = sku;
      const bits = this.#bitsOf(location, number);
      const bit = 1 << (number & 7);
      const byte = bits[number >> 3] as number;
      if ((byte & bit) !== 0) return { sku, location };
      bits[number >> 3] = byte | bit;
    }
    return undefined;
  }

  #numberOf(sku: string): number {
    const known = this.#numbers.get(sku);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(sku, number);
    return number;
  }

  #bitsOf(location: string, number: number): Uint8Array {
    const bits = this.#seen.get(location);
    if (bits && number >> 3 < bits.length) return bits;
    const larger = new Uint8Array(Math.max(64, 2 * ((number >> 3) + 1)));
    if (bits) larger.set(bits);
    this.#seen.set(location, larger);
    return larger;
  }
}
