/**
 * What the first comparison of a snapshot found: in which cells its source has other units than the ledger had at its
 * instant. The ledger's past does not change, so later comparisons of the same snapshot need neither the log since then
 * nor balances of that instant: an ERP's report of yesterday costs the same all day, also when the log no longer goes
 * back so far. Only cells that differ are kept. In the others, events around the instant are not considered any more,
 * which can only leave a gap of another source unexplained, never explain one.
 */
import type { ScannedCells } from "../../stock/as-of-scan.js";
import type { CellIndex } from "../../stock/cell-index.js";
import type { Snapshot } from "../model.js";
import type { PartyCells } from "./comparison.js";
import { NO_REACH, type Reach } from "./explained.js";

/** Cells of one snapshot at most: 200,000 × some 15 packed bytes are 3 MB. One that differs in more is read again. */
export const MAX_GAPS = 200_000;
/** Numbers of one cell's reach that are kept; of more, only the least and the greatest. */
const MAX_VALUES = 16;

/** Of one partition, by column. */
export interface PartitionGaps {
  readonly skus: string[];
  readonly locations: string[];
  /** The source's units minus the ledger's. */
  readonly gaps: number[];
  /** Least, greatest, then all values, if they are kept; empty: no events. */
  readonly reaches: number[][];
  /** Cells with units that only the ledger had. */
  onlyInLedger: number;
}

export interface SnapshotGaps {
  /** `gapsIdOf` the snapshot. */
  readonly id: string;
  readonly partitions: readonly PartitionGaps[];
}

/** An id may be used again once its snapshot was removed; one with the same instant is the same report. */
export const gapsIdOf = ({ id, asOfMs }: Pick<Snapshot, "id" | "asOfMs">): string => `${id} ${asOfMs}`;

/** The gaps of one partition. @param party as compared, before settled units were added */
export function gapsOf({ cells, length }: Pick<ScannedCells, "cells" | "length">, party: PartyCells): PartitionGaps {
  const found: PartitionGaps = { skus: [], locations: [], gaps: [], reaches: [], onlyInLedger: 0 };
  for (let cell = 0; cell < cells.length; cell++) {
    const units = party.units[cell] as number;
    const ledger = cell < length ? (party.ledger[cell] as number) : 0;
    if (Number.isNaN(units)) {
      if (ledger !== 0) found.onlyInLedger++;
    } else if (units !== ledger && found.gaps.length <= MAX_GAPS) {
      found.skus.push(cells.sku(cell));
      found.locations.push(cells.location(cell));
      found.gaps.push(units - ledger);
      found.reaches.push(packedReach(party.reach(cell)));
    }
  }
  return found;
}

/** The same party again, from what it reports and its gaps. @param units by cell; NaN: it does not report the cell */
export function partyFrom(gaps: PartitionGaps, units: Float64Array, cells: CellIndex): PartyCells {
  const ledger = units.slice();
  const reaches = new Map<number, Reach>();
  for (const [i, gap] of gaps.gaps.entries()) {
    const cell = cells.find(gaps.skus[i] as string, gaps.locations[i] as string);
    if (cell < 0) continue;
    ledger[cell] = (units[cell] as number) - gap;
    reaches.set(cell, reachFrom(gaps.reaches[i] as number[]));
  }
  return { units, ledger, reach: (cell) => reaches.get(cell) ?? NO_REACH };
}

const packedReach = ({ low, high, values }: Reach): number[] => {
  if (low === 0 && high === 0) return [];
  return values && values.length <= MAX_VALUES ? [low, high, ...values] : [low, high];
};

function reachFrom([low, high, ...values]: readonly number[]): Reach {
  if (low === undefined || high === undefined) return NO_REACH;
  return { low, high, values: values.length > 0 ? values : undefined };
}
