/**
 * All cells of one partition as the ledger held them at several instants, with one pass over the present balances and
 * one over the log, and the transfers around each instant. The answer is exact or refused, as that of `asOf`, also
 * while thousands of commands a second change the partition: each page of balances is read together with the log's
 * last offset, so that every cell is undone from exactly what its own page contained. Memory is that of one partition:
 * some 100 bytes a cell and 40 more for each instant.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError } from "../kernel/errors.js";
import { stockKeys } from "../stream/keys.js";
import { assertContiguous } from "../stream/log.js";
import type { LogSource } from "../stream/log-source.js";
import type { RedisClient } from "../stream/redis.js";
import { CellIndex } from "./cell-index.js";
import { readCellsPage } from "./cells-page.js";
import { ExactSums } from "./exact-sums.js";
import { eventsOf } from "./log-entry.js";
import {
  type AsOfPosition,
  type AsOfRefusal,
  type LogHead,
  readHead,
  removedMeanwhile,
  type Target,
  targetAt,
} from "./log-instant.js";
import { EVENT_TYPES, POOLS, type StockEvent } from "./model.js";
import { DISPLAY_COEFFICIENT, type SettingsDetail } from "./settings.js";

/** The cells at one instant; a cell's place in `balances` is its number in the index × 5, then the pool's in POOLS. */
export interface ScannedInstant {
  readonly position: AsOfPosition;
  readonly balances: Float64Array;
  /**
   * By cell, the events within the window around the instant, three numbers each: what the ledger's sellable, reserved
   * and on-hand units would be more if the event were on the other side of the instant. An event that is contained in
   * `balances` counts as taken back, a later one as added.
   */
  readonly windows: ReadonlyMap<number, readonly number[]>;
  /** SKUs whose display coefficient may have changed since the begin of the window: that of then is not known. */
  readonly displayChanged: ReadonlySet<string>;
}

export interface ScannedCells {
  readonly outcome: "scanned";
  /** The first `length` cells are the ledger's; whoever compares may add more. */
  readonly cells: CellIndex;
  readonly length: number;
  /** In the order in which the instants were asked for. */
  readonly instants: readonly ScannedInstant[];
}

/** Where a scan reads. */
export interface ScanPlace {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly partition: number;
  readonly log: LogSource;
  /** Entries that are read at most. */
  readonly entriesLimit: number;
}

const POOL_COUNT = POOLS.length;
const PAGE_ENTRIES = 64;
/** Events of one turn of the event loop: 2,000 × 1 µs are 2 ms; the last entry adds 1,000 at most. */
const TURN_EVENTS = 2_000;
/** By the account's name; -1: outside. */
const POOL_AT: Readonly<Record<string, number>> = {
  outside: -1,
  ...Object.fromEntries(POOLS.map((pool, i) => [pool, i])),
};
const [SELLABLE, RESERVED, PRESALE] = [POOL_AT["sellable"], POOL_AT["reserved"], POOL_AT["presale"]];

/** Whether the log reaches back to some instants and the windows before them; the refusal, if it does not. */
export async function refusalOf(
  place: ScanPlace,
  instants: readonly number[],
  windowMs: number,
): Promise<AsOfRefusal | undefined> {
  const planned = await planOf(place, instants, windowMs);
  return "outcome" in planned ? planned : undefined;
}

interface Plan {
  head: LogHead;
  targets: Target[];
  /** The first entry that has to be read. */
  from: number;
}

async function planOf(place: ScanPlace, instants: readonly number[], windowMs: number): Promise<Plan | AsOfRefusal> {
  const { redis, prefix, partition, log, entriesLimit: limit } = place;
  const head = await readHead(redis, prefix, partition, log);
  const targets: Target[] = [];
  let from = head.last + 1;
  for (const atMs of instants) {
    const target = await targetAt(log, head, atMs);
    const begin = await targetAt(log, head, atMs - windowMs);
    if ("outcome" in target) return target;
    if ("outcome" in begin) return begin;
    targets.push(target);
    from = Math.min(from, target.firstUnwanted, begin.firstUnwanted);
  }
  const entries = head.last - from + 1;
  return entries > limit ? { outcome: "too_many_entries", entries, limit } : { head, targets, from };
}

/**
 * A partition's cells at some instants.
 *
 * Which cells: every one that existed when the log's head was read, before the first page. A cell that is made later
 * and that the scan happens to miss held nothing at any of the instants: what an answer contains ends at that head
 * (`targetAt`), and the cell's first event is after it. Its events are then passed over.
 * @throws EngineError `undecodable` when an entry cannot be read, `log_shorter` when Redis has lost what it had
 */
