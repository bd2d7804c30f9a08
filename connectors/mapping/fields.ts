/**
 * Parses fields of a CSV file: numbers, units and times. An invalid field gives a reason that quotes it, and never
 * throws. A time without a zone is read in the given zone: a local time that occurs twice is the earlier one, and one
 * that the clocks skip is a fault.
 */
import { CHAIN_ID_TIMES } from "../../engine/kernel/chain-id.js";
import { badInput } from "../../engine/kernel/errors.js";
import { type Zone, zoneOf } from "../../engine/kernel/zone.js";
import type { Intent } from "../../engine/replay/history.js";
import { MAX_UNITS } from "../../engine/stock/model.js";
import { TIME_PARTS, timeParts, type UnitSign } from "./mapping.schema.js";

const OP = "csv.mapping";
/** How many characters of a field a reason quotes. */
const QUOTED_LENGTH = 40;

/** A field as a reason shows it. */
export const quote = (field: string): string =>
  JSON.stringify(field.length > QUOTED_LENGTH ? `${field.slice(0, QUOTED_LENGTH)}…` : field);

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;
const WHOLE_NUMBER = /^[+-]?\d+(\.0+)?$/;

/** A decimal number, or NaN. */
export function parseNumber(field: string): number {
  const value = NUMBER.test(field) ? Number(field) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

/** The units of a row, or the reason to reject them. */
export function readUnits(field: string, sign: UnitSign, intent: Intent): number | string {
  if (!WHOLE_NUMBER.test(field)) return `is not a whole number of units: ${quote(field)}`;
  const value = Number(field);
  if (value === 0) return "is 0 units";
  if (Math.abs(value) > MAX_UNITS) return `is beyond ${MAX_UNITS} units`;
  const units = sign === "negated" ? -value : sign === "absolute" ? Math.abs(value) : value;
  return units < 0 && intent !== "correct" ? `gives ${units} units, and "${intent}" takes units above 0` : units;
}

/** The milliseconds since the epoch, or the reason to reject the text. */
export type TimeReader = (text: string) => number | string;

/**
 * @param format `iso`, or a mapping's format of times without a zone
 * @param zone the IANA zone of such times
 * @throws EngineError (`bad_input`) when the zone is missing or unknown
 */
export function timeReader(format: string, zone: string | undefined): TimeReader {
  const read = format === "iso" ? readIso : localReader(format, zone);
  // Histories are sorted by time, so the row before often has the same one.
  let lastText: string | undefined;
  let lastTime: number | string = "";
  return (text) => {
    if (text !== lastText) {
      lastTime = read(text);
      if (typeof lastTime === "number" && (lastTime < 0 || lastTime >= CHAIN_ID_TIMES)) {
        lastTime = `is not between 1970 and 3084: ${quote(text)}`;
      }
      lastText = text;
    }
    return lastTime;
  };
}

const ISO = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:Z|([+-])(\d\d):?(\d\d))$/;

function readIso(text: string): number | string {
  const match = ISO.exec(text);
  if (match) {
    const [
      ,
      year,
      month,
      day,
      hour,
      minute,
      second = "0",
      fraction = "",
      sign,
      offsetHours = "0",
      offsetMinutes = "0",
    ] = match;
    const localMs = wallClockMs(Number(year), Number(month), Number(day), Number(hour), Number(minute), Number(second));
    const offsetMs = (Number(offsetHours) * 60 + Number(offsetMinutes)) * 60_000;
    if (!Number.isNaN(localMs) && Number(offsetHours) < 24 && Number(offsetMinutes) < 60) {
      return localMs + Number(fraction.slice(0, 3).padEnd(3, "0")) - (sign === "-" ? -offsetMs : offsetMs);
    }
  }
  return `is not an ISO 8601 time with a zone: ${quote(text)}`;
}

/** Milliseconds as if the zone were UTC, or NaN when there is no such day or time of day. */
function wallClockMs(year: number, month: number, day: number, hour: number, minute: number, second: number): number {
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return Number.NaN;
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 ? (isLeap ? 29 : 28) : month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
  // Date.UTC reads the years 0 to 99 as 1900 to 1999.
  return day > days || year < 100 ? Number.NaN : Date.UTC(year, month - 1, day, hour, minute, second);
}

/** A reader of times without a zone: they are local times of `zone`. */
function localReader(format: string, zone: string | undefined): TimeReader {
  if (zone === undefined)
    throw badInput(OP, "--zone", `is missing; the mapping's times ("${format}") have no zone of their own`);
  const clocks = clocksOf(zone);
  const order: string[] = [];
  const source = timeParts(format).map((part) => {
    if (!(TIME_PARTS as readonly string[]).includes(part)) return part.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
    order.push(part === "mm" ? "minute" : part.charAt(0));
    return part.length === 1 ? "(\\d\\d?)" : `(\\d{${part.length}})`;
  });
  const pattern = new RegExp(`^${source.join("")}$`);
  const position = (part: string) => order.indexOf(part) + 1;
  const [year, month, day, hour] = [position("y"), position("M"), position("d"), position("H")];
  const [minute, second, millisecond] = [position("minute"), position("s"), position("S")];
  return (text) => {
    const match = pattern.exec(text);
    const part = (at: number) => (at === 0 ? 0 : Number(match?.[at]));
    const localMs = match
      ? wallClockMs(part(year), part(month), part(day), part(hour), part(minute), part(second))
      : Number.NaN;
    if (Number.isNaN(localMs)) return `is not a time of the form ${format}: ${quote(text)}`;
    const instantMs = clocks.instantOf(localMs);
    return instantMs === undefined
      ? `is a time that the clocks of ${zone} skipped: ${quote(text)}`
      : instantMs + part(millisecond);
  };
}

function clocksOf(zone: string): Zone {
  try {
    return zoneOf(zone);
  } catch (thrown) {
    throw badInput(OP, "--zone", `${quote(zone)} is not a known time zone (write it as in Europe/London)`, thrown);
  }
}
