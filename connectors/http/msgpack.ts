/**
 * A strict reader of msgpack from untrusted clients. It accepts the types of JSON (nil, booleans, numbers, UTF-8 texts,
 * lists, maps with text names) and refuses the rest with its position. Announced lengths allocate nothing; depth and
 * map size are limited. 64-bit numbers beyond 2^53 - 1 are refused, not rounded; a duplicate name is a fault. The
 * engine's own records have another reader, made for speed, that trusts its input.
 */
import { badInput, type EngineError } from "../../engine/kernel/errors.js";

const MAX_DEPTH = 8;
/** A command has 12 fields at most. */
const MAX_MAP_ENTRIES = 64;
const MAX_LIST_ENTRIES = 10_000;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class MsgpackReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  /** Where the value must end, and the limit of its length. */
  #end: number;
  #maxBytes = 0;
  /** Where the value began. */
  #start = 0;
  #isCutOff = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#end = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Bytes read so far. */
  get at(): number {
    return this.#at;
  }

  /** After an error: whether the value goes beyond the bytes, so that it may be complete with more of them. */
  get isCutOff(): boolean {
    return this.#isCutOff;
  }

  /** The next value, of at most `maxBytes`. Throws EngineError `bad_input`. */
  boundedValue(maxBytes: number): unknown {
    this.#maxBytes = maxBytes;
    this.#start = this.#at;
    this.#end = Math.min(this.#bytes.length, this.#at + maxBytes);
    const value = this.value();
    this.#end = this.#bytes.length;
    return value;
  }

  /** The announced length of a list; the caller reads the entries one by one. Throws EngineError `bad_input`. */
  listLength(): number {
    const type = this.#byte();
    if (type >= 0x90 && type <= 0x9f) return type & 0x0f;
    if (type === 0xdc) return this.#unsigned(2);
    if (type === 0xdd) return this.#unsigned(4);
    throw this.#fault("expected a list", 1);
  }

  /** The next value. Throws EngineError `bad_input`. */
  value(depth = 0): unknown {
    if (depth > MAX_DEPTH) throw this.#fault(`is nested deeper than ${MAX_DEPTH}`);
    const type = this.#byte();
    if (type <= 0x7f) return type;
    if (type <= 0x8f) return this.#map(type & 0x0f, depth);
    if (type <= 0x9f) return this.#list(type & 0x0f, depth);
    if (type <= 0xbf) return this.#text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        return this.#view.getFloat32(this.#take(4));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8));
      case 0xcc:
        return this.#unsigned(1);
      case 0xcd:
        return this.#unsigned(2);
      case 0xce:
        return this.#unsigned(4);
      case 0xcf:
        return this.#safe(this.#view.getBigUint64(this.#take(8)));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return this.#safe(this.#view.getBigInt64(this.#take(8)));
      case 0xd9:
        return this.#text(this.#unsigned(1));
      case 0xda:
        return this.#text(this.#unsigned(2));
      case 0xdb:
        return this.#text(this.#unsigned(4));
      case 0xdc:
        return this.#list(this.#unsigned(2), depth);
      case 0xdd:
        return this.#list(this.#unsigned(4), depth);
      case 0xde:
        return this.#map(this.#unsigned(2), depth);
      case 0xdf:
        return this.#map(this.#unsigned(4), depth);
      default:
        throw this.#fault(
          `has type 0x${type.toString(16)}, which is not accepted (nor are binary and extension types)`,
          1,
        );
    }
  }

  #list(length: number, depth: number): unknown[] {
    if (length > MAX_LIST_ENTRIES) throw this.#fault(`announces a list of ${length}`);
    const list: unknown[] = [];
    for (let i = 0; i < length; i++) list.push(this.value(depth + 1));
    return list;
  }

  #map(length: number, depth: number): Record<string, unknown> {
    if (length > MAX_MAP_ENTRIES) throw this.#fault(`announces a map of ${length}`);
    // Without a prototype, so that a name such as __proto__ has no special meaning.
    const map: Record<string, unknown> = Object.create(null);
    for (let i = 0; i < length; i++) {
      const at = this.#at;
      const name = this.value(depth + 1);
      if (typeof name !== "string") throw this.#faultAt(at, "has a name that is not a text");
      if (name in map) throw this.#faultAt(at, "has a duplicate name");
      map[name] = this.value(depth + 1);
    }
    return map;
  }

  #text(length: number): string {
    const at = this.#take(length);
    try {
      return utf8.decode(this.#bytes.subarray(at, at + length));
    } catch {
      throw this.#faultAt(at, "is not valid UTF-8");
    }
  }

  #byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  #unsigned(size: 1 | 2 | 4): number {
    const at = this.#take(size);
    return size === 1 ? this.#view.getUint8(at) : size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #safe(value: bigint): number {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw this.#fault("is a whole number beyond 2^53 - 1", 9);
    return number;
  }

  /** Advances over bytes that must exist; returns their position. */
  #take(size: number): number {
    const at = this.#at;
    if (at + size > this.#bytes.length) {
      this.#isCutOff = this.#maxBytes === 0 || at + size <= this.#start + this.#maxBytes;
      throw this.#faultAt(this.#bytes.length, "ends too early");
    }
    if (at + size > this.#end) throw this.#faultAt(this.#end, `is longer than ${this.#maxBytes} bytes`);
    this.#at = at + size;
    return at;
  }

  #fault(message: string, back = 0): EngineError {
    return this.#faultAt(this.#at - back, message);
  }

  #faultAt(at: number, message: string): EngineError {
    return badInput("http.msgpack", `byte ${at}`, message);
  }
}
