/**
 * Panes: a sliding window cut into minutes, each with its sum. Only panes that have events are kept, oldest first, as
 * `[minute, units, minute, units, …]`; with a window of 60 the trailing hour at minute m is panes m−59 … m
 * (R9):
 *
 *      m−60 | m−59 ……………… m |  m+1
 *   dropped |<---- 60 panes --->| not yet
 *           |  sum = the window  |
 */
import { MINUTE_MS } from "../kernel/clock.js";

export type Panes = number[];

export const minuteOf = (ms: number): number => Math.floor(ms / MINUTE_MS);
/** The instant at which a minute has ended. */
export const minuteEndMs = (minute: number): number => (minute + 1) * MINUTE_MS;

/** Adds units to a minute's pane, in place. */
export function addToPane(panes: Panes, minute: number, units: number): void {
  let i = panes.length - 2;
  while (i >= 0 && (panes[i] as number) > minute) i -= 2;
  if (i >= 0 && panes[i] === minute) panes[i + 1] = (panes[i + 1] as number) + units;
  else panes.splice(i + 2, 0, minute, units);
}

/** Removes panes before a minute, in place. */
export function dropPanesBefore(panes: Panes, minute: number): void {
  let end = 0;
  while (end < panes.length && (panes[end] as number) < minute) end += 2;
  if (end > 0) panes.splice(0, end);
}

/** The sum of panes `from … to`, both included. */
export function sumOfPanes(panes: Panes, from: number, to: number): number {
  let sum = 0;
  for (let i = panes.length - 2; i >= 0 && (panes[i] as number) >= from; i -= 2) {
    if ((panes[i] as number) <= to) sum += panes[i + 1] as number;
  }
  return sum;
}

/** Panes from a minute on. */
export function panesFrom(panes: Panes, minute: number): Panes {
  let i = 0;
  while (i < panes.length && (panes[i] as number) < minute) i += 2;
  return panes.slice(i);
}
