/**
 * The arithmetic that all stores of series share: merging new points into stored ones, and the point of an hour or a
 * day from the points in it. Every result is absolute and depends on the stored points only, so computing it again
 * changes nothing.
 */
import type { Combination, Point } from "./series-store.js";

/** Stored points with changed ones, in ascending order; a field that a changed point does not have stays. */
export function mergePoints(stored: readonly Point[], changed: readonly Point[]): Point[] {
  const merged = new Map(stored.map((point) => [point.atMs, point]));
  for (const point of changed) merged.set(point.atMs, { ...merged.get(point.atMs), ...point });
  return [...merged.values()].sort((a, b) => a.atMs - b.atMs);
}

/** The point of a bucket from the points in it, in ascending order. */
export function combinePoints(atMs: number, points: readonly Point[], combination: Combination): Point {
  const values = points.flatMap(({ value }) => (value === undefined ? [] : [value]));
  const stock = points.findLast((point) => point.stock !== undefined)?.stock;
  return {
    atMs,
    ...(values.length > 0 ? { value: combine(values, combination) } : {}),
    ...(stock === undefined ? {} : { stock }),
  };
}

function combine(values: readonly number[], combination: Combination): number {
  if (combination === "max") return Math.max(...values);
  const sum = values.reduce((total, value) => total + value, 0);
  return combination === "sum" ? sum : Math.round(sum / values.length);
}
