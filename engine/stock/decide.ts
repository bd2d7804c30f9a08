/**
 * The ledger's rules as pure functions (R1–R3, R14): the reference that ledger.lua is compared with at every step of
 * the simulation. `decide` says what a command does to a book, `evolve` does it; neither reads a clock or fails
 * half-way. Refusals that a caller may outlive (`breaker_open`, `superseded`, `id_outside_window`, `clocks_disagree`)
 * are not remembered; every other first answer is, and is given again to the same id with the same body.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { DAY_MS } from "../kernel/clock.js";
import { LATEST_FORMAT } from "../stream/format.js";
import { fingerprintOf } from "./fingerprint.js";
import {
  type AbortLine,
  type Account,
  type Balances,
  type CommandKind,
  cellOf,
  DEFAULT_HOLD_MS,
  DEFAULT_ID_RETENTION_DAYS,
  emptyBalances,
  HOLD_MARGIN_DAYS,
  isAccepted,
  type LineState,
  MAX_UNITS,
  type OpenBreaker,
  type Outcome,
  onHandUnits,
  type Reply,
  type StockCommand,
  SWEEP_LIMIT,
  type Transfer,
} from "./model.js";

/** What is remembered of an id. */
export interface IdRecord {
  kind: CommandKind;
  /** Of the body that the id came with first. */
  fingerprint: number;
  outcome: Outcome;
  state: LineState;
  /** Of a line: what it holds, where, and until when. */
  cell: string;
  pool: "sellable" | "presale";
  units: number;
  expiresAtMs: number;
  attempt: number;
  /** Of a line: it has not been counted as demand. */
  uncounted?: true;
  /** Only the order desk may move the line. */
  ofOrder: boolean;
  /** Of a line that has left or was cancelled: units of it that the books had nowhere. */
  missingUnits: number;
}

/** One partition's ledger. */
export interface Book {
  clockMs: number;
  cells: Map<string, Balances>;
  /** Remembered ids by UTC day of the id. */
  records: Map<number, Map<string, IdRecord>>;
  breakers: Map<string, OpenBreaker>;
  retentionDays: number;
  /** Of days up to this one only lines are known that hold units, or have held them lately. */
  forgottenDay: number;
  /**
   * The deployment's. In format 1 the previous release reads along: lines have no owner, and what has left is refused
   * as it was there.
   */
  format: number;
  /**
   * Two clocks differ by more than they may: nothing ends by time (`advance` is not called), and nothing new is
   * reserved.
   */
  clocksDisagree?: true;
}

export const emptyBook = (retentionDays = DEFAULT_ID_RETENTION_DAYS, format = LATEST_FORMAT): Book => ({
  clockMs: 0,
  cells: new Map(),
  records: new Map(),
  breakers: new Map(),
  retentionDays,
  forgottenDay: -1,
  format,
});

/** A transfer at a cell; `toCell` when units change location. */
export interface CellTransfer extends Transfer {
  cell: string;
  toCell: string;
}

export interface Decision extends Reply {
  transfers: CellTransfer[];
  /** What to remember under the command's id: a record, or nothing new. */
  remember: IdRecord | "nothing";
  /** Of a line that counts as demand from now on: when it was deducted. */
  deductedMs?: number;
  /** Goods have left a pool that they ought not to have been in, or are missing. */
  unexplained?: true;
}

/** An expiry that a sweep decided. */
export interface Expiry {
  id: string;
  record: IdRecord;
  transfer: CellTransfer;
}

function recordOf(book: Book, id: string): IdRecord | undefined {
  return book.records.get(chainIdDay(id))?.get(id);
}

export const breakerKey = (scope: OpenBreaker["scope"]): string =>
  scope.kind === "shop" ? "shop" : scope.kind === "location" ? `location:${scope.location}` : `sku:${scope.sku}`;

function isGated(book: Book, sku: string, location: string): boolean {
  for (const key of ["shop", `location:${location}`, `sku:${sku}`]) {
    const breaker = book.breakers.get(key);
    if (breaker && (breaker.untilMs === 0 || breaker.untilMs > book.clockMs)) return true;
  }
  return false;
}

