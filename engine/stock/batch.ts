/**
 * The wire form of a batch of commands, columnar so that Lua reads it with one unpack and never writes it again: the
 * ledger puts the very bytes into its log beside the outcomes, and `eventsOf` joins the two into events. Version 2;
 * version 1, which had fingerprints among its columns, is still read from logs. An entry of another version, or with
 * anything else in it than its version writes, is refused as a whole, not guessed: events are right in every field or
 * there are none. A later release may add what an older one can do without: details and settings under new names,
 * which are kept, and fields of the entry whose names begin with `+`, which are passed over. What it cannot see is
 * damage that makes another sound value, such as another letter in a SKU.
 */
import { Packr, Unpackr } from "msgpackr";
import { CHAIN_ID_TIMES, chainIdDay } from "../kernel/chain-id.js";
import { AssertionError, assert, EngineError, messageOf } from "../kernel/errors.js";
import { LATEST_FORMAT } from "../stream/format.js";
import { field, type LogEntry } from "../stream/log.js";
import { fingerprintOf } from "./fingerprint.js";
import {
  ACCOUNTS,
  type Account,
  CELL_SEPARATOR,
  cellOf,
  DEFAULT_HOLD_MS,
  EVENT_TYPES,
  type EventType,
  KINDS,
  MAX_UNITS,
  OUTCOMES,
  type Outcome,
  POOLS,
  type Pool,
  type StockCommand,
  type StockEvent,
  SWEEP_LIMIT,
  type Transfer,
} from "./model.js";
import { OF_ORDER, POOL_MASK, UNCOUNTED } from "./records.js";

const VERSION = 2;
/** Its columns are those of version 2, with fingerprints as one more. */
const VERSION_WITH_FINGERPRINTS = 1;
const FINGERPRINTS = 6;
const packr = new Packr({ useRecords: false });
// The ledger packs units of an expiry past 2^32 as 64-bit integers; all are exact as numbers.
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

const accountCode = Object.fromEntries(ACCOUNTS.map((account, code) => [account, code])) as Record<Account, number>;
const kindCode = Object.fromEntries(KINDS.map((kind, position) => [kind, position + 1])) as Record<string, number>;
const RESERVE = kindCode["reserve"] as number;

/** Deployments of an older format have readers that know no marks. */
const MARKS_FORMAT = 2;
/** Added to a line's state in an answer when it has the mark `UNCOUNTED`. */
export const IS_UNCOUNTED = 128;

/** Added to an outcome that was given before. */
export const REPEATED = 128;
/**
 * The last outcome that changes something; a repeated one is above, and so is what was appended later, refusals all
 * of them.
 */
const LAST_ACCEPTED = OUTCOMES.indexOf("cancelled_paid");

type Column<T> = T[] | 0;
type Batch = [
  version: number,
  kinds: string,
  names: string[],
  cells: number[],
  units: number[],
  ids: string[],
  pools: string,
  days: Column<number>,
  dayNumbers: number[],
  attempts: Column<number>,
  holds: number[] | number,
  times: Column<number>,
  targets: Column<number>,
  details: Column<[position: number, detail: Record<string, unknown>]>,
];

export interface EncodedBatch {
  bytes: Buffer;
  /** Of the bodies, 8 bytes a command as ledger.lua keeps them; zeros for a command about a line reserved before. */
  fingerprints: Buffer;
  /** UTC days that the ids carry: the buckets that the call needs, in this order. */
  days: number[];
}

/**
 * Writes commands of one partition as a batch.
 * @param format the deployment's: what older releases cannot read is left out below the format that brought it
 */
