/**
 * The words of stock: accounts, commands, outcomes and events (R1–R3). A *cell* is one SKU at one location and has five
 * balances. A command asks for one transfer between two accounts of one SKU; the ledger answers with an outcome and,
 * when it did something, with an event. All units are whole numbers from 1 to MAX_UNITS.
 */

export const POOLS = ["sellable", "reserved", "committed", "safety", "presale"] as const;
export type Pool = (typeof POOLS)[number];
/** `outside` is the rest of the world: suppliers, customers, the rubbish bin. It has no balance of its own. */
export type Account = Pool | "outside";
/** Pools that goods may be received into. */
export type OpenPool = "sellable" | "safety" | "presale";
/** Pools between which goods on hand are moved by hand. */
export type MovePool = "sellable" | "safety";
/** What an order line is taken from. A presale line lowers the presale counter only, until it is outbound. */
export type OrderPool = "sellable" | "presale";

/** The largest number that is exact in Redis' Lua and in JavaScript. */
export const MAX_UNITS = Number.MAX_SAFE_INTEGER;
export const DEFAULT_HOLD_MS = 30 * 60_000;
export const MAX_HOLD_MS = 72 * 3_600_000;
/** Days (UTC, by the id's own time) for which the ledger remembers every id; an older id is refused. */
export const DEFAULT_ID_RETENTION_DAYS = 45;
/** A bucket of ids outlives the window by the longest hold, so that no line is forgotten while it holds units. */
export const HOLD_MARGIN_DAYS = 4;
/** Holds given back by one sweep: 1,000 × about 3 µs keeps Redis busy for 3 ms at most. */
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
 * Who wants a change, and why; recorded with the event. Only what the request itself says is a part of its body's
 * identity: not the actor.
 */
export interface Cause {
  /** Who was authenticated. */
  actor?: string;
  /** For whom, as the actor says. */
  onBehalfOf?: string;
  reason?: string;
}

interface CommandBase extends Cause {
  /** A chain id, with `-n` for an order's line; applied at most once (R3). */
  id: string;
  sku: string;
  location: string;
  /** When it happened (milliseconds since the epoch); when left out, when the ledger took it. Never in the future. */
  atMs?: number;
}

/** outside → pool: goods arrive. */
export interface ReceiveStock extends CommandBase {
  kind: "receive";
  units: number;
  pool?: OpenPool;
}
/** Pools in which a count may be wrong; reserved units belong to lines and move with them only. */
export type CountedPool = Exclude<Pool, "reserved">;
/** outside → pool (found) or pool → outside (lost): a count was wrong. The only command that takes negative units. */
export interface CorrectStock extends CommandBase {
  kind: "correct";
  units: number;
  pool?: CountedPool;
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
  /** Which try of its order this is, from 1; fences an older try's `abort`. */
  attempt?: number;
  /** The line counts as demand only when `accept` says that its order has been accepted as a whole (R9). */
  uncounted?: true;
}
/** What the order desk adds to a command about a line of an order: such a line is moved by the desk alone. */
interface LineBase extends CommandBase {
  ofOrder?: true;
}
/** reserved → committed: the line is paid. After expiry the units are taken anew from sellable, or refused. */
export interface PayLine extends LineBase {
  kind: "pay";
  units: number;
  pool?: OrderPool;
  /** Which try at its order this is, from 1; fences an older try's `unpay`. */
  attempt?: number;
}
/**
 * reserved or committed → sellable: the line is cancelled before it went out. A paid line of an order has to be
 * suspended first.
 */
export interface CancelLine extends LineBase {
  kind: "cancel";
  units: number;
  pool?: OrderPool;
  /** Of a line of an order: the try that has suspended it. */
  attempt?: number;
}
/**
 * committed → outside: the goods left. A presale line takes its goods from sellable now. Goods that have left are a
 * fact (R3): whatever state the line is in, the units are taken from where they are, and what is not there is told as
 * missing.
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
/** Undoes a reservation as if it had never been, because another line of its order was refused. */
export interface AbortLine extends LineBase {
  kind: "abort";
  units: number;
  pool?: OrderPool;
  attempt: number;
}
/** Takes a payment back, because another line of its order could not be had: a later try may pay the line anew. */
export interface UnpayLine extends LineBase {
  kind: "unpay";
  units: number;
  pool?: OrderPool;
  attempt: number;
}
/**
 * Moves nothing: the order has been accepted as a whole, so its line counts as demand, once, at the instant of its
 * deduction (R9).
 */
export interface AcceptLine extends LineBase {
  kind: "accept";
  units: number;
  pool?: OrderPool;
  /** As reserved with: the deduction was that long before the hold's end. */
  holdMs?: number;
}
/**
 * paid → cancelling: whoever has the goods is asked for them; the units stay committed. Changes nothing on a line
 * that is not paid.
 */
