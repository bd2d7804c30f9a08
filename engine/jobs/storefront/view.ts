/**
 * Stock levels for the storefront and the screens (R5, R6), in memory of any process that serves them. Filled by the
 * follower, which also proves how fresh a partition is; this holds the numbers only.
 */
import { type Balances, displayUnits, emptyBalances, POOLS } from "../../stock/model.js";
import { DISPLAY_COEFFICIENT, settingOf } from "../../stock/settings.js";
import type { View } from "../../stream/follower.js";
import { STOREFRONT_JOB, type StorefrontState } from "./job.js";

export interface Levels extends Balances {
  display: number;
}

export interface SkuLevels {
  total: Levels;
  locations: ReadonlyMap<string, Levels>;
  category: string | undefined;
  displayCoefficient: number;
  revision: number;
}

/** Called with a SKU that has changed. */
export type SkuListener = (sku: string) => void;

export class StorefrontView implements View {
  readonly job = STOREFRONT_JOB;
  readonly #availabilityListeners = new Set<SkuListener>();
  readonly #displayListeners = new Set<SkuListener>();
  readonly #skus = new Map<string, SkuLevels>();
  readonly #locations = new Set<string>();
  #cells = 0;
  #revision = 0;

  onView(sku: string, value: unknown): void {
    const { locations, settings } = value as StorefrontState;
    const displayCoefficient = settingOf(settings, DISPLAY_COEFFICIENT);
    const total = emptyBalances();
    const levels = new Map<string, Levels>();
    for (const [location, balances] of locations) {
      for (const pool of POOLS) total[pool] += balances[pool];
      levels.set(location, withDisplay(balances, displayCoefficient));
      this.#locations.add(location);
    }
    const before = this.#skus.get(sku);
    this.#cells += levels.size - (before?.locations.size ?? 0);
    const now: SkuLevels = {
      // Over all locations the display is worked out once: flooring each location's share would lose a unit here and
      // there.
      total: withDisplay(total, displayCoefficient),
      locations: levels,
      category: settings?.category ?? undefined,
      displayCoefficient,
      revision: ++this.#revision,
    };
    this.#skus.set(sku, now);
    const display = displayOf(now);
    const displayBefore = displayOf(before);
    if (display === displayBefore) return;
    for (const listener of this.#displayListeners) listener(sku);
    if (displayBefore === undefined || display === undefined || display > 0 !== displayBefore > 0)
      for (const listener of this.#availabilityListeners) listener(sku);
  }

  /**
   * Calls the listener when a SKU's total display becomes 0 or more than 0, and when its first units are received.
   * After a reset the SKUs of a partition are new again.
   * @returns what ends it
   */
  onAvailability(listener: SkuListener): () => void {
    this.#availabilityListeners.add(listener);
    return () => this.#availabilityListeners.delete(listener);
  }

  /** The same when the total display changes to any number, and when a reset removes the SKU. */
  onDisplay(listener: SkuListener): () => void {
    this.#displayListeners.add(listener);
    return () => this.#displayListeners.delete(listener);
  }

  onReset(isOf: (sku: string) => boolean): void {
    for (const [sku, { locations }] of this.#skus)
      if (isOf(sku)) {
        this.#cells -= locations.size;
        this.#skus.delete(sku);
        for (const listener of this.#displayListeners) listener(sku);
      }
  }

  /** Every location at which any SKU has or had units. A location stays: its balances do, too. */
  get locations(): ReadonlySet<string> {
    return this.#locations;
  }

  /** SKUs at locations. */
  get cells(): number {
    return this.#cells;
  }

  /** Of all SKUs, those without a location included. */
  get size(): number {
    return this.#skus.size;
  }

  /** All SKUs; one that changes during the iteration comes as it was or as it is. */
  all(): IterableIterator<[sku: string, levels: SkuLevels]> {
    return this.#skus.entries();
  }

  /** The number of the newest change; `SkuLevels` has that of its own. */
  get lastRevision(): number {
    return this.#revision;
  }

  get(sku: string): SkuLevels | undefined {
    return this.#skus.get(sku);
  }

  /** The units of a SKU that customers see; undefined for one without a location: it was never received. */
  displayOf(sku: string): number | undefined {
    return displayOf(this.#skus.get(sku));
  }

  /** SKUs that have been put into a category. */
  skusOf(category: string): string[] {
    return [...this.#skus].flatMap(([sku, levels]) => (levels.category === category ? [sku] : []));
  }
}

const displayOf = (levels: SkuLevels | undefined): number | undefined =>
  levels && levels.locations.size > 0 ? levels.total.display : undefined;

const withDisplay = (balances: Balances, coefficient: number): Levels => ({
  ...balances,
  display: displayUnits(balances.sellable, balances.reserved, coefficient),
});
