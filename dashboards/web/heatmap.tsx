/**
 * The heatmap panel: the canvas, its legend, and the cell that a pointer, a finger or the arrow keys point at. It
 * draws again only when the model's revision, the size, the theme, the language or the cursor changed. The table of
 * hot SKUs says the same figures in text; the canvas itself is one image with a summary.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { rootFontSize } from "./environment.js";
import { shortName } from "./format.js";
import { HeatCanvas, type HeatCell, type HeatInk } from "./heat-canvas.js";
import { heatGradient, legendMarks, scaleTop } from "./heat-scale.js";
import { alertedSkus, type LiveModel, type LiveRow, rankedRows } from "./live-model.js";
import { Mark } from "./mark.js";
import { usePage } from "./page-context.js";

const MINUTE_MS = 60_000;
/** In Latin letters; a longer name loses its middle. */
const WIDEST_NAME = { wall: 24, desk: 24, phone: 18 } as const;

function ink(element: Element): HeatInk {
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

function hotMinute(model: LiveModel, rows: readonly LiveRow[]): number {
  const cells: number[] = [];
  for (const row of rows) cells.push(...(model.cells.get(row.id)?.values() ?? []));
  cells.sort((a, b) => a - b);
  return cells[Math.floor((cells.length - 1) * BELOW_TOP)] ?? 0;
}

function Legend({ top }: { top: number }) {
  const { text, format, theme } = usePage();
  const bar = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (bar.current !== null) bar.current.style.backgroundImage = heatGradient(theme);
  }, [theme]);
  return (
    <div class="legend">
      <span class="legend-alert">
        <i aria-hidden="true">▲</i>
        {text("alertMark")}
      </span>
      <div class="legend-scale">
        <div class="legend-bar" ref={bar} />
        <div class="legend-marks">
          {legendMarks(top).map(([at, units]) => (
            <span key={at} data-at={String(at * 100)}>
              {format.mark(units)}
              {at === 1 && "+"}
            </span>
          ))}
        </div>
      </div>
      <span class="legend-unit">{text("unitsPerMinute")}</span>
    </div>
  );
}

/** A phone's page scrolls, so there the panel is as tall as its rows. */
const phoneHeight = (rows: number): string => `${1.75 + 1.6 * Math.max(rows, 6)}rem`;

interface Cursor {
  sku: string;
  minute: number;
}

export function Heatmap({ model }: { model: LiveModel }) {
  const { text, format, layout, theme, language } = usePage();
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const heat = useRef<HeatCanvas>(undefined);
  const top = useRef(0);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [cursor, setCursor] = useState<Cursor>();

  const rows = rankedRows(model);
  const alerted = alertedSkus(model);
  top.current = scaleTop(hotMinute(model, rows), top.current);
  const cursorRow = cursor === undefined ? -1 : rows.findIndex(({ sku }) => sku === cursor.sku);
  const first = model.lastMinute - model.minutes + 1;
  const cursorMinute = cursor === undefined ? 0 : Math.min(Math.max(cursor.minute, first), model.lastMinute);
  const cell: HeatCell | undefined = cursorRow < 0 ? undefined : { row: cursorRow, minute: cursorMinute };

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

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
          times: times(row),
          alerted: alerted.has(row.sku),
          units: model.cells.get(row.id),
        })),
        minutes: model.minutes,
        lastMinute: model.lastMinute,
        top: top.current,
        theme,
        headings: { name: text("columnSku"), hour: text("columnHour"), times: text("columnTimes"), now: text("now") },
        ranks: (from, to) => text("ranks", { from: format.units(from), to: format.units(to) }),
        time: (minute) => format.minute(minute * MINUTE_MS),
        cursor: cell,
        rem: rootFontSize(),
      },
      ink(element),
    );
  }, [model, model.revision, alertKey, size, theme, language, layout, cell?.row, cell?.minute]);

  const times = (row: LiveRow): string => {
    const value = format.times(row.hourUnits, row.dailyAverage);
    return value === undefined ? (row.dailyAverage === null ? text("newSku") : "–") : `${value}×`;
  };

  // The tip follows its cell, and turns to the other side before it would leave the box.
  useLayoutEffect(() => {
    const [element, place] = [tip.current, cell && heat.current?.placeOf(cell)];
    if (element === null || place === undefined) return;
    const gap = 12;
    const right = place.x + gap + element.offsetWidth <= size.width;
    const x = right ? place.x + gap : Math.max(0, place.x - gap - element.offsetWidth);
    const y = Math.min(Math.max(0, place.y - element.offsetHeight / 2), size.height - element.offsetHeight);
    element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  });

  // A tip opened by a finger closes with a tap elsewhere.
  useEffect(() => {
    if (cursor === undefined) return;
    const close = (event: PointerEvent) => {
      if (event.target !== canvas.current) setCursor(undefined);
    };
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, [cursor]);

  const point = (event: PointerEvent) => {
    const found = heat.current?.cellAt(event.offsetX, event.offsetY);
    const row = found && rows[found.row];
    setCursor(found && row ? { sku: row.sku, minute: found.minute } : undefined);
  };
  const step = (event: KeyboardEvent) => {
    if (event.key === "Escape") return setCursor(undefined);
    const moves: Readonly<Record<string, readonly [rows: number, minutes: number]>> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const move = moves[event.key];
    if (move === undefined || rows.length === 0) return;
    event.preventDefault();
    const at = cell ?? { row: -move[0], minute: model.lastMinute - move[1] };
    const row = rows[Math.min(Math.max(at.row + move[0], 0), rows.length - 1)] as LiveRow;
    setCursor({ sku: row.sku, minute: Math.min(Math.max(at.minute + move[1], first), model.lastMinute) });
  };

  const hottest = rows[0];
  const pointed = rows[cursorRow];
  const average = pointed?.dailyAverage ?? null;
  return (
    <section class="panel heatmap" aria-labelledby="heatmap-title">
      <div class="panel-head">
        <h2 id="heatmap-title">{text("heatmap")}</h2>
        {hottest !== undefined && <Legend top={top.current} />}
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
          aria-label={
            hottest === undefined
              ? text("heatmapEmpty")
              : `${text("heatmapSummary", {
                  rows: format.units(rows.length),
                  minutes: format.units(model.minutes),
                  sku: hottest.sku,
                  units: format.units(hottest.hourUnits),
                })} ${text("heatmapHint")}`
          }
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={(event) => event.pointerType === "mouse" && setCursor(undefined)}
          onKeyDown={step}
        />
        {hottest === undefined && (
          <div class="empty">
            <Mark class="empty-water" />
            <strong>{text("heatmapEmpty")}</strong>
            <span>{text("heatmapEmptyNote")}</span>
          </div>
        )}
        {pointed !== undefined && (
          <div class="tip" ref={tip} role="status">
            <b>{pointed.sku}</b>
            <span class="tip-cell">
              {format.minute(cursorMinute * MINUTE_MS)}
              {" · "}
              <em>{text("cellUnits", { units: format.units(model.cells.get(pointed.id)?.get(cursorMinute) ?? 0) })}</em>
            </span>
            <span>{text("cellHour", { units: format.units(pointed.hourUnits) })}</span>
            <span>
              {average === null ? text("alertCold") : text("cellAverage", { units: format.units(average) })}
              {average !== null && average > 0 && ` · ${times(pointed)}`}
            </span>
          </div>
        )}
      </div>
    </section>
  );
}
