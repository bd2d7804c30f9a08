/**
 * The heatmap panel: the canvas, its legend, and a tooltip for the selected cell. It draws again only when the model's
 * revision, the size, the theme, the language or the cursor changed. For screen readers the canvas is one image with a
 * summary; the table of hot SKUs has the figures as text.
 */
import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { AlertBody } from "../feeds/alerts.js";
import { type HeatModel, type HeatRowModel, rankedRows } from "../feeds/stock-heat/store.js";
import { rootFontSize, useSize } from "./environment.js";
import { shortName } from "./format.js";
import { HeatCanvas, type HeatCell, type HeatColours } from "./heat-canvas.js";
import { useHeatCursor } from "./heat-cursor.js";
import { HeatLegend } from "./heat-legend.js";
import { scaleTop } from "./heat-scale.js";
import { alertedSkus } from "./live-model.js";
import { Logo } from "./logo.js";
import { type Page, usePage } from "./page-context.js";

const MINUTE_MS = 60_000;
/** In Latin letters; a longer name loses its middle. */
const WIDEST_NAME = { wall: 24, desktop: 24, phone: 18 } as const;
/** Between a cell and its tooltip, in CSS pixels. */
const TOOLTIP_GAP = 12;

/** The page's colours and font, from its style sheet. */
function coloursOf(element: Element): HeatColours {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  return {
    text: colour("--text"),
    muted: colour("--muted"),
    line: colour("--line-strong"),
    empty: colour("--heat-empty"),
    alarm: colour("--alarm"),
    font: style.fontFamily,
  };
}

/** The hottest hundredth of the cells shares the scale's last colour; a single spike would darken all others. */
const BELOW_TOP = 0.99;

function hotMinute(model: HeatModel, rows: readonly HeatRowModel[]): number {
  const cells: number[] = [];
  for (const row of rows) cells.push(...(model.cells.get(row.id)?.values() ?? []));
  cells.sort((a, b) => a - b);
  return cells[Math.floor((cells.length - 1) * BELOW_TOP)] ?? 0;
}

/** A phone's page scrolls, so there the panel is as tall as its rows. */
const phoneHeight = (rows: number): string => `${1.75 + 1.6 * Math.max(rows, 6)}rem`;

function timesText(row: HeatRowModel, { text, format }: Page): string {
  const times = format.times(row.hourUnits, row.dailyAverage);
  if (times !== undefined) return `${times}×`;
  return row.dailyAverage === null ? text("newSku") : "–";
}

interface Drawing {
  model: HeatModel;
  alerts: readonly AlertBody[];
  rows: readonly HeatRowModel[];
  /** End of the colour scale, in units a minute. */
  top: number;
  size: { width: number; height: number };
  cell: HeatCell | undefined;
}

/** Draws the heatmap on `canvas` whenever something that it shows has changed. */
function useDrawing(
  canvas: RefObject<HTMLCanvasElement | null>,
  heat: { current: HeatCanvas | undefined },
  { model, alerts, rows, top, size, cell }: Drawing,
): void {
  const page = usePage();
  const { text, format, layout, theme, language } = page;
  const alerted = alertedSkus(alerts);
  const alertKey = Array.from(alerted).join("\n");
  // A model changes in place: its revision stands for rows and cells.
  useLayoutEffect(() => {
    const element = canvas.current;
    if (element === null || size.width === 0) return;
    heat.current ??= new HeatCanvas(element);
    heat.current.resize(size.width, size.height, devicePixelRatio);
    heat.current.draw(
      {
        rows: rows.map((row) => ({
          name: shortName(row.sku, WIDEST_NAME[layout]),
          hour: format.units(row.hourUnits),
          times: timesText(row, page),
          alerted: alerted.has(row.sku),
          units: model.cells.get(row.id),
        })),
        minutes: model.minutes,
        lastMinute: model.lastMinute,
        top,
        theme,
        headings: { name: text("columnSku"), hour: text("columnHour"), times: text("columnTimes"), now: text("now") },
        ranks: (from, to) => text("ranks", { from: format.units(from), to: format.units(to) }),
        time: (minute) => format.minute(minute * MINUTE_MS),
        cursor: cell,
        rem: rootFontSize(),
      },
      coloursOf(element),
    );
  }, [model, model.revision, alertKey, size, theme, language, layout, cell?.row, cell?.minute]);
}

