/**
 * The vocabulary of stock: accounts, commands, outcomes and events (R1–R3). A *cell* is one SKU at one location, with
 * five balances. A command asks for one transfer between two accounts of one SKU; the ledger answers with an outcome
 * and, when it did something, with an event. All units are whole numbers from 1 to MAX_UNITS.
 */

export const POOLS = ["sellable", "reserved", "committed", "safety", "presale"] as const;
export type Pool = (typeof POOLS)[number];
/** `outside` is the rest of the world: suppliers, customers, waste. It has no balance of its own. */
export type Account = Pool | "outside";
/** Pools that goods may be received into. */
export type OpenPool = "sellable" | "safety" | "presale";
/** Pools between which operators move goods on hand. */
export type MovePool = "sellable" | "safety";
/** Pools that an order line reserves from. A presale line lowers only the presale counter until it is outbound. */
export type OrderPool = "sellable" | "presale";

/** The largest number that is exact in Redis' Lua and in JavaScript. */
export const MAX_UNITS = Number.MAX_SAFE_INTEGER;
export const DEFAULT_HOLD_MS = 30 * 60_000;
export const MAX_HOLD_MS = 72 * 3_600_000;
/** Days (UTC, by the id's own time) for which the ledger keeps every id; an older id is refused. */
export const DEFAULT_ID_RETENTION_DAYS = 45;
/** Buckets of ids are kept longer than the window by the longest hold: no line is deleted while it holds units. */
export const HOLD_MARGIN_DAYS = 4;
/** Most holds ended by one sweep: 1,000 × about 3 µs keeps Redis busy for 3 ms at most. */
export const SWEEP_LIMIT = 1_000;
/** Separates SKU and location in a cell's name; neither may contain it. */
export const CELL_SEPARATOR = "\u001f";

export const cellOf = (sku: string, location: string): string => sku + CELL_SEPARATOR + location;

/** Balances of one cell, in units. `onHand` is everything but presale. */
export interface Balances {
  sellable: number;
  reserved: number;
  committed: number;
  safety: number;
  presale: number;
}

export const emptyBalances = (): Balances => ({ sellable: 0, reserved: 0, committed: 0, safety: 0, presale: 0 });
export const onHandUnits = (cell: Balances): number => cell.sellable + cell.reserved + cell.committed + cell.safety;

/**
 * What customers are shown (R5): sellable units and a share of those held for unpaid orders. The share is floored after
 * the product has been rounded to 9 decimals, so that 0.3 × 10 is 3 and not 2.999….
 */
export const DEFAULT_DISPLAY_COEFFICIENT = 0.3;
export const displayUnits = (sellable: number, reserved: number, coefficient = DEFAULT_DISPLAY_COEFFICIENT): number =>
  sellable + Math.floor(Math.round(coefficient * reserved * 1e9) / 1e9);

/**
 * Who wants a change, and why; recorded with the event. The actor is not part of the body's fingerprint: the same
 * request under another token is a repeat.
 */
export interface Cause {
  /** The authenticated user or token. */
  actor?: string;
  /** The person for whom the actor acts, as stated by the actor. */
  onBehalfOf?: string;
  reason?: string;
}

interface CommandBase extends Cause {
  /** A chain id, with `-n` for an order's line; applied at most once (R3). */
  id: string;
  sku: string;
  location: string;
  /** When it happened (milliseconds since the epoch), never in the future; default: when the ledger accepted it. */
  atMs?: number;
}

/** outside → pool: goods arrive. */
export interface ReceiveStock extends CommandBase {
  kind: "receive";
  units: number;
  pool?: OpenPool;
}
/** Pools that a stock count can correct; reserved units belong to lines and move only with them. */
export type CountedPool = Exclude<Pool, "reserved">;
/** The report that a correction follows (R13, R14): recorded with the event. */
export interface SettledDifference {
  comparison: string;
  source: string;
  /** Of that source. */
  snapshot: string;
  proposal: string;
  /** The instant that the snapshot describes: the correction belongs before it. */
  asOfMs: number;
}
/**
 * outside → pool (found) or pool → outside (lost): a count was wrong. The only command that takes
 * negative units.
 */
