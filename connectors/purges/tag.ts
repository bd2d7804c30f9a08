/**
 * The tag of a SKU, by which a CDN finds its copies of answers with that SKU: `Cache-Tag` and `Surrogate-Key` have it,
 * and a purge names it. It is made of the SKU's hash, because a SKU may have characters that no header has, and be
 * longer than a tag may be. Two SKUs with one tag (1 of 2^96 pairs) would only be purged together.
 */
import { createHash } from "node:crypto";

/** Of base64url: 96 bits. */
const CHARACTERS = 16;

/** @returns 22 of A-Z a-z 0-9 - _ */
export const tagOf = (sku: string): string =>
  `stock-${createHash("sha256").update(sku).digest("base64url").slice(0, CHARACTERS)}`;
