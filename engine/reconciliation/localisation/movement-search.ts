/**
 * Where a source's movements and the ledger's events part (R15): for one SKU by pairing them, and for a whole shop by
 * digests that are bisected, partition by partition, so that only cells that differ are read a second time. Spans that
 * the source has not reported completely are not judged. It reads only, and changes nothing.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { eventsOf } from "../../stock/log-entry.js";
import { type AsOfRefusal, readHead, targetAt } from "../../stock/log-instant.js";
import { cellOf, type StockEvent } from "../../stock/model.js";
import type { SkuEventsOptions } from "../../stock/sku-events.js";
import { stockKeys } from "../../stream/keys.js";
import { assertContiguous } from "../../stream/log.js";
import { redisLog } from "../../stream/log-source.js";
import { partitionOf } from "../../stream/partition.js";
import type { Measure, Movement, MovementRecord } from "../model.js";
import { type BookableEvent, bookableEvents } from "./divergence-cause.js";
import { type DigestedMovement, DigestTree, MinuteDigests } from "./movement-digest.js";
import { type Pairing, pairMovements } from "./movement-pairing.js";

/** What is read of movements; movement-store.ts has them. */
export interface KeptMovements {
  list(): Promise<readonly MovementRecord[]>;
  read(
    source: string,
    span: { fromMs: number; toMs: number },
    partition: number,
    signal?: AbortSignal,
  ): AsyncIterable<readonly Movement[]>;
}

export interface MovementSearchOptions extends SkuEventsOptions {
  readonly movements: KeptMovements;
  readonly windowMs: number;
}

/** A span by the engine's clock in which a source has reported all its movements. */
export interface CoveredSpan {
  readonly fromMs: number;
  readonly toMs: number;
  /** The source's clock minus the engine's, as far as it is known. */
  readonly skewMs: number;
}

/** A cell in which the two sides part. */
export interface PartedCell {
  readonly sku: string;
  readonly location: string;
  /** What the ledger has booked more than the source, in the span. */
  readonly units: number;
  /** The minute from which on they are never the same again. */
  readonly partedMs: number;
}

export type PartedCells =
  | {
      readonly outcome: "found";
      readonly span: CoveredSpan;
      /** The earliest first; the first MAX_CELLS of `count`. */
      readonly cells: readonly PartedCell[];
      readonly count: number;
      /** The source passes on the ledger's ids, so that these were compared, too. */
      readonly withIds: boolean;
    }
  /** No span is reported completely. */
  | { readonly outcome: "not_covered" }
  | AsOfRefusal;

/** Cells that are read by minutes: 1,000 × some 60 minutes × 200 B are 12 MB. */
const MAX_CELLS = 1_000;
/** The latest span that is searched: longer ones are refused by the bound of entries in a busy shop. */
const MAX_SPAN_MS = 24 * 3_600_000;
/** Entries of one partition that are read at most, twice: as many as for balances in the past. */
const MAX_ENTRIES = 250_000;
const PAGE_ENTRIES = 64;
const TURN_EVENTS = 2_000;
/** Movements of one SKU that are paired: as many as events; a source that reports more books something else. */
const MAX_MOVEMENTS = 20_000;
/** Movements whose ids are looked for among the ledger's, to find out whether the source passes them on. */
const SAMPLED_IDS = 1_000;

export class MovementSearch {
  readonly #options: MovementSearchOptions;
  /** A source may be late by the window, and its clock off by as much. */
  readonly toleranceMs: number;

  constructor(options: MovementSearchOptions) {
    this.#options = options;
    this.toleranceMs = 2 * options.windowMs;
  }