export function encodeBatch(commands: readonly StockCommand[], format = LATEST_FORMAT): EncodedBatch {
  const n = commands.length;
  const names: string[] = [];
  const positions = new Map<string, number>();
  const position = (name: string): number => {
    let found = positions.get(name);
    if (found === undefined) {
      found = names.push(name);
      positions.set(name, found);
    }
    return found;
  };
  const cells = new Array<number>(n);
  const units = new Array<number>(n);
  const ids = new Array<string>(n);
  const fingerprints = Buffer.alloc(n * FINGERPRINT_BYTES);
  const dayNumbers: number[] = [];
  let kinds = "";
  let pools = "";
  let days: Column<number> = 0;
  let attempts: Column<number> = 0;
  let holds: number[] | number = DEFAULT_HOLD_MS;
  let times: Column<number> = 0;
  let targets: Column<number> = 0;
  let details: Batch[13] = 0;
  for (let i = 0; i < n; i++) {
    const command = commands[i] as StockCommand;
    const day = chainIdDay(command.id);
    if (day !== dayNumbers[0]) {
      const known = dayNumbers.indexOf(day);
      const dayPosition = known < 0 ? dayNumbers.push(day) : known + 1;
      if (dayPosition > 1) {
        if (days === 0) days = new Array<number>(n).fill(1);
        days[i] = dayPosition;
      }
    }
    kinds += String.fromCharCode(kindCode[command.kind] as number);
    pools += String.fromCharCode(poolByte(command, format));
    cells[i] = position(cellOf(command.sku, command.location));
    units[i] = "units" in command ? command.units : 0;
    ids[i] = command.id;
    if (bringsOwnId(command)) fingerprints.writeDoubleLE(fingerprintOf(command), i * FINGERPRINT_BYTES);
    if ("attempt" in command && command.attempt !== undefined && command.attempt !== 1) {
      if (attempts === 0) attempts = new Array<number>(n).fill(1);
      attempts[i] = command.attempt;
    }
    if ("holdMs" in command && command.holdMs !== undefined && command.holdMs !== DEFAULT_HOLD_MS) {
      if (typeof holds === "number") holds = new Array<number>(n).fill(DEFAULT_HOLD_MS);
      holds[i] = command.holdMs;
    }
    if (command.atMs !== undefined) {
      if (times === 0) times = new Array<number>(n).fill(0);
      times[i] = command.atMs;
    }
    if (command.kind === "move" && command.toLocation !== undefined) {
      if (targets === 0) targets = new Array<number>(n).fill(0);
      targets[i] = position(cellOf(command.sku, command.toLocation));
    }
    const detail = detailOf(command, format);
    if (detail) {
      if (details === 0) details = [];
      details.push([i, detail]);
    }
  }
  // Lua looks attempts up for every command that undoes another.
  if (attempts === 0 && commands.some(({ kind }) => kind === "abort" || kind === "unpay"))
    attempts = new Array<number>(n).fill(1);
  const batch: Batch = [
    VERSION,
    kinds,
    names,
    cells,
    units,
    ids,
    pools,
    days,
    dayNumbers,
    attempts,
    holds,
    times,
    targets,
    details,
  ];
  return { bytes: packr.pack(batch), fingerprints, days: dayNumbers };
}

const FINGERPRINT_BYTES = 8;

const bringsOwnId = (command: StockCommand): boolean =>
  command.kind !== "pay" &&
  command.kind !== "cancel" &&
  command.kind !== "outbound" &&
  command.kind !== "abort" &&
  command.kind !== "unpay" &&
  command.kind !== "accept" &&
  command.kind !== "suspend" &&
  command.kind !== "resume";

function poolByte(command: StockCommand, format: number): number {
  if (command.kind === "move") return accountCode[command.from] * 8 + accountCode[command.to];
  const pool: Pool = ("pool" in command ? command.pool : undefined) ?? "sellable";
  // Format 1 knows no marks: a line of an order counts as demand from its reservation on, and is anybody's, as it was
  // before.
  if (format < MARKS_FORMAT) return accountCode[pool];
  const isUncounted = command.kind === "reserve" && command.uncounted;
  const isOfOrder = "ofOrder" in command && command.ofOrder;
  return accountCode[pool] + (isUncounted ? UNCOUNTED : 0) + (isOfOrder ? OF_ORDER : 0);
}

function detailOf(command: StockCommand, format: number): Record<string, unknown> | undefined {
  const { actor, onBehalfOf, reason } = command;
  if (actor === undefined && reason === undefined && command.kind !== "configure" && command.kind !== "acknowledge")
    return undefined;
  const detail: Record<string, unknown> = {};
  if (actor !== undefined) detail["actor"] = actor;
  // A reader of format 1 takes an entry with a field that it does not know for unreadable.
  if (onBehalfOf !== undefined && format >= 2) detail["onBehalfOf"] = onBehalfOf;
  if (reason !== undefined) detail["reason"] = reason;
  if (command.kind === "configure") {
    const { settings, category, categorySettings } = command;
    Object.assign(detail, { settings }, category && { category }, categorySettings && { categorySettings });
  }
  if (command.kind === "acknowledge") detail["alertId"] = command.alertId;
  return detail;
}

