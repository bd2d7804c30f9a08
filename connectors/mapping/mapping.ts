/**
 * Maps rows of a shop's history to ledger intents (R29). A mapping is compiled once per file, to closures over column
 * positions. A row becomes an intent with a deterministic id, or is rejected with a reason; it never stops the run. The
 * same mapping and the same files in the same order give the same ids, even when files are renamed; two identical rows
 * are two lines. A `pay`, `cancel` or `outbound` row gets the id of the earlier `reserve` row that its reference names.
 * Whether the ledger accepts the commands is not checked here.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CHAIN_ID_SALTS, chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { assert, badInput, messageOf } from "../../engine/kernel/errors.js";
import type { Intent, MappedRow, RejectedRow } from "../../engine/replay/history.js";
import { compileCondition, type NumberFault, type Test } from "./conditions.js";
import { quote, readUnits, type TimeReader, timeReader } from "./fields.js";
import {
  type Condition,
  checkMapping,
  FOLLOWING_INTENTS,
  type Mapping,
  nameFault,
  type UnitSign,
} from "./mapping.schema.js";

const OP = "mapping";
const BUILT_IN = new URL("./mappings/", import.meta.url);

/** The maximum of lines in a file: with 4,096 files they use all salts of a chain id, 2^28 × 2^12 = 2^40. */
export const MAX_LINES = 2 ** 28;
export const MAX_FILES = CHAIN_ID_SALTS / MAX_LINES;
/** Reserved lines kept for later rows, about 200 bytes each. The oldest is removed first. */
export const MAX_OPEN_LINES = 500_000;

/**
 * One row of a source: its fields, in the order of the columns, and the line of the file on which it starts, from 1.
 */
export interface SourceRow {
  line: number;
  fields: string[];
}

/** A file's description before its first row. */
export interface MappedFile {
  name: string;
  columns: readonly string[];
  /** Index of the file in the run, from 0. A part of the ids. */
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
   * @returns a function from a row to its intent or its rejection; it never throws for a row's content
   * @throws EngineError (`bad_input`) when the file lacks a column that the mapping uses
   */
  forFile(file: MappedFile): (row: SourceRow) => MappedRow;
}

/**
 * @param mapping checked, as `loadMapping` gives it
 * @param options.zone an IANA time zone, needed when the mapping's times contain none
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

/** Compiles a mapping for one file: from a row to its intent, or its rejection. */
function compile(
  mapping: Mapping,
  file: MappedFile,
  readTime: TimeReader,
  openLines: Map<string, string>,
  firstSalt: number,
): (row: SourceRow) => MappedRow {
  const positions = columnPositions(mapping, file);
  const { columns } = mapping;
  const timeAt = positions(columns.time);
  const skuAt = positions(columns.sku);
  const unitsAt = positions(columns.units);
  const locationAt = columns.location === undefined ? -1 : positions(columns.location);
  const referenceAts = columns.reference.map(positions);
  const ruleOf = ruleFinder(mapping, positions);
  const referenceOf = (fields: readonly string[]): string | undefined => {
    if (referenceAts.length === 0) return undefined;
    let reference = fields[referenceAts[0] as number] as string;
    for (let i = 1; i < referenceAts.length; i++) reference += `/${fields[referenceAts[i] as number]}`;
    return reference;
  };
  const lineAts = [...referenceAts, skuAt, ...(locationAt === -1 ? [] : [locationAt])];
  const idOf = idSource(mapping.channel, lineAts, openLines, firstSalt);

  const reject = (row: SourceRow, reason: string): RejectedRow => ({
    line: row.line,
    intent: "reject",
    reason,
    row: Object.fromEntries(file.columns.map((column, index) => [column, row.fields[index] ?? ""])),
  });

  return (row) => {
    const { fields, line } = row;
    if (line >= MAX_LINES) throw badInput(OP, `${file.name} line ${line}`, `is one line too many; split the file`);
    const rule = ruleOf(fields);
    if (typeof rule === "string") return reject(row, rule);
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
    const reference = referenceOf(fields);
    const id = idOf(intent, row, timeMs, reference);
    if (typeof id !== "string") return reject(row, id.reason);
    return { line, timeMs, intent, sku, location, units, id, reference, reason, mapping: mapping.name };
  };
}

interface CompiledRule {
  holds: Test;
  intent: Intent | "reject";
  sign: UnitSign;
  reason: string | undefined;
}

/** @returns a function from a row's fields to the first rule that holds, or to the reason to reject the row */
function ruleFinder(
  mapping: Mapping,
  positions: (column: string) => number,
): (fields: readonly string[]) => CompiledRule | string {
  const numbers: NumberFault = { reason: undefined };
  const rules = mapping.rules.map(
    (rule): CompiledRule => ({
      holds: rule.when === "always" ? () => true : compileCondition(rule.when, positions, numbers),
      intent: rule.then,
      sign: rule.then === "reject" ? "as is" : rule.units,
      reason: rule.reason,
    }),
  );
  return (fields) => {
    numbers.reason = undefined;
    for (const rule of rules) {
      const holds = rule.holds(fields);
      if (numbers.reason !== undefined) return numbers.reason;
      if (holds) return rule;
    }
    return "no rule matches";
  };
}

/**
 * Gives each row its id: a new one, or for `pay`, `cancel` and `outbound` that of the reserved line.
 * @param lineAts positions of the columns that together identify an open line
 * @param openLines ids of reserved lines, by the JSON of these columns; changed here
 * @returns a function from a row to its id, or to the reason to reject it
 */
function idSource(
  channel: string,
  lineAts: readonly number[],
  openLines: Map<string, string>,
  firstSalt: number,
): (intent: Intent, row: SourceRow, timeMs: number, reference: string | undefined) => string | { reason: string } {
  const lineKey = (fields: readonly string[]): string => JSON.stringify(lineAts.map((at) => fields[at]));
  return (intent, { fields, line }, timeMs, reference) => {
    if (FOLLOWING_INTENTS.includes(intent)) {
      const key = lineKey(fields);
      const reserved = openLines.get(key);
      if (reserved === undefined)
        return { reason: `no row before it reserved ${quote(reference ?? "")} of this SKU here` };
      if (intent !== "pay") openLines.delete(key);
      return reserved;
    }
    const id = chainIdFromNumber(channel, timeMs, (firstSalt + line) % CHAIN_ID_SALTS);
    if (intent === "reserve") {
      const key = lineKey(fields);
      if (openLines.has(key)) return { reason: `${quote(reference ?? "")} has reserved this SKU here before` };
      openLines.set(key, id);
      if (openLines.size > MAX_OPEN_LINES) openLines.delete(openLines.keys().next().value as string);
    }
    return id;
  };
}

/** A function from a column's name to its position, after checking that the file has all columns of the mapping. */
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