/** Decides one command against the book as it stands at `book.clockMs`. Changes nothing. */
export function decide(book: Book, command: StockCommand): Decision {
  const record = recordOf(book, command.id);
  const decision = decideBy(book, command, record);
  const after = decision.remember === "nothing" ? record : decision.remember;
  return after?.uncounted && decision.state !== "none" ? { ...decision, uncounted: true } : decision;
}

function decideBy(book: Book, command: StockCommand, record: IdRecord | undefined): Decision {
  switch (command.kind) {
    case "pay":
    case "cancel":
    case "outbound":
    case "abort":
    case "unpay":
    case "accept":
    case "suspend":
    case "resume":
      return decideLine(book, command, record);
    default:
      return decideNew(book, command, record);
  }
}

const refuse = (outcome: Outcome, state: LineState = "none"): Decision => ({
  outcome,
  repeated: false,
  state,
  transfers: [],
  remember: "nothing",
});

const repeat = (outcome: Outcome, state: LineState, missingUnits = 0): Decision => ({
  outcome,
  repeated: true,
  state,
  transfers: [],
  remember: "nothing",
  ...(missingUnits > 0 && { missingUnits }),
});

type NewCommand = Extract<
  StockCommand,
  { kind: "receive" | "correct" | "move" | "reserve" | "return" | "configure" | "acknowledge" }
>;
type LineCommand = Extract<
  StockCommand,
  { kind: "pay" | "cancel" | "outbound" | "abort" | "unpay" | "accept" | "suspend" | "resume" }
>;

const isOfOrder = (book: Book, command: StockCommand): boolean =>
  book.format > 1 && "ofOrder" in command && command.ofOrder === true;

/** Commands that bring an id of their own. */
function decideNew(book: Book, command: NewCommand, record: IdRecord | undefined): Decision {
  const fingerprint = fingerprintOf(command);
  const attempt = command.kind === "reserve" ? (command.attempt ?? 1) : 1;
  // An abort that came before its reservation has seen no body.
  const isSame = record?.fingerprint === fingerprint || (record?.fingerprint === 0 && command.kind === "reserve");
  if (record && !isSame) return refuse("id_reused");
  const ofOrder = isOfOrder(book, command);
  if (record?.ofOrder && !ofOrder && book.format > 1) return refuse("order_line", record.state);
  // A try that arrives after it has been undone must not take the units after all; a later one begins anew.
  if (record && isAborted(record) && attempt <= record.attempt) return refuse("superseded");
  if (record && !isAborted(record)) {
    const again = repeat(record.outcome, record.state, record.missingUnits);
    // A later try of the order takes the line over, so that an earlier try can no longer abort it.
    if (attempt > record.attempt || (ofOrder && !record.ofOrder))
      again.remember = { ...record, attempt: Math.max(attempt, record.attempt), ofOrder: ofOrder || record.ofOrder };
    return again;
  }
  if (command.kind === "reserve" && book.clocksDisagree) return refuse("clocks_disagree");
  if (!isInWindow(book, command.id)) return refuse("id_outside_window");
  if (command.kind === "reserve" && isGated(book, command.sku, command.location)) return refuse("breaker_open");

  const cell = cellOf(command.sku, command.location);
  const transfer = transferOf(command, cell);
  const outcome = transfer ? admission(book, command.kind, transfer) : "accepted";
  const accepted = outcome === "accepted";
  const held = accepted && command.kind === "reserve";
  return {
    outcome,
    repeated: false,
    state: held ? "held" : "none",
    transfers: accepted && transfer ? [transfer] : [],
    remember: {
      kind: command.kind,
      fingerprint,
      outcome,
      state: held ? "held" : "none",
      cell,
      pool: command.kind === "reserve" ? (command.pool ?? "sellable") : "sellable",
      units: "units" in command ? command.units : 0,
      expiresAtMs: command.kind === "reserve" ? book.clockMs + (command.holdMs ?? DEFAULT_HOLD_MS) : 0,
      attempt,
      ...(held && book.format > 1 && command.uncounted && { uncounted: true }),
      ofOrder,
      missingUnits: 0,
    },
  };
}