/** What one entry of the stock log tells: its events in order, and the ledger's clock after it. */
export interface DecodedEntry {
  clockMs: number;
  events: StockEvent[];
  /** Events that the log has held so far, these included; left out by entries from before they were counted. */
  total?: number;
}

/**
 * 8 MiB. The ledger writes at most 1,000 commands an entry, and the largest that HTTP takes is about 2.3 KB: 2 cells
 * of 225 bytes (64 characters and a location), an id of 27, 80 for the columns, and actor, whom it acts for, reason,
 * category, alert and settings of 1,500. So 2.3 MB is the most there is.
 */
export const ENTRY_BYTES_LIMIT = 8 * 1024 * 1024;
/** The most commands that a call of the ledger takes. */
export const ENTRY_COMMANDS_LIMIT = 1_000;
/** Chain ids cannot name later times (the year 3084); a clock past it would close every window for good. */
const CLOCK_LIMIT = CHAIN_ID_TIMES;

/** Fields of an entry: `t` the clock before it, `n` events up to it; then one of the forms. */
const COMMON_FIELDS = ["t", "n"];
/**
 * `b` the batch, `o` outcomes, `s` where they begin in it, `g` that the caller's clock was given, `d` when the lines
 * that count from now on had been deducted, 8 bytes each, `m` what moved otherwise than its command says.
 */
const BATCH_FIELDS = ["b", "o", "s", "g", "d", "m"];
/** `x` holds that have expired. */
const EXPIRY_FIELDS = ["x"];
/** `c` a breaker's scope, `j` what was done to it. */
const GATE_FIELDS = ["c", "j"];

type Fields = ReadonlyMap<string, Buffer>;

/**
 * Reads an entry of the stock log.
 * @throws EngineError `undecodable`, its message saying why, when there is anything in it that cannot be understood
 */
export function eventsOf(entry: LogEntry): DecodedEntry {
  try {
    return decodedOf(entry);
  } catch (cause) {
    throw new EngineError(
      `entry ${entry.offset} cannot be read: ${messageOf(cause)}`,
      { op: "stock.decode", code: "undecodable", retryable: false },
      { cause },
    );
  }
}

function decodedOf(entry: LogEntry): DecodedEntry {
  const fields = fieldsOf(entry);
  const clockMs = numberOf(fields, "t");
  assert(clockMs < CLOCK_LIMIT, `its time ${clockMs} is past the year 3084`);
  const expired = fields.get("x");
  const bytes = fields.get("b");
  let decoded: DecodedEntry = { clockMs, events: [] };
  if (expired) {
    assertOnly(fields, EXPIRY_FIELDS);
    decoded.events = expiriesOf(entry.offset, clockMs, expired);
  } else if (bytes) {
    assertOnly(fields, BATCH_FIELDS);
    decoded = batchEvents(entry.offset, fields, clockMs, bytes);
  } else {
    assertOnly(fields, GATE_FIELDS);
    assert(fields.has("c") === fields.has("j"), "a breaker's entry lacks its scope or what was done");
  }
  if (fields.has("n")) decoded.total = numberOf(fields, "n");
  return decoded;
}

/** The entry's fields by name; its length is looked at before anything else. */
function fieldsOf({ fields }: LogEntry): Fields {
  const length = fields.reduce((sum, bytes) => sum + bytes.length, 0);
  assert(length <= ENTRY_BYTES_LIMIT, `it is ${length} bytes long, and ${ENTRY_BYTES_LIMIT} is the limit`);
  const named = new Map<string, Buffer>();
  for (let i = 0; i < fields.length; i += 2)
    named.set((fields[i] as Buffer).toString("latin1", 0, NAME_SHOWN), fields[i + 1] as Buffer);
  assert(named.size * 2 === fields.length, "a field is there twice, or has no value");
  return named;
}

