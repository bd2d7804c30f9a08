/**
 * The wire form of a batch of commands, columnar so that Lua reads it with one unpack and never writes it again: the ledger puts
 * the very bytes into its log beside the outcomes, and `eventsOf` joins the two into events. Version 1; a log entry of another
 * version is refused, not guessed.
 */
import { Packr, Unpackr } from "msgpackr";
import { chainIdDay } from "../kernel/chain-id.js";
import { assert, EngineError } from "../kernel/errors.js";
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
  OUTCOMES,
  type Outcome,
  type Pool,
  type StockCommand,
  type StockEvent,
} from "./model.js";

const VERSION = 1;
const packr = new Packr({ useRecords: false });
// The ledger packs units of an expiry past 2^32 as 64-bit integers; all are exact as numbers.
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

const accountCode = Object.fromEntries(ACCOUNTS.map((account, code) => [account, code])) as Record<Account, number>;
const kindCode = Object.fromEntries(KINDS.map((kind, position) => [kind, position + 1])) as Record<string, number>;
const RESERVE = kindCode["reserve"] as number;

/** The last outcome that changes something; a repeated one has 128 added, so it is above. */
const LAST_ACCEPTED = OUTCOMES.indexOf("cancelled_paid");

type Column<T> = T[] | 0;
type Batch = [
  version: number,
  kinds: string,
  names: string[],
  cells: number[],
  units: number[],
  ids: string[],
  fingerprints: number[],
  pools: string,
  days: number[],
  dayNumbers: number[],
  attempts: Column<number>,
  holds: number[] | number,
  times: Column<number>,
  targets: Column<number>,
  details: Column<[position: number, detail: Record<string, unknown>]>,
];

export interface EncodedBatch {
  bytes: Buffer;
  /** UTC days that the ids carry: the buckets that the call needs, in this order. */
  days: number[];
}

/** Writes commands of one partition as a batch. */
export function encodeBatch(commands: readonly StockCommand[]): EncodedBatch {
  const n = commands.length;
  const positions = new Map<string, number>();
  const dayPositions = new Map<number, number>();
  const batch: Batch = [
    VERSION,
    "",
    [],
    new Array(n),
    new Array(n),
    new Array(n),
    new Array(n),
    "",
    new Array(n),
    [],
    0,
    DEFAULT_HOLD_MS,
    0,
    0,
    0,
  ];
  const position = (name: string): number => {
    let found = positions.get(name);
    if (found === undefined) {
      found = batch[2].push(name);
      positions.set(name, found);
    }
    return found;
  };
  let kinds = "";
  let pools = "";
  for (let i = 0; i < n; i++) {
    const command = commands[i] as StockCommand;
    const day = chainIdDay(command.id);
    let dayPosition = dayPositions.get(day);
    if (dayPosition === undefined) {
      dayPosition = batch[9].push(day);
      dayPositions.set(day, dayPosition);
    }
    kinds += String.fromCharCode(kindCode[command.kind] as number);
    pools += String.fromCharCode(poolByte(command));
    batch[8][i] = dayPosition;
    batch[3][i] = position(cellOf(command.sku, command.location));
    batch[4][i] = "units" in command ? command.units : 0;
    batch[5][i] = command.id;
    batch[6][i] = bringsOwnId(command) ? fingerprintOf(command) : 0;
    if ("attempt" in command && command.attempt !== undefined && command.attempt !== 1) {
      if (batch[10] === 0) batch[10] = new Array<number>(n).fill(1);
      batch[10][i] = command.attempt;
    }
    if (command.kind === "reserve" && command.holdMs !== undefined && command.holdMs !== DEFAULT_HOLD_MS) {
      if (typeof batch[11] === "number") batch[11] = new Array<number>(n).fill(DEFAULT_HOLD_MS);
      batch[11][i] = command.holdMs;
    }
    if (command.atMs !== undefined) {
      if (batch[12] === 0) batch[12] = new Array<number>(n).fill(0);
      batch[12][i] = command.atMs;
    }
    if (command.kind === "move" && command.toLocation !== undefined) {
      if (batch[13] === 0) batch[13] = new Array<number>(n).fill(0);
      batch[13][i] = position(cellOf(command.sku, command.toLocation));
    }
    const detail = detailOf(command);
    if (detail) {
      if (batch[14] === 0) batch[14] = [];
      batch[14].push([i, detail]);
    }
  }
  // Lua looks attempts up for every command that undoes another.
  if (batch[10] === 0 && commands.some(({ kind }) => kind === "abort" || kind === "unpay"))
    batch[10] = new Array<number>(n).fill(1);
  batch[1] = kinds;
  batch[7] = pools;
  return { bytes: packr.pack(batch), days: batch[9] };
}

