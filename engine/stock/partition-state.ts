/**
 * The state of one partition's ledger as plain values: what `decide` reads and `evolve` changes. ledger.lua keeps the
 * same state in Redis; the simulation compares the two at every step. It holds a single partition, and no log.
 */
import { LATEST_FORMAT } from "../stream/format.js";
import type { OpenBreaker } from "./breaker.js";
import {
  type Balances,
  type CommandKind,
  DEFAULT_ID_RETENTION_DAYS,
  type LineState,
  type Outcome,
  type Reply,
  type Transfer,
} from "./model.js";

/** What is kept of an id. */
export interface IdRecord {
  kind: CommandKind;
  /** Of the first body that came with the id. */
  fingerprint: number;
  outcome: Outcome;
  state: LineState;
  /** Of a line: what it holds, in which cell, and until when. */
  cell: string;
  pool: "sellable" | "presale";
  units: number;
  expiresAtMs: number;
  attempt: number;
  /** Of a line: it is not counted as demand yet. */
  uncounted?: true;
  /** Only the order service may change the line. */
  ofOrder: boolean;
  /** Of a line that has left or was cancelled: those of its units that were in no pool. */
  missingUnits: number;
}

export interface PartitionState {
  clockMs: number;
  cells: Map<string, Balances>;
  /** Records by UTC day of the id. */
  records: Map<number, Map<string, IdRecord>>;
  breakers: Map<string, OpenBreaker>;
  retentionDays: number;
  /** Ids of this day and earlier ones are refused; of their lines those stay that hold units or held them lately. */
  retiredDay: number;
  /**
   * The deployment's. In format 1 the previous release reads the same data: lines have no owner, and an outbound can be
   * refused, as in that release.
   */
  format: number;
  /** Two clocks differ by more than the bound: no `advance` is called, and nothing new is reserved. */
  clocksDisagree?: true;
}

export const emptyPartitionState = (
  retentionDays = DEFAULT_ID_RETENTION_DAYS,
  format = LATEST_FORMAT,
): PartitionState => ({
  clockMs: 0,
  cells: new Map(),
  records: new Map(),
  breakers: new Map(),
  retentionDays,
  retiredDay: -1,
  format,
});

/** A transfer at a cell; `toCell` differs when units change location. */
export interface CellTransfer extends Transfer {
  cell: string;
  toCell: string;
}

export interface Decision extends Reply {
  transfers: CellTransfer[];
  /** The command's new record; "unchanged": the old one stays, or there is none. */
  record: IdRecord | "unchanged";
  /** Of a line that counts as demand from now on: when it was deducted. */
  deductedMs?: number;
  /** Goods have left an unexpected pool, or are missing. */
  unexplained?: true;
}

/** A hold that a sweep has ended. */
export interface Expiry {
  id: string;
  record: IdRecord;
  transfer: CellTransfer;
}

/** Reserved and aborted: nothing is held, and only a later attempt may reserve. */
export const isAborted = ({ kind, outcome, state }: IdRecord): boolean =>
  kind === "reserve" && outcome === "accepted" && state === "none";

export const hasLostHold = ({ state }: IdRecord): boolean => state === "expired" || state === "unpaid";

export const isPaid = ({ state }: IdRecord): boolean => state === "paid" || state === "cancelling";

export const isCancelled = ({ state }: IdRecord): boolean => state === "cancelled" || state === "cancelled_paid";

export const holdsUnits = ({ state }: IdRecord): boolean =>
  state === "held" || state === "paid" || state === "cancelling";

/** Returns a held line's units to the pool that they were reserved from. */
export function returnUnits(record: IdRecord): CellTransfer {
  const at = { cell: record.cell, toCell: record.cell, units: record.units };
  return record.pool === "presale"
    ? { from: "outside", to: "presale", ...at }
    : { from: "reserved", to: "sellable", ...at };
}