/** The transfer that a command with an id of its own asks for; none when it moves nothing. */
function transferOf(command: NewCommand, cell: string): CellTransfer | undefined {
  const at = { cell, toCell: cell };
  switch (command.kind) {
    case "receive":
    case "return":
      return { from: "outside", to: command.pool ?? "sellable", units: command.units, ...at };
    case "correct": {
      const pool = command.pool ?? "sellable";
      return command.units > 0
        ? { from: "outside", to: pool, units: command.units, ...at }
        : { from: pool, to: "outside", units: -command.units, ...at };
    }
    case "move":
      return {
        from: command.from,
        to: command.to,
        units: command.units,
        cell,
        toCell: command.toLocation === undefined ? cell : cellOf(command.sku, command.toLocation),
      };
    case "reserve":
      return command.pool === "presale"
        ? { from: "presale", to: "outside", units: command.units, ...at }
        : { from: "sellable", to: "reserved", units: command.units, ...at };
    default:
      return undefined;
  }
}

/** Whether the balances allow a transfer, and what to answer when they do not. */
function admission(book: Book, kind: CommandKind, transfer: CellTransfer): Outcome {
  const source = book.cells.get(transfer.cell);
  // Reserved units belong to held lines: a correction would leave a line without its units, or units without a line.
  if (kind === "correct" && (transfer.from === "reserved" || transfer.to === "reserved")) {
    return source ? "insufficient_units" : "unknown_sku";
  }
  if (transfer.from !== "outside") {
    if (!source) return "unknown_sku";
    if (source[transfer.from] < transfer.units) {
      if (kind === "correct" || kind === "move" || transfer.from === "committed") return "insufficient_units";
      return transfer.from === "presale" ? "insufficient_presale" : "insufficient_sellable";
    }
  }
  // Units new to a cell are bounded by what is on hand there, so no later movement inside the cell can overflow a pool.
  // The presale counter is the exception: units that presale lines have taken are in no pool until they come back.
  if (transfer.to !== "outside" && (transfer.from === "outside" || transfer.cell !== transfer.toCell)) {
    const target = book.cells.get(transfer.toCell) ?? emptyBalances();
    const present = transfer.to === "presale" ? target.presale : onHandUnits(target);
    if (present + transfer.units > MAX_UNITS) return "limit_exceeded";
  }
  return "accepted";
}