  /** The span without a gap that ends the latest and contains an instant; of the latest movements when left out. */
  async covered(source: string, aroundMs?: number): Promise<CoveredSpan | undefined> {
    const batches = (await this.#options.movements.list())
      .filter((each) => each.source === source && each.state === "complete")
      .map(({ fromMs, toMs, skewMs = 0 }) => ({ fromMs: fromMs - skewMs, toMs: toMs - skewMs, skewMs }))
      .sort((a, b) => b.toMs - a.toMs);
    let span: CoveredSpan | undefined;
    for (const batch of batches) {
      // Skews are measured with some error: a second between two batches is no gap.
      if (span && batch.toMs >= span.fromMs - 1_000) {
        span = { ...span, fromMs: Math.min(span.fromMs, batch.fromMs) };
        continue;
      }
      if (span && (aroundMs === undefined || span.fromMs <= aroundMs)) break;
      span = batch;
    }
    return span && (aroundMs === undefined || (span.fromMs <= aroundMs && aroundMs <= span.toMs)) ? span : undefined;
  }

  /**
   * Pairs the events of a SKU with the source's movements.
   * @param events at least those of the span and of the tolerance around it
   * @returns undefined when the source has reported more movements of the SKU than can be paired
   */
  async pair(
    sku: string,
    source: string,
    events: readonly BookableEvent[],
    { fromMs, toMs, skewMs }: CoveredSpan,
    signal?: AbortSignal,
  ): Promise<Pairing | undefined> {
    const own: Movement[] = [];
    const partition = partitionOf(sku, this.#options.partitions);
    for await (const movement of this.#movements(source, { fromMs, toMs, skewMs }, partition, signal))
      if (movement.sku === sku && own.push(movement) > MAX_MOVEMENTS) return undefined;
    const around = events.filter(
      ({ event }) => event.clockMs > fromMs - this.toleranceMs && event.clockMs <= toMs + this.toleranceMs,
    );
    return pairMovements(around, own, { fromMs, toMs, toleranceMs: this.toleranceMs });
  }

  /**
   * The cells of the whole shop in which a source's movements and the ledger part, in the latest span that it has
   * reported. What is under way at the ends of the span may be among them: `pair` decides.
   * @param measure of the source; `display` follows from no single movement and is not searched
   */
  async partedCells(source: string, measure: Exclude<Measure, "display">, signal?: AbortSignal): Promise<PartedCells> {
    const whole = await this.covered(source);
    if (!whole) return { outcome: "not_covered" };
    const span = { ...whole, fromMs: Math.max(whole.fromMs, whole.toMs - MAX_SPAN_MS) };
    const found: PartedCell[] = [];
    let [count, withIds] = [0, false];
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      const tree = new DigestTree();
      const ids = new Set<string>();
      for await (const movement of this.#movements(source, span, partition, signal)) {
        if (ids.size < SAMPLED_IDS) ids.add(movement.id);
        tree.add(-1, movement);
      }
      const known = new Set<string>();
      const refusal = await this.#eachEffect(partition, span, measure, signal, (effect) => {
        if (ids.has(effect.id)) known.add(effect.id);
        tree.add(1, effect);
      });
      if (refusal) return refusal;
      const isShared = ids.size > 0 && known.size === ids.size;
      withIds ||= isShared;
      const minutes = new Map<string, { sku: string; location: string; units: number; digests: MinuteDigests }>();
      for (const { sku, location, digest } of tree.differing(isShared)) {
        count++;
        if (found.length + minutes.size < MAX_CELLS)
          minutes.set(cellOf(sku, location), { sku, location, units: digest.units, digests: new MinuteDigests() });
      }
      if (minutes.size === 0) continue;
      const take = (sign: 1 | -1, movement: DigestedMovement): void =>
        minutes.get(cellOf(movement.sku, movement.location))?.digests.add(sign, movement);
      for await (const movement of this.#movements(source, span, partition, signal)) take(-1, movement);
      const later = await this.#eachEffect(partition, span, measure, signal, (effect) => take(1, effect));
      if (later) return later;
      for (const { digests, ...cell } of minutes.values()) {
        const partedMs = digests.partedMs(isShared);
        if (partedMs !== undefined) found.push({ ...cell, partedMs });
      }
    }
    found.sort((a, b) => a.partedMs - b.partedMs);
    return { outcome: "found", span, cells: found, count, withIds };
  }

  /** A source's movements by the engine's clock. */
  async *#movements(
    source: string,
    { fromMs, toMs, skewMs }: CoveredSpan,
    partition: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Movement> {
    const stated = { fromMs: fromMs + skewMs, toMs: toMs + skewMs };
    for await (const page of this.#options.movements.read(source, stated, partition, signal))
      for (const movement of page) yield { ...movement, atMs: movement.atMs - skewMs };
  }

  /** Every effect of the ledger's events on a measure in a span, of one partition. */
  async #eachEffect(
    partition: number,
    { fromMs, toMs }: CoveredSpan,
    measure: Measure,
    signal: AbortSignal | undefined,
    take: (effect: DigestedMovement) => void,
  ): Promise<AsOfRefusal | undefined> {
    const { redis, prefix, logOf } = this.#options;
    const key = stockKeys(prefix, partition).log;
    const log = logOf?.(partition) ?? redisLog(redis, key);
    const head = await readHead(redis, prefix, partition, log);
    const begin = await targetAt(log, head, fromMs);
    if ("outcome" in begin) return begin;
    const entries = head.last - begin.firstUnwanted + 1;
    if (entries > MAX_ENTRIES) return { outcome: "too_many_entries", entries, limit: MAX_ENTRIES };
    let decoded = 0;
    for (let after = begin.firstUnwanted - 1; after < head.last; ) {
      signal?.throwIfAborted();
      const page = await log.read(after, Math.min(PAGE_ENTRIES, head.last - after));
      assertContiguous(page, after, key);
      if (page.length === 0) break;
      for (const entry of page) {
        const { events } = eventsOf(entry);
        const inSpan = events.filter(({ clockMs }) => clockMs >= fromMs && clockMs < toMs);
        for (const effect of inSpan.flatMap((event) => effectsOf(event, measure))) take(effect);
        if ((events[0]?.clockMs ?? 0) >= toMs) return undefined;
        decoded += events.length;
      }
      after += page.length;
      if (decoded < TURN_EVENTS) continue;
      decoded = 0;
      await nextTurn();
    }
    return undefined;
  }
}

/** The effects of one event on a measure in which balances do not matter. */
function effectsOf(event: StockEvent, measure: Measure): DigestedMovement[] {
  const [bookable] = bookableEvents(new Map(), [event], measure);
  const { id, sku, clockMs: atMs } = event;
  return [...(bookable?.effects ?? [])].map(([location, units]) => ({ id, sku, location, units, atMs }));
}
