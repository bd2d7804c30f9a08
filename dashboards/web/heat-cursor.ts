/**
 * The heatmap's cursor: the cell that a mouse, a finger or the arrow keys have selected. It keeps the SKU and the
 * minute, not the place, so it follows its SKU when the ranking changes, and it stays inside the shown minutes.
 */
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { HeatModel, HeatRowModel } from "../feeds/stock-heat/store.js";
import type { HeatCanvas, HeatCell } from "./heat-canvas.js";

export interface HeatCursor {
  /** The selected cell; undefined when none is. */
  cell: HeatCell | undefined;
  /** Selects the cell under the pointer. */
  onPointer(event: PointerEvent): void;
  /** A mouse that leaves the canvas selects nothing; a finger's cell stays until a tap elsewhere. */
  onPointerLeave(event: PointerEvent): void;
  /** Moves by the arrow keys; Escape selects nothing. */
  onKey(event: KeyboardEvent): void;
}

/** Rows and minutes that a key moves by. */
const KEY_MOVES: Readonly<Record<string, readonly [rows: number, minutes: number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

const between = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);

export function useHeatCursor(
  model: HeatModel,
  rows: readonly HeatRowModel[],
  canvas: RefObject<HTMLCanvasElement | null>,
  heat: { readonly current: HeatCanvas | undefined },
): HeatCursor {
  const [cursor, setCursor] = useState<{ sku: string; minute: number }>();
  const { lastMinute } = model;
  const firstMinute = lastMinute - model.minutes + 1;
  const index = cursor === undefined ? -1 : rows.findIndex(({ sku }) => sku === cursor.sku);
  const cell =
    cursor === undefined || index < 0
      ? undefined
      : { row: index, minute: between(cursor.minute, firstMinute, lastMinute) };

  useEffect(() => {
    if (cursor === undefined) return;
    const close = (event: PointerEvent) => {
      if (event.target !== canvas.current) setCursor(undefined);
    };
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, [cursor, canvas]);

  return {
    cell,
    onPointer: (event) => {
      const found = heat.current?.cellAt(event.offsetX, event.offsetY);
      const row = found && rows[found.row];
      setCursor(found && row ? { sku: row.sku, minute: found.minute } : undefined);
    },
    onPointerLeave: (event) => {
      if (event.pointerType === "mouse") setCursor(undefined);
    },
    onKey: (event) => {
      if (event.key === "Escape") setCursor(undefined);
      const move = KEY_MOVES[event.key];
      if (move === undefined || rows.length === 0) return;
      event.preventDefault();
      const from = cell ?? { row: -move[0], minute: lastMinute - move[1] };
      const row = rows[between(from.row + move[0], 0, rows.length - 1)] as HeatRowModel;
      setCursor({ sku: row.sku, minute: between(from.minute + move[1], firstMinute, lastMinute) });
    },
  };
}
