/**
 * What is published, as the publisher reads it: the units that customers see of every SKU, and up to when they are
 * complete. The publisher reads the instant and the positions first and the displays after, so what it publishes
 * contains everything up to them; a SKU may be newer. Everything is answered from memory, at once.
 */

export interface DisplaySource {
  /** SKUs with a display now. */
  readonly skus: number;
  /** All of them; one that changes during the iteration comes as it was or as it is, and perhaps twice. */
  all(): Iterable<readonly [sku: string, displayUnits: number]>;
  /** Undefined: the SKU does not exist, or not any more. */
  displayOf(sku: string): number | undefined;
  /** Begins to collect which SKUs change. One collection at a time: that of the publication's owner. */
  collectChanges(): ChangeCollection;
  /** Real time, up to which the displays are complete, in milliseconds. */
  asOfMs(): number;
  /** How old they are at most, in milliseconds. */
  ageMs(): number;
  /** An offset for each partition, in order: the displays contain every event up to there. */
  positions(): readonly number[];
}

export interface ChangeCollection {
  /** SKUs whose display may have changed since the last call or the beginning. `all`: there are too many to name. */
  take(): ReadonlySet<string> | "all";
  /** Ends the collection and frees its memory. */
  end(): void;
}
