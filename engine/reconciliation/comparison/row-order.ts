/**
 * Finds the cells of rows. Most sources list their rows in the same order, so the next cell is first guessed: the one
 * that came after the present one in the source before. A right guess costs a sixth of a look-up; a wrong one costs it
 * in addition. Cells that are not known yet are added.
 */
import type { CellIndex } from "../../stock/cell-index.js";

export class RowOrder {
  readonly cells: CellIndex;
  /** By cell: the next one plus 1; 0: not known. */
  #next: Uint32Array;
  #last = -1;

  constructor(cells: CellIndex) {
    this.cells = cells;
    this.#next = new Uint32Array(cells.length + 1);
  }

  /** Begins another source. */
  begin(): void {
    this.#last = -1;
  }

  cellOf(sku: string, location: string): number {
    const last = this.#last;
    const guess = last < 0 ? -1 : (this.#next[last] as number) - 1;
    const isRight = guess >= 0 && this.cells.is(guess, sku, location);
    const cell = isRight ? guess : this.cells.add(sku, location);
    if (!isRight && last >= 0) {
      if (last >= this.#next.length) {
        const longer = new Uint32Array(2 * last + 1);
        longer.set(this.#next);
        this.#next = longer;
      }
      this.#next[last] = cell + 1;
    }
    this.#last = cell;
    return cell;
  }
}
