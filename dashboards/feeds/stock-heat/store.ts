/**
 * A screen's copy of the feed `stock-heat`, kept up to date by its frames. Pure: no socket, no clock, no DOM, nothing
 * from Node. The copy is changed in place; `revision` grows when a cell, a row or a column changes.
 */
import type { HeatCells, HeatDelta, HeatRow, HeatSnapshot } from "./body.js";

/** One SKU, in units. */
export interface HeatRowModel {
  id: number;
  sku: string;
  hourUnits: number;
  /** Null in cold start. */
  dailyAverage: number | null;
  sellable: number;
  reserved: number;
  committed: number;
  safety: number;
  presale: number;
  display: number;
}

export interface HeatModel {
  /** Heatmap columns. */
  minutes: number;
  /** The newest column, in minutes since the epoch. */
  lastMinute: number;
  rows: Map<number, HeatRowModel>;
  /** The same rows by SKU. */
  rowOf: Map<string, HeatRowModel>;
  /** Ranked rows, hottest first. */
  order: readonly number[];
  /** Units by minute since the epoch, by row. */
  cells: Map<number, Map<number, number>>;
  revision: number;
}

/** A new copy. @param before the copy that it replaces: its revision is continued */
export function heatOf(body: HeatSnapshot, before: HeatModel | undefined): HeatModel {
  const heat: HeatModel = {
    minutes: body.minutes,
    lastMinute: body.lastMinute,
    rows: new Map(),
    rowOf: new Map(),
    order: body.order,
    cells: new Map(),
    revision: (before?.revision ?? 0) + 1,
  };
  for (const row of body.rows) putRow(heat, row);
  for (const cells of body.cells) putCells(heat, cells);
  return heat;
}

/** Overwrites what the delta contains. */
export function changeHeat(heat: HeatModel, body: HeatDelta): HeatModel {
  if (body.lastMinute !== heat.lastMinute) {
    heat.lastMinute = body.lastMinute;
    deleteOldMinutes(heat);
    heat.revision++;
  }
  for (const row of body.rows ?? []) putRow(heat, row);
  for (const cells of body.cells ?? []) putCells(heat, cells);
  for (const id of body.removed ?? []) {
    const row = heat.rows.get(id);
    heat.rows.delete(id);
    heat.cells.delete(id);
    if (row !== undefined && heat.rowOf.get(row.sku) === row) heat.rowOf.delete(row.sku);
  }
  if (body.order !== undefined) heat.order = body.order;
  if (body.rows !== undefined || body.cells !== undefined || body.order !== undefined) heat.revision++;
  return heat;
}

/** The ranked rows, hottest first. */
export function rankedRows(heat: HeatModel): HeatRowModel[] {
  const ranked: HeatRowModel[] = [];
  for (const id of heat.order) {
    const row = heat.rows.get(id);
    if (row !== undefined) ranked.push(row);
  }
  return ranked;
}

function putRow(heat: HeatModel, body: HeatRow): void {
  const [id, sku, hourUnits, dailyAverage, sellable, reserved, committed, safety, presale, display] = body;
  const row = { id, sku, hourUnits, dailyAverage, sellable, reserved, committed, safety, presale, display };
  heat.rows.set(id, row);
  heat.rowOf.set(sku, row);
}

function putCells(heat: HeatModel, body: HeatCells): void {
  const id = body[0] as number;
  const row = heat.cells.get(id) ?? new Map<number, number>();
  heat.cells.set(id, row);
  for (let i = 1; i + 1 < body.length; i += 2) {
    const minute = heat.lastMinute - (body[i] as number);
    const units = body[i + 1] as number;
    if (units === 0) row.delete(minute);
    else row.set(minute, units);
  }
}

function deleteOldMinutes(heat: HeatModel): void {
  const sinceMinute = heat.lastMinute - heat.minutes + 1;
  for (const row of heat.cells.values()) for (const minute of row.keys()) if (minute < sinceMinute) row.delete(minute);
}
