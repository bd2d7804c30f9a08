/**
 * Reads a batch from the stock log, and checks every column, also those that only the ledger uses: either all of the
 * batch is what `encodeBatch` writes, or it is refused as a whole. A later release may add details and settings under
 * new names: these are kept. Damage that makes another valid value, such as another letter in a SKU, is not noticed.
 */
import { Unpackr } from "msgpackr";
import { CHAIN_ID_TIMES } from "../kernel/chain-id.js";
import { AssertionError, assert } from "../kernel/errors.js";
import { BATCH_VERSION, type Batch, ENTRY_COMMANDS_LIMIT, KIND_CODES } from "./batch.js";
import { ACCOUNTS, CELL_SEPARATOR, type CommandKind, KINDS, MAX_UNITS, POOLS } from "./model.js";
import { OF_ORDER, POOL_MASK, UNCOUNTED } from "./records.js";

const COLUMNS = 14;
/** Its columns are those of version 2, with fingerprints as one more. */
const VERSION_WITH_FINGERPRINTS = 1;
const FINGERPRINTS = 6;
/** Chain ids cannot carry later times (the year 3084); a later clock would close every window for good. */
export const CLOCK_LIMIT = CHAIN_ID_TIMES;
/** Characters of an unreadable value that a message shows. */
const SHOWN_CHARACTERS = 20;
// The ledger packs units of an expiry past 2^32 as 64-bit integers; all are exact as numbers.
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

export const unpack = (bytes: Buffer): unknown => unpackr.unpack(bytes);

/** For checks in loops: unlike `assert`, the message is made only when it is needed. */
export function reject(message: string): never {
  throw new AssertionError(message);
}

export const isList = (value: unknown, length: number): value is unknown[] =>
  Array.isArray(value) && value.length === length;
const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** Asserts that a column holds whole numbers from `min` to `max`. */
export function assertNumbers(column: unknown, length: number, min: number, max: number, name: string): void {
  assert(isList(column, length), `the column ${name} is not a list of ${length}`);
  for (const value of column as number[])
    if (!Number.isSafeInteger(value) || value < min || value > max) reject(`the column ${name} holds ${shown(value)}`);
}

export function assertTexts(column: unknown, length: number, name: string): void {
  assert(isList(column, length) && column.every(isText), `the column ${name} is not a list of ${length} texts`);
}

const shown = (value: unknown): string => String(value).slice(0, SHOWN_CHARACTERS);

/** @throws AssertionError when any column is not as `encodeBatch` writes it */
export function decodeBatch(bytes: Buffer): Batch {
  const batch = unpack(bytes) as Batch;
  assert(Array.isArray(batch), "the batch is not a list");
  const version: number = batch[0];
  assert(
    version === BATCH_VERSION || version === VERSION_WITH_FINGERPRINTS,
    `the batch has version ${shown(version)}; versions 1 and ${BATCH_VERSION} can be read`,
  );
  const columns = version === BATCH_VERSION ? COLUMNS : COLUMNS + 1;
  assert(isList(batch, columns), `the batch does not have ${columns} columns`);
  const [fingerprints] = version === BATCH_VERSION ? [] : batch.splice(FINGERPRINTS, 1);
  const [, kinds, names, cells, units, ids, pools, days, dayNumbers, attempts, holds, times, targets, details] = batch;
  const n = Array.isArray(ids) ? ids.length : 0;
  assert(n > 0 && n <= ENTRY_COMMANDS_LIMIT, `the batch has ${n} commands; 1 to ${ENTRY_COMMANDS_LIMIT} are allowed`);
  if (version !== BATCH_VERSION) assertNumbers(fingerprints, n, 0, MAX_UNITS, "fingerprints");
  const shared = Array.isArray(names) ? names.length : 0;
  const dayCount = Array.isArray(dayNumbers) ? dayNumbers.length : 0;
  assertTexts(ids, n, "ids");
  assertTexts(names, shared, "cell names");
  assertNumbers(cells, n, 1, shared, "cells");
  assertNumbers(units, n, -MAX_UNITS, MAX_UNITS, "units");
  assertNumbers(dayNumbers, dayCount, 0, MAX_UNITS, "days");
  if (days !== 0) assertNumbers(days, n, 1, dayCount, "days");
  if (attempts !== 0) assertNumbers(attempts, n, 1, MAX_UNITS, "attempts");
  assertNumbers(typeof holds === "number" ? [holds] : holds, typeof holds === "number" ? 1 : n, 0, MAX_UNITS, "holds");
  if (times !== 0) assertNumbers(times, n, 0, CLOCK_LIMIT - 1, "times");
  if (targets !== 0) assertNumbers(targets, n, 0, shared, "target cells");
  assert(typeof kinds === "string" && kinds.length === n, `the column kinds does not have ${n} codes`);
  assert(typeof pools === "string" && pools.length === n, `the column pools does not have ${n} codes`);
  for (let i = 0; i < n; i++) {
    const kind = kinds.charCodeAt(i);
    const pool = pools.charCodeAt(i);
    if (!(kind >= 1 && kind <= KINDS.length)) reject(`there is no kind of command ${kind}`);
    if (!isPoolCode(kind, pool)) reject(`a command ${KINDS[kind - 1]} cannot have the pool code ${pool}`);
    if (kind !== KIND_CODES.correct && (units[i] as number) < 0)
      reject(`a command ${KINDS[kind - 1]} has units below 0`);
  }
  if (details !== 0) assertDetails(details, n);
  assertRequiredDetails(kinds, details);
  return batch;
}