/** Puts the tooltip beside its cell, on the left where it would leave the box on the right. */
function placeTooltip(
  tooltip: HTMLElement,
  cell: { x: number; y: number },
  box: { width: number; height: number },
): void {
  const fitsRight = cell.x + TOOLTIP_GAP + tooltip.offsetWidth <= box.width;
  const x = fitsRight ? cell.x + TOOLTIP_GAP : Math.max(0, cell.x - TOOLTIP_GAP - tooltip.offsetWidth);
  const y = Math.min(Math.max(0, cell.y - tooltip.offsetHeight / 2), box.height - tooltip.offsetHeight);
  tooltip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}

interface TooltipProps {
  row: HeatRowModel;
  minute: number;
  units: number;
  box: RefObject<HTMLDivElement | null>;
}

function Tooltip({ row, minute, units, box }: TooltipProps) {
  const page = usePage();
  const { text, format } = page;
  const average = row.dailyAverage;
  return (
    <div class="tooltip" ref={box} role="status">
      <b>{row.sku}</b>
      <span class="tooltip-cell">
        {format.minute(minute * MINUTE_MS)}
        {" · "}
        <em>{text("cellUnits", { units: format.units(units) })}</em>
      </span>
      <span>{text("cellHour", { units: format.units(row.hourUnits) })}</span>
      <span>
        {average === null ? text("alertCold") : text("cellAverage", { units: format.units(average) })}
        {average !== null && average > 0 && ` · ${timesText(row, page)}`}
      </span>
    </div>
  );
}

function summaryOf(model: HeatModel, rows: readonly HeatRowModel[], { text, format }: Page): string {
  const hottest = rows[0];
  if (hottest === undefined) return text("heatmapEmpty");
  const summary = text("heatmapSummary", {
    rows: format.units(rows.length),
    minutes: format.units(model.minutes),
    sku: hottest.sku,
    units: format.units(hottest.hourUnits),
  });
  return `${summary} ${text("heatmapHint")}`;
}

export function Heatmap({ model, alerts }: { model: HeatModel; alerts: readonly AlertBody[] }) {
  const page = usePage();
  const { text, layout } = page;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const tooltip = useRef<HTMLDivElement>(null);
  const heat = useRef<HeatCanvas>(undefined);
  const top = useRef(0);
  const size = useSize(box);

  const rows = rankedRows(model);
  top.current = scaleTop(hotMinute(model, rows), top.current);
  const { cell, onPointer, onPointerLeave, onKey } = useHeatCursor(model, rows, canvas, heat);
  useDrawing(canvas, heat, { model, alerts, rows, top: top.current, size, cell });
  // After the drawing, which sets where the cells are.
  useLayoutEffect(() => {
    const centre = cell && heat.current?.centreOf(cell);
    if (tooltip.current !== null && centre !== undefined) placeTooltip(tooltip.current, centre, size);
  });

  const isEmpty = rows.length === 0;
  const selected = cell && rows[cell.row];
  return (
    <section class="panel heatmap" aria-labelledby="heatmap-title">
      <div class="panel-head">
        <h2 id="heatmap-title">{text("heatmap")}</h2>
        {!isEmpty && <HeatLegend top={top.current} />}
      </div>
      <div class="heat-box" ref={box} style={layout === "phone" ? { height: phoneHeight(rows.length) } : {}}>
        <canvas
          ref={canvas}
          data-testid="heatmap"
          data-rows={rows.length}
          data-last-minute={model.lastMinute}
          data-revision={model.revision}
          role="img"
          tabIndex={0}
          aria-label={summaryOf(model, rows, page)}
          onPointerMove={onPointer}
          onPointerDown={onPointer}
          onPointerLeave={onPointerLeave}
          onKeyDown={onKey}
        />
        {isEmpty && (
          <div class="empty">
            <Logo class="empty-logo" />
            <strong>{text("heatmapEmpty")}</strong>
            <span>{text("heatmapEmptyNote")}</span>
          </div>
        )}
        {cell !== undefined && selected !== undefined && (
          <Tooltip
            row={selected}
            minute={cell.minute}
            units={model.cells.get(selected.id)?.get(cell.minute) ?? 0}
            box={tooltip}
          />
        )}
      </div>
    </section>
  );
}
