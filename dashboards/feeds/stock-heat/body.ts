/**
 * What the feed `stock-heat` sends; shared by the server and the page, so nothing here may import from Node. The
 * figures of a SKU are one list, because they are most of what a wall receives.
 */

/** One SKU's figures in units; `dailyAverage` is null in cold start. The id is the SKU's row in this state. */
export type HeatRow = readonly [
  id: number,
  sku: string,
  hourUnits: number,
  dailyAverage: number | null,
  sellable: number,
  reserved: number,
  committed: number,
  safety: number,
  presale: number,
  display: number,
];

/** Panes of one row: its id, then pairs of (minutes before the body's `lastMinute`, units). */
export type HeatCells = readonly number[];

export interface HeatSnapshot {
  /** Heatmap columns. */
  minutes: number;
  /** The newest column, in minutes since the epoch: the minute of the shop's time. */
  lastMinute: number;
  /** The ranked SKUs and those with an open alert. */
  rows: readonly HeatRow[];
  /** Ids of the ranked rows, hottest first. */
  order: readonly number[];
  cells: readonly HeatCells[];
}

/** Whole rows, whole cells, and the whole order if it changed. */
export interface HeatDelta {
  lastMinute: number;
  rows?: readonly HeatRow[];
  cells?: readonly HeatCells[];
  order?: readonly number[];
  /** Ids of rows that are no longer shown. */
  removed?: readonly number[];
}