export interface CorrectStock extends CommandBase {
  kind: "correct";
  units: number;
  pool?: CountedPool;
  /** What the cell must hold (compare and set): everything but presale; 0 of a cell that does not exist. */
  expected?: { onHandUnits: number };
  settlement?: SettledDifference;
}
/** pool → pool at one location, or sellable → sellable of another location. */
export interface MoveStock extends CommandBase {
  kind: "move";
  units: number;
  from: MovePool;
  to: MovePool;
  /** Another location; from and to are then both `sellable`. */
  toLocation?: string;
}
/** sellable → reserved: an order line asks for units; they are held until `holdMs` have passed. */
export interface ReserveStock extends LineBase {
  kind: "reserve";
  units: number;
  pool?: OrderPool;
  holdMs?: number;
  /** The order's attempt, from 1; an older attempt's `abort` is then refused. */
  attempt?: number;
  /** The line counts as demand only after `accept`, when its order is accepted as a whole (R9). */
  uncounted?: true;
}
/** The order service marks lines of orders: only the order service may change such a line. */
interface LineBase extends CommandBase {
  ofOrder?: true;
}
/** reserved → committed: the line is paid. After expiry the units are taken again from sellable, or refused. */
export interface PayLine extends LineBase {
  kind: "pay";
  units: number;
  pool?: OrderPool;
  /** The order's attempt, from 1; an older attempt's `unpay` is then refused. */
  attempt?: number;
}
/**
 * reserved or committed → sellable: the line is cancelled before its goods leave. A paid line of an order has to be
 * suspended first.
 */
export interface CancelLine extends LineBase {
  kind: "cancel";
  units: number;
  pool?: OrderPool;
  /** Of a line of an order: the attempt that has suspended it. */
  attempt?: number;
}
/**
 * committed → outside: the goods left. A presale line takes its goods from sellable now. Goods that have left are a
 * fact (R3): in any state of the line the units are taken from the pool that should hold them, then from sellable; the
 * rest is reported as missing.
 */
export interface OutboundLine extends LineBase {
  kind: "outbound";
  units: number;
  pool?: OrderPool;
}
/** outside → pool: goods came back. */
export interface ReturnStock extends CommandBase {
  kind: "return";
  units: number;
  pool?: OpenPool;
}
/** reserved → sellable: reverts a reservation because another line of its order was refused. */
export interface AbortLine extends LineBase {
  kind: "abort";
  units: number;
  pool?: OrderPool;
  attempt: number;
}
/** committed → sellable: reverts a payment because another line of its order was refused; a later attempt may pay. */
export interface UnpayLine extends LineBase {
  kind: "unpay";
  units: number;
  pool?: OrderPool;
  attempt: number;
}
/**
 * Moves nothing: the order has been accepted as a whole, so its line counts as demand, once, at the time of its
 * deduction (R9).
 */
export interface AcceptLine extends LineBase {
  kind: "accept";
  units: number;
  pool?: OrderPool;
  /** As in the reservation: the deduction was that long before the hold's end. */
  holdMs?: number;
}
/**
 * paid → cancelling: the warehouse is asked to release the goods; the units stay committed. Does not change a line
 * that is not paid.
 */
export interface SuspendLine extends LineBase {
  kind: "suspend";
  units: number;
  pool?: OrderPool;
  /** The order's attempt: an older one that arrives late must not suspend a line that was resumed. */
  attempt?: number;
}
/** cancelling → paid: the cancellation is refused or withdrawn, and the order continues. */
export interface ResumeLine extends LineBase {
  kind: "resume";
  units: number;
  pool?: OrderPool;
  /** An older attempt's `suspend` is then refused. */
  attempt?: number;
}
/** Sets options of one SKU from this point of the log on; moves nothing. Options that are left out do not change. */
export interface ConfigureSku extends CommandBase {
  kind: "configure";
  settings: SkuSettings;
  /** Puts the SKU into a category. */
  category?: string;
  /** All settings of its category; the SKU's own settings have precedence. */
  categorySettings?: SkuSettings;
}
/** An operator has acknowledged an alert; moves nothing. */
export interface AcknowledgeAlert extends CommandBase {
  kind: "acknowledge";
  alertId: string;
}

/** Settings of a SKU or of a category by name; which there are, and their bounds: settings.ts. */
export type SkuSettings = Readonly<Record<string, number>>;

export type StockCommand =
  | ReceiveStock
  | CorrectStock
  | MoveStock
  | ReserveStock
  | PayLine
  | CancelLine
  | OutboundLine
  | ReturnStock
  | AbortLine
  | UnpayLine
  | AcceptLine
  | SuspendLine
  | ResumeLine
  | ConfigureSku
  | AcknowledgeAlert;
export type CommandKind = StockCommand["kind"];

/** The index plus 1 is the code in batches and in ledger.lua; append only. */
export const KINDS = [
  "receive",
  "correct",
  "move",
  "reserve",
  "pay",
  "cancel",
  "outbound",
  "return",
  "abort",
  "configure",
  "acknowledge",
  "unpay",
  "accept",
  "suspend",
  "resume",
] as const satisfies readonly CommandKind[];

