/**
 * Compares the cells of one partition, as several parties report them, and sums the partitions up (R13): of each pair
 * the divergence of the shop, of locations and of SKUs, and the greatest differences. Two sources report other instants
 * and may count something else, so the second one's number is brought to the first one's instant and measure through
 * the ledger: b' = b − L_b(t_b) + L_a(t_a). Pure and in memory: some 10 bytes a cell, party and pair; only cells that
 * differ become objects, a limited number of them.
 */
import type { CellIndex } from "../../stock/cell-index.js";
import { type Difference, type Divergence, LEDGER, type PairDivergence } from "../model.js";
import { NO_REACH, type Reach, unexplainedUnits } from "./explained.js";
import { Greatest } from "./greatest.js";

/** Differences of a pair that a comparison keeps; of the others only their number and units are known. */
export const MAX_DIFFERENCES = 10_000;
const MAX_TOP = 20;
const MAX_LOCATIONS = 1_000;
const MAX_SKUS = 100;

/** What one source reports of one partition, and what the ledger held at its instant in its measure. */
export interface PartyCells {
  /** By cell; NaN: it does not report the cell. */
  readonly units: Float64Array;
  /** By cell, with what was settled since; NaN, where the source does not report the cell: not known. */
  readonly ledger: Float64Array;
  /** What events around the instant may change about a cell. */
  reach(cell: number): Reach;
}

export interface PartitionCells {
  readonly cells: CellIndex;
  /** Of these, the ledger has the first ones; the others are only reported. */
  readonly ledgerCells: number;
}

/** Sums of one kind of group in one partition, by the group's number. */
class GroupSums {
  readonly differingUnits: Float64Array;
  readonly totalUnits: Float64Array;
  readonly cells: Uint32Array;
  readonly differingCells: Uint32Array;

  constructor(groups: number) {
    this.differingUnits = new Float64Array(groups);
    this.totalUnits = new Float64Array(groups);
    this.cells = new Uint32Array(groups);
    this.differingCells = new Uint32Array(groups);
  }

  add(group: number, total: number, differing: number): void {
    this.totalUnits[group] = (this.totalUnits[group] as number) + total;
    this.cells[group] = (this.cells[group] as number) + 1;
    if (differing === 0) return;
    this.differingUnits[group] = (this.differingUnits[group] as number) + differing;
    this.differingCells[group] = (this.differingCells[group] as number) + 1;
  }

  of(group: number): Divergence {
    return {
      differingUnits: this.differingUnits[group] as number,
      totalUnits: this.totalUnits[group] as number,
      cells: this.cells[group] as number,
      differingCells: this.differingCells[group] as number,
    };
  }
}

/** One pair over all partitions: begin each partition with `begin`, give it all cells with `take`, and `finish` it. */
export class PairSum {
  readonly a: string;
  readonly b: string;
  #shop: Divergence = { differingUnits: 0, totalUnits: 0, cells: 0, differingCells: 0 };
  readonly #locations = new Map<string, Divergence>();
  readonly #skus = new Greatest<{ sku: string; differingUnits: number; totalUnits: number }>(MAX_SKUS);
  readonly #differences = new Greatest<Difference>(MAX_DIFFERENCES);
  #onlyInA = 0;
  #onlyInB = 0;
  #partition: PartitionCells | undefined;
  #ofLocations = new GroupSums(0);
  #ofSkus = new GroupSums(0);

  /** @param b left out: the ledger */
  constructor(a: string, b: string = LEDGER) {
    this.a = a;
    this.b = b;
  }

  begin(partition: PartitionCells): void {
    this.#partition = partition;
    this.#ofLocations = new GroupSums(partition.cells.locations.length);
    this.#ofSkus = new GroupSums(partition.cells.skus.length);
  }