const bringsOwnId = (command: StockCommand): boolean =>
  command.kind !== "pay" &&
  command.kind !== "cancel" &&
  command.kind !== "outbound" &&
  command.kind !== "abort" &&
  command.kind !== "unpay";

function poolByte(command: StockCommand): number {
  if (command.kind === "move") return accountCode[command.from] * 8 + accountCode[command.to];
  const pool: Pool = ("pool" in command ? command.pool : undefined) ?? "sellable";
  return accountCode[pool];
}

function detailOf(command: StockCommand): Record<string, unknown> | undefined {
  const { actor, reason } = command;
  if (actor === undefined && reason === undefined && command.kind !== "configure" && command.kind !== "acknowledge")
    return undefined;
  const detail: Record<string, unknown> = {};
  if (actor !== undefined) detail["actor"] = actor;
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
}

/** Reads an entry of the stock log. Throws EngineError `undecodable` when it cannot be understood. */
export function eventsOf(entry: LogEntry): DecodedEntry {
  try {
    const clockMs = numberField(entry, "t");
    const expired = field(entry, "x");
    if (expired) return { clockMs, events: expiriesOf(entry.offset, clockMs, expired) };
    const bytes = field(entry, "b");
    return bytes ? batchEvents(entry, clockMs, bytes) : { clockMs, events: [] };
  } catch (cause) {
    throw new EngineError(
      `entry ${entry.offset} cannot be read`,
      { op: "stock.decode", code: "undecodable", retryable: false },
      { cause },
    );
  }
}

/** The ledger's clock when the entry was written; what trimming by age goes by. */
export const entryTimeMs = (entry: LogEntry): number => numberField(entry, "t");

function numberField(entry: LogEntry, name: string): number {
  const value = Number(field(entry, name)?.toString("latin1"));
  assert(Number.isFinite(value), `field ${name} is no number`);
  return value;
}

function expiriesOf(offset: number, clockMs: number, bytes: Buffer): StockEvent[] {
  const [ids, names, units, pools] = unpackr.unpack(bytes) as [string[], string[], number[], number[]];
  return ids.map((id, index) => {
    const [sku, location] = splitCell(names[index] as string);
    const presale = ACCOUNTS[pools[index] as number] === "presale";
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

function batchEvents(entry: LogEntry, startMs: number, bytes: Buffer): DecodedEntry {
  const batch = unpackr.unpack(bytes) as Batch;
  assert(batch[0] === VERSION, `batch version ${batch[0]}`);
  const [, kinds, names, cells, units, ids, , pools, , , , , times, targets, details] = batch;
  const outcomes = field(entry, "o") as Buffer;
  const start = Number(field(entry, "s")?.toString("latin1") ?? 0);
  const given = field(entry, "g") !== undefined;
  const split = names.map(splitCell);
  const detailAt = details === 0 ? undefined : new Map(details);
  const events: StockEvent[] = [];
  let clockMs = startMs;
  for (let k = 0; k < outcomes.length; k++) {
    const i = start + k;
    const at = times === 0 ? 0 : (times[i] as number);
    if (given && at > clockMs) clockMs = at;
    const outcome = outcomes[k] as number;
    if (outcome > LAST_ACCEPTED) continue;
    const [sku, location] = split[(cells[i] as number) - 1] as [string, string];
    const kind = kinds.charCodeAt(i);
    const event: StockEvent = {
      type: EVENT_BY_CODE[kind] as EventType,
      offset: entry.offset,
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
    setAccounts(event, kind, pools.charCodeAt(i), OUTCOMES[outcome] as Outcome);
    const target = targets === 0 ? 0 : (targets[i] as number);
    if (target !== 0) event.toLocation = (split[target - 1] as [string, string])[1];
    const detail = detailAt?.get(i);
    if (detail) event.detail = detail;
    events.push(event);
  }
  return { clockMs, events };
}

const EVENT_BY_CODE = ["", ...KINDS.map((kind) => EVENT_TYPES[kind])];
const [, RECEIVE, CORRECT, MOVE, , PAY, CANCEL, OUTBOUND, RETURN, ABORT, , , UNPAY] = [
  0,
  ...KINDS.map((kind) => kindCode[kind] as number),
];

/** Between which accounts the units went; the same table as decide.ts, read off the command and its outcome. */
function setAccounts(event: StockEvent, kind: number, pool: number, outcome: Outcome): void {
  const account = ACCOUNTS[pool] as Account;
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
      break;
    case CANCEL:
    case ABORT:
    case UNPAY:
      event.from = presale ? "outside" : outcome === "cancelled_paid" || kind === UNPAY ? "committed" : "reserved";
      event.to = presale ? "presale" : "sellable";
      break;
  }
}

function splitCell(name: string): [sku: string, location: string] {
  const at = name.indexOf(CELL_SEPARATOR);
  return [name.slice(0, at), name.slice(at + 1)];
}
