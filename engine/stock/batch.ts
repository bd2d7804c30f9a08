/**
 * The wire format of a batch of commands: columns, which Lua reads with one unpack. The ledger writes the same bytes
 * into its log beside the outcomes. Version 2; version 1, which had fingerprints among its columns, is only read. Here
 * are the layout and the encoding; batch-decoder.ts reads batches back, log-entry.ts joins them with outcomes.
 */
import { Packr } from "msgpackr";
import { chainIdDay } from "../kernel/chain-id.js";
import { LATEST_FORMAT } from "../stream/format.js";
import { fingerprintOf } from "./fingerprint.js";
import {
  ACCOUNTS,
  type Account,
  type CommandKind,
  cellOf,
  DEFAULT_HOLD_MS,
  KINDS,
  type Pool,
  type StockCommand,
} from "./model.js";
import { OF_ORDER, UNCOUNTED } from "./records.js";

export const BATCH_VERSION = 2;
/** The most commands that a call of the ledger takes. */
export const ENTRY_COMMANDS_LIMIT = 1_000;
/** Deployments of an older format have readers that cannot read marks. */
const MARKS_FORMAT = 2;
/** Deployments of an older format have readers that refuse an entry with the details `onBehalfOf` and `settlement`. */
const MORE_DETAILS_FORMAT = 2;
/** Added to the code of a line's state in an answer when the line has the mark `UNCOUNTED`. */
export const IS_UNCOUNTED = 128;
/** Added to the code of an outcome that was given before. */
export const REPEATED = 128;
const FINGERPRINT_BYTES = 8;
/** In an expectation: nothing is expected, or the correction belongs to no instant. */
const NONE = -1;
const NOTHING = Buffer.alloc(0);

const packr = new Packr({ useRecords: false });
const accountCode = Object.fromEntries(ACCOUNTS.map((account, code) => [account, code])) as Record<Account, number>;
/** Codes of the kinds of commands. */
export const KIND_CODES = Object.fromEntries(KINDS.map((kind, index) => [kind, index + 1])) as Record<
  CommandKind,
  number
>;

/** Commands about a line reserved before: they carry the id of its reservation. */
const LINE_KINDS: ReadonlySet<CommandKind> = new Set([
  "pay",
  "cancel",
  "outbound",
  "abort",
  "unpay",
  "accept",
  "suspend",
  "resume",
]);

/** 0: all commands have the default. */
export type Column<T> = T[] | 0;
/** `cells`, `days` and `targets` are indexes, from 1, into `names` and `dayNumbers`; target 0 is none. */
export type Batch = [
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
  details: Column<[index: number, detail: Record<string, unknown>]>,
];

export interface EncodedBatch {
  bytes: Buffer;
  /** Of the bodies, 8 bytes a command as ledger.lua stores them; zeros for a command about a line reserved before. */
  fingerprints: Buffer;
  /**
   * What corrections expect, and the instants that they belong to, as ledger.lua reads them; empty when there is none.
   * Not part of the batch: the log does not need it, and older releases could not read it there.
   */
  expectations: Buffer;
  /** UTC days that the ids carry: the call needs their buckets, in this order. */
  days: number[];
}

/** The names of a batch's cells, each once. */
class CellNames {
  readonly names: string[] = [];
  readonly #indexes = new Map<string, number>();

  /** From 1. */
  indexOf(name: string): number {
    let found = this.#indexes.get(name);
    if (found === undefined) {
      found = this.names.push(name);
      this.#indexes.set(name, found);
    }
    return found;
  }
}

/**
 * Encodes commands of one partition as a batch.
 * @param format the deployment's: what releases of an older format cannot read is left out
 */
export function encodeBatch(commands: readonly StockCommand[], format = LATEST_FORMAT): EncodedBatch {
  const n = commands.length;
  const names = new CellNames();
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
      const dayIndex = known < 0 ? dayNumbers.push(day) : known + 1;
      if (dayIndex > 1) {
        if (days === 0) days = new Array<number>(n).fill(1);
        days[i] = dayIndex;
      }
    }
    kinds += String.fromCharCode(KIND_CODES[command.kind]);
    pools += String.fromCharCode(poolByte(command, format));
    cells[i] = names.indexOf(cellOf(command.sku, command.location));
    units[i] = "units" in command ? command.units : 0;
    ids[i] = command.id;
    if (!LINE_KINDS.has(command.kind)) fingerprints.writeDoubleLE(fingerprintOf(command), i * FINGERPRINT_BYTES);
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
      targets[i] = names.indexOf(cellOf(command.sku, command.toLocation));
    }
    const detail = detailOf(command, format);
    if (detail) {
      if (details === 0) details = [];
      details.push([i, detail]);
    }
  }
  // Lua needs an attempt of every command that undoes another.
  if (attempts === 0 && commands.some(({ kind }) => kind === "abort" || kind === "unpay"))
    attempts = new Array<number>(n).fill(1);
  const batch: Batch = [
    BATCH_VERSION,
    kinds,
    names.names,
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
  return { bytes: packr.pack(batch), fingerprints, expectations: expectationsOf(commands), days: dayNumbers };
}

function expectationsOf(commands: readonly StockCommand[]): Buffer {
  const expectations: [position: number, onHandUnits: number, instantMs: number][] = [];
  for (const [i, command] of commands.entries()) {
    if (command.kind !== "correct" || (command.expected ?? command.settlement) === undefined) continue;
    expectations.push([i + 1, command.expected?.onHandUnits ?? NONE, command.settlement?.asOfMs ?? NONE]);
  }
  return expectations.length > 0 ? packr.pack(expectations) : NOTHING;
}

function poolByte(command: StockCommand, format: number): number {
  if (command.kind === "move") return accountCode[command.from] * 8 + accountCode[command.to];
  const pool: Pool = ("pool" in command ? command.pool : undefined) ?? "sellable";
  // Format 1 has no marks: a line of an order counts as demand from its reservation on, and has no owner.
  if (format < MARKS_FORMAT) return accountCode[pool];
  const isUncounted = command.kind === "reserve" && command.uncounted;
  const isOfOrder = "ofOrder" in command && command.ofOrder;
  return accountCode[pool] + (isUncounted ? UNCOUNTED : 0) + (isOfOrder ? OF_ORDER : 0);
}

function detailOf(command: StockCommand, format: number): Record<string, unknown> | undefined {
  const { actor, onBehalfOf, reason } = command;
  const settlement = command.kind === "correct" && format >= MORE_DETAILS_FORMAT ? command.settlement : undefined;
  const hasCause = actor !== undefined || reason !== undefined || settlement !== undefined;
  if (!hasCause && command.kind !== "configure" && command.kind !== "acknowledge") return undefined;
  const detail: Record<string, unknown> = {};
  if (actor !== undefined) detail["actor"] = actor;
  if (onBehalfOf !== undefined && format >= MORE_DETAILS_FORMAT) detail["onBehalfOf"] = onBehalfOf;
  if (reason !== undefined) detail["reason"] = reason;
  if (settlement !== undefined) detail["settlement"] = { ...settlement };
  if (command.kind === "configure") {
    const { settings, category, categorySettings } = command;
    Object.assign(detail, { settings }, category && { category }, categorySettings && { categorySettings });
  }
  if (command.kind === "acknowledge") detail["alertId"] = command.alertId;
  return detail;
}
