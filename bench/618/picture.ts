/**
 * The hour as a picture (SVG, drawn here): a column for each replay, three panels on one time axis. The rush has a
 * third of the axis to itself, second by second; behind the break the rest of the hour goes by minutes. Above: what
 * comes in, is dispatched and is accepted in a second. In the middle: orders and what the warehouse has of them, in
 * total. Below: how long payment to picking took. Colours are of Okabe and Ito, which color-blind readers can
 * distinguish.
 */
import { type HourOutcome, type HourSeries, RUSH_SECONDS, spanOf } from "./outcome.js";
import type { Replay } from "./table.js";

const HOUR_SECONDS = 3_600;
const WIDTH = 1_640;
const HEIGHT = 1_096;
const LEFT = 96;
const TOP = 206;
const COLUMN = 480;
const COLUMN_GAP = 32;
const RUSH_WIDTH = 150;
const BREAK_WIDTH = 14;
const PANELS = [
  { top: TOP, height: 250 },
  { top: TOP + 300, height: 230 },
  { top: TOP + 580, height: 210 },
] as const;

const INK = "#1b1f24";
const SOFT_INK = "#5b6570";
const GRID = "#e3e6ea";
const BLUE = "#0072b2";
const ORANGE = "#e69f00";
const GREEN = "#009e73";
const VERMILION = "#d55e00";
const PURPLE = "#7a4fa3";

interface Scale {
  ticks: readonly { at: number; label: string }[];
  /** A value's height above the panel's floor, as a share of its height. */
  shareOf(value: number): number;
}

const logScale = (from: number, to: number, ticks: readonly [at: number, label: string][]): Scale => ({
  ticks: ticks.map(([at, label]) => ({ at, label })),
  shareOf: (value) => Math.min(1, Math.max(0, Math.log(Math.max(value, from) / from) / Math.log(to / from))),
});

const linearScale = (to: number, ticks: readonly [at: number, label: string][]): Scale => ({
  ticks: ticks.map(([at, label]) => ({ at, label })),
  shareOf: (value) => Math.min(1, value / to),
});

const RATES = logScale(0.1, 10_000, [
  [0.1, "0"],
  [1, "1"],
  [10, "10"],
  [100, "100"],
  [1_000, "1,000"],
  [10_000, "10,000"],
]);
const DELAYS = logScale(10, 1_000_000, [
  [10, "10 ms"],
  [100, "0.1 s"],
  [1_000, "1 s"],
  [10_000, "10 s"],
  [100_000, "100 s"],
  [1_000_000, "1,000 s"],
]);

/** What R22 promises, and what the WMS takes. */
const PROMISED_MS = 800;
const WMS_LIMIT = 5_000;

