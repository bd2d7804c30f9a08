/**
 * The bytes that ledger.lua keeps beside its log: a cell's balances, and the record of a remembered id. Where things
 * stand in them is the ledger's affair (BALANCES and RECORD there), and this is the one place beside it that knows.
 * It reads and never writes. What is not such bytes is not guessed: balances are then no numbers, and there is no
 * record.
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
/** The mark of a line of an order, which the order desk alone may move. */
export const OF_ORDER = 8;
/** The mark of a line that is not counted as demand before its order has been accepted as a whole (R9). */
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

/** What is remembered of an id, as far as anybody but the ledger asks. */
export interface StoredRecord {
  /** The first answer. */
  outcome: Outcome;
  /** Where the line stands now. */
  state: LineState;
  pool: Account;
  units: number;
  cell: string;
  /** Only the order desk may move it. */
  ofOrder: boolean;
  /** Of a line that has left or was cancelled: units that the books had nowhere. */
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
    // Where a line that holds nothing any more once had the time of its hold's end.
    missingUnits: Math.max(0, -bytes.readDoubleLE(EXPIRES_AT)),
  };
}
