/**
 * The SKUs that are to be reordered (R7), the most urgent first. All SKUs of this process' views are judged in slices,
 * so that no turn of the event loop is long, and at most once in some seconds, however many requests there are. It
 * keeps a limited number of SKUs and counts all of them. Reads memory only.
 */

import { type Clock, monotonicClock, sleep } from "../kernel/clock.js";
import { type ReplenishmentFigures, reorderPointOf, suggestedUnitsOf } from "./replenishment.js";

/** What the views have of a SKU. */
export interface StockedSku extends Omit<ReplenishmentFigures, "inboundUnits"> {
  readonly sku: string;
  readonly category: string | undefined;
}

export interface Replenishment extends ReplenishmentFigures {
  readonly sku: string;
  readonly category: string | undefined;
  readonly reorderPoint: number | undefined;
  readonly suggestedUnits: number | undefined;
  /** Days until nothing is sellable at the daily average; undefined: nothing is sold, or cold start. */
  readonly daysLeft: number | undefined;
}

export interface ReplenishmentParts {
  /** All SKUs; called for one pass. */
  skus(): Iterable<StockedSku>;
  /** By SKU, units on their way. */
  inbound(): Promise<ReadonlyMap<string, number>>;
}

export interface ReplenishmentPage {
  /** The most urgent first. */
  readonly skus: readonly Replenishment[];
  /** All that are to be reordered; those beyond KEPT are counted only. */
  readonly total: number;
}

const FRESH_MS = 5_000;
/** At 2 to 3 µs a SKU a slice takes 3 ms. */
const SLICE = 1_000;
const KEPT = 10_000;

export class ReplenishmentList {
  readonly #parts: ReplenishmentParts;
  readonly #clock: Clock;
  #computing: { atMs: number; page: Promise<ReplenishmentPage> } | undefined;

  /** @param clock measures an age */
  constructor(parts: ReplenishmentParts, clock: Clock = monotonicClock) {
    this.#parts = parts;
    this.#clock = clock;
  }

  /** As of some seconds ago at most. */
  read(): Promise<ReplenishmentPage> {
    const atMs = this.#clock.now();
    if (!this.#computing || atMs - this.#computing.atMs >= FRESH_MS) {
      const computing = { atMs, page: this.#compute() };
      this.#computing = computing;
      computing.page.catch(() => {
        if (this.#computing === computing) this.#computing = undefined;
      });
    }
    return this.#computing.page;
  }

  async #compute(): Promise<ReplenishmentPage> {
    const inbound = await this.#parts.inbound();
    let found: Replenishment[] = [];
    let total = 0;
    let judged = 0;
    for (const stocked of this.#parts.skus()) {
      if (++judged % SLICE === 0) await sleep(0);
      const inboundUnits = inbound.get(stocked.sku) ?? 0;
      // Most SKUs are not reordered: nothing is made of them.
      const point = reorderPointOf(stocked);
      if (point === undefined || stocked.sellableUnits + inboundUnits >= point) continue;
      total++;
      found.push(replenishmentOf(stocked, inboundUnits));
      if (found.length >= 2 * KEPT) found = found.sort(byUrgency).slice(0, KEPT);
    }
    return { skus: found.sort(byUrgency).slice(0, KEPT), total };
  }
}

export function replenishmentOf(stocked: StockedSku, inboundUnits: number): Replenishment {
  const figures = { ...stocked, inboundUnits };
  const { sellableUnits, dailyAverage } = stocked;
  return {
    ...figures,
    reorderPoint: reorderPointOf(stocked),
    suggestedUnits: suggestedUnitsOf(figures),
    daysLeft: dailyAverage ? Math.max(0, sellableUnits) / dailyAverage : undefined,
  };
}

const byUrgency = (a: Replenishment, b: Replenishment): number =>
  (a.daysLeft ?? Number.POSITIVE_INFINITY) - (b.daysLeft ?? Number.POSITIVE_INFINITY) || (a.sku < b.sku ? -1 : 1);
