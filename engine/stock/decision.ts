/** What decisions about new commands and about lines have in common: answers that change nothing, and admission. */
import { chainIdDay } from "../kernel/chain-id.js";
import { DAY_MS } from "../kernel/clock.js";
import {
  type CommandKind,
  emptyBalances,
  type LineState,
  MAX_UNITS,
  type Outcome,
  onHandUnits,
  type StockCommand,
} from "./model.js";
import type { CellTransfer, Decision, PartitionState } from "./partition-state.js";

export const refuse = (outcome: Outcome, state: LineState = "none"): Decision => ({
  outcome,
  repeated: false,
  state,
  transfers: [],
  record: "unchanged",
});

export const repeat = (outcome: Outcome, state: LineState, missingUnits = 0): Decision => ({
  outcome,
  repeated: true,
  state,
  transfers: [],
  record: "unchanged",
  ...(missingUnits > 0 && { missingUnits }),
});

export const isOfOrder = (partition: PartitionState, command: StockCommand): boolean =>
  partition.format > 1 && "ofOrder" in command && command.ofOrder === true;

/** Whether an unknown id may be new. */
export function isInWindow(partition: PartitionState, id: string): boolean {
  const day = chainIdDay(id);
  const today = Math.floor(partition.clockMs / DAY_MS);
  return day >= today - partition.retentionDays && day <= today + 1;
}

/** Whether the balances allow a transfer: "accepted", or the refusal. */
export function admission(partition: PartitionState, kind: CommandKind, transfer: CellTransfer): Outcome {
  const source = partition.cells.get(transfer.cell);
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
  // Units new to a cell are limited by what is on hand there: later transfers inside the cell cannot overflow a pool.
  // The presale counter is separate: reserved presale units are in no pool until they are returned.
  if (transfer.to !== "outside" && (transfer.from === "outside" || transfer.cell !== transfer.toCell)) {
    const target = partition.cells.get(transfer.toCell) ?? emptyBalances();
    const present = transfer.to === "presale" ? target.presale : onHandUnits(target);
    if (present + transfer.units > MAX_UNITS) return "limit_exceeded";
  }
  return "accepted";
}