  /** Compares cells `from` to `to`, exclusive. @param b undefined: the ledger */
  take(from: number, to: number, a: PartyCells, b: PartyCells | undefined): void {
    const { ledgerCells } = this.#partition as PartitionCells;
    for (let cell = from; cell < to; cell++) {
      const aUnits = a.units[cell] as number;
      const isOfLedger = cell < ledgerCells;
      const ledgerAtA = isOfLedger ? (a.ledger[cell] as number) : 0;
      let bUnits = isOfLedger ? ledgerAtA : Number.NaN;
      if (b) {
        const ledgerAtB = isOfLedger ? (b.ledger[cell] as number) : 0;
        bUnits = (b.units[cell] as number) - ledgerAtB + ledgerAtA;
      }
      // NaN is not equal to itself: the party does not report the cell.
      // biome-ignore lint/suspicious/noSelfCompare: see above; Number.isNaN costs a call for each cell
      const isInA = aUnits === aUnits;
      const reported = b ? (b.units[cell] as number) : bUnits;
      // biome-ignore lint/suspicious/noSelfCompare: the same
      const isInB = reported === reported;
      if (isInA && isInB) this.#add(cell, aUnits, bUnits, a, b);
      else if (isInA && aUnits !== 0) this.#onlyInA++;
      else if (isInB && reported !== 0) this.#onlyInB++;
    }
  }

  #add(cell: number, aUnits: number, bUnits: number, a: PartyCells, b: PartyCells | undefined): void {
    const { cells } = this.#partition as PartitionCells;
    const gap = aUnits - bUnits;
    const total = Math.max(aUnits, bUnits, 0);
    const differing = gap === 0 ? 0 : unexplainedUnits(gap, a.reach(cell), b?.reach(cell) ?? NO_REACH);
    this.#ofLocations.add(cells.locationOf[cell] as number, total, differing);
    this.#ofSkus.add(cells.skuOf[cell] as number, total, differing);
    if (differing === 0 || !this.#differences.takes(differing)) return;
    const explainedUnits = Math.abs(gap) - differing;
    this.#differences.add(differing, {
      sku: cells.sku(cell),
      location: cells.location(cell),
      ...{ aUnits, bUnits, explainedUnits },
    });
  }

  /**
   * Adds the partition's sums to those of the others.
   * @param onlyInB further cells that only the second party has
   */
  finish(onlyInB = 0): void {
    const { cells } = this.#partition as PartitionCells;
    this.#onlyInB += onlyInB;
    for (const [i, location] of cells.locations.entries()) {
      const sums = this.#ofLocations.of(i);
      if (sums.cells === 0) continue;
      this.#shop = sumOf(this.#shop, sums);
      this.#locations.set(location, sumOf(this.#locations.get(location), sums));
    }
    for (const [i, sku] of cells.skus.entries()) {
      const differingUnits = this.#ofSkus.differingUnits[i] as number;
      if (differingUnits === 0 || !this.#skus.takes(differingUnits)) continue;
      this.#skus.add(differingUnits, { sku, differingUnits, totalUnits: this.#ofSkus.totalUnits[i] as number });
    }
    this.#partition = undefined;
  }

  /** The pair's result, and the differences that are kept, greatest first. */
  result(): { pair: PairDivergence; differences: readonly Difference[] } {
    const differences = this.#differences.items().sort(byUnits);
    const locations = [...this.#locations]
      .sort(([a, x], [b, y]) => y.differingUnits - x.differingUnits || (a < b ? -1 : 1))
      .slice(0, MAX_LOCATIONS);
    return {
      pair: {
        ...{ a: this.a, b: this.b, shop: this.#shop },
        locations: Object.fromEntries(locations),
        skus: this.#skus.items().sort((x, y) => y.differingUnits - x.differingUnits || (x.sku < y.sku ? -1 : 1)),
        top: differences.slice(0, MAX_TOP),
        ...{ onlyInA: this.#onlyInA, onlyInB: this.#onlyInB },
      },
      differences,
    };
  }
}

/** Units of a difference that no events explain. */
export const differingUnits = ({ aUnits, bUnits, explainedUnits }: Difference): number =>
  Math.abs(aUnits - bUnits) - explainedUnits;

const byUnits = (x: Difference, y: Difference): number =>
  differingUnits(y) - differingUnits(x) || (x.sku < y.sku ? -1 : x.sku > y.sku ? 1 : x.location < y.location ? -1 : 1);

const sumOf = (a: Divergence | undefined, b: Divergence): Divergence => ({
  differingUnits: (a?.differingUnits ?? 0) + b.differingUnits,
  totalUnits: (a?.totalUnits ?? 0) + b.totalUnits,
  cells: (a?.cells ?? 0) + b.cells,
  differingCells: (a?.differingCells ?? 0) + b.differingCells,
});
