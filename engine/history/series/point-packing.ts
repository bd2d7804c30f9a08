/**
 * Points of one stretch of time as bytes: the minutes of an hour, the hours of a day, or some days, each by its number
 * in the stretch. For each point: a variable-length integer with the numbers that were skipped and which fields it has,
 * the value, and the difference of its stock to the one before. A busy minute takes 3 to 5 bytes. The format has no
 * version: another one would have other field names.
 */

/** A point by the number of its bucket in the stretch. */
export interface PackedPoint {
  readonly index: number;
  readonly value?: number;
  readonly stock?: number;
}

const HAS_VALUE = 1;
const HAS_STOCK = 2;
const FLAGS = 4;

/** Packs points in ascending order of their numbers; values and stock are integers below 2^52. */
export function packPoints(points: readonly PackedPoint[]): Buffer {
  const bytes: number[] = [];
  let next = 0;
  let stockBefore = 0;
  for (const { index, value, stock } of points) {
    const flags = (value === undefined ? 0 : HAS_VALUE) + (stock === undefined ? 0 : HAS_STOCK);
    pushInteger(bytes, (index - next) * FLAGS + flags);
    if (value !== undefined) pushInteger(bytes, value);
    if (stock !== undefined) {
      const difference = stock - stockBefore;
      pushInteger(bytes, difference < 0 ? -2 * difference - 1 : 2 * difference);
      stockBefore = stock;
    }
    next = index + 1;
  }
  return Buffer.from(bytes);
}

/** The points that `packPoints` has packed; undefined when the bytes are damaged. @param size buckets of the stretch */
export function unpackPoints(bytes: Uint8Array, size: number): PackedPoint[] | undefined {
  const points: PackedPoint[] = [];
  const from = { at: 0 };
  let next = 0;
  let stockBefore = 0;
  while (from.at < bytes.length) {
    const head = takeInteger(bytes, from);
    if (head === undefined) return undefined;
    const flags = head % FLAGS;
    const index = next + Math.floor(head / FLAGS);
    if (index >= size) return undefined;
    const value = flags % 2 === HAS_VALUE ? takeInteger(bytes, from) : undefined;
    if (flags % 2 === HAS_VALUE && value === undefined) return undefined;
    let stock: number | undefined;
    if (flags >= HAS_STOCK) {
      const zigzag = takeInteger(bytes, from);
      if (zigzag === undefined) return undefined;
      stock = stockBefore + (zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2);
      stockBefore = stock;
    }
    points.push({ index, ...(value === undefined ? {} : { value }), ...(stock === undefined ? {} : { stock }) });
    next = index + 1;
  }
  return points;
}

/** 7 bits a byte, the lowest first; the last byte is below 128. */
function pushInteger(bytes: number[], integer: number): void {
  let rest = integer;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

function takeInteger(bytes: Uint8Array, from: { at: number }): number | undefined {
  let integer = 0;
  for (let scale = 1; scale <= Number.MAX_SAFE_INTEGER; scale *= 128) {
    const byte = bytes[from.at++];
    if (byte === undefined) return undefined;
    integer += (byte % 128) * scale;
    if (byte < 128) return integer <= Number.MAX_SAFE_INTEGER ? integer : undefined;
  }
  return undefined;
}
