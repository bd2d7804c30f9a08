/**
 * The rules for commands about a line reserved before: payment, cancellation, outbound, and the order service's own
 * (R3). Attempts of an order are numbered: a later attempt becomes the line's owner, and an earlier one can then
 * neither undo it nor repeat what was undone.
 */
import { admission, isInWindow, isOfOrder, refuse, repeat } from "./decision.js";
import {
  type AbortLine,
  type AcceptLine,
  type Account,
  cellOf,
  DEFAULT_HOLD_MS,
  isAccepted,
  type LineState,
  type OutboundLine,
  type Outcome,
  type StockCommand,
  type UnpayLine,
} from "./model.js";
import {
  type CellTransfer,
  type Decision,
  hasLostHold,
  type IdRecord,
  isAborted,
  isCancelled,
  isPaid,
  type PartitionState,
  returnUnits,
} from "./partition-state.js";

type LineCommand = Extract<
  StockCommand,
  { kind: "pay" | "cancel" | "outbound" | "abort" | "unpay" | "accept" | "suspend" | "resume" }
>;

/** A line, and the command that is decided for it. */
interface Line {
  partition: PartitionState;
  record: IdRecord;
  /** The command comes from the order service. */
  byOrderService: boolean;
  /** The line belongs to an order from now on. */
  ofOrder: boolean;
  /** The command's attempt, and the newer of it and the line's. */
  attempt: number;
  newest: number;
}

export function decideLine(partition: PartitionState, command: LineCommand, record: IdRecord | undefined): Decision {
  if (record?.kind !== "reserve" || !isAccepted(record.outcome) || isAborted(record)) {
    return command.kind === "abort" ? abortNothing(partition, command, record) : refuse("unknown_line");
  }
  const byOrderService = isOfOrder(partition, command);
  // A process that does not yet use the deployment's new format sends no marks: it is refused here.
  if (record.ofOrder && !byOrderService && partition.format > 1) return refuse("order_line", record.state);
  const isSameLine =
    record.cell === cellOf(command.sku, command.location) &&
    record.units === command.units &&
    record.pool === (command.pool ?? "sellable");
  if (!isSameLine) return refuse("line_mismatch", record.state);
  const attempt = ("attempt" in command && command.attempt) || 1;
  const newest = Math.max(record.attempt, attempt);
  const line: Line = { partition, record, byOrderService, ofOrder: byOrderService || record.ofOrder, attempt, newest };
  switch (command.kind) {
    case "abort":
      return abort(line, command);
    case "accept":
      return accept(line, command);
    case "pay":
      return pay(line);
    case "cancel":
      return cancel(line);
    case "unpay":
      return unpay(line, command);
    case "suspend":
      return suspend(line);
    case "resume":
      return resume(line);
    case "outbound":
      return outbound(line, command);
  }
}

/** The line gets another state, and the newest attempt as its owner unless another is given. */
const to = (
  { record, ofOrder, newest }: Line,
  state: LineState,
  transfers: CellTransfer[],
  outcome: Outcome = "accepted",
  attempt = newest,
): Decision => ({ outcome, repeated: false, state, transfers, record: { ...record, state, attempt, ofOrder } });

/** Nothing changes but the line's owner. */
const takeOver = ({ record, ofOrder, newest }: Line): Decision => ({
  ...repeat("accepted", record.state, record.missingUnits),
  record: newest === record.attempt ? "unchanged" : { ...record, attempt: newest, ofOrder },
});

const move = ({ cell, units }: IdRecord, from: Account, into: Account): CellTransfer => ({
  from,
  to: into,
  units,
  cell,
  toCell: cell,
});

const isPresale = ({ pool }: IdRecord): boolean => pool === "presale";

function abort(line: Line, { attempt }: AbortLine): Decision {
  const { record } = line;
  if (record.state !== "held" || record.attempt > attempt) return refuse("superseded", record.state);
  return to(line, "none", [returnUnits(record)], "accepted", attempt);
}

/** Counts the line as demand, at the time of its deduction (R9). */
function accept({ partition, record }: Line, { holdMs = DEFAULT_HOLD_MS }: AcceptLine): Decision {
  if (!record.uncounted) return repeat("accepted", record.state);
  const { uncounted: _, ...counted } = record;
  // When the line has had missing units, the hold's end is not known any more.
  const isKnown = record.missingUnits === 0 && record.expiresAtMs > 0;
  const deductedMs = isKnown ? record.expiresAtMs - holdMs : partition.clockMs;
  return {
    ...{ outcome: "accepted", repeated: false, state: record.state, transfers: [], record: counted },
    deductedMs: Math.max(0, Math.min(partition.clockMs, deductedMs)),
  };
}

function pay(line: Line): Decision {
  const { partition, record, attempt } = line;
  if (record.state === "held")
    return to(line, "paid", isPresale(record) ? [] : [move(record, "reserved", "committed")]);
  if (isPaid(record) || record.state === "outbound") return takeOver(line);
  if (isCancelled(record)) return refuse("line_cancelled", record.state);
  if (record.state === "unpaid" && attempt <= record.attempt) return repeat("hold_expired", record.state);
  // The hold has expired: the units are taken again if there are enough (R3).
  const again = isPresale(record) ? move(record, "presale", "outside") : move(record, "sellable", "committed");
  if (admission(partition, "pay", again) === "accepted") return to(line, "paid", [again], "admitted_anew");
  if (attempt === 1) return refuse("hold_expired", record.state);
  // The refusal of a numbered attempt is final: the command may arrive twice, and units may come back in between.
  return to(line, "unpaid", [], "hold_expired");
}

