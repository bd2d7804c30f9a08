/**
 * Reads entries of the stock log: a batch joined with its outcomes, a sweep of expired holds, a change of a breaker, or
 * a heartbeat. An entry with anything that this version does not write is refused as a whole, not guessed: its events
 * are right in every field or there are none. Only what a later release may add is accepted: details and settings under
 * new names, which are kept, and fields whose names begin with `+`, which are ignored.
 */
import { assert, EngineError, messageOf } from "../kernel/errors.js";
import { field, type LogEntry } from "../stream/log.js";
import { KIND_CODES, REPEATED } from "./batch.js";
import {
  assertNumbers,
  assertTexts,
  CLOCK_LIMIT,
  decodeBatch,
  isList,
  reject,
  splitCell,
  unpack,
} from "./batch-decoder.js";
import { breakerScopeOf } from "./breaker.js";
import {
  ACCOUNTS,
  type Account,
  EVENT_TYPES,
  type EventType,
  KINDS,
  MAX_UNITS,
  OUTCOMES,
  type Outcome,
  type StockEvent,
  SWEEP_LIMIT,
  type Transfer,
} from "./model.js";
import { POOL_MASK, UNCOUNTED } from "./records.js";

/**
 * The last outcome that changes something. Codes of repeated outcomes are higher, and so are codes that were added
 * later: all of these are refusals.
 */
const LAST_ACCEPTED = OUTCOMES.indexOf("cancelled_paid");

/** One entry of the stock log: its events in order, and the ledger's clock after it. */
export interface DecodedEntry {
  clockMs: number;
  events: StockEvent[];
  /** Number of all events in the log up to this entry; missing in entries from before events were counted. */
  total?: number;
}

/**
 * 8 MiB. The ledger writes at most 1,000 commands an entry, and the largest that HTTP takes is about 4.8 KB: 2 cells
 * of 225 bytes (64 characters and a location), an id of 27, 80 for the columns, 1,000 for actor, onBehalfOf, reason,
 * category and alert, and 3,200 for settings (settings.ts). So no entry is larger than 4.8 MB.
 */
export const ENTRY_BYTES_LIMIT = 8 * 1024 * 1024;
/** Fields of every entry: `t` the clock before it, `n` number of events up to it. Then come the fields of one form. */
const COMMON_FIELDS = ["t", "n"];
/**
 * `b` the batch, `o` outcomes, `s` index of the first outcome's command, `g` the caller gave a clock of its own, `d`
 * deduction times of the lines that count as demand from now on, 8 bytes each, `m` commands that moved other units than
 * their kind says.
 */
const BATCH_FIELDS = ["b", "o", "s", "g", "d", "m"];
/** `x` expired holds. */
const EXPIRY_FIELDS = ["x"];
/** `c` a breaker's scope, `j` the change: JSON {action, actor, onBehalfOf, reason, untilMs, version, atEnd}. */
const BREAKER_FIELDS = ["c", "j"];

type Fields = ReadonlyMap<string, Buffer>;

/**
 * Reads an entry of the stock log.
 * @throws EngineError `undecodable`, with the reason, when anything in it cannot be read
 */
export function eventsOf(entry: LogEntry): DecodedEntry {
  try {
    return decode(entry);
  } catch (cause) {
    throw new EngineError(
      `entry ${entry.offset} cannot be read: ${messageOf(cause)}`,
      { op: "stock.decode", code: "undecodable", retryable: false },
      { cause },
    );
  }
}

function decode(entry: LogEntry): DecodedEntry {
  const fields = fieldsOf(entry);
  const clockMs = numberOf(fields, "t");
  assert(clockMs < CLOCK_LIMIT, `the time ${clockMs} is past the year 3084`);
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
    assertOnly(fields, BREAKER_FIELDS);
    const [scope, change] = [fields.get("c"), fields.get("j")];
    assert((scope === undefined) === (change === undefined), "a breaker's entry lacks its scope or the change");
    if (scope && change) decoded.events = [breakerEvent(entry.offset, clockMs, scope.toString("utf8"), change)];
  }
  if (fields.has("n")) decoded.total = numberOf(fields, "n");
  return decoded;
}

