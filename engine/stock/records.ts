/**
 * Reads what ledger.lua stores beside its log: a cell's balances, and the record of an id. The layouts are those of
 * ledger-codes.lua (BALANCES and HEADER); no other file repeats them. It never writes. Other bytes are not guessed:
 * balances are then NaN, and the record is undefined.
 */
import {
  ACCOUNTS,
  type Account,
  type Balances,
  emptyBalances,
  LINE_STATES,
  type LineState,
  OUTCOMES,
  type Outcome,
  POOLS,
} from "./model.js";

/** Of the byte that names a line's pool, in a record and in a batch, these bits are the pool; the others are marks. */
export const POOL_MASK = 7;
/** Mark: the line belongs to an order; only the order service may change it. */
export const OF_ORDER = 8;
/** Mark: the line is not counted as demand until its order is accepted as a whole (R9). */
export const UNCOUNTED = 16;

const BALANCE_BYTES = 8;

/** A cell's balances, in units; NaN in every pool when the bytes are not those of a cell. */
export function balancesOf(bytes: Buffer): Balances {
  const isWhole = bytes.length === POOLS.length * BALANCE_BYTES;
  const balances = emptyBalances();
  for (const [i, pool] of POOLS.entries())
    balances[pool] = isWhole ? bytes.readDoubleLE(i * BALANCE_BYTES) : Number.NaN;
  return balances;
}

/** The part of an id's record that is used outside of the ledger. */
export interface StoredRecord {
  /** Of the first command with the id. */
  outcome: Outcome;
  /** The line's present state. */
  state: LineState;
  pool: Account;
  units: number;
  cell: string;
  /** Only the order service may change it. */
  ofOrder: boolean;
  /** Of a line that has left or was cancelled: those of its units that were in no pool. */
  missingUnits: number;
}

const OUTCOME_AT = 1;
const STATE_AT = 2;
const POOL_AT = 3;
const EXPIRES_AT = 8;
const UNITS_AT = 16;
const CELL_AT = 32;

/** Undefined when there is no record, or one that is cut short. */
export function storedRecordOf(bytes: Buffer | null | undefined): StoredRecord | undefined {
  if (!bytes || bytes.length <= CELL_AT) return undefined;
  const code = bytes[POOL_AT] as number;
  return {
    outcome: OUTCOMES[bytes[OUTCOME_AT] as number] as Outcome,
    state: LINE_STATES[bytes[STATE_AT] as number] as LineState,
    pool: ACCOUNTS[code & POOL_MASK] as Account,
    units: bytes.readDoubleLE(UNITS_AT),
    cell: bytes.toString("utf8", CELL_AT),
    ofOrder: (code & OF_ORDER) !== 0,
    // When a line holds no units any more, its missing units are stored here, negative, in place of the hold's end.
    missingUnits: Math.max(0, -bytes.readDoubleLE(EXPIRES_AT)),
  };
}