/** No more of a field's name is looked at: ours have one letter. */
const NAME_SHOWN = 20;

/**
 * How the name of a field begins that may be passed over: an entry of which it is left out still tells all of its
 * events.
 */
const MAY_BE_UNKNOWN = "+";

function assertOnly(fields: Fields, known: readonly string[]): void {
  for (const name of fields.keys())
    assert(
      known.includes(name) || COMMON_FIELDS.includes(name) || name.startsWith(MAY_BE_UNKNOWN),
      `this version does not know its field ${name}`,
    );
}

/** The ledger's clock when the entry was written; what trimming by age goes by. */
export const entryTimeMs = (entry: LogEntry): number => wholeNumber(field(entry, "t"), "t");

const numberOf = (fields: Fields, name: string): number => wholeNumber(fields.get(name), name);

function wholeNumber(bytes: Buffer | undefined, name: string): number {
  const text = bytes?.toString("latin1", 0, NAME_SHOWN) ?? "";
  const value = Number(text);
  assert(/^\d+$/.test(text) && Number.isSafeInteger(value), `its field ${name} is no whole number`);
  return value;
}

/** For the many checks of a batch: a message that is not needed is not made. */
function refuse(message: string): never {
  throw new AssertionError(message);
}

const isList = (value: unknown, length: number): value is unknown[] => Array.isArray(value) && value.length === length;
const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** Asserts a column of whole numbers from `min` to `max`. */
function assertNumbers(column: unknown, length: number, min: number, max: number, name: string): void {
  assert(isList(column, length), `its ${name} are no list of ${length}`);
  for (const value of column as number[])
    if (!Number.isSafeInteger(value) || value < min || value > max) refuse(`one of its ${name} is none`);
}

function assertTexts(column: unknown, length: number, name: string): void {
  assert(isList(column, length) && column.every(isText), `its ${name} are no list of ${length} texts`);
}

function expiriesOf(offset: number, clockMs: number, bytes: Buffer): StockEvent[] {
  const columns = unpackr.unpack(bytes) as [string[], string[], number[], number[]];
  assert(isList(columns, 4), "its holds are not in 4 columns");
  const [ids, names, units, pools] = columns;
  const n = Array.isArray(ids) ? ids.length : 0;
  assert(n > 0 && n <= SWEEP_LIMIT, `${n} holds are none, or more than one sweep gives back`);
  assertTexts(ids, n, "ids");
  assertTexts(names, n, "cells");
  assertNumbers(units, n, 0, MAX_UNITS, "units");
  assertNumbers(pools, n, 0, ACCOUNTS.length - 1, "pools");
  return ids.map((id, index) => {
    const [sku, location] = splitCell(names[index] as string);
    const pool = ACCOUNTS[pools[index] as number];
    assert(pool === "sellable" || pool === "presale", `holds are not taken from ${pool}`);
    const presale = pool === "presale";
    return {
      type: "LineExpired",
      offset,
      index,
      id,
      sku,
      location,
      units: units[index] as number,
      from: presale ? "outside" : "reserved",
      to: presale ? "presale" : "sellable",
      atMs: clockMs,
      clockMs,
    };
  });
}

/**
 * Reads a batch, and asserts that it is what `encodeBatch` writes, in all of its columns: also those that only the
 * ledger reads.
 */
