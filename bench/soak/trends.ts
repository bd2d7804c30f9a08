/**
 * Start, end and slope of the figures that the soak bench samples each second. A slope is that of the straight line
 * through all samples. It reports figures and does not rate them.
 */
import type { BenchTrend } from "../../engine/cli/bench.js";

/** Figures of one moment. */
export interface SoakSample {
  atMs: number;
  redisMiB: number;
  redisKeys: number;
  logEntries: number;
  outEntries: number;
  rssMiB: number;
  heapMiB: number;
}

/** Samples whose mean is a start or an end: two of the shop's days, since data is deleted by whole days. */
const END_SAMPLES = 16;
const HEAP_SAMPLES = 10;

/** Start, end and slope of one figure over the samples. */
export function trendOf(
  name: string,
  unit: string,
  points: readonly (readonly [atMs: number, value: number])[],
): BenchTrend {
  const mean = (list: readonly number[]) => list.reduce((sum, n) => sum + n, 0) / Math.max(1, list.length);
  const values = points.map(([, value]) => value);
  const meanMs = mean(points.map(([atMs]) => atMs));
  const middle = mean(values);
  const rise = points.reduce((sum, [atMs, value]) => sum + (atMs - meanMs) * (value - middle), 0);
  const run = points.reduce((sum, [atMs]) => sum + (atMs - meanMs) ** 2, 0);
  const round = (n: number) => Math.round(n * 100) / 100;
  return {
    case: name,
    unit,
    start: round(mean(values.slice(0, END_SAMPLES))),
    end: round(mean(values.slice(-END_SAMPLES))),
    slopePerHour: round(run === 0 ? 0 : (rise / run) * 3_600_000),
  };
}

/** Trends of everything that could grow. */
export function trendsOf(samples: readonly SoakSample[]): BenchTrend[] {
  const trend = (name: string, unit: string, of: Exclude<keyof SoakSample, "atMs">) =>
    trendOf(
      name,
      unit,
      samples.map((sample) => [sample.atMs, sample[of]] as const),
    );
  // Between two collections the heap only grows: the lowest of ten samples is what is really in use.
  const heap: [number, number][] = [];
  for (let i = 0; i < samples.length; i += HEAP_SAMPLES) {
    const part = samples.slice(i, i + HEAP_SAMPLES);
    heap.push([part[0]?.atMs ?? 0, Math.min(...part.map(({ heapMiB }) => heapMiB))]);
  }
  return [
    trend("Redis memory", "MiB", "redisMiB"),
    trend("Redis keys", "keys", "redisKeys"),
    trend("log", "entries", "logEntries"),
    trend("out", "entries", "outEntries"),
    trend("process, resident", "MiB", "rssMiB"),
    trendOf("process, heap after collections", "MiB", heap),
  ];
}
