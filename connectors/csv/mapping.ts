/**
 * Turns rows of a shop's history into what they mean for the ledger, as a mapping says (R29). A mapping is compiled once
 * per file, to closures over column positions; a row then becomes an intent with a deterministic id, or is rejected
 * with a reason and never stops the run. The same mapping over the same files in the same order gives the same ids,
 * whatever the files are called; two rows that are exact repeats are two lines. A `pay`, `cancel` or `outbound` row takes
 * the id of the `reserve` row that its reference names, so it must come after it. Whether the ledger accepts the
 * commands is not known here.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CHAIN_ID_SALTS, CHAIN_ID_TIMES, chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { assert, badInput, messageOf } from "../../engine/kernel/errors.js";
import { MAX_UNITS, type StockCommand } from "../../engine/stock/model.js";
import {
  type ColumnCondition,
  type Condition,
  checkMapping,
  FOLLOWING_INTENTS,
  type Intent,
  type Mapping,
  nameFault,
  type TestName,
  TIME_PARTS,
  timeParts,
  type UnitSign,
} from "./mapping.schema.js";
import type { CsvRow } from "./reader.js";

const OP = "csv.mapping";
const BUILT_IN = new URL("./mappings/", import.meta.url);

/** Lines a file may have: with 4,096 files they fill the salt of a chain id, 2^28 × 2^12 = 2^40. */
export const MAX_LINES = 2 ** 28;
export const MAX_FILES = CHAIN_ID_SALTS / MAX_LINES;
/** Reserved lines remembered for the rows that follow them; about 200 bytes each. The oldest is forgotten first. */
export const MAX_OPEN_LINES = 500_000;
/** What a reason quotes of a field. */
const QUOTED_LENGTH = 40;

/** A row that means something for the ledger. */
export interface IntentRow {
  line: number;
  timeMs: number;
  intent: Intent;
  sku: string;
  location: string;
  /** Above 0; of a `correct`, not 0. */
  units: number;
  /** Of the ledger command, or of all three when the intent is a sale. */
  id: string;
  /** What the order line is called at its source, when the mapping names reference columns. */
  reference: string | undefined;
  /** The rule's. */
  reason: string | undefined;
  /** Name of the mapping. */
  mapping: string;
}
/** A row that means nothing, or cannot be understood. */
export interface RejectedRow {
  line: number;
  intent: "reject";
  reason: string;
  /** The fields by column. */
  row: Record<string, string>;
}
export type MappedRow = IntentRow | RejectedRow;

/** What is known of a CSV file before its first row. */
export interface MappedFile {
  name: string;
  columns: readonly string[];
  /** Place of the file among those of one run, from 0. A part of the ids. */
  ordinal: number;
}

/**
 * Loads and checks a mapping.
 * @param nameOrFile a built-in mapping's name, or the path of a JSON file
 * @throws EngineError (`bad_input`) naming the file, and the JSON path of every fault
 */
