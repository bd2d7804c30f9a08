/**
 * The engine figures that are recorded each minute, as a table: unit, and how minutes become hours and days. Values are
 * integers in their unit. A figure that cannot be read in a minute has no point for it.
 */
import type { Combination } from "./series-store.js";

export interface Figure {
  readonly unit: string;
  readonly combination: Combination;
}

export const FIGURES = {
  /** Events that the ledger appended in the minute, in all processes: one for each accepted command. */
  "accepted-commands": { unit: "commands per minute", combination: "sum" },
  /** Paid orders that wait for the warehouse, at the minute's end. */
  "orders-waiting": { unit: "orders", combination: "max" },
  /** Age of what the jobs have processed, of the partition that is furthest behind. */
  "jobs-lag": { unit: "milliseconds", combination: "max" },
  "redis-memory": { unit: "bytes", combination: "max" },
  /** Of all rules, at the minute's end. */
  "open-alerts": { unit: "alerts", combination: "max" },
  /** The largest divergence of the last comparison. */
  divergence: { unit: "parts per million", combination: "max" },
} as const satisfies Readonly<Record<string, Figure>>;

export type FigureName = keyof typeof FIGURES;
export const FIGURE_NAMES = Object.keys(FIGURES) as readonly FigureName[];