function batchOf(bytes: Buffer): Batch {
  const batch = unpackr.unpack(bytes) as Batch;
  assert(Array.isArray(batch), "its batch is no list");
  const version: number = batch[0];
  assert(
    version === VERSION || version === VERSION_WITH_FINGERPRINTS,
    `its batch is of version ${String(version).slice(0, NAME_SHOWN)}, and this is ${VERSION}`,
  );
  const columns = version === VERSION ? COLUMNS : COLUMNS + 1;
  assert(isList(batch, columns), `its batch has not ${columns} columns`);
  const [fingerprints] = version === VERSION ? [] : batch.splice(FINGERPRINTS, 1);
  const [, kinds, names, cells, units, ids, pools, days, dayNumbers, attempts, holds, times, targets, details] = batch;
  const n = Array.isArray(ids) ? ids.length : 0;
  assert(n > 0 && n <= ENTRY_COMMANDS_LIMIT, `${n} commands are none, or more than ${ENTRY_COMMANDS_LIMIT}`);
  if (version !== VERSION) assertNumbers(fingerprints, n, 0, MAX_UNITS, "fingerprints");
  const shared = Array.isArray(names) ? names.length : 0;
  const dayCount = Array.isArray(dayNumbers) ? dayNumbers.length : 0;
  assertTexts(ids, n, "ids");
  assertTexts(names, shared, "cells' names");
  assertNumbers(cells, n, 1, shared, "cells");
  assertNumbers(units, n, -MAX_UNITS, MAX_UNITS, "units");
  assertNumbers(dayNumbers, dayCount, 0, MAX_UNITS, "days");
  if (days !== 0) assertNumbers(days, n, 1, dayCount, "days");
  if (attempts !== 0) assertNumbers(attempts, n, 1, MAX_UNITS, "attempts");
  assertNumbers(typeof holds === "number" ? [holds] : holds, typeof holds === "number" ? 1 : n, 0, MAX_UNITS, "holds");
  if (times !== 0) assertNumbers(times, n, 0, CLOCK_LIMIT - 1, "times");
  if (targets !== 0) assertNumbers(targets, n, 0, shared, "target cells");
  assert(typeof kinds === "string" && kinds.length === n, `its kinds are not ${n}`);
  assert(typeof pools === "string" && pools.length === n, `its pools are not ${n}`);
  for (let i = 0; i < n; i++) {
    const kind = kinds.charCodeAt(i);
    const pool = pools.charCodeAt(i);
    if (!(kind >= 1 && kind <= KINDS.length)) refuse(`there is no kind of command ${kind}`);
    if (!arePools(kind, pool)) refuse(`a ${KINDS[kind - 1]} has not the pools ${pool}`);
    if (kind !== CORRECT && (units[i] as number) < 0) refuse(`a ${KINDS[kind - 1]} has units below 0`);
  }
  if (details !== 0) assertDetails(details, n);
  assertNeededDetails(kinds, details);
  return batch;
}

/** Details under other names are let pass, so those without which a command means nothing have to be there. */
function assertNeededDetails(kinds: string, details: Batch[13]): void {
  let needed = 0;
  for (let i = 0; i < kinds.length; i++) if (NEEDED_DETAIL[kinds.charCodeAt(i)] !== undefined) needed++;
  if (needed === 0) return;
  for (const [at, detail] of details === 0 ? [] : details) {
    const name = NEEDED_DETAIL[kinds.charCodeAt(at)];
    if (name !== undefined && Object.hasOwn(detail, name)) needed--;
  }
  if (needed > 0) refuse("a command lacks a detail without which it means nothing");
}

const NEEDED_DETAIL: Readonly<Record<number, string>> = {
  [kindCode["configure"] as number]: "settings",
  [kindCode["acknowledge"] as number]: "alertId",
};

function assertDetails(details: [position: number, detail: Record<string, unknown>][], n: number): void {
  assert(Array.isArray(details), "its details are no list");
  assert(details.length <= n, "it has more details than commands");
  for (const pair of details) {
    assert(isList(pair, 2), "a detail is no pair");
    const [at, detail] = pair as [number, unknown];
    assert(Number.isInteger(at) && at >= 0 && at < n, "a detail belongs to no command");
    assertDetail(detail);
  }
  assert(new Set(details.map(([at]) => at)).size === details.length, "a command has two details");
}

const COLUMNS = 14;

/** Whether a command of a kind may name these pools (`poolByte`). */
function arePools(kind: number, code: number): boolean {
  const pools: readonly (string | undefined)[] = POOLS;
  if (kind === MOVE) return pools.includes(ACCOUNTS[code >> 3]) && pools.includes(ACCOUNTS[code & POOL_MASK]);
  const marks = kind === RESERVE ? OF_ORDER | UNCOUNTED : LINE_KINDS.has(kind) ? OF_ORDER : 0;
  return pools.includes(ACCOUNTS[code & POOL_MASK]) && (code & ~(POOL_MASK | marks)) === 0;
}

