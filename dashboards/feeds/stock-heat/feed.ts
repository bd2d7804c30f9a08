/**
 * The feed `stock-heat`: SKU × minute of the hottest SKUs (R12), with balances. It shows the SKUs of the ranking,
 * which is renewed every few seconds, and those with an open alert; a SKU keeps its row id while it is shown. Only rows
 * and cells that changed are sent. States between two ticks are not sent.
 */
import { MINUTE_MS } from "../../../engine/kernel/clock.js";
import type { Feed, FeedState } from "../../feed.js";
import type { HeatCells, HeatDelta, HeatRow, HeatSnapshot } from "./body.js";

/** Five balances and what customers are shown, in units, over all locations. */
export interface StockLevels {
  sellable: number;
  reserved: number;
  committed: number;
  safety: number;
  presale: number;
  display: number;
}

export interface SkuLive {
  sku: string;
  /** Grows whenever anything below or a pane of the SKU changed. */
  revision: number;
  /** Units that left sellable in the trailing 60 minutes (R9). */
  hourUnits: number;
  /** Units a day (R8); undefined in cold start. */
  dailyAverage: number | undefined;
  levels: StockLevels;
}

export interface StockHeatSource {
  /** The shop's time. */
  nowMs(): number;
  /** The `limit` SKUs with the most units in the trailing hour, most first; ties by SKU. */
  ranked(limit: number): readonly SkuLive[];
  /** SKUs with an open alert, those of the newest alerts first. */
  alertedSkus(limit: number): readonly string[];
  sku(sku: string): SkuLive | undefined;
  /**
   * Depletion of a SKU by minute: `[minute since the epoch, units]`, from `sinceMinute` on, in ascending order;
   * zeroes left out.
   */
  panes(sku: string, sinceMinute: number): ReadonlyArray<readonly [minute: number, units: number]>;
}

interface HeatSize {
  /** Ranked SKUs. */
  rows: number;
  /** Heatmap columns; the newest is the minute of the shop's time. */
  minutes: number;
  /** Further SKUs, because of an alert: as many as the feed `alerts` lists. */
  alerted: number;
}

/** By the parameter `size`. */
const SIZES: Readonly<Record<string, HeatSize>> = {
  wall: { rows: 60, minutes: 60, alerted: 120 },
  phone: { rows: 20, minutes: 30, alerted: 60 },
};

/** Rows keep their places at least this long, so that a reader can follow them. */
const RERANK_MS = 3_000;

export const stockHeatFeed = (source: StockHeatSource): Feed => ({
  name: "stock-heat",
  role: "read",
  parameters: { size: Object.keys(SIZES) },
  open: ({ size = "" }) => new StockHeat(source, SIZES[size] as HeatSize),
});

interface Row {
  id: number;
  revision: number;
  figures: HeatRow;
  /** Units by minute since the epoch. */
  cells: Map<number, number>;
}

interface Changes {
  rows: HeatRow[];
  cells: HeatCells[];
  removed: number[];
}

const figuresOf = (id: number, { sku, hourUnits, dailyAverage, levels }: SkuLive): HeatRow => [
  id,
  sku,
  hourUnits,
  dailyAverage ?? null,
  levels.sellable,
  levels.reserved,
  levels.committed,
  levels.safety,
  levels.presale,
  levels.display,
];

const isSameList = <T>(a: readonly T[], b: readonly T[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i]);

class StockHeat implements FeedState {
  readonly #source: StockHeatSource;
  readonly #size: HeatSize;
  readonly #rows = new Map<string, Row>();
  #nextId = 1;
  #order: readonly string[] = [];
  #lastMinute = 0;
  #rankedAtMs = Number.NEGATIVE_INFINITY;

  constructor(source: StockHeatSource, size: HeatSize) {
    this.#source = source;
    this.#size = size;
  }

  advance(nowMs: number): HeatDelta | undefined {
    const lastMinute = Math.floor(this.#source.nowMs() / MINUTE_MS);
    const isNewMinute = lastMinute !== this.#lastMinute;
    this.#lastMinute = lastMinute;
    const isReordered = nowMs - this.#rankedAtMs >= RERANK_MS && this.#rank(nowMs);
    const { rows, cells, removed } = this.#refreshRows();
    if (!isNewMinute && !isReordered && rows.length + cells.length + removed.length === 0) return undefined;
    return {
      lastMinute,
      ...(rows.length > 0 && { rows }),
      ...(cells.length > 0 && { cells }),
      ...(isReordered && { order: this.#orderIds() }),
      ...(removed.length > 0 && { removed }),
    };
  }

  snapshot(): HeatSnapshot {
    const rows = Array.from(this.#rows.values());
    return {
      minutes: this.#size.minutes,
      lastMinute: this.#lastMinute,
      rows: rows.map(({ figures }) => figures),
      order: this.#orderIds(),
      cells: rows.map(({ id, cells }) => this.#cellsOf(id, cells)),
    };
  }

  /** @returns whether the order has changed */
  #rank(nowMs: number): boolean {
    this.#rankedAtMs = nowMs;
    const order = this.#source.ranked(this.#size.rows).map(({ sku }) => sku);
    const isChanged = !isSameList(this.#order, order);
    this.#order = order;
    return isChanged;
  }

  #refreshRows(): Changes {
    const changes: Changes = { rows: [], cells: [], removed: [] };
    const shown = new Set([...this.#order, ...this.#source.alertedSkus(this.#size.alerted)]);
    for (const [sku, row] of this.#rows) {
      if (shown.has(sku)) continue;
      this.#rows.delete(sku);
      changes.removed.push(row.id);
    }
    for (const sku of shown) this.#refreshRow(sku, changes);
    return changes;
  }

  #refreshRow(sku: string, changes: Changes): void {
    const live = this.#source.sku(sku);
    if (live === undefined) return;
    const before = this.#rows.get(sku);
    if (before?.revision === live.revision) return;
    const id = before?.id ?? this.#nextId++;
    const figures = figuresOf(id, live);
    if (before === undefined || !isSameList<string | number | null>(before.figures, figures))
      changes.rows.push(figures);

    const sinceMinute = this.#lastMinute - this.#size.minutes + 1;
    const cells = new Map(this.#source.panes(sku, sinceMinute));
    const moved = new Map<number, number>();
    for (const [minute, units] of cells) if (before?.cells.get(minute) !== units) moved.set(minute, units);
    for (const minute of before?.cells.keys() ?? [])
      if (minute >= sinceMinute && !cells.has(minute)) moved.set(minute, 0);
    this.#rows.set(sku, { id, revision: live.revision, figures, cells });
    if (moved.size > 0) changes.cells.push(this.#cellsOf(id, moved));
  }

  #orderIds(): number[] {
    const ids: number[] = [];
    for (const sku of this.#order) {
      const row = this.#rows.get(sku);
      if (row !== undefined) ids.push(row.id);
    }
    return ids;
  }

  #cellsOf(id: number, cells: ReadonlyMap<number, number>): HeatCells {
    const sinceMinute = this.#lastMinute - this.#size.minutes + 1;
    const list = [id];
    // A pane may be newer than the shop's clock; its distance is then negative.
    for (const [minute, units] of cells) if (minute >= sinceMinute) list.push(this.#lastMinute - minute, units);
    return list;
  }
}