export async function scanCells(
  place: ScanPlace,
  instants: readonly number[],
  windowMs: number,
  signal?: AbortSignal,
): Promise<ScannedCells | AsOfRefusal> {
  const plan = await planOf(place, instants, windowMs);
  if ("outcome" in plan) return plan;
  const present = await readPresent(place, signal);
  if (present.oldestOffset < plan.head.last)
    throw new EngineError(`the stock log of partition ${place.partition} has become shorter while it was read`, {
      op: "stock.scan",
      code: "log_shorter",
      retryable: true,
    });
  const fold = new Fold(present, plan.targets, instants, windowMs);
  const isComplete = await readEvents(place.log, plan.from, present.newestOffset, fold, signal);
  if (!isComplete) return removedMeanwhile(place.log, plan.head.clockMs);
  const { cells, length } = present;
  return { outcome: "scanned", cells, length, instants: fold.finish() };
}

/** The ledger's balances, each as of the offset of the page that it came with. */
export interface Present {
  cells: CellIndex;
  length: number;
  balances: Float64Array;
  /** By cell: the balances contain the events up to this entry. */
  offsets: Float64Array;
  oldestOffset: number;
  newestOffset: number;
}

/**
 * All cells of a partition. Each page is read together with the log's offset.
 * @throws EngineError `cells_missed`, retryable, when Redis was replaced in between: a cursor means nothing to another
 */
export async function readPresent(
  { redis, prefix, partition }: Pick<ScanPlace, "redis" | "prefix" | "partition">,
  signal: AbortSignal | undefined,
): Promise<Present> {
  const keys = stockKeys(prefix, partition);
  const cells = new CellIndex();
  let balances = new Float64Array(0);
  let offsets = new Float64Array(0);
  let [oldestOffset, newestOffset] = [Number.POSITIVE_INFINITY, 0];
  let reading = readCellsPage(redis, keys, "0");
  // Cells are never removed: what is there at first has to come.
  const { fields } = await reading;
  for (;;) {
    const page = await reading;
    signal?.throwIfAborted();
    const isLast = page.next === "0";
    // The server reads the next page while this one is taken in.
    if (!isLast) {
      reading = readCellsPage(redis, keys, page.next);
      // If taking in this one fails, nobody awaits it.
      reading.catch(() => {});
    }
    oldestOffset = Math.min(oldestOffset, page.offset);
    newestOffset = Math.max(newestOffset, page.offset);
    const n = page.names.length / 2;
    if (offsets.length < cells.length + n) {
      const room = 2 * (cells.length + n);
      balances = copyInto(new Float64Array(room * POOL_COUNT), balances);
      offsets = copyInto(new Float64Array(room), offsets);
    }
    for (let i = 0; i < n; i++) {
      const before = cells.length;
      const cell = cells.add(page.names[2 * i] as string, page.names[2 * i + 1] as string);
      // Returned twice by the scan: the first reading stays, with its own offset.
      if (cell < before) continue;
      offsets[cell] = page.offset;
      for (let pool = 0; pool < POOL_COUNT; pool++)
        balances[cell * POOL_COUNT + pool] = page.balances[i * POOL_COUNT + pool] as number;
    }
    if (!isLast) continue;
    if (cells.length + cells.skus.length < fields)
      throw new EngineError(`a scan of the cells of partition ${partition} has missed some`, {
        op: "stock.scan",
        code: "cells_missed",
        retryable: true,
      });
    return { cells, length: cells.length, balances, offsets, oldestOffset, newestOffset };
  }
}

function copyInto<T extends Float64Array>(target: T, source: Float64Array): T {
  target.set(source);
  return target;
}

/** Takes the log's events, in order, and moves every cell from its page's offset back to each instant. */
class Fold {
  readonly instants: readonly ScannedInstant[];
  readonly #present: Present;
  readonly #targets: readonly Target[];
  readonly #windows: readonly Map<number, number[]>[];
  readonly #displayChanged: readonly Set<string>[];
  readonly #windowMs: number;
  readonly #atMs: readonly number[];
  readonly #sums: readonly ExactSums<number>[];

