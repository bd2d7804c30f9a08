/**
 * The stored form of a chunk of rows, by column: a SKU once for neighbouring rows that have it, locations by number,
 * figures as variable-length integers, and the whole deflated, because neighbouring SKUs differ in a few characters.
 * Equal rows in the same order give equal bytes, so a digest of them shows whether two parts have the same content. It
 * does not check what it packs: SKUs, locations and ids have no control characters.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { EngineError } from "../../kernel/errors.js";
import type { Movement, RowChunk } from "../model.js";

/** Rows of one chunk: some 60 KB before it is deflated, 2 ms of work. */
export const CHUNK_ROWS = 4_096;
const VERSION = 1;
/** Separates texts; no SKU, location or id contains it. */
const SEPARATOR = "\u001f";
/** Most bytes of an unsigned integer below 2^53. */
const INTEGER_BYTES = 8;
/** The fastest level: a higher one makes chunks 8 % smaller and takes three times as long. */
const LEVEL = 1;

/** Collects rows and packs them; it may be filled again afterwards. */
export interface ChunkBuilder {
  readonly rows: number;
  /** The rows since the last call. */
  take(): Buffer;
}

/** Writes integers and texts one after the other. */
class Packer {
  #bytes = Buffer.allocUnsafe(CHUNK_ROWS * 16);
  #at = 0;

  unsigned(value: number): void {
    this.#reserve(INTEGER_BYTES);
    let left = value;
    while (left >= 0x80) {
      this.#bytes[this.#at++] = (left % 0x80) | 0x80;
      left = Math.floor(left / 0x80);
    }
    this.#bytes[this.#at++] = left;
  }

  /** Small numbers of either sign take one byte. */
  signed(value: number): void {
    this.unsigned(value < 0 ? -2 * value - 1 : 2 * value);
  }

  texts(values: readonly string[]): void {
    const text = values.join(SEPARATOR);
    const length = Buffer.byteLength(text);
    this.unsigned(values.length);
    this.unsigned(length);
    this.#reserve(length);
    this.#at += this.#bytes.write(text, this.#at);
  }

  /** The bytes written so far; they are valid until the next write. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#at = 0;
    return taken;
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#at + length));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

class Unpacker {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  unsigned(): number {
    let value = 0;
    let factor = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new RangeError("the chunk ends too early");
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 0x80;
    }
  }

  signed(): number {
    const value = this.unsigned();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  texts(): string[] {
    const count = this.unsigned();
    const length = this.unsigned();
    const text = this.#bytes.toString("utf8", this.#at, this.#at + length);
    this.#at += length;
    const values = count === 0 ? [] : text.split(SEPARATOR);
    if (values.length !== count) throw new RangeError("the chunk has another number of texts");
    return values;
  }
}

const packer = new Packer();

/** The columns SKU and location, which both kinds of rows have. */
class CellColumns {
  #skus: string[] = [];
  #runs: number[] = [];
  #places: number[] = [];
  readonly #locations = new Map<string, number>();

  add(sku: string, location: string): void {
    const last = this.#skus.length - 1;
    if (this.#skus[last] === sku) (this.#runs[last] as number)++;
    else {
      this.#skus.push(sku);
      this.#runs.push(1);
    }
    let place = this.#locations.get(location);
    if (place === undefined) {
      place = this.#locations.size;
      this.#locations.set(location, place);
    }
    this.#places.push(place);
  }

  pack(): void {
    packer.texts(this.#skus);
    for (const run of this.#runs) packer.unsigned(run);
    packer.texts([...this.#locations.keys()]);
    for (const place of this.#places) packer.unsigned(place);
    this.#skus = [];
    this.#runs = [];
    this.#places = [];
    this.#locations.clear();
  }
}

function unpackCells(from: Unpacker, rows: number): { skus: string[]; locations: string[] } {
  const all: string[] = [];
  for (const sku of from.texts()) for (let run = from.unsigned(); run > 0; run--) all.push(sku);
  const names = from.texts();
  const locations: string[] = [];
  for (let i = 0; i < rows; i++) {
    const name = names[from.unsigned()];
    if (name === undefined) throw new RangeError("the chunk names a location that it does not have");
    locations.push(name);
  }
  if (all.length !== rows) throw new RangeError("the chunk has another number of SKUs than of rows");
  return { skus: all, locations };
}

/** Rows of a snapshot. */
export class SnapshotChunkBuilder implements ChunkBuilder {
  readonly #cells = new CellColumns();
  #units: number[] = [];

  get rows(): number {
    return this.#units.length;
  }

  add(sku: string, location: string, units: number): void {
    this.#cells.add(sku, location);
    this.#units.push(units);
  }

  take(): Buffer {
    packer.unsigned(this.rows);
    this.#cells.pack();
    for (const units of this.#units) packer.unsigned(units);
    this.#units = [];
    return packer.take();
  }
}

/** Movements; times as differences from row to row. */
export class MovementChunkBuilder implements ChunkBuilder {
  readonly #cells = new CellColumns();
  #ids: string[] = [];
  #units: number[] = [];
  #times: number[] = [];

  get rows(): number {
    return this.#ids.length;
  }

  add({ id, sku, location, units, atMs }: Movement): void {
    this.#cells.add(sku, location);
    this.#ids.push(id);
    this.#units.push(units);
    this.#times.push(atMs);
  }

  take(): Buffer {
    packer.unsigned(this.rows);
    this.#cells.pack();
    packer.texts(this.#ids);
    for (const units of this.#units) packer.signed(units);
    let before = 0;
    for (const atMs of this.#times) {
      packer.signed(atMs - before);
      before = atMs;
    }
    this.#ids = [];
    this.#units = [];
    this.#times = [];
    return packer.take();
  }
}

/** What is stored of a builder's bytes. */
export function stored(packed: Buffer): Buffer {
  return Buffer.concat([Buffer.of(VERSION), deflateRawSync(packed, { level: LEVEL })]);
}

/** @throws EngineError `undecodable` */
export function snapshotRowsOf(bytes: Buffer): RowChunk {
  return decoded(bytes, (from) => {
    const rows = from.unsigned();
    const cells = unpackCells(from, rows);
    return { ...cells, units: Array.from({ length: rows }, () => from.unsigned()) };
  });
}

/** @throws EngineError `undecodable` */
export function movementsOf(bytes: Buffer): Movement[] {
  return decoded(bytes, (from) => {
    const rows = from.unsigned();
    const { skus, locations } = unpackCells(from, rows);
    const ids = from.texts();
    if (ids.length !== rows) throw new RangeError("the chunk has another number of ids than of rows");
    const units = ids.map(() => from.signed());
    let atMs = 0;
    return ids.map((id, i) => {
      atMs += from.signed();
      return { id, sku: skus[i] as string, location: locations[i] as string, units: units[i] as number, atMs };
    });
  });
}

function decoded<Rows>(bytes: Buffer, read: (from: Unpacker) => Rows): Rows {
  try {
    if (bytes[0] !== VERSION) throw new RangeError(`version ${bytes[0]} is not known`);
    return read(new Unpacker(inflateRawSync(bytes.subarray(1))));
  } catch (cause) {
    const detail = { op: "reconciliation.rows", code: "undecodable", retryable: false };
    throw new EngineError("a stored chunk of rows cannot be read", detail, { cause });
  }
}
