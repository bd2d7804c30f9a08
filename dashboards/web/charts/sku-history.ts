/**
 * The history of a SKU as a chart needs it: even steps of time, with units of nothing where nothing was sold, the stock
 * carried forward, and holes where nothing was recorded. Pure. The answer of `GET /v1/skus/{sku}/history` leaves out
 * what did not change.
 */
export interface SkuHistory {
  /** When the first bucket begins. */
  from: string;
  to: string;
  recordedTo?: string;
  openingStock?: number;
  points: readonly { at: string; units?: number; stock?: number }[];
  gaps: readonly { from: string; to: string; missing: "all" | "stock" }[];
}

export const SPANS = {
  hour: { resolution: "minute", spanMs: 3_600_000, stepMs: 60_000 },
  /** Minutes, added up to quarters of an hour. */
  day: { resolution: "minute", spanMs: 86_400_000, stepMs: 900_000 },
  month: { resolution: "day", spanMs: 30 * 86_400_000, stepMs: 86_400_000 },
} as const;

export type SpanName = keyof typeof SPANS;

export interface ChartSeries {
  /** Begin of each step, in seconds since the epoch, as uPlot has it. */
  times: number[];
  /** Null where nothing was recorded. */
  units: (number | null)[];
  /** At the end of each step; null where it is not known. */
  stock: (number | null)[];
}

/** @param endMs exclusive @param startMs when the first step begins */
export function chartSeriesOf(answer: SkuHistory, startMs: number, endMs: number, stepMs: number): ChartSeries {
  const length = Math.max(0, Math.ceil((endMs - startMs) / stepMs));
  const indexOf = (at: string) => Math.floor((Date.parse(at) - startMs) / stepMs);
  const units = new Array<number | null>(length).fill(0);
  const changes = new Array<number | undefined>(length);
  let opening = answer.openingStock ?? null;
  for (const point of answer.points) {
    const i = indexOf(point.at);
    if (i < 0 && point.stock !== undefined) opening = point.stock;
    if (i < 0 || i >= length) continue;
    units[i] = (units[i] ?? 0) + (point.units ?? 0);
    if (point.stock !== undefined) changes[i] = point.stock;
  }
  const isUnknown = new Array<boolean>(length).fill(false);
  for (const { from, to, missing } of answer.gaps) {
    // A step that lies in a gap as a whole is a hole; of a part of it the rest is shown.
    const first = Math.max(0, Math.ceil((Date.parse(from) - startMs) / stepMs));
    const end = Math.min(length, Math.floor((Date.parse(to) - startMs) / stepMs));
    for (let i = first; i < end; i++) {
      isUnknown[i] = true;
      if (missing === "all") units[i] = null;
    }
  }
  const stock: (number | null)[] = [];
  for (let i = 0, last = opening; i < length; i++) {
    last = changes[i] ?? (isUnknown[i] ? null : last);
    stock.push(last);
  }
  const times = Array.from({ length }, (_, i) => (startMs + i * stepMs) / 1_000);
  return { times, units, stock };
}

/** Units of all steps together, and the first and last known stock. */
export function totalsOf({ units, stock }: ChartSeries) {
  const known = stock.filter((each) => each !== null);
  return {
    units: units.reduce<number>((sum, each) => sum + (each ?? 0), 0),
    first: known[0],
    last: known.at(-1),
    isEmpty: known.length === 0 && units.every((each) => each === null || each === 0),
  };
}
