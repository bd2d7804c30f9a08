/**
 * JSON read without loss. It refuses, with the position, what JSON.parse would change silently: a body that is not
 * valid UTF-8, a whole number that JavaScript would round (9007199254740993, or 1.00000000000000000001 for 1), and a
 * duplicate name in an object, of which JSON.parse keeps the last value and another reader the first (RFC 8259, 4).
 * It costs one regular expression and one count of the names more than JSON.parse; only a text that may be at fault is
 * scanned a second time.
 */
import { isUtf8 } from "node:buffer";
import { pathText } from "./faults.js";

export interface JsonFault {
  /** Where in the document, for example `lines[2].units`; empty when the text is not JSON. */
  field: string;
  message: string;
}

export type JsonReading = { value: unknown } | { fault: JsonFault };

/** 16 digits (or dots) in a row: a double holds fewer significant digits exactly. */
const MAYBE_INEXACT = /\d[\d.]{15}/;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in a text
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const BLANK = /[ \t\n\r]*/y;
/** A whole number of more digits than this is far above 2^53; the range check refuses it. */
const MAX_DIGITS = 20;

/**
 * An order of 100 lines and 32 attributes has about 560. All are checked against the schema in one turn of the event
 * loop, and each may be a reported fault.
 */
const MAX_VALUES = 1_024;

/** Reads bytes as one JSON document. */
export function readJson(bytes: Buffer): JsonReading {
  if (!isUtf8(bytes)) return { fault: { field: "", message: "is not valid UTF-8" } };
  return parseJson(bytes.toString("utf8"));
}

/** Reads a text as one JSON document. */
export function parseJson(text: string): JsonReading {
  const { names, values } = countNamesAndValues(text);
  if (values > MAX_VALUES) return { fault: { field: "", message: `holds more than ${MAX_VALUES} values` } };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: new Scanner(text).fault() ?? { field: "", message: "is not JSON" } };
  }
  const fault = MAYBE_INEXACT.test(text) || names !== namesOf(value) ? new Scanner(text).fault() : undefined;
  return fault ? { fault } : { value };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;

/**
 * The number of names in a JSON text (each has one colon outside of strings) and the greatest possible number of values
 * (each but the first follows a comma or an opening bracket).
 */
function countNamesAndValues(text: string): { names: number; values: number } {
  let names = 0;
  let values = 1;
  for (let at = 0; at < text.length && values <= MAX_VALUES; at++) {
    const code = text.charCodeAt(at);
    if (code === COLON) names++;
    else if (code === COMMA || code === OPEN_OBJECT || code === OPEN_ARRAY) values++;
    else if (code === QUOTE) {
      for (at++; at < text.length && text.charCodeAt(at) !== QUOTE; at++) if (text.charCodeAt(at) === BACKSLASH) at++;
    }
  }
  return { names, values };
}

/** The number of names in a value, at any depth. */
function namesOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let names = 0;
  const open: object[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const entries: unknown[] = Array.isArray(next) ? next : Object.values(next);
    if (!Array.isArray(next)) names += entries.length;
    for (const entry of entries) if (typeof entry === "object" && entry !== null) open.push(entry);
  }
  return names;
}

interface Frame {
  array: boolean;
  /** Of an object: the names read so far. */
  names: Set<string>;
  /** The name or index of the entry being read. */
  key: string | number;
}

/** Of a deep path only the end is reported, so that no answer is as long as its request. */
const MAX_PATH_LENGTH = 256;

function pathOf(frames: readonly Frame[]): string {
  const text = pathText(frames.slice(-MAX_PATH_LENGTH).map(({ key }) => key));
  return text.length <= MAX_PATH_LENGTH ? text : `…${text.slice(-MAX_PATH_LENGTH)}`;
}

/**
 * Finds the first place where a text is not JSON, repeats a name, or has a whole number that would be rounded.
 */
class Scanner {
  readonly #text: string;
  readonly #frames: Frame[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  fault(): JsonFault | undefined {
    for (;;) {
      const opened = this.#open();
      if (typeof opened === "object") return opened;
      if (opened) continue;
      const next = this.#close();
      if (next !== "value") return next === "end" ? undefined : next;
    }
  }

  /** Reads a scalar or the start of a list or object. Returns whether an entry of one must follow. */
  #open(): boolean | JsonFault {
    this.#match(BLANK);
    const sign = this.#text.charAt(this.#at);
    if (sign !== "{" && sign !== "[") return this.#scalar(sign) ?? false;
    this.#at++;
    this.#match(BLANK);
    const array = sign === "[";
    if (this.#text.charAt(this.#at) === (array ? "]" : "}")) {
      this.#at++;
      return false;
    }
    const frame: Frame = { array, names: new Set(), key: 0 };
    this.#frames.push(frame);
    return (array ? undefined : this.#name(frame)) ?? true;
  }

  #scalar(sign: string): JsonFault | undefined {
    if (sign === '"') {
      if (this.#match(STRING) !== undefined) return undefined;
      return this.#broken("a string with an end, without control characters or invalid escapes");
    }
    const number = this.#match(NUMBER);
    if (number !== undefined) {
      if (isExact(number)) return undefined;
      const message = `cannot be represented exactly (at position ${this.#at - number.length})`;
      return { field: pathOf(this.#frames), message };
    }
    const word = ["true", "false", "null"].find((each) => this.#text.startsWith(each, this.#at));
    if (word === undefined) return this.#broken("a value");
    this.#at += word.length;
    return undefined;
  }

  /** After a value: closes the lists and objects that end here. Returns whether another value follows. */
  #close(): "value" | "end" | JsonFault {
    for (;;) {
      this.#match(BLANK);
      const frame = this.#frames.at(-1);
      if (frame === undefined) return this.#at < this.#text.length ? this.#broken("the end") : "end";
      const next = this.#text.charAt(this.#at);
      if (next === ",") {
        this.#at++;
        if (!frame.array) return this.#name(frame) ?? "value";
        frame.key = (frame.key as number) + 1;
        return "value";
      }
      if (next !== (frame.array ? "]" : "}")) return this.#broken(frame.array ? '"," or "]"' : '"," or "}"');
      this.#at++;
      this.#frames.pop();
    }
  }

  /** Reads `"name":` into the innermost frame. */
  #name(frame: Frame): JsonFault | undefined {
    this.#match(BLANK);
    const quoted = this.#match(STRING);
    if (quoted === undefined) return this.#broken("a name in double quotes");
    const name = JSON.parse(quoted) as string;
    frame.key = name;
    if (frame.names.has(name)) {
      const message = `is a duplicate name (at position ${this.#at - quoted.length})`;
      return { field: pathOf(this.#frames), message };
    }
    frame.names.add(name);
    this.#match(BLANK);
    if (this.#text.charAt(this.#at) !== ":") return this.#broken('":"');
    this.#at++;
    return undefined;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #broken(expected: string): JsonFault {
    const problem = this.#at >= this.#text.length ? "ends too early, at position" : "is not JSON at position";
    return { field: "", message: `${problem} ${this.#at}: expected ${expected}` };
  }
}

/** Whether JavaScript represents a whole number exactly. Fractions may be rounded. */
function isExact(token: string): boolean {
  const value = Number(token);
  if (!Number.isInteger(value)) return true;
  const [, whole = "", fraction = "", power = "0"] = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant === "") return true;
  const exponent = Number(power) - fraction.length + digits.length - significant.length;
  if (exponent < 0) return false;
  if (significant.length + exponent > MAX_DIGITS) return true;
  return BigInt(significant) * 10n ** BigInt(exponent) === BigInt(Math.abs(value));
}