export async function loadMapping(nameOrFile: string): Promise<Mapping> {
  const names = (await readdir(BUILT_IN))
    .filter((file) => file.endsWith(".json"))
    .map((file) => file.slice(0, -".json".length));
  const path = names.includes(nameOrFile) ? fileURLToPath(new URL(`${nameOrFile}.json`, BUILT_IN)) : nameOrFile;
  let text: string;
  try {
    text = (await readFile(path, "utf8")).replace(/^\ufeff/, "");
  } catch (thrown) {
    const known = names.toSorted().join(", ");
    throw badInput(OP, nameOrFile, `is neither a built-in mapping (${known}) nor a file that can be read`, thrown);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (thrown) {
    throw badInput(OP, path, `is not JSON: ${messageOf(thrown)}`, thrown);
  }
  return checkMapping(json, path);
}

/** Maps the rows of one run: of all its files, in their order. */
export interface Mapper {
  /**
   * Prepares the rows of one file.
   * @returns a function from a row to what it means; never throws for what a row contains
   * @throws EngineError (`bad_input`) when the file lacks a column that the mapping uses
   */
  forFile(file: MappedFile): (row: CsvRow) => MappedRow;
}

/**
 * @param mapping checked, as `loadMapping` gives it
 * @param options.zone an IANA time zone, needed when the mapping's times have none of their own
 * @throws EngineError (`bad_input`) when the zone is missing or unknown
 */
export function createMapper(mapping: Mapping, options: { zone?: string | undefined } = {}): Mapper {
  const readTime = timeReader(mapping.time, options.zone);
  const openLines = new Map<string, string>();
  // The mapping's name shifts its salts, so that two mappings with one channel code do not give one id to two rows.
  const nameSalt = Number(
    createHash("sha256").update(mapping.name).digest().readBigUInt64BE() % BigInt(CHAIN_ID_SALTS),
  );

  return {
    forFile(file) {
      assert(Number.isInteger(file.ordinal) && file.ordinal >= 0, "a file's ordinal is a whole number from 0");
      if (file.ordinal >= MAX_FILES) throw badInput(OP, file.name, `is one file too many; a run takes ${MAX_FILES}`);
      return compile(mapping, file, readTime, openLines, nameSalt + file.ordinal * MAX_LINES);
    },
  };
}

function compile(
  mapping: Mapping,
  file: MappedFile,
  readTime: TimeReader,
  openLines: Map<string, string>,
  firstSalt: number,
): (row: CsvRow) => MappedRow {
  const positions = columnPositions(mapping, file);
  const { columns } = mapping;
  const timeAt = positions(columns.time);
  const skuAt = positions(columns.sku);
  const unitsAt = positions(columns.units);
  const locationAt = columns.location === undefined ? -1 : positions(columns.location);
  const referenceAts = columns.reference.map(positions);
  const numbers: NumberFault = { reason: undefined };
  const rules = mapping.rules.map((rule) => ({
    holds: rule.when === "always" ? () => true : compileCondition(rule.when, positions, numbers),
    intent: rule.then,
    sign: rule.then === "reject" ? "as is" : rule.units,
    reason: rule.reason,
  }));

  const lineAts = [...referenceAts, skuAt, ...(locationAt === -1 ? [] : [locationAt])];
  const lineKey = (fields: readonly string[]): string => JSON.stringify(lineAts.map((at) => fields[at]));

  const reject = (row: CsvRow, reason: string): RejectedRow => ({
    line: row.line,
    intent: "reject",
    reason,
    row: Object.fromEntries(file.columns.map((column, index) => [column, row.fields[index] ?? ""])),
  });

  return (row) => {
    const { fields, line } = row;
    if (line >= MAX_LINES) throw badInput(OP, `${file.name} line ${line}`, `is one line too many; split the file`);
    numbers.reason = undefined;
    let rule: (typeof rules)[number] | undefined;
    for (const candidate of rules) {
      const holds = candidate.holds(fields);
      if (numbers.reason !== undefined) return reject(row, numbers.reason);
      if (holds) {
        rule = candidate;
        break;
      }
    }
    if (!rule) return reject(row, "no rule matches");
    const { intent, reason } = rule;
    if (intent === "reject") return reject(row, reason as string);

    const timeMs = readTime(fields[timeAt] as string);
    if (typeof timeMs === "string") return reject(row, `${columns.time} ${timeMs}`);
    const sku = fields[skuAt] as string;
    const skuFault = nameFault(sku);
    if (skuFault !== undefined) return reject(row, `${columns.sku} ${skuFault}`);
    const location = locationAt === -1 ? mapping.location : (fields[locationAt] as string);
    const locationFault = locationAt === -1 ? undefined : nameFault(location);
    if (locationFault !== undefined) return reject(row, `${columns.location} ${locationFault}`);
    const units = readUnits(fields[unitsAt] as string, rule.sign, intent);
    if (typeof units === "string") return reject(row, `${columns.units} ${units}`);

    let reference: string | undefined;
    if (referenceAts.length > 0) {
      reference = fields[referenceAts[0] as number] as string;
      for (let i = 1; i < referenceAts.length; i++) reference += `/${fields[referenceAts[i] as number]}`;
    }
    let id: string;
    if (FOLLOWING_INTENTS.includes(intent)) {
      const key = lineKey(fields);
      const reserved = openLines.get(key);
      if (reserved === undefined)
        return reject(row, `no row before it reserved ${quote(reference ?? "")} of this SKU here`);
      id = reserved;
      if (intent !== "pay") openLines.delete(key);
    } else {
      id = chainIdFromNumber(mapping.channel, timeMs, (firstSalt + line) % CHAIN_ID_SALTS);
      if (intent === "reserve") {
        const key = lineKey(fields);
        if (openLines.has(key)) return reject(row, `${quote(reference ?? "")} has reserved this SKU here before`);
        openLines.set(key, id);
        if (openLines.size > MAX_OPEN_LINES) openLines.delete(openLines.keys().next().value as string);
      }
    }
    return { line, timeMs, intent, sku, location, units, id, reference, reason, mapping: mapping.name };
  };
}

const quote = (field: string): string =>
  JSON.stringify(field.length > QUOTED_LENGTH ? `${field.slice(0, QUOTED_LENGTH)}…` : field);

/** A function from a column's name to its position, after all the columns of the mapping have been looked for. */
function columnPositions(mapping: Mapping, file: MappedFile): (column: string) => number {
  const { time, sku, units, location, reference } = mapping.columns;
  const used = new Set([time, sku, units, ...(location === undefined ? [] : [location]), ...reference]);
  const collect = (condition: Condition): void => {
    if ("all" in condition) condition.all.forEach(collect);
    else if ("any" in condition) condition.any.forEach(collect);
    else used.add(condition.column);
  };
  for (const rule of mapping.rules) if (rule.when !== "always") collect(rule.when);
  const missing = [...used].filter((column) => !file.columns.includes(column));
  if (missing.length > 0) {
    const names = (columns: readonly string[]) => columns.map((column) => JSON.stringify(column)).join(", ");
    const lacks = `lacks the column${missing.length === 1 ? "" : "s"} ${names(missing)}`;
    throw badInput(OP, file.name, `${lacks}, used by the mapping "${mapping.name}"; it has ${names(file.columns)}`);
  }
  return (column) => file.columns.indexOf(column);
}

/** Filled by a comparison that met a field which is no number; the row is then rejected. */
interface NumberFault {
  reason: string | undefined;
}
type Test = (fields: readonly string[]) => boolean;

function compileCondition(condition: Condition, positions: (column: string) => number, numbers: NumberFault): Test {
  if ("all" in condition) {
    const tests = condition.all.map((part) => compileCondition(part, positions, numbers));
    return (fields) => {
      for (const test of tests) if (!test(fields)) return false;
      return true;
    };
  }
  if ("any" in condition) {
    const tests = condition.any.map((part) => compileCondition(part, positions, numbers));
    // After a fault the answer no longer counts, and no later part may hide it.
    return (fields) => {
      for (const test of tests) if (test(fields) || numbers.reason !== undefined) return true;
      return false;
    };
  }
  const at = positions(condition.column);
  const test = compileTest(condition, numbers);
  return (fields) => test(fields[at] as string);
}

function compileTest(condition: ColumnCondition, numbers: NumberFault): (field: string) => boolean {
  const name = Object.keys(condition).find((key) => key !== "column") as TestName;
  const compare = (holds: (value: number, limit: number) => boolean): ((field: string) => boolean) => {
    const limit = condition[name] as number;
    return (field) => {
      const value = parseNumber(field);
      if (!Number.isNaN(value)) return holds(value, limit);
      numbers.reason = `${condition.column} is not a number: ${quote(field)}`;
      return false;
    };
  };
  const starts = (): ((field: string) => boolean) => {
    const prefixes = condition[name] as string[];
    return (field) => prefixes.some((prefix) => field.startsWith(prefix));
  };
  switch (name) {
    case "startsWith":
      return starts();
    case "notStartsWith": {
      const test = starts();
      return (field) => !test(field);
    }
    case "equals":
      return (field) => field === condition.equals;
    case "oneOf": {
      const values = new Set(condition.oneOf);
      return (field) => values.has(field);
    }
    case "matches":
      return patternTest(condition.matches as string);
    case ">":
      return compare((value, limit) => value > limit);
    case "<":
      return compare((value, limit) => value < limit);
    case ">=":
      return compare((value, limit) => value >= limit);
    case "<=":
      return compare((value, limit) => value <= limit);
    case "empty":
      return (field) => field === "";
    case "notEmpty":
      return (field) => field !== "";
  }
}

const ANY_RUN = -1;
const ANY_ONE = -2;
const ANY_DIGIT = -3;

/** A whole-field match in at most field × pattern steps: of several `*` only the last is ever tried again. */
function patternTest(pattern: string): (field: string) => boolean {
  const marks: number[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const sign = pattern.charAt(i);
    if (sign === "\\") marks.push(pattern.charCodeAt(++i));
    else marks.push(sign === "*" ? ANY_RUN : sign === "?" ? ANY_ONE : sign === "#" ? ANY_DIGIT : pattern.charCodeAt(i));
  }
  const fits = (mark: number | undefined, unit: number) =>
    mark === unit || mark === ANY_ONE || (mark === ANY_DIGIT && unit >= 0x30 && unit <= 0x39);
  return (field) => {
    let at = 0;
    let markAt = 0;
    let runAt = -1;
    let runFrom = 0;
    while (at < field.length) {
      if (marks[markAt] === ANY_RUN) {
        runAt = markAt++;
        runFrom = at;
      } else if (fits(marks[markAt], field.charCodeAt(at))) {
        at++;
        markAt++;
      } else if (runAt !== -1) {
        markAt = runAt + 1;
        at = ++runFrom;
      } else return false;
    }
    while (marks[markAt] === ANY_RUN) markAt++;
    return markAt === marks.length;
  };
}

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;
const WHOLE_NUMBER = /^[+-]?\d+(\.0+)?$/;

/** A decimal number, or NaN. */
function parseNumber(field: string): number {
  const value = NUMBER.test(field) ? Number(field) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

/** The units of a row, or why they cannot be taken. */
function readUnits(field: string, sign: UnitSign, intent: Intent): number | string {
  if (!WHOLE_NUMBER.test(field)) return `is not a whole number of units: ${quote(field)}`;
  const value = Number(field);
  if (value === 0) return "is 0 units";
  if (Math.abs(value) > MAX_UNITS) return `is beyond ${MAX_UNITS} units`;
  const units = sign === "negated" ? -value : sign === "absolute" ? Math.abs(value) : value;
  return units < 0 && intent !== "correct" ? `gives ${units} units, and "${intent}" takes units above 0` : units;
}

/** The milliseconds since the epoch, or what is wrong with the text. */
type TimeReader = (text: string) => number | string;

function timeReader(format: string, zone: string | undefined): TimeReader {
  const read = format === "iso" ? readIso : localReader(format, zone);
  // Histories are sorted by time, so the row before often has the same.
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
  // Date.UTC takes the years 0 to 99 for 1900 to 1999.
  return day > days || year < 100 ? Number.NaN : Date.UTC(year, month - 1, day, hour, minute, second);
}

/** A reader of times without zone, which are taken in `zone`. */
function localReader(format: string, zone: string | undefined): TimeReader {
  if (zone === undefined)
    throw badInput(OP, "--zone", `is missing; the mapping's times ("${format}") have no zone of their own`);
  const toUtc = zoneToUtc(zone);
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
    const utcMs = toUtc(localMs);
    return Number.isNaN(utcMs)
      ? `is a time that the clocks of ${zone} skipped: ${quote(text)}`
      : utcMs + part(millisecond);
  };
}

/**
 * From wall-clock time in a zone, given as if it were UTC, to UTC. A time that comes twice, when clocks are set back,
 * is taken as the earlier one; a time that clocks skip gives NaN.
 */
function zoneToUtc(zone: string): (localMs: number) => number {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-US-u-ca-gregory-nu-latn", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
      era: "short",
    });
  } catch (thrown) {
    throw badInput(OP, "--zone", `${quote(zone)} is not a known time zone (write it as in Europe/London)`, thrown);
  }
  const offsetAt = (utcMs: number): number => {
    const parts: Record<string, string> = {};
    for (const { type, value } of format.formatToParts(utcMs)) parts[type] = value;
    const part = (name: string) => Number(parts[name]);
    const localMs = wallClockMs(part("year"), part("month"), part("day"), part("hour"), part("minute"), part("second"));
    return localMs - Math.floor(utcMs / 1_000) * 1_000;
  };
  const find = (localMs: number): number => {
    const candidates = [-DAY_MS, 0, DAY_MS].map((shift) => offsetAt(localMs + shift));
    const fitting = candidates.filter((offset) => offsetAt(localMs - offset) === offset);
    return fitting.length === 0 ? Number.NaN : Math.max(...fitting);
  };
  // Nearly every day has one offset from the day before to the day after; the few others are looked at time by time.
  const steadyOffsets = new Map<number, number>();
  return (localMs) => {
    const day = Math.floor(localMs / DAY_MS);
    let offset = steadyOffsets.get(day);
    if (offset === undefined) {
      const before = offsetAt((day - 1) * DAY_MS);
      offset = before === offsetAt((day + 2) * DAY_MS) ? before : Number.NaN;
      steadyOffsets.set(day, offset);
    }
    return localMs - (Number.isNaN(offset) ? find(localMs) : offset);
  };
}

/**
 * The ledger commands of a mapped row: three with one id for a sale, one for anything else.
 * Pure; the same row gives the same commands, so sending them again is answered again (R3).
 */
export function expandToCommands(row: IntentRow): StockCommand[] {
  const { id, sku, location, units, timeMs: atMs, reason } = row;
  const line = { id, sku, location, units, atMs };
  switch (row.intent) {
    case "sale":
      return [
        { kind: "reserve", ...line },
        { kind: "pay", ...line },
        { kind: "outbound", ...line },
      ];
    case "reserve":
    case "pay":
    case "cancel":
    case "outbound":
      return [{ kind: row.intent, ...line }];
    case "receive":
    case "return":
      return [{ kind: row.intent, ...line, ...(reason === undefined ? {} : { reason }) }];
    case "correct":
      return [{ kind: "correct", ...line, actor: row.mapping, ...(reason === undefined ? {} : { reason }) }];
  }
}