/** Commands that act on a line reserved before. */
function decideLine(book: Book, command: LineCommand, record: IdRecord | undefined): Decision {
  if (record?.kind !== "reserve" || !isAccepted(record.outcome) || isAborted(record)) {
    return command.kind === "abort" ? abortNothing(book, command, record) : refuse("unknown_line");
  }
  const cell = cellOf(command.sku, command.location);
  const pool = command.pool ?? "sellable";
  const ofOrder = isOfOrder(book, command) || record.ofOrder;
  // A process that has not yet seen the deployment's format raised marks nothing as the desk's.
  if (record.ofOrder && !isOfOrder(book, command) && book.format > 1) return refuse("order_line", record.state);
  if (record.cell !== cell || record.units !== command.units || record.pool !== pool)
    return refuse("line_mismatch", record.state);
  if (command.kind === "abort") {
    if (record.state !== "held" || record.attempt > command.attempt) return refuse("superseded", record.state);
    const aborted = { ...record, state: "none", attempt: command.attempt, ofOrder } as const;
    return { outcome: "accepted", repeated: false, state: "none", transfers: giveBack(record), remember: aborted };
  }
  if (command.kind === "accept") {
    if (!record.uncounted) return repeat("accepted", record.state);
    const { uncounted: _, ...counted } = record;
    // Of a line that has had units missing the hold's end is not known any more.
    const isKnown = record.missingUnits === 0 && record.expiresAtMs > 0;
    const deductedMs = isKnown ? record.expiresAtMs - (command.holdMs ?? DEFAULT_HOLD_MS) : book.clockMs;
    return {
      ...{ outcome: "accepted", repeated: false, state: record.state, transfers: [], remember: counted },
      deductedMs: Math.max(0, Math.min(book.clockMs, deductedMs)),
    };
  }
  // A later try of the order takes the line over, so that an earlier try can no longer undo it, nor do again what has
  // been undone.
  const tried = ("attempt" in command && command.attempt) || 1;
  const attempt =
    command.kind === "cancel" || command.kind === "outbound" ? record.attempt : Math.max(record.attempt, tried);
  const to = (state: LineState, transfers: CellTransfer[], outcome: Outcome = "accepted"): Decision => ({
    outcome,
    repeated: false,
    state,
    transfers,
    remember: { ...record, state, attempt, ofOrder },
  });
  /** Changes nothing, but the line is this try's from now on. */
  const take = (): Decision => ({
    ...repeat("accepted", record.state, record.missingUnits),
    remember: attempt === record.attempt ? "nothing" : { ...record, attempt, ofOrder },
  });
  /** As `to`, for units of which some are missing. */
  const short = (decision: Decision, missingUnits: number): Decision =>
    missingUnits === 0
      ? decision
      : { ...decision, missingUnits, remember: { ...(decision.remember as IdRecord), missingUnits } };
  const move = (from: Account, into: Account): CellTransfer => ({
    from,
    to: into,
    units: record.units,
    cell,
    toCell: cell,
  });
  const presale = record.pool === "presale";

  switch (command.kind) {
    case "pay":
      if (record.state === "held") return to("paid", presale ? [] : [move("reserved", "committed")]);
      if (record.state === "paid" || record.state === "cancelling" || record.state === "outbound") return take();
      if (isCancelled(record)) return refuse("line_cancelled", record.state);
      if (record.state === "unpaid" && tried <= record.attempt) return repeat("hold_expired", record.state);
      {
        // Expired: admitted anew or refused, never assumed (R3).
        const anew = presale ? move("presale", "outside") : move("sellable", "committed");
        if (admission(book, "pay", anew) !== "accepted") {
          if (tried === 1) return refuse("hold_expired", record.state);
          // A numbered try that is refused is refused for good: it may be on its way twice, and units come back.
          return { ...refuse("hold_expired", "unpaid"), remember: { ...record, state: "unpaid", attempt, ofOrder } };
        }
        return to("paid", [anew], "admitted_anew");
      }
    case "cancel":
      if (record.state === "held") return to("cancelled", giveBack(record));
      // Somebody may have its goods: they are asked for first.
      if (
        isOfOrder(book, command) &&
        (record.state === "paid" || (record.state === "cancelling" && tried < record.attempt))
      )
        return refuse("superseded", record.state);
      if (record.state === "paid" || record.state === "cancelling") {
        if (presale) return to("cancelled_paid", giveBack(record), "cancelled_paid");
        // A correction may have found committed goods lost: what is there goes back. The presale counter always takes
        // its units back.
        const back = Math.min(record.units, book.cells.get(cell)?.committed ?? 0);
        if (back < record.units && book.format === 1) return refuse("insufficient_units", record.state);
        const transfers = back > 0 ? [{ ...move("committed", "sellable"), units: back }] : [];
        return short(to("cancelled_paid", transfers, "cancelled_paid"), record.units - back);
      }
      if (record.state === "outbound") return refuse("already_outbound", record.state);
      // Its units are back already; what is new is that a late payment must no longer take them anew.
      if (hasLostHold(record)) {
        return { ...repeat("accepted", "cancelled"), remember: { ...record, state: "cancelled", ofOrder } };
      }
      return record.state === "cancelled_paid"
        ? repeat("cancelled_paid", record.state, record.missingUnits)
        : repeat("accepted", record.state);
    case "unpay": {
      if (record.state !== "paid" || record.attempt > command.attempt) return refuse("superseded", record.state);
      const lost = !presale && admission(book, "unpay", move("committed", "sellable")) !== "accepted";
      if (lost) return refuse("insufficient_units", record.state);
      return to("unpaid", presale ? giveBack(record) : [move("committed", "sellable")]);
    }
    case "suspend":
      if (isPaid(record) && tried < record.attempt) return refuse("superseded", record.state);
      if (record.state === "paid") return to("cancelling", []);
      if (record.state === "cancelling") return take();
      if (record.state === "outbound") return refuse("already_outbound", record.state);
      return record.state === "cancelled_paid"
        ? repeat("cancelled_paid", record.state, record.missingUnits)
        : repeat("accepted", record.state);
    case "resume":
      if (record.state === "cancelling")
        return tried < record.attempt ? refuse("superseded", record.state) : to("paid", []);
      if (record.state === "paid") return take();
      if (record.state === "outbound") return refuse("already_outbound", record.state);
      if (isCancelled(record)) return refuse("line_cancelled", record.state);
      return repeat("accepted", record.state);
    case "outbound": {
      if (record.state === "outbound") return repeat("accepted", record.state, record.missingUnits);
      if (book.format > 1) {
        // A fact: the units are taken from where they are, then from what nobody has been promised.
        const own =
          record.state === "held" && !presale ? "reserved" : presale || !isPaid(record) ? "sellable" : "committed";
        const transfers: CellTransfer[] = [];
        let missing = record.units;
        for (const from of new Set([own, "sellable"] as const)) {
          const units = Math.min(missing, book.cells.get(cell)?.[from] ?? 0);
          if (units > 0) transfers.push({ ...move(from, "outside"), units });
          missing -= units;
        }
        const isOrdinary =
          (presale || isPaid(record)) && transfers[0]?.from === own && transfers[0].units === record.units;
        return {
          ...to("outbound", transfers),
          ...(missing > 0 && { missingUnits: missing }),
          ...(!isOrdinary && { unexplained: true }),
          remember: {
            ...record,
            ...{ state: "outbound", attempt, ofOrder, missingUnits: missing },
            // ledger.lua keeps the missing units in the place of the hold's end.
            ...(missing === 0 && record.missingUnits > 0 && { expiresAtMs: 0 }),
          },
        };
      }
      if (isCancelled(record)) return refuse("line_cancelled", record.state);
      if (hasLostHold(record)) return refuse("hold_expired", record.state);
      if (record.state === "held") return refuse("not_paid", record.state);
      const out = presale ? move("sellable", "outside") : move("committed", "outside");
      const outcome = admission(book, "outbound", out);
      return outcome === "accepted" ? to("outbound", [out]) : refuse(outcome, record.state);
    }
  }
}