/** The entry's fields by name. The length is checked before anything is read. */
function fieldsOf({ fields }: LogEntry): Fields {
  const length = fields.reduce((sum, bytes) => sum + bytes.length, 0);
  assert(length <= ENTRY_BYTES_LIMIT, `it is ${length} bytes long; the limit is ${ENTRY_BYTES_LIMIT}`);
  const named = new Map<string, Buffer>();
  for (let i = 0; i < fields.length; i += 2)
    named.set((fields[i] as Buffer).toString("latin1", 0, READ_CHARACTERS), fields[i + 1] as Buffer);
  assert(named.size * 2 === fields.length, "a field occurs twice, or has no value");
  return named;
}

/** Characters of a field's name, or of a number's text, that are read at most; real names have one letter. */
const READ_CHARACTERS = 20;

/** Prefix of fields that may be ignored: the entry's events are complete without them. */
const OPTIONAL_PREFIX = "+";

function assertOnly(fields: Fields, known: readonly string[]): void {
  for (const name of fields.keys())
    assert(
      known.includes(name) || COMMON_FIELDS.includes(name) || name.startsWith(OPTIONAL_PREFIX),
      `the field ${name} is unknown`,
    );
}

/** The ledger's clock when the entry was written; trimming by age uses it. */
export const entryTimeMs = (entry: LogEntry): number => wholeNumber(field(entry, "t"), "t");

const numberOf = (fields: Fields, name: string): number => wholeNumber(fields.get(name), name);

function wholeNumber(bytes: Buffer | undefined, name: string): number {
  const text = bytes?.toString("latin1", 0, READ_CHARACTERS) ?? "";
  const value = Number(text);
  assert(/^\d+$/.test(text) && Number.isSafeInteger(value), `the field ${name} is not a whole number`);
  return value;
}

const BREAKER_EVENTS: Readonly<Record<string, EventType>> = {
  open: EVENT_TYPES.openBreaker,
  half_open: EVENT_TYPES.halfOpenBreaker,
  close: EVENT_TYPES.closeBreaker,
};

/** The change of a breaker. Entries of formats before 3 have no version and no end. */
function breakerEvent(offset: number, clockMs: number, key: string, bytes: Buffer): StockEvent {
  const change = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
  assert(typeof change === "object" && change !== null, "the change of a breaker is not an object");
  const { action, ...cause } = change;
  const type = Object.hasOwn(BREAKER_EVENTS, String(action)) ? BREAKER_EVENTS[String(action)] : undefined;
  assert(type !== undefined, "the change of a breaker has an unknown action");
  assert(/^(shop$|location:.|sku:.)/su.test(key), "the scope of a breaker is unknown");
  for (const name of ["actor", "reason"]) assert(typeof cause[name] === "string", `a breaker's ${name} is not a text`);
  for (const name of ["onBehalfOf", "atEnd"])
    assert(["string", "undefined"].includes(typeof cause[name]), `a breaker's ${name} is not a text`);
  for (const name of ["untilMs", "version"])
    assert(cause[name] === undefined || Number.isSafeInteger(cause[name]), `a breaker's ${name} is not a whole number`);
  const scope = breakerScopeOf(key);
  return {
    type,
    offset,
    index: 0,
    id: key,
    sku: scope.kind === "sku" ? scope.sku : "",
    location: scope.kind === "location" ? scope.location : "",
    units: 0,
    from: "outside",
    to: "outside",
    atMs: clockMs,
    clockMs,
    detail: { scope, ...cause },
  };
}

