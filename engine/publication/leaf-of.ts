/**
 * In which leaf of a publication a SKU is: the uppermost bits of a hash of its name (FNV-1a, 32 bits, over UTF-8).
 * Every reader computes the same from the manifest's number of leaves, so no list of SKUs is published. The leaves of
 * one index object are neighbours. The hash spreads SKUs evenly, but resists nobody who chooses names to fill one leaf.
 * test/publication/leaf-vectors.json has values for other implementations.
 */

/** At most: the bits of the hash. */
const HASH_BITS = 32;
const FNV_OFFSET_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

const utf8 = new TextEncoder();

export interface LeafCounts {
  /** A power of two, and not less than `indexes`. */
  readonly leaves: number;
  /** Index objects: a power of two. */
  readonly indexes: number;
}

/** The number of a SKU's leaf, from 0. @param leaves a power of two */
export const leafOf = (sku: string, leaves: number): number => leafOfHash(fnv1a32(sku), leaves);

/** The same of a SKU in UTF-8: less code, for pages, and slower. */
export const leafOfBytes = (sku: Uint8Array, leaves: number): number => leafOfHash(fnv1a32OfBytes(sku), leaves);

/** A shift by 32 would shift by 0. */
const leafOfHash = (hash: number, leaves: number): number =>
  leaves === 1 ? 0 : hash >>> (HASH_BITS - Math.log2(leaves));

/** The number of the index object that names a leaf, from 0. */
export function indexOfLeaf(leaf: number, { leaves, indexes }: LeafCounts): number {
  return Math.floor(leaf / (leaves / indexes));
}

function fnv1a32(text: string): number {
  let hash = FNV_OFFSET_BASIS;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // In UTF-8 it has several bytes.
    if (code > 0x7f) return fnv1a32OfBytes(utf8.encode(text));
    hash = Math.imul(hash ^ code, FNV_PRIME);
  }
  return hash >>> 0;
}

function fnv1a32OfBytes(bytes: Uint8Array): number {
  let hash = FNV_OFFSET_BASIS;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return hash >>> 0;
}