/**
 * There is nothing to undo; but a reservation of this try or an older one that is still on its way must not be taken
 * any more.
 */
function abortNothing(book: Book, command: AbortLine, record: IdRecord | undefined): Decision {
  const nothing = repeat("accepted", "none");
  if (record) {
    if (isAborted(record) && command.attempt > record.attempt)
      nothing.remember = { ...record, attempt: command.attempt };
    return nothing;
  }
  if (!isInWindow(book, command.id)) return nothing;
  nothing.remember = {
    kind: "reserve",
    fingerprint: 0,
    outcome: "accepted",
    state: "none",
    cell: cellOf(command.sku, command.location),
    pool: command.pool ?? "sellable",
    units: command.units,
    expiresAtMs: 0,
    attempt: command.attempt,
    ofOrder: isOfOrder(book, command),
    missingUnits: 0,
  };
  return nothing;
}

/** Whether an id that is not known may be new. */
function isInWindow(book: Book, id: string): boolean {
  const day = chainIdDay(id);
  const today = Math.floor(book.clockMs / DAY_MS);
  return day >= today - book.retentionDays && day <= today + 1;
}

/** Reserved and given up again: nothing is held, and only a later try may reserve. */
const isAborted = ({ kind, outcome, state }: IdRecord): boolean =>
  kind === "reserve" && outcome === "accepted" && state === "none";

const hasLostHold = ({ state }: IdRecord): boolean => state === "expired" || state === "unpaid";