function expiriesOf(offset: number, clockMs: number, bytes: Buffer): StockEvent[] {
  const columns = unpack(bytes) as [string[], string[], number[], number[]];
  assert(isList(columns, 4), "the expired holds are not in 4 columns");
  const [ids, names, units, pools] = columns;
  const n = Array.isArray(ids) ? ids.length : 0;
  assert(n > 0 && n <= SWEEP_LIMIT, `there are ${n} expired holds; 1 to ${SWEEP_LIMIT} are allowed`);
  assertTexts(ids, n, "ids");
  assertTexts(names, n, "cell names");
  assertNumbers(units, n, 0, MAX_UNITS, "units");
  assertNumbers(pools, n, 0, ACCOUNTS.length - 1, "pools");
  return ids.map((id, index) => {
    const [sku, location] = splitCell(names[index] as string);
    const pool = ACCOUNTS[pools[index] as number];
    assert(pool === "sellable" || pool === "presale", `a hold cannot be of the pool ${pool}`);
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

function batchEvents(offset: number, fields: Fields, startMs: number, bytes: Buffer): DecodedEntry {
  const [, kinds, names, cells, units, ids, pools, , , , , times, targets, details] = decodeBatch(bytes);
  const outcomes = fields.get("o");
  const start = fields.has("s") ? numberOf(fields, "s") : 0;
  const given = fields.has("g");
  assert(!given || numberOf(fields, "g") === 1, "the field g is not 1");
  assert(
    outcomes && outcomes.length > 0 && start + outcomes.length <= ids.length,
    "the outcomes do not match the commands",
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
    if ((outcome & ~REPEATED) >= OUTCOMES.length) reject(`there is no outcome ${outcome}`);
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
    if (moved) events.push(...movedEvents(event, moved, ids.length));
    else events.push(event);
  }
  assert((deducted?.length ?? 0) === counted * TIME_BYTES, "the deduction times do not match the accepted lines");
  return { clockMs, events };
}

const TIME_BYTES = 8;

function deductedAt(times: Buffer | undefined, index: number, clockMs: number): number {
  const at = index * TIME_BYTES;
  const timeMs = times && times.length >= at + TIME_BYTES ? times.readDoubleLE(at) : -1;
  if (!Number.isInteger(timeMs) || timeMs < 0 || timeMs > clockMs) reject("an accepted line has no deduction time");
  return timeMs;
}

/** The actual transfers of a command about a line, when its units were not all in the expected pool. */
interface Moved {
  missingUnits: number;
  transfers: Transfer[];
}

/** Each of `m`: index, missing units, then from, to and units, at most twice. */
function movesOf(bytes: Buffer | undefined, start: number, length: number): Map<number, Moved> | undefined {
  if (!bytes) return undefined;
  const lists = unpack(bytes) as number[][];
  assert(Array.isArray(lists) && lists.length > 0 && lists.length <= length, "the actual transfers are not a list");
  const moves = new Map<number, Moved>();
  for (const list of lists) {
    assert(
      Array.isArray(list) && [2, 5, 8].includes(list.length),
      "an actual transfer is not a list of the right length",
    );
    assertNumbers(list, list.length, 0, MAX_UNITS, "actual transfers");
    const [index, missingUnits, ...rest] = list as [number, number, ...number[]];
    assert(index >= start && index < start + length, "an actual transfer belongs to no command");
    const transfers: Transfer[] = [];
    for (let k = 0; k < rest.length; k += 3) {
      const [from, to] = [ACCOUNTS[rest[k] as number], ACCOUNTS[rest[k + 1] as number]];
      assert(from !== undefined && to !== undefined, "an actual transfer has an unknown pool");
      transfers.push({ from, to, units: rest[k + 2] as number });
    }
    moves.set(index, { missingUnits, transfers });
  }
  return moves;
}

/** The events of such a command. The second gets an index past the batch's commands, so that indexes are unique. */
function movedEvents(event: StockEvent, { missingUnits, transfers }: Moved, size: number): StockEvent[] {
  const detail = {
    ...event.detail,
    ...(event.type === "LineOutbound" && { unexplained: true }),
    ...(missingUnits > 0 && { missingUnits }),
  };
  if (transfers.length === 0) return [{ ...event, from: "outside", to: "outside", detail }];
  return transfers.map((transfer, k) => ({ ...event, ...transfer, index: event.index + k * size, detail }));
}

const EVENT_BY_CODE = ["", ...KINDS.map((kind) => EVENT_TYPES[kind])];
const {
  receive: RECEIVE,
  correct: CORRECT,
  move: MOVE,
  reserve: RESERVE,
  pay: PAY,
  cancel: CANCEL,
  outbound: OUTBOUND,
  return: RETURN,
  abort: ABORT,
  unpay: UNPAY,
  accept: ACCEPT,
  suspend: SUSPEND,
  resume: RESUME,
} = KIND_CODES;

/** Sets the event's accounts by its command's kind and outcome: the same transfers as in decide.ts. */
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
