/**
 * Folds stock events into balances by cell, as the storefront job does. Pure; the audit uses it for the whole log and
 * for what the job's stored state does not contain yet. It stops at nothing: a cell may go below zero, and the first
 * event that does so is recorded.
 */
import { storefrontJob } from "../jobs/storefront/job.js";
import { type Balances, cellOf, emptyBalances, type StockEvent } from "../stock/model.js";
import { isNewerVersion, stateOf } from "../stream/state-codec.js";
import type { ReadEntry } from "./log-window.js";

/** Moves an event's units; records the first event that takes a cell below zero. */
export function foldInto(cells: Map<string, Balances>, event: StockEvent, belowZero: Map<string, StockEvent>): void {
  const { sku, location, toLocation, from, to, units } = event;
  if (from !== "outside") {
    const cell = cellOf(sku, location);
    const balances = balancesIn(cells, cell);
    balances[from] -= units;
    if (balances[from] < 0 && !belowZero.has(cell)) belowZero.set(cell, event);
  }
  if (to !== "outside") balancesIn(cells, cellOf(sku, toLocation ?? location))[to] += units;
}

function balancesIn(cells: Map<string, Balances>, cell: string): Balances {
  let balances = cells.get(cell);
  if (!balances) {
    balances = emptyBalances();
    cells.set(cell, balances);
  }
  return balances;
}

/**
 * The job's balances by cell: its stored states, then the entries after them.
 * @param states the packed state of each SKU, in the order of `skus`
 * @throws EngineError `newer_version` when a newer release's job has written one
 */
export function foldStates(
  skus: readonly string[],
  states: readonly (Buffer | null)[],
  entries: readonly ReadEntry[],
  belowZero: Map<string, StockEvent>,
): Map<string, Balances> {
  const job = new Map<string, Balances>();
  const wantedSkus = new Set(skus);
  skus.forEach((sku, i) => {
    const bytes = states[i];
    if (!bytes) return;
    try {
      const { locations } = stateOf(storefrontJob, sku, bytes);
      for (const [location, balances] of locations) job.set(cellOf(sku, location), { ...emptyBalances(), ...balances });
    } catch (thrown) {
      if (isNewerVersion(thrown)) throw thrown;
      // A state that cannot be read holds nothing: every balance differs.
    }
  });
  for (const { events } of entries)
    for (const event of events) if (wantedSkus.has(event.sku)) foldInto(job, event, belowZero);
  return job;
}
