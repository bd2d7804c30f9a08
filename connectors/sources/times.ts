/**
 * Reads the times of a source: ISO 8601, seconds or milliseconds since the epoch, or local times of the shop's zone in
 * a stated form. A time that cannot be read gives a reason, never a guess.
 */

import { quote, timeReader } from "../mapping/fields.js";
import { TIME_PARTS, timeParts } from "../mapping/mapping.schema.js";

/** Milliseconds since the epoch, or the end of a sentence that states why not. */
export type SourceTimeReader = (value: unknown) => number | string;

const EPOCHS: Readonly<Record<string, number>> = { "epoch-s": 1_000, "epoch-ms": 1 };
const NEEDED = ["yyyy", "M", "d", "H", "mm"];

/** What is wrong with a time format of the configuration; undefined: nothing. */
export function timeFormatFault(format: string): string | undefined {
  if (format === "iso" || Object.hasOwn(EPOCHS, format)) return undefined;
  const parts = timeParts(format);
  const known: readonly string[] = TIME_PARTS;
  const stray = parts.find((part) => /[A-Za-z0-9]/.test(part) && part !== "T" && !known.includes(part));
  const missing = NEEDED.find((part) => !parts.some((each) => each === part || each === part + part));
  if (stray === undefined && missing === undefined) return undefined;
  const why = stray === undefined ? `lacks ${missing}` : `has ${quote(stray)}`;
  return `${why}; it must be iso, epoch-s, epoch-ms, or a form made of ${TIME_PARTS.join(" ")}`;
}

/** @param zone the IANA zone of times without one */
export function sourceTimeReader(format: string, zone: string): SourceTimeReader {
  const scale = EPOCHS[format];
  if (scale === undefined) {
    const read = timeReader(format, zone);
    return (value) => (typeof value === "string" ? read(value) : `is no time: ${quote(String(value))}`);
  }
  return (value) => {
    const number = typeof value === "number" ? value : /^\d{1,16}$/.test(String(value)) ? Number(value) : Number.NaN;
    const ms = number * scale;
    return Number.isFinite(ms) && ms > 0 ? Math.trunc(ms) : `is no time (${format}): ${quote(String(value))}`;
  };
}