/** The index is the code in batches and in ledger.lua; append only. */
export const ACCOUNTS = ["outside", ...POOLS] as const satisfies readonly Account[];

/**
 * Outcomes of commands, in order of precedence: the first that applies is returned. The index is the code in replies
 * and in ledger.lua; append only. `order_line` (only the order service may change the line) precedes every other
 * refusal of a known line, `balance_changed` (the cell does not hold what was expected) those for too few or too many
 * units. The first three are not refusals: `admitted_anew` is a payment after expiry for which there were units,
 * `cancelled_paid` a cancellation of a paid line, so that the money must be refunded.
 */
export const OUTCOMES = [
  "accepted",
  "admitted_anew",
  "cancelled_paid",
  "id_reused",
  "id_outside_window",
  "superseded",
  "breaker_open",
  "unknown_sku",
  "unknown_line",
  "line_mismatch",
  "line_cancelled",
  "not_paid",
  "already_outbound",
  "hold_expired",
  "insufficient_sellable",
  "insufficient_presale",
  "insufficient_units",
  "limit_exceeded",
  "order_line",
  "clocks_disagree",
  "balance_changed",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/**
 * States of an order line. The index is the code in replies and in ledger.lua; append only. `unpaid`: its payment was
 * reverted with its order's; like `expired`, but only a later attempt may pay it. `cancelling`: paid, and the warehouse
 * is asked to release the goods.
 */
export const LINE_STATES = [
  "none",
  "held",
  "paid",
  "cancelled",
  "expired",
  "outbound",
  "cancelled_paid",
  "unpaid",
  "cancelling",
] as const;
export type LineState = (typeof LINE_STATES)[number];

/** What the ledger answers to one command. */
export interface Reply {
  outcome: Outcome;
  /** The command was accepted or refused before; this is the first outcome again. */
  repeated: boolean;
  /** Of the line that the command names, after the command; `none` when it names no line. */
  state: LineState;
  /** The line is not counted as demand yet, because its order is not accepted as a whole. */
  uncounted?: true;
  /**
   * Units of the line that left or were returned although they were in no pool; a stock count must clear this up (R3).
   * Left out when there are none.
   */
  missingUnits?: number;
}

/** Whether an outcome, of a line or of a whole order, is not a refusal. */
export const isAccepted = (outcome: string): boolean =>
  outcome === "accepted" || outcome === "admitted_anew" || outcome === "cancelled_paid";

/** A movement of units between two accounts of one SKU; units > 0. */
export interface Transfer {
  from: Account;
  to: Account;
  units: number;
}

/** Types of events by the kind of their command; an expiry and changes of breakers have no command. */
export const EVENT_TYPES = {
  receive: "StockReceived",
  correct: "StockCorrected",
  move: "StockMoved",
  reserve: "StockReserved",
  pay: "LinePaid",
  cancel: "LineCancelled",
  outbound: "LineOutbound",
  return: "StockReturned",
  abort: "LineAborted",
  unpay: "LineUnpaid",
  accept: "LineAccepted",
  suspend: "LineSuspended",
  resume: "LineResumed",
  configure: "SkuConfigured",
  acknowledge: "AlertAcknowledged",
  expire: "LineExpired",
  openBreaker: "BreakerOpened",
  halfOpenBreaker: "BreakerHalfOpened",
  closeBreaker: "BreakerClosed",
} as const;
export type EventKind = keyof typeof EVENT_TYPES;
export type EventType = (typeof EVENT_TYPES)[EventKind];

/** One event of the stock log. */
export interface StockEvent {
  type: EventType;
  /** Entry of the partition's log, and the event's index in it: together they identify the event. */
  offset: number;
  index: number;
  /** The command's id; of an expiry, the line's; of a breaker's change, the stored name of its scope. */
  id: string;
  /** Of a breaker's change, SKU and location are empty where its scope names none. */
  sku: string;
  location: string;
  units: number;
  from: Account;
  to: Account;
  /** Set when units were moved to another location. */
  toLocation?: string;
  /** When it happened: the event time of windows. Of `LineAccepted`: when the line was deducted. */
  atMs: number;
  /** The ledger's clock when it was written: never goes back within a partition. */
  clockMs: number;
  /**
   * Actor, reason, settings and the like; `missingUnits`; `unexplained` when goods left an unexpected pool or are
   * missing; of a breaker's change BreakerDetail (breaker.ts).
   */
  detail?: Record<string, unknown>;
  /** Of `StockReserved`: it does not count as demand; a later `LineAccepted` does (R9). */
  uncounted?: true;
  /** Of `LineOutbound`: the line was reserved from presale, so its goods leave sellable only now. */
  presale?: true;
}
