/**
 * JSON read without losing anything: a body that is not valid UTF-8, that breaks off, or that holds a whole number which
 * JavaScript would round (9007199254740993, or 1.00000000000000000001 for 1) is refused with its place, where JSON.parse would bend it.
 * Costs one regular expression more than JSON.parse, because 15 significant digits are always exact and only longer numbers
 * are looked at twice. A name given twice keeps its last value, as with JSON.parse.
 */
import { isUtf8 } from "node:buffer";
import { pathText } from "./faults.js";

export interface JsonFault {
  /** Where in the document, for example `lines[2].units`; empty when the text is no JSON. */
  field: string;
  message: string;
}

export type JsonReading = { value: unknown } | { fault: JsonFault };

/** 16 digits (or dots) in a row: fewer significant digits than that always survive the way through a double. */
const MAYBE_INEXACT = /\d[\d.]{15}/;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in a text
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const BLANK = /[ \t\n\r]*/y;
/** A whole number of more digits than this is far above 2^53 and left to the range check. */
const LONGEST_DIGITS = 20;

/** Reads bytes as one JSON document. */
export function readJson(bytes: Buffer): JsonReading {
  if (!isUtf8(bytes)) return { fault: { field: "", message: "is not valid UTF-8" } };
  return parseJson(bytes.toString("utf8"));
}

/** Reads a text as one JSON document. */
export function parseJson(text: string): JsonReading {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: scan(text) ?? { field: "", message: "is not JSON" } };
  }
  const fault = MAYBE_INEXACT.test(text) ? scan(text) : undefined;
  return fault ? { fault } : { value };
}

interface Frame {
  array: boolean;
  /** Where the document stands inside it. */
  step: string | number;
}

/** Walks the text and gives the first place where it is no JSON or holds a whole number that would be rounded. */
function scan(text: string): JsonFault | undefined {
  const frames: Frame[] = [];
  let at = 0;

  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const broken = (expected: string): JsonFault => ({
    field: "",
    message:
      at >= text.length
        ? `breaks off at position ${at}: expected ${expected}`
        : `is not JSON at position ${at}: expected ${expected}`,
  });
  /** Reads `"name":` into the innermost frame. */
  const name = (frame: Frame): JsonFault | undefined => {
    match(BLANK);
    const quoted = match(STRING);
    if (quoted === undefined) return broken("a name in double quotes");
    frame.step = JSON.parse(quoted) as string;
    match(BLANK);
    if (text.charAt(at) !== ":") return broken('":"');
    at++;
    return undefined;
  };

  for (;;) {
    match(BLANK);
    const sign = text.charAt(at);
    let opened = false;
    if (sign === "{" || sign === "[") {
      at++;
      match(BLANK);
      const array = sign === "[";
      if (text.charAt(at) === (array ? "]" : "}")) at++;
      else {
        const frame: Frame = { array, step: 0 };
        frames.push(frame);
        const fault = array ? undefined : name(frame);
        if (fault) return fault;
        opened = true;
      }
    } else if (sign === '"') {
      if (match(STRING) === undefined) return broken("a text that ends, without control characters or wrong escapes");
    } else {
      const number = match(NUMBER);
      if (number !== undefined) {
        if (!isExact(number)) {
          return {
            field: pathText(frames.map(({ step }) => step)),
            message: `cannot be held exactly (at position ${at - number.length})`,
          };
        }
      } else {
        const word = ["true", "false", "null"].find((each) => text.startsWith(each, at));
        if (word === undefined) return broken("a value");
        at += word.length;
      }
    }
    if (opened) continue;
    // After a value: close what ends here, then go on with what follows.
    for (;;) {
      match(BLANK);
      const frame = frames.at(-1);
      if (frame === undefined) return at < text.length ? broken("the end") : undefined;
      const next = text.charAt(at);
      if (next === ",") {
        at++;
        if (frame.array) frame.step = (frame.step as number) + 1;
        else {
          const fault = name(frame);
          if (fault) return fault;
        }
        break;
      }
      if (next !== (frame.array ? "]" : "}")) return broken(frame.array ? '"," or "]"' : '"," or "}"');
      at++;
      frames.pop();
    }
  }
}

/** Whether a number that JavaScript reads as a whole one is that one. Fractions may be rounded. */
function isExact(token: string): boolean {
  const value = Number(token);
  if (!Number.isInteger(value)) return true;
  const [, whole = "", fraction = "", power = "0"] = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant === "") return true;
  const exponent = Number(power) - fraction.length + digits.length - significant.length;
  if (exponent < 0) return false;
  if (significant.length + exponent > LONGEST_DIGITS) return true;
  return BigInt(significant) * 10n ** BigInt(exponent) === BigInt(Math.abs(value));
}