  /** @param instants as they were asked for: the log's clock may not have reached them */
  constructor(present: Present, targets: readonly Target[], instants: readonly number[], windowMs: number) {
    this.#present = present;
    this.#targets = targets;
    this.#windowMs = windowMs;
    this.#windows = targets.map(() => new Map());
    this.#displayChanged = targets.map(() => new Set());
    this.#atMs = instants;
    this.#sums = targets.map(() => new ExactSums());
    const used = present.length * POOL_COUNT;
    this.instants = targets.map(({ partition, offset, asOfMs, isFinal }, k) => ({
      position: { partition, offset, asOfMs, isFinal },
      balances: present.balances.slice(0, used),
      windows: this.#windows[k] as Map<number, number[]>,
      displayChanged: this.#displayChanged[k] as Set<string>,
    }));
  }

  take(event: StockEvent): void {
    const from = POOL_AT[event.from] as number;
    const to = POOL_AT[event.to] as number;
    if (event.type === EVENT_TYPES.configure) this.#takeSettings(event);
    if (from === to && event.toLocation === undefined) return;
    const { cells, length, offsets } = this.#present;
    const source = cells.find(event.sku, event.location);
    const target = event.toLocation === undefined ? source : cells.find(event.sku, event.toLocation);
    const isKnown = (cell: number): boolean => cell >= 0 && cell < length;
    for (let k = 0; k < this.#targets.length; k++) {
      const isWanted = (this.#targets[k] as Target).isWanted(event);
      const { balances } = this.instants[k] as ScannedInstant;
      const sums = this.#sums[k] as ExactSums<number>;
      const undo = (cell: number, pool: number, units: number): void => {
        // What is wanted is contained in every page: pages are read after the head that ends the answer.
        if (pool < 0 || !isKnown(cell) || isWanted || event.offset > (offsets[cell] as number)) return;
        const at = cell * POOL_COUNT + pool;
        balances[at] = sums.add(at, balances[at] as number, units);
      };
      undo(source, from, event.units);
      undo(target, to, -event.units);
      if (Math.abs(event.clockMs - (this.#atMs[k] as number)) > this.#windowMs) continue;
      const moved = isWanted ? -event.units : event.units;
      if (source === target) this.#addToWindow(k, source, from, to, moved);
      else {
        this.#addToWindow(k, source, from, -1, moved);
        this.#addToWindow(k, target, -1, to, moved);
      }
    }
  }

  #takeSettings({ sku, clockMs, detail = {} }: StockEvent): void {
    const { settings = {}, category, categorySettings } = detail as SettingsDetail;
    if (category === undefined && categorySettings === undefined && !(DISPLAY_COEFFICIENT.name in settings)) return;
    for (const [k, atMs] of this.#atMs.entries())
      if (clockMs >= atMs - this.#windowMs) this.#displayChanged[k]?.add(sku);
  }

  /** Call it once, after the last event. */
  finish(): readonly ScannedInstant[] {
    for (const [k, { balances }] of this.instants.entries())
      for (const [at, units] of (this.#sums[k] as ExactSums<number>).rest())
        balances[at] = (balances[at] as number) + units;
    return this.instants;
  }

  #addToWindow(k: number, cell: number, from: number, to: number, units: number): void {
    if (cell < 0 || cell >= this.#present.length) return;
    const effect = (matches: (pool: number) => boolean): number =>
      (to >= 0 && matches(to) ? units : 0) - (from >= 0 && matches(from) ? units : 0);
    const sellable = effect((pool) => pool === SELLABLE);
    const reserved = effect((pool) => pool === RESERVED);
    const onHand = effect((pool) => pool !== PRESALE);
    if (sellable === 0 && reserved === 0 && onHand === 0) return;
    const windows = this.#windows[k] as Map<number, number[]>;
    const effects = windows.get(cell);
    if (effects) effects.push(sellable, reserved, onHand);
    else windows.set(cell, [sellable, reserved, onHand]);
  }
}

/** Gives the events of some entries to the fold. Returns false when entries are missing at the start. */
async function readEvents(
  log: LogSource,
  from: number,
  to: number,
  fold: Fold,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let events = 0;
  let after = from - 1;
  const next = (offset: number) => log.read(offset, Math.min(PAGE_ENTRIES, to - offset));
  let reading = after < to ? next(after) : undefined;
  while (reading !== undefined) {
    const page = await reading;
    signal?.throwIfAborted();
    if (page[0]?.offset !== after + 1) return false;
    assertContiguous(page, after, "the stock log");
    after += page.length;
    reading = after < to ? next(after) : undefined;
    // If a page before it fails, nobody awaits this one.
    reading?.catch(() => {});
    for (const entry of page) {
      for (const event of eventsOf(entry).events) {
        fold.take(event);
        events++;
      }
      if (events < TURN_EVENTS) continue;
      events = 0;
      await nextTurn();
    }
  }
  return true;
}
