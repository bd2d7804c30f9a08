/**
 * Writes MessagePack: many values one after the other into one buffer, the same bytes as msgpackr with
 * `useRecords: false`. A commit packs thousands of small states; calling msgpackr with a new buffer for each costs more
 * than the bytes. Plain objects, lists, texts, numbers, booleans and null are written here; any other value is passed
 * to msgpackr, which may reject it.
 */
import { Packr, Unpackr } from "msgpackr";

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** Size of one chunk of memory; a larger value gets a chunk of its own. */
const CHUNK_BYTES = 256 * 1024;
/** Most bytes of a value's header, and of any value that is not a text, list or object. */
const HEADER_BYTES = 16;
/** Longer texts are written by Buffer, which is faster for them. */
const SHORT_TEXT = 64;
const MAP_LIMIT = 0xffff;

/** Unpacks one value, such as a job's state without its header (stored states: `state-codec.ts`). */
export const decodeState = (bytes: Buffer): unknown => unpackr.unpack(bytes);

/** Packs one value. @throws when it contains a value that cannot be packed */
export const encodeState = (state: unknown): Buffer => writer.pack(state);

/**
 * Packs values one after the other into shared chunks of memory. Bytes that have been taken are never overwritten, so
 * the caller may keep them; they keep their chunk alive.
 */
export class PackWriter {
  #bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #from = 0;
  #at = 0;

  /** One value's bytes. @throws whatever msgpackr throws on a value that it cannot write */
  pack(value: unknown): Buffer {
    this.begin();
    this.value(value);
    return this.take();
  }

  /** Begins bytes that are written part by part; bytes that were begun and not taken are discarded. */
  begin(): void {
    this.#at = this.#from;
  }

  /** The bytes that have been written since `begin`. */
  take(): Buffer {
    const taken = this.#bytes.subarray(this.#from, this.#at);
    this.#from = this.#at;
    return taken;
  }

  /** @throws whatever msgpackr throws on a value that it cannot write; then do not take the bytes */
  value(value: unknown): void {
    if (typeof value === "number") this.number(value);
    else if (typeof value === "string") this.text(value);
    else if (value === null) this.byte(0xc0);
    else if (Array.isArray(value) && value.constructor === Array) {
      this.list(value.length);
      for (const each of value) this.value(each);
    } else if (typeof value === "object" && value.constructor === Object)
      this.#object(value as Record<string, unknown>);
    else if (typeof value === "boolean") this.byte(value ? 0xc3 : 0xc2);
    else this.packed(packr.pack(value));
  }

  number(value: number): void {
    this.#reserve(HEADER_BYTES);
    const bytes = this.#bytes;
    const at = this.#at;
    if (value >>> 0 === value) {
      if (value < 0x80) {
        bytes[at] = value;
        this.#at = at + 1;
      } else if (value < 0x100) {
        bytes[at] = 0xcc;
        bytes[at + 1] = value;
        this.#at = at + 2;
      } else if (value < 0x10000) {
        bytes[at] = 0xcd;
        bytes[at + 1] = value >> 8;
        bytes[at + 2] = value & 0xff;
        this.#at = at + 3;
      } else {
        bytes[at] = 0xce;
        this.#view.setUint32(at + 1, value);
        this.#at = at + 5;
      }
    } else if (value >> 0 === value) {
      if (value >= -0x20) {
        bytes[at] = 0x100 + value;
        this.#at = at + 1;
      } else if (value >= -0x80) {
        bytes[at] = 0xd0;
        bytes[at + 1] = value + 0x100;
        this.#at = at + 2;
      } else if (value >= -0x8000) {
        bytes[at] = 0xd1;
        this.#view.setInt16(at + 1, value);
        this.#at = at + 3;
      } else {
        bytes[at] = 0xd2;
        this.#view.setInt32(at + 1, value);
        this.#at = at + 5;
      }
    } else {
      bytes[at] = 0xcb;
      this.#view.setFloat64(at + 1, value);
      this.#at = at + 9;
    }
  }

  text(value: string): void {
    const { length } = value;
    if (length >= SHORT_TEXT) {
      this.#longText(value);
      return;
    }
    this.#reserve(HEADER_BYTES + 3 * length);
    const bytes = this.#bytes;
    const start = this.#at;
    // Nearly all texts are ASCII, so that their length in bytes is known; others are written again.
    let at = start + 1;
    if (length >= 0x20) {
      bytes[start] = 0xd9;
      bytes[start + 1] = length;
      at++;
    } else bytes[start] = 0xa0 | length;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        this.packed(packr.pack(value));
        return;
      }
      bytes[at++] = code;
    }
    this.#at = at;
  }

  /** The header of a list; write its items next. */
  list(length: number): void {
    this.#reserve(HEADER_BYTES);
    if (length < 0x10) this.#bytes[this.#at++] = 0x90 | length;
    else if (length < 0x10000) {
      this.#bytes[this.#at] = 0xdc;
      this.#view.setUint16(this.#at + 1, length);
      this.#at += 3;
    } else {
      this.#bytes[this.#at] = 0xdd;
      this.#view.setUint32(this.#at + 1, length);
      this.#at += 5;
    }
  }

  /** The header of a map of less than 16 fields; write names and values next. */
  map(size: number): void {
    this.byte(0x80 | size);
  }

  /** Bytes as a text: Redis' Lua reads them as a string. */
  bytes(value: Buffer): void {
    this.#textHead(value.length);
    this.packed(value);
  }

  /** A value that has been packed already. */
  packed(value: Buffer): void {
    this.#reserve(value.length);
    value.copy(this.#bytes, this.#at);
    this.#at += value.length;
  }

  #object(value: Record<string, unknown>): void {
    this.#reserve(HEADER_BYTES);
    // As msgpackr does: the length always has two bytes, so that it can be written last.
    this.#bytes[this.#at] = 0xde;
    // The chunk may be replaced by a larger one meanwhile; the distance stays the same.
    const lengthAt = this.#at + 1 - this.#from;
    this.#at += 3;
    let size = 0;
    for (const key in value) {
      if (!Object.hasOwn(value, key)) continue;
      this.text(key);
      this.value(value[key]);
      size++;
    }
    if (size > MAP_LIMIT) throw new RangeError(`an object of ${size} fields is too large to be packed`);
    this.#view.setUint16(this.#from + lengthAt, size);
  }

  #longText(value: string): void {
    const length = Buffer.byteLength(value);
    this.#textHead(length);
    this.#reserve(length);
    this.#at += this.#bytes.write(value, this.#at, "utf8");
  }

  #textHead(length: number): void {
    this.#reserve(HEADER_BYTES);
    if (length < 0x20) this.#bytes[this.#at++] = 0xa0 | length;
    else if (length < 0x100) {
      this.#bytes[this.#at] = 0xd9;
      this.#bytes[this.#at + 1] = length;
      this.#at += 2;
    } else if (length < 0x10000) {
      this.#bytes[this.#at] = 0xda;
      this.#view.setUint16(this.#at + 1, length);
      this.#at += 3;
    } else {
      this.#bytes[this.#at] = 0xdb;
      this.#view.setUint32(this.#at + 1, length);
      this.#at += 5;
    }
  }

  /** One byte as it is. */
  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const written = this.#at - this.#from;
    const next = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, 2 * (written + length)));
    this.#bytes.copy(next, 0, this.#from, this.#at);
    this.#bytes = next;
    this.#view = new DataView(next.buffer);
    this.#from = 0;
    this.#at = written;
  }
}

const writer = new PackWriter();
