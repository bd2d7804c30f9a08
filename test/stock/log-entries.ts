/**
 * Entries of the stock log made by hand, as ledger.lua writes them: a change of the format on one side only is noticed.
 */
import { Packr } from "msgpackr";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { encodeBatch } from "../../engine/stock/batch.js";
import { OUTCOMES, type Outcome, type StockCommand } from "../../engine/stock/model.js";
import type { LogEntry } from "../../engine/stream/log.js";

export const NOW = Date.UTC(2026, 5, 18);
export const packr = new Packr({ useRecords: false });
export const idOf = (number: number, timeMs = NOW): string => chainIdFromNumber("S1", timeMs, number);
export const at = { id: idOf(1), sku: "CUP", location: "SH" };
export const code = (outcome: Outcome): number => OUTCOMES.indexOf(outcome);

export function entryOf(fields: Record<string, Buffer | number>, offset = 7): LogEntry {
  return {
    offset,
    fields: Object.entries(fields).flatMap(([name, value]) => [
      Buffer.from(name),
      typeof value === "number" ? Buffer.from(String(value)) : value,
    ]),
  };
}

/** The entry of a batch whose commands had these outcomes; all accepted when left out. */
export function logged(
  commands: StockCommand[],
  outcomes = commands.map(() => 0),
  more: Record<string, Buffer | number> = {},
): LogEntry {
  return entryOf({ t: NOW, b: encodeBatch(commands).bytes, o: Buffer.from(outcomes), ...more });
}