export interface SuspendLine extends LineBase {
  kind: "suspend";
  units: number;
  pool?: OrderPool;
  /** Which try at its order this is: an older one that arrives late must not stop a line that has gone on. */
  attempt?: number;
}
/** cancelling → paid: the cancellation is refused or given up, and the line goes on. */
export interface ResumeLine extends LineBase {
  kind: "resume";
  units: number;
  pool?: OrderPool;
  /** Closes the line to older `suspend`s. */
  attempt?: number;
}
/** Sets options of one SKU from this point of the log on; moves nothing. What is not named stays as it was. */
export interface ConfigureSku extends CommandBase {
  kind: "configure";
  settings: SkuSettings;
  /** Puts the SKU into a category. */
  category?: string;
  /** What is set for its category, as a whole; the SKU's own settings go before it. */
  categorySettings?: SkuSettings;
}
/** Somebody has seen an alert; moves nothing. */
export interface AcknowledgeAlert extends CommandBase {
  kind: "acknowledge";
  alertId: string;
}

/** Options of a SKU or of a category. */
export interface SkuSettings {
  /** Share of reserved units that is shown to customers, 0 to 1 (R5). */
  displayCoefficient?: number;
  /** Fires above this many daily averages in an hour (R10). */
  alertFactor?: number;
  /** Fires at this many units in an hour at least (R10). */
  alertFloorUnits?: number;
}

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

/** Position is the code on the wire and in ledger.lua; append only. */
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

/** Position is the code on the wire and in ledger.lua; append only. */
export const ACCOUNTS = ["outside", ...POOLS] as const satisfies readonly Account[];

/**
 * Answers, in order of precedence: the first that applies is given. Position is the code on the wire and in
 * ledger.lua; append only; `order_line`, a line that is the order desk's, goes before every other refusal of a known
 * line. The first three change something: `admitted_anew` is a payment after expiry that found units again,
 * `cancelled_paid` a cancellation of a line that had been paid, so money has to go back.
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
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/**
 * Where an order line stands. Position is the code on the wire and in ledger.lua; append only. `unpaid`: its payment
 * was taken back with its order's; as `expired`, and only a later try may pay it. `cancelling`: paid, and the
 * warehouse is asked to let go of it.
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
  /** True when the command had been applied (or refused) before and this is the first answer again. */
  repeated: boolean;
  /** Of the line that the command names, after the command; `none` when it names no line. */
  state: LineState;
  /** The line has not been counted as demand: nobody has told the ledger that its order was accepted as a whole. */
  uncounted?: true;
  /**
   * Units of the line that left or were given back, and that the books have nowhere: only a stock count can tell
   * (R3). Left out when none are.
   */
  missingUnits?: number;
}

/** Whether an outcome, of a line or of a whole order, has changed something. */
export const isAccepted = (outcome: string): boolean =>
  outcome === "accepted" || outcome === "admitted_anew" || outcome === "cancelled_paid";

/** A movement of units between two accounts of one SKU; units > 0. */
export interface Transfer {
  from: Account;
  to: Account;
  units: number;
}

/** What an event is called, by the command that caused it; `StockExpired` has none. */
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
} as const;
export type EventKind = keyof typeof EVENT_TYPES;
export type EventType = (typeof EVENT_TYPES)[EventKind];

/** One fact of the stock log. */
export interface StockEvent {
  type: EventType;
  /** Entry of the partition's log, and the event's place in it: together they name the event for good. */
  offset: number;
  index: number;
  /** The command's id; of an expiry, the line's. */
  id: string;
  sku: string;
  location: string;
  units: number;
  from: Account;
  to: Account;
  /** Set when units went to another location. */
  toLocation?: string;
  /** When it happened: the event time of windows. Of `LineAccepted`: when the line was deducted. */
  atMs: number;
  /** The ledger's clock when it was written: never goes back within a partition. */
  clockMs: number;
  /**
   * Actor, reason, settings and the like; `missingUnits`, and `unexplained` when goods left a pool that they ought
   * not to have been in.
   */
  detail?: Record<string, unknown>;
  /** Of `StockReserved`: it is no demand yet; `LineAccepted` will say so (R9). */
  uncounted?: true;
  /** Of `LineOutbound`: the line was taken from presale, so its goods leave sellable only now. */
  presale?: true;
}

/** Where a gate stands: the whole shop, one location, or one SKU (R14). */
export type BreakerScope = { kind: "shop" } | { kind: "location"; location: string } | { kind: "sku"; sku: string };

/** An open breaker: new orders in its scope are refused. */
export interface OpenBreaker {
  scope: BreakerScope;
  /** When it closes by itself (milliseconds since the epoch); 0: only by hand. */
  untilMs: number;
  sinceMs: number;
  actor: string;
  onBehalfOf?: string;
  reason: string;
  /** Partitions of its scope where it is not open, or that cannot be asked; left out when there is none. */
  missing?: number[];
}
