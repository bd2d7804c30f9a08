/**
 * What is recorded of a partition's SKUs: units depleted by minute, from the panes of the depletion view, and sellable
 * units at the end of the minute, from the storefront view. Panes are absolute values of the trailing hour, so a
 * recorder that begins, or was away for up to an hour, loses no depletion; the stock of minutes in between is a gap.
 * The stock is what the view has when it is first seen complete past the minute's end, a fraction of a second later.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, MINUTE_MS } from "../../kernel/clock.js";
import { partitionOf } from "../../stream/partition.js";
import { minuteEndMs, minuteOf, type Panes } from "../../stream/window.js";
import type { Coverage, SeriesGap } from "./coverage.js";
import type { Point, SeriesUpdate } from "./series-store.js";
import type { MinuteSource } from "./series-task.js";

/** A view of SKUs whose changes are numbered. */
interface Revised<Value> {
  /** The number of the newest change. */
  readonly lastRevision: number;
  /** SKUs that have changed after a change; one that changes during the iteration comes as it was or as it is. */
  changedSince(revision: number): Iterable<[sku: string, value: Value]>;
  of(sku: string): Value | undefined;
}

export interface SkuViews {
  /** Panes of the trailing hour. */
  readonly panes: Revised<Panes>;
  /** Sellable units at all locations. */
  readonly sellable: Revised<number>;
}

export interface SkuMinutesOptions extends SkuViews {
  partition: number;
  partitions: number;
  /** The shop's time up to which the views of the partition are complete. */
  completeMs(): number;
  /** The shop's clock. */
  shopClock: Clock;
}

/** Panes of the trailing hour, the minute that has not ended included. */
const PANES = 60;
/** About a millisecond. */
const SKUS_OF_TURN = 2_000;
const SWEPT_AT_ONCE = 20;
const SWEEP_LOOKS_AT = 500;
const DROP_OLD_EVERY = 60;

export class SkuMinutes implements MinuteSource {
  readonly #options: SkuMinutesOptions;
  /** As stored; of SKUs that had a depletion within the hour. */
  readonly #storedPanes = new Map<string, Panes>();
  readonly #storedSellable = new Map<string, number>();
  /** SKUs with a pane of a minute that has not ended. */
  #unfinished = new Set<string>();
  #panesRevision = 0;
  #sellableRevision = 0;
  #collected: (() => void) | undefined;
  #sweep: Iterator<[sku: string, value: number]> | undefined;
  #minutes = 0;

  constructor(options: SkuMinutesOptions) {
    this.#options = options;
  }

  completeMs(): number {
    return this.#options.completeMs();
  }