/** Commands that may be marked as about a line of an order. */
const LINE_KINDS: ReadonlySet<number> = new Set(
  (["reserve", "pay", "cancel", "outbound", "abort", "unpay", "accept", "suspend", "resume"] as const).map(
    (kind) => kindCode[kind] as number,
  ),
);

/**
 * What must be true of the details that this version knows. A number that is none would spread through a job's state.
 */
const DETAILS: Readonly<Record<string, (value: unknown) => boolean>> = {
  actor: (value) => typeof value === "string",
  onBehalfOf: (value) => typeof value === "string",
  reason: (value) => typeof value === "string",
  alertId: (value) => typeof value === "string",
  category: (value) => typeof value === "string",
  settings: (value) => value === undefined || areSettings(value),
  categorySettings: (value) => areSettings(value),
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
/** All are numbers, those that this version does not know, too. */
const areSettings = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((setting) => Number.isFinite(setting) && (setting as number) >= 0);

function assertDetail(detail: unknown): void {
  assert(isRecord(detail), "a detail has no fields");
  for (const [name, value] of Object.entries(detail))
    if (Object.hasOwn(DETAILS, name)) assert(DETAILS[name]?.(value), `a detail's ${name} is not of its kind`);
}

function batchEvents(offset: number, fields: Fields, startMs: number, bytes: Buffer): DecodedEntry {
  const [, kinds, names, cells, units, ids, pools, , , , , times, targets, details] = batchOf(bytes);
  const outcomes = fields.get("o");
  const start = fields.has("s") ? numberOf(fields, "s") : 0;
  const given = fields.has("g");
  assert(!given || numberOf(fields, "g") === 1, "its clock is neither given nor its own");
  assert(
    outcomes && outcomes.length > 0 && start + outcomes.length <= ids.length,
    "its outcomes are not its commands'",
  );
  const split = names.map(splitCell);
  const detailAt = details === 0 ? undefined : new Map(details);
  const moves = movesOf(fields.get("m"), start, outcomes.length);
  const events: StockEvent[] = [];
  const deducted = fields.get("d");
  let counted = 0;
  let clockMs = startMs;
  for (let k = 0; k < outcomes.length; k++) {
    const i = start + k;
    const at = times === 0 ? 0 : (times[i] as number);
    if (given && at > clockMs) clockMs = at;
    const outcome = outcomes[k] as number;
    if ((outcome & ~REPEATED) >= OUTCOMES.length) refuse(`there is no outcome ${outcome}`);
    if (outcome > LAST_ACCEPTED) continue;
    const [sku, location] = split[(cells[i] as number) - 1] as [string, string];
    const kind = kinds.charCodeAt(i);
    const event: StockEvent = {
      type: EVENT_BY_CODE[kind] as EventType,
      offset,
      index: i,
      id: ids[i] as string,
      sku,
      location,
      units: units[i] as number,
      from: "outside",
      to: "outside",
      atMs: at > 0 && at < clockMs ? at : clockMs,
      clockMs,
    };
    const byte = pools.charCodeAt(i);
    setAccounts(event, kind, kind === MOVE ? byte : byte & POOL_MASK, OUTCOMES[outcome] as Outcome);
    if (kind === RESERVE && (byte & UNCOUNTED) !== 0) event.uncounted = true;
    if (kind === ACCEPT) event.atMs = deductedAt(deducted, counted++, clockMs);
    const target = targets === 0 ? 0 : (targets[i] as number);
    if (target !== 0) event.toLocation = (split[target - 1] as [string, string])[1];
    const detail = detailAt?.get(i);
    if (detail) event.detail = detail;
    const moved = moves?.get(i);
    if (moved) events.push(...asMoved(event, moved, ids.length));
    else events.push(event);
  }
  assert((deducted?.length ?? 0) === counted * TIME_BYTES, "its times of deduction are not those of its lines");
  return { clockMs, events };
}

const TIME_BYTES = 8;

function deductedAt(times: Buffer | undefined, position: number, clockMs: number): number {
  const at = position * TIME_BYTES;
  const timeMs = times && times.length >= at + TIME_BYTES ? times.readDoubleLE(at) : -1;
  if (!Number.isInteger(timeMs) || timeMs < 0 || timeMs > clockMs)
    refuse("a line that counts has no time of its deduction");
  return timeMs;
}

/** What a command about a line has really moved, when the units were not all where they ought to have been. */
interface Moved {
  missingUnits: number;
  transfers: Transfer[];
}

/** Each of `m`: position, missing units, then from, to and units, at most twice. */
function movesOf(bytes: Buffer | undefined, start: number, length: number): Map<number, Moved> | undefined {
  if (!bytes) return undefined;
  const lists = unpackr.unpack(bytes) as number[][];
  assert(Array.isArray(lists) && lists.length > 0 && lists.length <= length, "what it moved otherwise is no list");
  const moves = new Map<number, Moved>();
  for (const list of lists) {
    assert(Array.isArray(list) && [2, 5, 8].includes(list.length), "one that moved otherwise is no list of its kind");
    assertNumbers(list, list.length, 0, MAX_UNITS, "units that moved otherwise");
    const [position, missingUnits, ...rest] = list as [number, number, ...number[]];
    assert(position >= start && position < start + length, "what moved otherwise belongs to no command");
    const transfers: Transfer[] = [];
    for (let k = 0; k < rest.length; k += 3) {
      const [from, to] = [ACCOUNTS[rest[k] as number], ACCOUNTS[rest[k + 1] as number]];
      assert(from !== undefined && to !== undefined, "what moved otherwise has no such pool");
      transfers.push({ from, to, units: rest[k + 2] as number });
    }
    moves.set(position, { missingUnits, transfers });
  }
  return moves;
}

/**
 * The events of such a command; the second is numbered past the batch's commands, so that each has a place of its
 * own.
 */
function asMoved(event: StockEvent, { missingUnits, transfers }: Moved, size: number): StockEvent[] {
  const detail = {
    ...event.detail,
    ...(event.type === "LineOutbound" && { unexplained: true }),
    ...(missingUnits > 0 && { missingUnits }),
  };
  if (transfers.length === 0) return [{ ...event, from: "outside", to: "outside", detail }];
  return transfers.map((transfer, k) => ({ ...event, ...transfer, index: event.index + k * size, detail }));
}

const EVENT_BY_CODE = ["", ...KINDS.map((kind) => EVENT_TYPES[kind])];
const [, RECEIVE, CORRECT, MOVE, , PAY, CANCEL, OUTBOUND, RETURN, ABORT, , , UNPAY, ACCEPT, SUSPEND, RESUME] = [
  0,
  ...KINDS.map((kind) => kindCode[kind] as number),
];

/** Between which accounts the units went; the same table as decide.ts, read off the command and its outcome. */
function setAccounts(event: StockEvent, kind: number, pool: number, outcome: Outcome): void {
  const account = ACCOUNTS[kind === MOVE ? pool : pool & POOL_MASK] as Account;
  const presale = account === "presale";
  const anew = outcome === "admitted_anew";
  switch (kind) {
    case RECEIVE:
    case RETURN:
      event.to = account;
      break;
    case CORRECT:
      if (event.units > 0) event.to = account;
      else {
        event.from = account;
        event.units = -event.units;
      }
      break;
    case MOVE:
      event.from = ACCOUNTS[pool >> 3] as Account;
      event.to = ACCOUNTS[pool & 7] as Account;
      break;
    case RESERVE:
      event.from = account;
      event.to = presale ? "outside" : "reserved";
      break;
    case PAY:
      if (presale) event.from = anew ? "presale" : "outside";
      else {
        event.from = anew ? "sellable" : "reserved";
        event.to = "committed";
      }
      break;
    case OUTBOUND:
      event.from = presale ? "sellable" : "committed";
      if (presale) event.presale = true;
      break;
    case CANCEL:
    case ABORT:
    case UNPAY:
      event.from = presale ? "outside" : outcome === "cancelled_paid" || kind === UNPAY ? "committed" : "reserved";
      event.to = presale ? "presale" : "sellable";
      break;
    case SUSPEND:
    case RESUME:
      break;
  }
}

function splitCell(name: string): [sku: string, location: string] {
  const at = name.indexOf(CELL_SEPARATOR);
  if (at <= 0 || at >= name.length - 1) refuse(`its cell ${JSON.stringify(name.slice(0, NAME_SHOWN))} is none`);
  return [name.slice(0, at), name.slice(at + 1)];
}
