/**
 * The ledger's rules as pure functions (R1–R3, R14): the reference that ledger.lua is compared with at every step of
 * the simulation. `decide` returns what a command does to a partition; evolve.ts does it. It reads no clock. Refusals
 * after which the same id may be sent again (`breaker_open`, `superseded`, `id_outside_window`, `clocks_disagree`) are
 * not recorded; every other first answer is, and is given again to the same id with the same body.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { isRefusing } from "./breaker-rules.js";
import { decideLine } from "./decide-line.js";
import { admission, isInWindow, isOfOrder, refuse, repeat } from "./decision.js";
import { fingerprintOf } from "./fingerprint.js";
import { cellOf, DEFAULT_HOLD_MS, emptyBalances, type Outcome, onHandUnits, type StockCommand } from "./model.js";
import { type CellTransfer, type Decision, type IdRecord, isAborted, type PartitionState } from "./partition-state.js";

type NewCommand = Extract<
  StockCommand,
  { kind: "receive" | "correct" | "move" | "reserve" | "return" | "configure" | "acknowledge" }
>;

/** Decides one command against the state at `partition.clockMs`. Changes nothing. */
export function decide(partition: PartitionState, command: StockCommand): Decision {
  const record = partition.records.get(chainIdDay(command.id))?.get(command.id);
  const decision = decideBy(partition, command, record);
  const after = decision.record === "unchanged" ? record : decision.record;
  return after?.uncounted && decision.state !== "none" ? { ...decision, uncounted: true } : decision;
}

function decideBy(partition: PartitionState, command: StockCommand, record: IdRecord | undefined): Decision {
  switch (command.kind) {
    case "pay":
    case "cancel":
    case "outbound":
    case "abort":
    case "unpay":
    case "accept":
    case "suspend":
    case "resume":
      return decideLine(partition, command, record);
    default:
      return decideNew(partition, command, record);
  }
}

/** Commands with an id of their own. */
function decideNew(partition: PartitionState, command: NewCommand, record: IdRecord | undefined): Decision {
  const fingerprint = fingerprintOf(command);
  const attempt = command.kind === "reserve" ? (command.attempt ?? 1) : 1;
  const ofOrder = isOfOrder(partition, command);
  if (record) {
    // An abort that came before its reservation has no fingerprint.
    const isSame = record.fingerprint === fingerprint || (record.fingerprint === 0 && command.kind === "reserve");
    if (!isSame) return refuse("id_reused");
    if (record.ofOrder && !ofOrder && partition.format > 1) return refuse("order_line", record.state);
    if (!isAborted(record)) return decideAgain(record, attempt, ofOrder);
    // An attempt that arrives after it was aborted must not reserve the units after all; a later one may.
    if (attempt <= record.attempt) return refuse("superseded");
  }
  if (command.kind === "reserve" && partition.clocksDisagree) return refuse("clocks_disagree");
  if (!isInWindow(partition, command.id)) return refuse("id_outside_window");
  if (command.kind === "reserve" && hasOpenBreaker(partition, command)) return refuse("breaker_open");

  const cell = cellOf(command.sku, command.location);
  const transfer = transferOf(command, cell);
  const outcome = outcomeOf(partition, command, cell, transfer);
  const accepted = outcome === "accepted";
  const held = accepted && command.kind === "reserve";
  return {
    outcome,
    repeated: false,
    state: held ? "held" : "none",
    transfers: accepted && transfer ? [transfer] : [],
    record: {
      kind: command.kind,
      fingerprint,
      outcome,
      state: held ? "held" : "none",
      cell,
      pool: command.kind === "reserve" ? (command.pool ?? "sellable") : "sellable",
      units: "units" in command ? command.units : 0,
      expiresAtMs: command.kind === "reserve" ? partition.clockMs + (command.holdMs ?? DEFAULT_HOLD_MS) : 0,
      attempt,
      ...(held && partition.format > 1 && command.uncounted && { uncounted: true }),
      ofOrder,
      missingUnits: 0,
    },
  };
}

/** The first answer again. A later attempt becomes the line's owner: an earlier one cannot abort it then. */
function decideAgain(record: IdRecord, attempt: number, ofOrder: boolean): Decision {
  const again = repeat(record.outcome, record.state, record.missingUnits);
  if (attempt > record.attempt || (ofOrder && !record.ofOrder))
    again.record = { ...record, attempt: Math.max(attempt, record.attempt), ofOrder: ofOrder || record.ofOrder };
  return again;
}

function hasOpenBreaker(partition: PartitionState, { sku, location }: StockCommand): boolean {
  for (const key of ["shop", `location:${location}`, `sku:${sku}`]) {
    const breaker = partition.breakers.get(key);
    if (breaker && isRefusing(breaker, partition.clockMs)) return true;
  }
  return false;
}

function outcomeOf(
  partition: PartitionState,
  command: NewCommand,
  cell: string,
  transfer: CellTransfer | undefined,
): Outcome {
  const expected = command.kind === "correct" ? command.expected : undefined;
  if (expected && onHandUnits(partition.cells.get(cell) ?? emptyBalances()) !== expected.onHandUnits)
    return "balance_changed";
  return transfer ? admission(partition, command.kind, transfer) : "accepted";
}

/** The transfer of a command with an id of its own; undefined when it moves nothing. */
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
