/**
 * The page's copy of the view, kept up to date by frames. A snapshot replaces it; deltas and heartbeats overwrite the
 * values that they contain. A gap in their numbers is reported, so that the caller asks for a snapshot. Pure: no
 * socket, no clock, no DOM. The model is changed in place; `revision` grows when a heatmap cell, row or column changes.
 */
import {
  type AlertFrame,
  type CellsFrame,
  type EngineFrame,
  FrameKind,
  type RowFrame,
  type ServerFrame,
} from "../protocol.js";

export interface LiveRow {
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

export interface LiveModel {
  seq: number;
  zone: string;
  /** Heatmap columns. */
  minutes: number;
  /** The newest column, in minutes since the epoch. */
  lastMinute: number;
  engine: EngineFrame;
  rows: Map<number, LiveRow>;
  /** The same rows by SKU. */
  rowOf: Map<string, LiveRow>;
  /** Ranked rows, hottest first. */
  order: readonly number[];
  /** Units by minute since the epoch, by row. */
  cells: Map<number, Map<number, number>>;
  alerts: readonly AlertFrame[];
  revision: number;
}

function putRow(model: LiveModel, frame: RowFrame): void {
  const [id, sku, hourUnits, dailyAverage, sellable, reserved, committed, safety, presale, display] = frame;
  const row = { id, sku, hourUnits, dailyAverage, sellable, reserved, committed, safety, presale, display };
  model.rows.set(id, row);
  model.rowOf.set(sku, row);
}

function putCells(model: LiveModel, frame: CellsFrame): void {
  const id = frame[0] as number;
  const row = model.cells.get(id) ?? new Map<number, number>();
  model.cells.set(id, row);
  for (let i = 1; i + 1 < frame.length; i += 2) {
    const minute = model.lastMinute - (frame[i] as number);
    const units = frame[i + 1] as number;
    if (units === 0) row.delete(minute);
    else row.set(minute, units);
  }
}

function deleteOldMinutes(model: LiveModel): void {
  const sinceMinute = model.lastMinute - model.minutes + 1;
  for (const row of model.cells.values()) for (const minute of row.keys()) if (minute < sinceMinute) row.delete(minute);
}

/**
 * Applies a frame.
 * @returns the model to show (the same object unless the frame is a snapshot), and whether frames are missing before
 *   this one
 */
export function applyFrame(
  model: LiveModel | undefined,
  frame: ServerFrame,
): { model: LiveModel | undefined; gap: boolean } {
  if (frame.t === FrameKind.snapshot) {
    const fresh: LiveModel = {
      seq: frame.seq,
      zone: frame.zone,
      minutes: frame.minutes,
      lastMinute: frame.lastMinute,
      engine: frame.engine,
      rows: new Map(),
      rowOf: new Map(),
      order: frame.order,
      cells: new Map(),
      alerts: frame.alerts,
      revision: (model?.revision ?? 0) + 1,
    };
    for (const row of frame.rows) putRow(fresh, row);
    for (const cells of frame.cells) putCells(fresh, cells);
    return { model: fresh, gap: false };
  }
  if (model === undefined) return { model, gap: true };

  // Values are absolute, so a frame after a gap is still valid; only the changes of the missing frames are missing.
  const gap = frame.seq > model.seq + 1;
  if (frame.seq <= model.seq) return { model, gap: false }; // older than the snapshot received before it
  model.seq = frame.seq;
  model.engine = frame.engine;
  if (frame.t === FrameKind.heartbeat) return { model, gap };

  if (frame.lastMinute !== model.lastMinute) {
    model.lastMinute = frame.lastMinute;
    deleteOldMinutes(model);
    model.revision++;
  }
  for (const row of frame.rows ?? []) putRow(model, row);
  for (const cells of frame.cells ?? []) putCells(model, cells);
  for (const id of frame.gone ?? []) {
    const row = model.rows.get(id);
    model.rows.delete(id);
    model.cells.delete(id);
    if (row !== undefined && model.rowOf.get(row.sku) === row) model.rowOf.delete(row.sku);
  }
  if (frame.order !== undefined) model.order = frame.order;
  if (frame.alerts !== undefined) model.alerts = frame.alerts;
  if (frame.rows !== undefined || frame.cells !== undefined || frame.order !== undefined) model.revision++;
  return { model, gap };
}

/** The ranked rows, hottest first. */
export function rankedRows(model: LiveModel): LiveRow[] {
  const ranked: LiveRow[] = [];
  for (const id of model.order) {
    const row = model.rows.get(id);
    if (row !== undefined) ranked.push(row);
  }
  return ranked;
}

/** SKUs with an alert that has not cleared. */
export function alertedSkus(model: LiveModel): Set<string> {
  const skus = new Set<string>();
  for (const alert of model.alerts) if (alert.state !== "cleared") skus.add(alert.sku);
  return skus;
}
