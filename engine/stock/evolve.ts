/**
 * Changes of a partition's state: `evolve` applies a decision, `advance` what ends by time. Neither reads a clock, and
 * neither can fail after it has changed something. The rules are in decide.ts.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { DAY_MS } from "../kernel/clock.js";
import { type Balances, emptyBalances, HOLD_MARGIN_DAYS, isAccepted, SWEEP_LIMIT } from "./model.js";
import {
  type CellTransfer,
  type Decision,
  type Expiry,
  holdsUnits,
  type IdRecord,
  type PartitionState,
  returnUnits,
} from "./partition-state.js";

/** Changes the state as decided. */
export function evolve(partition: PartitionState, id: string, decision: Decision): void {
  for (const transfer of decision.transfers) applyTransfer(partition, transfer);
  if (decision.record === "unchanged") return;
  const day = chainIdDay(id);
  let bucket = partition.records.get(day);
  if (!bucket) {
    bucket = new Map();
    partition.records.set(day, bucket);
  }
  const before = bucket.get(id);
  const record = { ...decision.record };
  // A line of a retired day is kept for some time after its end.
  const isEnd = before !== undefined && !hasEnded(before) && hasEnded(record);
  if (isEnd && partition.format > 1 && day <= partition.retiredDay) record.expiresAtMs = partition.clockMs;
  bucket.set(id, record);
}

/** Whether a line holds no units and has none that are missing. */
const hasEnded = (record: IdRecord): boolean => !holdsUnits(record) && record.missingUnits === 0;

function applyTransfer(partition: PartitionState, transfer: CellTransfer): void {
  if (transfer.from !== "outside") cellIn(partition, transfer.cell)[transfer.from] -= transfer.units;
  if (transfer.to !== "outside") cellIn(partition, transfer.toCell)[transfer.to] += transfer.units;
}

function cellIn(partition: PartitionState, cell: string): Balances {
  let balances = partition.cells.get(cell);
  if (!balances) {
    balances = emptyBalances();
    partition.cells.set(cell, balances);
  }
  return balances;
}

/**
 * Moves the clock to `nowMs` (never back), ends the holds that are due, the oldest first, SWEEP_LIMIT at most, and
 * retires days past the retention once no hold is due: a line is kept while it holds units (R3). A hold has expired
 * when this function returns it, not when its time has come.
 */
export function advance(partition: PartitionState, nowMs: number): Expiry[] {
  if (nowMs > partition.clockMs) partition.clockMs = nowMs;
  const due: Expiry[] = [];
  for (const bucket of partition.records.values()) {
    for (const [id, record] of bucket) {
      if (record.state !== "held" || record.expiresAtMs > partition.clockMs) continue;
      due.push({ id, record, transfer: returnUnits(record) });
    }
  }
  due.sort((a, b) => a.record.expiresAtMs - b.record.expiresAtMs || (a.id < b.id ? -1 : 1));
  const late = due.splice(SWEEP_LIMIT);
  for (const { id, record, transfer } of due) {
    applyTransfer(partition, transfer);
    partition.records.get(chainIdDay(id))?.set(id, { ...record, state: "expired" });
  }
  if (late.length === 0) retireDays(partition);
  return due;
}

function retireDays(partition: PartitionState): void {
  const last = Math.floor(partition.clockMs / DAY_MS) - partition.retentionDays - HOLD_MARGIN_DAYS - 1;
  if (last <= partition.retiredDay) return;
  partition.retiredDay = last;
  for (const [day, bucket] of partition.records) {
    if (day > last) continue;
    for (const [id, record] of bucket) if (partition.format === 1 || !isKept(partition, record)) bucket.delete(id);
    if (bucket.size === 0) partition.records.delete(day);
  }
}

/**
 * Whether a record of a retired day stays: a line stays while it holds units or has missing units, and then until as
 * many days have passed since its end as ids are kept.
 */
const isKept = (partition: PartitionState, record: IdRecord): boolean =>
  record.kind === "reserve" &&
  isAccepted(record.outcome) &&
  record.state !== "none" &&
  (!hasEnded(record) || Math.floor(record.expiresAtMs / DAY_MS) > partition.retiredDay);