/** Details under unknown names are accepted, so the details that a command requires must be checked. */
function assertRequiredDetails(kinds: string, details: Batch[13]): void {
  let missing = 0;
  for (let i = 0; i < kinds.length; i++) if (REQUIRED_DETAIL[kinds.charCodeAt(i)] !== undefined) missing++;
  if (missing === 0) return;
  for (const [at, detail] of details === 0 ? [] : details) {
    const name = REQUIRED_DETAIL[kinds.charCodeAt(at)];
    if (name !== undefined && Object.hasOwn(detail, name)) missing--;
  }
  if (missing > 0) reject("a command lacks a required detail");
}

const REQUIRED_DETAIL: Readonly<Record<number, string>> = {
  [KIND_CODES.configure]: "settings",
  [KIND_CODES.acknowledge]: "alertId",
};

function assertDetails(details: [index: number, detail: Record<string, unknown>][], n: number): void {
  assert(Array.isArray(details), "the details are not a list");
  assert(details.length <= n, "there are more details than commands");
  for (const pair of details) {
    assert(isList(pair, 2), "a detail is not a pair");
    const [at, detail] = pair as [number, unknown];
    assert(Number.isInteger(at) && at >= 0 && at < n, "a detail belongs to no command");
    assertDetail(detail);
  }
  assert(new Set(details.map(([at]) => at)).size === details.length, "a command has details twice");
}

/** Whether a command of a kind may have this pool code (`poolByte`). */
function isPoolCode(kind: number, code: number): boolean {
  const pools: readonly (string | undefined)[] = POOLS;
  if (kind === KIND_CODES.move)
    return pools.includes(ACCOUNTS[code >> 3]) && pools.includes(ACCOUNTS[code & POOL_MASK]);
  const marks = kind === KIND_CODES.reserve ? OF_ORDER | UNCOUNTED : OWNED_KINDS.has(kind) ? OF_ORDER : 0;
  return pools.includes(ACCOUNTS[code & POOL_MASK]) && (code & ~(POOL_MASK | marks)) === 0;
}

/** Commands that may have the mark `OF_ORDER`. */
const OWNED_KINDS: ReadonlySet<number> = new Set(
  (["reserve", "pay", "cancel", "outbound", "abort", "unpay", "accept", "suspend", "resume"] as CommandKind[]).map(
    (kind) => KIND_CODES[kind],
  ),
);

/**
 * Checks of the details that this version uses. An invalid number would spread through a job's state.
 */
const DETAILS: Readonly<Record<string, (value: unknown) => boolean>> = {
  actor: (value) => typeof value === "string",
  onBehalfOf: (value) => typeof value === "string",
  reason: (value) => typeof value === "string",
  alertId: (value) => typeof value === "string",
  settlement: (value) => isSettlement(value),
  category: (value) => typeof value === "string",
  settings: (value) => value === undefined || areSettings(value),
  categorySettings: (value) => areSettings(value),
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
const isSettlement = (value: unknown): boolean =>
  isRecord(value) &&
  ["comparison", "source", "snapshot", "proposal"].every((name) => typeof value[name] === "string") &&
  Number.isSafeInteger(value["asOfMs"]);
/** All settings are numbers, also those that this version does not use. */
const areSettings = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((setting) => Number.isFinite(setting) && (setting as number) >= 0);

function assertDetail(detail: unknown): void {
  assert(isRecord(detail), "a detail is not a record");
  for (const [name, value] of Object.entries(detail))
    if (Object.hasOwn(DETAILS, name)) assert(DETAILS[name]?.(value), `a detail's ${name} has the wrong type`);
}

/** SKU and location of a cell's name. */
export function splitCell(name: string): [sku: string, location: string] {
  const at = name.indexOf(CELL_SEPARATOR);
  if (at <= 0 || at >= name.length - 1) reject(`${JSON.stringify(shown(name))} is not the name of a cell`);
  return [name.slice(0, at), name.slice(at + 1)];
}