const isPaid = ({ state }: IdRecord): boolean => state === "paid" || state === "cancelling";

const isCancelled = (record: IdRecord): boolean => record.state === "cancelled" || record.state === "cancelled_paid";

/** A held line's units go back to where they came from. */
function giveBack(record: IdRecord): CellTransfer[] {
  const at = { cell: record.cell, toCell: record.cell, units: record.units };
  return [
    record.pool === "presale" ? { from: "outside", to: "presale", ...at } : { from: "reserved", to: "sellable", ...at },
  ];
}

/** Changes the book as decided. */
export function evolve(book: Book, id: string, decision: Decision): void {
  for (const transfer of decision.transfers) applyTransfer(book, transfer);
  if (decision.remember === "nothing") return;
  const day = chainIdDay(id);
  let bucket = book.records.get(day);
  if (!bucket) {
    bucket = new Map();
    book.records.set(day, bucket);
  }
  const before = bucket.get(id);
  const record = { ...decision.remember };
  // Of a day that is forgotten, a line is known for some time from its end on.
  const isEnd = before !== undefined && holdsUnits(before) && !holdsUnits(record);
  if (isEnd && record.missingUnits === 0 && book.format > 1 && day <= book.forgottenDay)
    record.expiresAtMs = book.clockMs;
  bucket.set(id, record);
}

function applyTransfer(book: Book, transfer: CellTransfer): void {
  if (transfer.from !== "outside") cellIn(book, transfer.cell)[transfer.from] -= transfer.units;
  if (transfer.to !== "outside") cellIn(book, transfer.toCell)[transfer.to] += transfer.units;
}

function cellIn(book: Book, cell: string): Balances {
  let balances = book.cells.get(cell);
  if (!balances) {
    balances = emptyBalances();
    book.cells.set(cell, balances);
  }
  return balances;
}

/**
 * Moves the clock to `nowMs` (never back), gives back the holds that are due, the oldest first, SWEEP_LIMIT at most,
 * and forgets days past the retention once none is due any more: a line is never forgotten while it holds units (R3).
 * A hold has expired when this has said so, not when its time has come.
 */
export function advance(book: Book, nowMs: number): Expiry[] {
  if (nowMs > book.clockMs) book.clockMs = nowMs;
  const due: Expiry[] = [];
  for (const bucket of book.records.values()) {
    for (const [id, record] of bucket) {
      if (record.state !== "held" || record.expiresAtMs > book.clockMs) continue;
      const [transfer] = giveBack(record);
      if (transfer) due.push({ id, record, transfer });
    }
  }
  due.sort((a, b) => a.record.expiresAtMs - b.record.expiresAtMs || (a.id < b.id ? -1 : 1));
  const late = due.splice(SWEEP_LIMIT);
  for (const { id, record, transfer } of due) {
    applyTransfer(book, transfer);
    book.records.get(chainIdDay(id))?.set(id, { ...record, state: "expired" });
  }
  if (late.length > 0) return due;
  const last = Math.floor(book.clockMs / DAY_MS) - book.retentionDays - HOLD_MARGIN_DAYS - 1;
  if (last <= book.forgottenDay) return due;
  book.forgottenDay = last;
  for (const [day, bucket] of book.records) {
    if (day > last) continue;
    for (const [id, record] of bucket) if (book.format === 1 || !isKnown(book, record)) bucket.delete(id);
    if (bucket.size === 0) book.records.delete(day);
  }
  return due;
}

const holdsUnits = ({ state }: IdRecord): boolean => state === "held" || state === "paid" || state === "cancelling";

/**
 * Whether a record of a forgotten day is still known: that of a line is for as long as it holds units, or lacks some,
 * and afterwards until as many days have passed as any id is known.
 */
const isKnown = (book: Book, record: IdRecord): boolean =>
  record.kind === "reserve" &&
  isAccepted(record.outcome) &&
  record.state !== "none" &&
  (holdsUnits(record) || record.missingUnits > 0 || Math.floor(record.expiresAtMs / DAY_MS) > book.forgottenDay);
