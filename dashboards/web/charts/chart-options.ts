/**
 * How the two charts of a SKU are drawn by uPlot: units as bars above, stock as a stepped line below, with the same
 * times and one cursor. Colours come from the style sheet, so both themes are right.
 */
import uPlot from "uplot";
import type { Format } from "../format.js";
import type { SpanName } from "./sku-history.js";

/** Width of the figures on the left; both charts have the same, so that their times are aligned. */
const AXIS_PX = 46;
const FONT = '12px "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", system-ui, sans-serif';

export interface ChartParts {
  width: number;
  format: Format;
  span: SpanName;
  /** Charts with the same key share their cursor. */
  syncKey: string;
  /** Called with the step under the cursor, or null. */
  onCursor: (index: number | null) => void;
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const timeText = (format: Format, span: SpanName, seconds: number): string =>
  span === "month" ? format.day(seconds * 1_000) : format.minute(seconds * 1_000);

function baseOptions({ width, format, syncKey, onCursor }: ChartParts, height: number): Omit<uPlot.Options, "series"> {
  return {
    width,
    height,
    // On the right, half of the last time; below, half of the lowest figure.
    padding: [8, 20, 8, 0],
    legend: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), format.zone),
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: false, y: false },
      sync: { key: syncKey },
    },
    hooks: { setCursor: [({ cursor }) => onCursor(cursor.idx ?? null)] },
  };
}

function axesOf({ format, span }: ChartParts, hasTimes: boolean): uPlot.Axis[] {
  const text = { font: FONT, stroke: colour("--muted") };
  const grid = { stroke: colour("--line"), width: 1 };
  return [
    {
      ...text,
      show: hasTimes,
      size: 26,
      gap: 4,
      space: 64,
      grid: { show: false },
      ticks: { show: false },
      values: (_, splits) => splits.map((seconds) => timeText(format, span, seconds)),
    },
    {
      ...text,
      size: AXIS_PX,
      gap: 6,
      space: 30,
      grid,
      ticks: { show: false },
      incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000],
      values: (_, splits) => splits.map((units) => format.mark(units)),
    },
  ];
}

/** From zero to a little above the greatest. */
const fromZero: uPlot.Range.Function = (_, __, greatest) => [0, Math.max(1, (greatest ?? 0) * 1.08)];

export function unitsOptions(parts: ChartParts, height: number): uPlot.Options {
  const fill = colour("--chart-units");
  return {
    ...baseOptions(parts, height),
    scales: { x: { time: true }, y: { range: fromZero } },
    axes: axesOf(parts, false),
    series: [
      {},
      {
        stroke: fill,
        fill,
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars?.({ size: [0.78, 22], align: 1, radius: 0.15 }) as uPlot.Series.PathBuilder,
      },
    ],
  };
}

export function stockOptions(parts: ChartParts, height: number): uPlot.Options {
  const line = colour("--chart-stock");
  return {
    ...baseOptions(parts, height),
    scales: { x: { time: true }, y: { range: fromZero } },
    axes: axesOf(parts, true),
    series: [
      {},
      {
        stroke: line,
        fill: colour("--chart-stock-area"),
        width: 2,
        points: { show: false },
        paths: uPlot.paths.stepped?.({ align: 1 }) as uPlot.Series.PathBuilder,
      },
    ],
  };
}