  async collect(endMs: number, coverage: Coverage): Promise<{ updates: SeriesUpdate[]; gaps: SeriesGap[] }> {
    const { panes, sellable } = this.#options;
    const lastMinute = minuteOf(endMs) - 1;
    const revisions = { panes: panes.lastRevision, sellable: sellable.lastRevision };
    // First, because it is meant for this moment.
    const newSellable = await this.#changed(sellable, this.#sellableRevision);
    const newPanes = await this.#changed(panes, this.#panesRevision);
    for (const sku of this.#unfinished) if (!newPanes.has(sku)) newPanes.set(sku, panes.of(sku) ?? []);
    const points = new Map<string, Map<number, Point>>();
    const pointsOf = (sku: string): Map<number, Point> => {
      let of = points.get(sku);
      if (!of) {
        of = new Map();
        points.set(sku, of);
      }
      return of;
    };
    const unfinished = new Set<string>();
    for (const [sku, now] of newPanes) {
      if ((now.at(-2) ?? 0) > lastMinute) unfinished.add(sku);
      for (const [minute, units] of differences(this.#storedPanes.get(sku) ?? [], now, lastMinute))
        pointsOf(sku).set(minute, { atMs: minute * MINUTE_MS, value: units });
    }
    const changedStock = [...newSellable].filter(([sku, units]) => this.#storedSellable.get(sku) !== units);
    for (const [sku, units] of changedStock) {
      const of = pointsOf(sku);
      of.set(lastMinute, { ...of.get(lastMinute), atMs: lastMinute * MINUTE_MS, stock: units });
    }
    this.#collected = () => {
      for (const [sku, now] of newPanes) this.#storedPanes.set(sku, upTo(now, lastMinute));
      for (const [sku, units] of changedStock) this.#storedSellable.set(sku, units);
      this.#unfinished = unfinished;
      this.#panesRevision = revisions.panes;
      this.#sellableRevision = revisions.sellable;
      if (++this.#minutes % DROP_OLD_EVERY === 0) this.#dropOld(lastMinute);
    };
    const updates = [...points].map(([name, of]): SeriesUpdate => {
      const minutes = [...of.values()].sort((a, b) => a.atMs - b.atMs);
      return { name, combination: "sum", minutes };
    });
    return { updates, gaps: this.#gaps(endMs, coverage) };
  }

  stored(): void {
    this.#collected?.();
    this.#collected = undefined;
  }

  sweepable(): string[] {
    const names: string[] = [];
    for (let looked = 0; looked < SWEEP_LOOKS_AT && names.length < SWEPT_AT_ONCE; looked++) {
      this.#sweep ??= this.#options.sellable.changedSince(0)[Symbol.iterator]();
      const { value, done } = this.#sweep.next();
      if (done) {
        this.#sweep = undefined;
        break;
      }
      if (this.#isOwn(value[0])) names.push(value[0]);
    }
    return names;
  }

  #isOwn(sku: string): boolean {
    const { partition, partitions } = this.#options;
    return partitionOf(sku, partitions) === partition;
  }

  /** SKUs of this partition that have changed after a revision. */
  async #changed<Value>(view: Revised<Value>, revision: number): Promise<Map<string, Value>> {
    const found = new Map<string, Value>();
    let looked = 0;
    for (const [sku, value] of view.changedSince(revision)) {
      if (++looked % SKUS_OF_TURN === 0) await nextTurn();
      if (this.#isOwn(sku)) found.set(sku, value);
    }
    return found;
  }

  /** Minutes between the last recorded one and the newest that cannot be known any more. */
  #gaps(endMs: number, { toMs }: Coverage): SeriesGap[] {
    const missedMs = endMs - MINUTE_MS;
    if (toMs === 0 || toMs >= missedMs) return [];
    const newestMs = Math.max(endMs, this.#options.shopClock.now());
    const knownMs = Math.min(missedMs, Math.max(toMs, minuteEndMs(minuteOf(newestMs) - PANES)));
    return [
      ...(toMs < knownMs ? [{ fromMs: toMs, toMs: knownMs, missing: "all" as const }] : []),
      ...(knownMs < missedMs ? [{ fromMs: knownMs, toMs: missedMs, missing: "stock" as const }] : []),
    ];
  }

  #dropOld(lastMinute: number): void {
    for (const [sku, panes] of this.#storedPanes)
      if ((panes.at(-2) ?? 0) <= lastMinute - PANES) this.#storedPanes.delete(sku);
  }
}

function upTo(panes: Panes, minute: number): Panes {
  let end = panes.length;
  while (end > 0 && (panes[end - 2] as number) > minute) end -= 2;
  return panes.slice(0, end);
}

/** Minutes up to `lastMinute` whose units differ; one that has gone within the window has none any more. */
function differences(stored: Panes, now: Panes, lastMinute: number): [minute: number, units: number][] {
  const before = new Map<number, number>();
  for (let i = 0; i < stored.length; i += 2) before.set(stored[i] as number, stored[i + 1] as number);
  const found: [number, number][] = [];
  for (let i = 0; i < now.length; i += 2) {
    const [minute, units] = [now[i] as number, now[i + 1] as number];
    if (minute > lastMinute) break;
    if (before.get(minute) !== units) found.push([minute, units]);
    before.delete(minute);
  }
  const windowFrom = Math.max(now.at(-2) ?? lastMinute, lastMinute) - PANES + 1;
  for (const minute of before.keys()) if (minute >= windowFrom) found.push([minute, 0]);
  return found.sort(([a], [b]) => a - b);
}