/** @param factor shop seconds in a real one after the rush */
export function pictureOf({ asItWas, asItIs, wmsDead }: Replay, factor: number): string {
  const counts = countScale(Math.max(asItWas.orders, 1));
  const hurry =
    factor === 1
      ? ""
      : ` After its first ${RUSH_SECONDS} seconds the hour ran ${factor} times as fast; the engine's times are real ones.`;
  const columns = [
    { title: "As it was", outcome: asItWas },
    { title: "As it is", outcome: asItIs },
    { title: "As it is, the WMS dead from 00:05 to 00:20", outcome: wmsDead, deadSeconds: [300, 1_200] as const },
  ];
  const parts = [
    text(LEFT, 44, `18 June, 00:00 to 01:00: ${figure(asItWas.orders)} orders on their way to the warehouse`, {
      size: 26,
      weight: 600,
    }),
    text(LEFT, 70, `The same buyers and the same warehouse system (WMS), replayed.${hurry}`, {
      size: 15,
      fill: SOFT_INK,
    }),
    ...columns.map((column, i) => columnOf(column, LEFT + i * (COLUMN + COLUMN_GAP), i === 0, counts)),
    legend(),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>
${parts.join("\n")}
</svg>
`;
}

interface Column {
  title: string;
  outcome: HourOutcome;
  deadSeconds?: readonly [from: number, to: number];
}

function columnOf({ title, outcome, deadSeconds }: Column, x: number, isFirst: boolean, counts: Scale): string {
  const [rates, sums, delays] = PANELS;
  const { series } = outcome;
  const isAll = outcome.lost === 0 && outcome.duplicates === 0;
  return [
    text(x, 118, title, { size: 18, weight: 600 }),
    text(x, 144, `${figure(outcome.atWms)} of ${figure(outcome.orders)} at the WMS`, {
      size: 16,
      weight: 600,
      fill: isAll ? GREEN : VERMILION,
    }),
    text(
      x,
      166,
      `${figure(outcome.duplicates)} twice · paid to picking: p50 ${seconds(outcome.paidToPickingP50Ms)}, p99 ${seconds(outcome.paidToPickingP99Ms)}`,
      { size: 14, fill: SOFT_INK },
    ),
    ...PANELS.map(({ top, height }) => (deadSeconds ? deadBand(x, top, height, deadSeconds) : "")),
    frame(x, rates, RATES, isFirst ? "per second" : undefined),
    frame(x, sums, counts, isFirst ? "orders, cumulative" : undefined),
    frame(x, delays, DELAYS, isFirst ? "from payment to picking" : undefined),
    limit(x, rates, RATES, WMS_LIMIT, "the WMS's limit"),
    steps(x, rates, RATES, ratesOf(series.ordersBySecond), BLUE, 4, 0.35),
    steps(x, rates, RATES, ratesOf(series.dispatchedBySecond), ORANGE, 3.5),
    steps(x, rates, RATES, ratesOf(series.acceptedBySecond), GREEN, 1.6),
    area(x, sums, counts, sumsOf(series.acceptedBySecond), GREEN),
    line(x, sums, counts, sumsOf(series.ordersBySecond), BLUE),
    limit(x, delays, DELAYS, PROMISED_MS, "0.8 s"),
    delayMarks(x, delays, series),
    ...PANELS.map((panel) => axisBreak(x, panel)),
    timeAxis(x),
  ].join("\n");
}

// ---- the time axis: a place for every second of the hour

function placeOf(second: number): number {
  if (second <= RUSH_SECONDS) return (second / RUSH_SECONDS) * RUSH_WIDTH;
  const behind = (Math.min(second, HOUR_SECONDS) - RUSH_SECONDS) / (HOUR_SECONDS - RUSH_SECONDS);
  return RUSH_WIDTH + BREAK_WIDTH + behind * (COLUMN - RUSH_WIDTH - BREAK_WIDTH);
}

function timeAxis(x: number): string {
  const y = PANELS[2].top + PANELS[2].height + 20;
  const rush = [0, 10, 20].map((second) =>
    text(x + placeOf(second), y, `${second} s`, { size: 12, fill: SOFT_INK, anchor: "middle" }),
  );
  const rest = [10, 20, 30, 40, 50, 60].map((minute) =>
    text(x + placeOf(minute * 60), y, minute === 60 ? "01:00" : `00:${minute}`, {
      size: 12,
      fill: SOFT_INK,
      anchor: "middle",
    }),
  );
  return [...rush, ...rest].join("\n");
}

function deadBand(x: number, top: number, height: number, [from, to]: readonly [number, number]): string {
  const [left, right] = [x + placeOf(from), x + placeOf(to)];
  return `<rect x="${round(left)}" y="${top}" width="${round(right - left)}" height="${height}" fill="#f1ecf6"/>${
    top === PANELS[0].top
      ? text((left + right) / 2, top + 40, "WMS dead", { size: 12, fill: PURPLE, anchor: "middle" })
      : ""
  }`;
}

function frame(x: number, { top, height }: { top: number; height: number }, scale: Scale, name?: string): string {
  const floor = top + height;
  const lines = scale.ticks.map(({ at, label }) => {
    const y = round(floor - scale.shareOf(at) * height);
    const tick = name === undefined ? "" : text(x - 12, y + 4, label, { size: 12, fill: SOFT_INK, anchor: "end" });
    return `<path d="M${x} ${y}H${x + RUSH_WIDTH}M${x + RUSH_WIDTH + BREAK_WIDTH} ${y}H${x + COLUMN}" stroke="${GRID}" stroke-width="1"/>${tick}`;
  });
  const ticks = [10, 20, 30, 40, 50].map((minute) => `M${round(x + placeOf(minute * 60))} ${floor}v-5`).join("");
  return [
    ...lines,
    `<path d="M${x} ${floor}H${x + RUSH_WIDTH}M${x + RUSH_WIDTH + BREAK_WIDTH} ${floor}H${x + COLUMN}${ticks}" stroke="${SOFT_INK}" stroke-width="1" fill="none"/>`,
    name === undefined ? "" : text(x, top - 12, name, { size: 14, weight: 600 }),
  ].join("\n");
}

/** Two strokes where the axis breaks, on a clean gap. */
function axisBreak(x: number, { top, height }: { top: number; height: number }): string {
  const at = x + RUSH_WIDTH + BREAK_WIDTH / 2;
  const floor = top + height;
  return `<rect x="${x + RUSH_WIDTH + 1}" y="${top}" width="${BREAK_WIDTH - 2}" height="${height + 1}" fill="#ffffff"/><path d="M${at - 5} ${floor + 5}l4 -10M${at + 1} ${floor + 5}l4 -10" stroke="${SOFT_INK}" stroke-width="1"/>`;
}

function limit(
  x: number,
  { top, height }: { top: number; height: number },
  scale: Scale,
  at: number,
  name: string,
): string {
  const y = round(top + height - scale.shareOf(at) * height);
  return `<path d="M${x} ${y}H${x + COLUMN}" stroke="${INK}" stroke-width="1" stroke-dasharray="2 4"/>${text(
    x + COLUMN - 4,
    y - 5,
    name,
    { size: 12, fill: SOFT_INK, anchor: "end" },
  )}`;
}

// ---- series

interface Span {
  from: number;
  to: number;
  value: number;
}

/** Means a second, over each second of the rush and each minute after it. */
function ratesOf(bySecond: readonly number[]): Span[] {
  const spans: Span[] = [];
  for (let from = 0; from < HOUR_SECONDS; ) {
    const { toSecond } = spanOf(from);
    let sum = 0;
    for (let second = from; second < toSecond; second++) sum += bySecond[second] ?? 0;
    spans.push({ from, to: toSecond, value: sum / (toSecond - from) });
    from = toSecond;
  }
  return spans;
}

/** What there was in all by the end of each span. */
function sumsOf(bySecond: readonly number[]): Span[] {
  let sum = 0;
  return ratesOf(bySecond).map(({ from, to, value }) => {
    sum += value * (to - from);
    return { from, to, value: sum };
  });
}

/** Horizontal pieces, joined; nothing is drawn where there is nothing. */
function steps(
  x: number,
  { top, height }: { top: number; height: number },
  scale: Scale,
  spans: readonly Span[],
  colour: string,
  width: number,
  opacity = 1,
): string {
  let path = "";
  let isDown = false;
  for (const { from, to, value } of spans) {
    if (value === 0) {
      isDown = false;
      continue;
    }
    const y = round(top + height - scale.shareOf(value) * height);
    const [left, right] = [round(x + placeOf(from)), round(x + placeOf(to))];
    // The axis breaks at the end of the rush, and so does the line.
    path += `${isDown && from !== RUSH_SECONDS ? "L" : "M"}${from === RUSH_SECONDS ? round(left + BREAK_WIDTH) : left} ${y}H${right}`;
    isDown = true;
  }
  return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-opacity="${opacity}" stroke-linejoin="round"/>`;
}

function pointsOf(
  x: number,
  { top, height }: { top: number; height: number },
  scale: Scale,
  spans: readonly Span[],
): string {
  return [{ to: 0, value: 0 }, ...spans]
    .map(({ to, value }) => `${round(x + placeOf(to))} ${round(top + height - scale.shareOf(value) * height)}`)
    .join("L");
}

const line = (
  x: number,
  panel: { top: number; height: number },
  scale: Scale,
  spans: readonly Span[],
  colour: string,
): string => `<path d="M${pointsOf(x, panel, scale, spans)}" fill="none" stroke="${colour}" stroke-width="2"/>`;

function area(
  x: number,
  panel: { top: number; height: number },
  scale: Scale,
  spans: readonly Span[],
  colour: string,
): string {
  const floor = panel.top + panel.height;
  const points = pointsOf(x, panel, scale, spans);
  return `<path d="M${points}L${x + COLUMN} ${floor}L${x} ${floor}Z" fill="${colour}" fill-opacity="0.18"/><path d="M${points}" fill="none" stroke="${colour}" stroke-width="2"/>`;
}

/** A bar from p50 to p99 for each span, with its ends marked. */
function delayMarks(
  x: number,
  { top, height }: { top: number; height: number },
  { paidToPicking }: HourSeries,
): string {
  const y = (ms: number) => round(top + height - DELAYS.shareOf(ms) * height);
  return paidToPicking
    .filter(({ fromSecond }) => fromSecond < HOUR_SECONDS)
    .map(({ fromSecond, toSecond, p50Ms, p99Ms }) => {
      const begin = x + placeOf(fromSecond) + (fromSecond === RUSH_SECONDS ? BREAK_WIDTH : 0);
      const at = round((begin + x + placeOf(toSecond)) / 2);
      return `<path d="M${at} ${y(p50Ms)}V${y(p99Ms)}" stroke="${VERMILION}" stroke-opacity="0.35" stroke-width="1.5"/><circle cx="${at}" cy="${y(p99Ms)}" r="2.2" fill="${VERMILION}"/><rect x="${round(at - 2)}" y="${round(y(p50Ms) - 2)}" width="4" height="4" fill="${PURPLE}"/>`;
    })
    .join("");
}

// ---- words

function legend(): string {
  const y = HEIGHT - 30;
  const line = (x: number, colour: string, width: number, name: string, opacity = 1) =>
    `<path d="M${x} ${y - 5}h28" stroke="${colour}" stroke-width="${width}" stroke-opacity="${opacity}"/>${text(x + 36, y, name, { size: 14 })}`;
  return [
    line(LEFT, BLUE, 4, "orders coming in", 0.4),
    line(LEFT + 190, ORANGE, 3.5, "requests dispatched to the WMS"),
    line(LEFT + 480, GREEN, 2, "orders accepted by the WMS"),
    `<circle cx="${LEFT + 752}" cy="${y - 5}" r="4" fill="${VERMILION}"/>${text(LEFT + 764, y, "p99 and", { size: 14 })}`,
    `<rect x="${LEFT + 826}" y="${y - 9}" width="8" height="8" fill="${PURPLE}"/>${text(LEFT + 842, y, "p50, of the orders paid in that second or minute that got there", { size: 14 })}`,
  ].join("\n");
}

/** Some steps of a round number, the highest not below `most`. */
function countScale(most: number): Scale {
  const decade = 10 ** Math.floor(Math.log10(most / 2));
  const step = [1, 2, 5, 10].map((n) => n * decade).find((n) => n * 4 >= most) ?? most;
  const labels = Array.from({ length: Math.ceil(most / step) + 1 }, (_, n): [number, string] => [
    n * step,
    figure(n * step),
  ]);
  return linearScale((labels.length - 1) * step, labels);
}

interface TextStyle {
  size: number;
  weight?: number;
  fill?: string;
  anchor?: "start" | "middle" | "end";
}

const text = (
  x: number,
  y: number,
  words: string,
  { size, weight = 400, fill = INK, anchor = "start" }: TextStyle,
): string =>
  `<text x="${round(x)}" y="${round(y)}" font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}">${words}</text>`;

const figure = (n: number): string => n.toLocaleString("en");

function seconds(ms: number | null): string {
  if (ms === null) return "–";
  return ms < 100 ? `${ms} ms` : `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 0)} s`;
}

const round = (n: number): number => Math.round(n * 10) / 10;