function cancel(line: Line): Decision {
  const { partition, record, byOrderService, attempt, ofOrder } = line;
  if (record.state === "held") return to(line, "cancelled", [returnUnits(record)], "accepted", record.attempt);
  // A warehouse may have the goods: the newest attempt suspends the line first.
  const isUnasked = record.state === "paid" || (record.state === "cancelling" && attempt < record.attempt);
  if (byOrderService && isUnasked) return refuse("superseded", record.state);
  if (isPaid(record)) {
    if (isPresale(record)) return to(line, "cancelled_paid", [returnUnits(record)], "cancelled_paid", record.attempt);
    // A correction may have removed committed goods: the others are returned. Presale units are always all returned.
    const back = Math.min(record.units, partition.cells.get(record.cell)?.committed ?? 0);
    if (back < record.units && partition.format === 1) return refuse("insufficient_units", record.state);
    const transfers = back > 0 ? [{ ...move(record, "committed", "sellable"), units: back }] : [];
    const decision = to(line, "cancelled_paid", transfers, "cancelled_paid", record.attempt);
    const missingUnits = record.units - back;
    if (missingUnits === 0) return decision;
    return { ...decision, missingUnits, record: { ...(decision.record as IdRecord), missingUnits } };
  }
  if (record.state === "outbound") return refuse("already_outbound", record.state);
  // The units are back already, but a late payment must not take them again.
  if (hasLostHold(record))
    return { ...repeat("accepted", "cancelled"), record: { ...record, state: "cancelled", ofOrder } };
  return repeatCancelled(record);
}

const repeatCancelled = ({ state, missingUnits }: IdRecord): Decision =>
  state === "cancelled_paid" ? repeat("cancelled_paid", state, missingUnits) : repeat("accepted", state);

function unpay(line: Line, { attempt }: UnpayLine): Decision {
  const { partition, record } = line;
  if (record.state !== "paid" || record.attempt > attempt) return refuse("superseded", record.state);
  const back = isPresale(record) ? returnUnits(record) : move(record, "committed", "sellable");
  const isLost = !isPresale(record) && admission(partition, "unpay", back) !== "accepted";
  return isLost ? refuse("insufficient_units", record.state) : to(line, "unpaid", [back]);
}

function suspend(line: Line): Decision {
  const { record, attempt } = line;
  if (isPaid(record) && attempt < record.attempt) return refuse("superseded", record.state);
  if (record.state === "paid") return to(line, "cancelling", []);
  if (record.state === "cancelling") return takeOver(line);
  if (record.state === "outbound") return refuse("already_outbound", record.state);
  return repeatCancelled(record);
}

function resume(line: Line): Decision {
  const { record, attempt } = line;
  if (record.state === "cancelling")
    return attempt < record.attempt ? refuse("superseded", record.state) : to(line, "paid", []);
  if (record.state === "paid") return takeOver(line);
  if (record.state === "outbound") return refuse("already_outbound", record.state);
  if (isCancelled(record)) return refuse("line_cancelled", record.state);
  return repeat("accepted", record.state);
}

function outbound(line: Line, command: OutboundLine): Decision {
  const { partition, record } = line;
  if (record.state === "outbound") return repeat("accepted", record.state, record.missingUnits);
  if (partition.format > 1) return outboundFact(line);
  if (isCancelled(record)) return refuse("line_cancelled", record.state);
  if (hasLostHold(record)) return refuse("hold_expired", record.state);
  if (record.state === "held") return refuse("not_paid", record.state);
  const out = move(record, isPresale(record) ? "sellable" : "committed", "outside");
  const outcome = admission(partition, command.kind, out);
  return outcome === "accepted"
    ? to(line, "outbound", [out], "accepted", record.attempt)
    : refuse(outcome, record.state);
}

/** Goods that have left are a fact: the units are taken from the pool that should hold them, then from sellable. */
function outboundFact(line: Line): Decision {
  const { partition, record } = line;
  const presale = isPresale(record);
  const own = record.state === "held" && !presale ? "reserved" : presale || !isPaid(record) ? "sellable" : "committed";
  const transfers: CellTransfer[] = [];
  let missingUnits = record.units;
  for (const from of new Set([own, "sellable"] as const)) {
    const units = Math.min(missingUnits, partition.cells.get(record.cell)?.[from] ?? 0);
    if (units > 0) transfers.push({ ...move(record, from, "outside"), units });
    missingUnits -= units;
  }
  const isExpected = (presale || isPaid(record)) && transfers[0]?.from === own && transfers[0].units === record.units;
  const decision = to(line, "outbound", transfers, "accepted", record.attempt);
  return {
    ...decision,
    ...(missingUnits > 0 && { missingUnits }),
    ...(!isExpected && { unexplained: true }),
    record: {
      ...(decision.record as IdRecord),
      missingUnits,
      // ledger.lua stores the missing units in the place of the hold's end.
      ...(missingUnits === 0 && record.missingUnits > 0 && { expiresAtMs: 0 }),
    },
  };
}

/** There is nothing to undo, but a reservation of this attempt or an older one that arrives later must be refused. */
function abortNothing(partition: PartitionState, command: AbortLine, record: IdRecord | undefined): Decision {
  const nothing = repeat("accepted", "none");
  if (record) {
    if (isAborted(record) && command.attempt > record.attempt) nothing.record = { ...record, attempt: command.attempt };
    return nothing;
  }
  if (!isInWindow(partition, command.id)) return nothing;
  nothing.record = {
    kind: "reserve",
    fingerprint: 0,
    outcome: "accepted",
    state: "none",
    cell: cellOf(command.sku, command.location),
    pool: command.pool ?? "sellable",
    units: command.units,
    expiresAtMs: 0,
    attempt: command.attempt,
    ofOrder: isOfOrder(partition, command),
    missingUnits: 0,
  };
  return nothing;
}
