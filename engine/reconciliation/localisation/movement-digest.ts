/**
 * Digests of movements, to find where two sides part without comparing every movement (R15): units, number and a sum of
 * hashes, of a cell, rolled up to its location and to the shop. A digest is a difference: the ledger's movements are
 * added and the source's are taken away, in any order, so that equal sides leave zero and only what differs has to be
 * read again, by minutes. Late bookings leave a difference in one minute and take it away in another. Two sides that
 * differ have equal digests once in 2^64 times; equal sides never differ.
 */
import { CELL_SEPARATOR } from "../../stock/model.js";

/** The difference between two sides in one place. */
class Digest {
  units = 0;
  count = 0;
  /** Two sums of hashes, modulo 2^32, over what is booked; */
  #low = 0;
  #high = 0;
  /** and the same over the ids too. */
  #idLow = 0;
  #idHigh = 0;

  add(sign: 1 | -1, { units, low, high, idLow, idHigh }: HashedMovement): void {
    this.units += sign * units;
    this.count += sign;
    this.#low = (this.#low + sign * low) | 0;
    this.#high = (this.#high + sign * high) | 0;
    this.#idLow = (this.#idLow + sign * idLow) | 0;
    this.#idHigh = (this.#idHigh + sign * idHigh) | 0;
  }

  merge(other: Digest): void {
    this.units += other.units;
    this.count += other.count;
    this.#low = (this.#low + other.#low) | 0;
    this.#high = (this.#high + other.#high) | 0;
    this.#idLow = (this.#idLow + other.#idLow) | 0;
    this.#idHigh = (this.#idHigh + other.#idHigh) | 0;
  }

  /** @param withIds whether both sides use the same ids */
  isZero(withIds: boolean): boolean {
    const isSame = this.units === 0 && this.count === 0 && this.#low === 0 && this.#high === 0;
    return isSame && (!withIds || (this.#idLow === 0 && this.#idHigh === 0));
  }
}

export interface DigestedMovement {
  readonly id: string;
  readonly sku: string;
  readonly location: string;
  readonly units: number;
  readonly atMs: number;
}

interface HashedMovement {
  units: number;
  low: number;
  high: number;
  idLow: number;
  idHigh: number;
}

const MINUTE_MS = 60_000;

/** FNV-1a of the text, continued from a start. */
function hashOf(text: string, start: number): number {
  let hash = start;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  // The last steps of murmur3, so that sums of similar texts do not cancel.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function hashed({ id, sku, location, units }: DigestedMovement): HashedMovement {
  const text = `${sku}${CELL_SEPARATOR}${location}${CELL_SEPARATOR}${units}`;
  const low = hashOf(text, 0x811c9dc5 | 0);
  const high = hashOf(text, 0x9e3779b9 | 0);
  return { units, low, high, idLow: hashOf(id, low), idHigh: hashOf(id, high) };
}

function digestIn<Key>(map: Map<Key, Digest>, key: Key): Digest {
  const found = map.get(key) ?? new Digest();
  map.set(key, found);
  return found;
}

/** The roll-up of one partition or of the shop: memory of some 150 bytes a cell, whatever the number of movements. */
export class DigestTree {
  readonly #shop = new Digest();
  readonly #locations = new Map<string, Digest>();
  readonly #cells = new Map<string, Map<string, Digest>>();

  add(sign: 1 | -1, movement: DigestedMovement): void {
    const each = hashed(movement);
    const { sku, location } = movement;
    this.#shop.add(sign, each);
    digestIn(this.#locations, location).add(sign, each);
    const skus = this.#cells.get(location) ?? new Map<string, Digest>();
    this.#cells.set(location, skus);
    digestIn(skus, sku).add(sign, each);
  }

  /** The cells that differ: looks into the shop, then into the locations that differ, then into their SKUs. */
  *differing(withIds: boolean): Generator<{ sku: string; location: string; digest: Digest }> {
    if (this.#shop.isZero(withIds)) return;
    for (const [location, whole] of this.#locations) {
      if (whole.isZero(withIds)) continue;
      for (const [sku, digest] of this.#cells.get(location) ?? [])
        if (!digest.isZero(withIds)) yield { sku, location, digest };
    }
  }
}

/** One cell by minutes. */
export class MinuteDigests {
  readonly #minutes = new Map<number, Digest>();

  add(sign: 1 | -1, movement: DigestedMovement): void {
    digestIn(this.#minutes, Math.floor(movement.atMs / MINUTE_MS)).add(sign, hashed(movement));
  }

  /**
   * The beginning of the minute from which on the two sides are never the same again; undefined: they are the same at
   * the end. What one side books a minute later than the other parts them only until then.
   */
  partedMs(withIds: boolean): number | undefined {
    const sum = new Digest();
    let parted: number | undefined;
    for (const [minute, digest] of [...this.#minutes].sort(([a], [b]) => a - b)) {
      sum.merge(digest);
      if (sum.isZero(withIds)) parted = undefined;
      else parted ??= minute * MINUTE_MS;
    }
    return parted;
  }
}
