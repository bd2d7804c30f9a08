/**
 * What approved settlements change about a comparison (R13): a correction counts as if it had been booked at the
 * instant of the snapshot that it follows. So a settled row of that snapshot does not differ any more, nor in a later
 * snapshot of any source that was taken before the correction was booked; such a source may have reported with the
 * correction or without it, and does not differ either way. It reads what the ledger keeps with its log
 * (engine/stock/corrections.ts), so a correction that was booked is never left out. Corrections without a snapshot
 * (stock counts) count from their own time on, as everything else in the ledger.
 */
import type { Corrections } from "../../stock/corrections.js";
import type { Snapshot } from "../model.js";

/** Units by cell name (`cellOf`), signed. */
export type SettledUnits = ReadonlyMap<string, number>;

/**
 * Units to add to what the ledger held at a snapshot's instant, for the cells of one partition. Settlements correct
 * sellable units, so they count in every measure.
 */
export async function settledUnits(
  corrections: Corrections,
  { asOfMs }: Pick<Snapshot, "asOfMs">,
  partition: number,
): Promise<SettledUnits> {
  const units = new Map<string, number>();
  for (const settled of await corrections.settledAfter(partition, asOfMs))
    if (settled.asOfMs <= asOfMs) units.set(settled.cell, (units.get(settled.cell) ?? 0) + settled.units);
  return units;
}
