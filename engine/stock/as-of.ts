/**
 * A SKU's balances at an instant in the past: what the ledger held when its log's clock had passed `atMs`, that is,
 * after all events with `clockMs` ≤ `atMs` and no other. They follow from balances that are stored for a position of
 * the log (the ledger's present ones, or an anchor) and the events between that position and the instant: an event is a
 * transfer, so it can be added and taken back. The answer is exact or refused: an instant before the log's oldest entry
 * is `outside_retention`, and an entry of the SKU that cannot be read is an error. Jobs may be behind the log.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type StockKeys, stockKeys } from "../stream/keys.js";
import { assertContiguous, type LogEntry } from "../stream/log.js";
import { type LogSource, redisLog } from "../stream/log-source.js";
import { partitionOf } from "../stream/partition.js";
import { readTogether } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";
import { refusalOf, type ScannedCells, type ScanPlace, scanCells } from "./as-of-scan.js";
import { ExactSums } from "./exact-sums.js";
import { eventsOf } from "./log-entry.js";
import {
  type AsOfPosition,
  type AsOfRefusal,
  readHead,
  removedMeanwhile,
  type Target,
  targetAt,
} from "./log-instant.js";
import {
  type Account,
  type Balances,
  CELL_SEPARATOR,
  cellOf,
  emptyBalances,
  type Pool,
  type StockEvent,
} from "./model.js";
import { balancesOf } from "./records.js";

/** Balances by location, in units. */
export type Locations = ReadonlyMap<string, Balances>;

/** Balances of a SKU at a position of the log: all of its events before that position are in them, and no others. */
export interface BalanceAnchor {
  offset: number;
  /** Of an event of the SKU in that entry; 0: before the whole entry. */
  index: number;
  locations: Locations;
}

/** Where balances of earlier positions are stored. */
export interface BalanceAnchors {
  /** What is stored of each SKU near an instant, in the order of the SKUs; maybe nothing. */
  read(keys: StockKeys, skus: readonly string[], atMs: number): Promise<readonly (readonly BalanceAnchor[])[]>;
}

export type AsOf =
  | {
      outcome: "found";
      /** Each SKU's balances at every location that it has today; unknown SKUs are left out. */
      skus: ReadonlyMap<string, Locations>;
      positions: readonly AsOfPosition[];
    }
  | AsOfRefusal;

/**
 * Entries of one partition that a call reads, at most. A page of 64 takes 1 to 2 ms, so 250,000 take about 6 s, in
 * which other requests go on: the limit is for Redis and for clients that wait. Entries are dropped page by page.
 */
const DEFAULT_ENTRIES_LIMIT = 250_000;
/**
 * A scan serves a whole comparison instead of one client, and may go back to a snapshot of yesterday: 2,000,000 entries
 * are 24 hours at 23 a second, and take some 50 s and 1 µs for each event.
 */
const DEFAULT_SCAN_LIMIT = 2_000_000;
const PAGE_ENTRIES = 64;
/** Events decoded in one turn of the event loop: 2,000 × 1 µs are 2 ms; the last entry adds 1,000 at most. */
const TURN_EVENTS = 2_000;
/** SKUs of one read: 200 × some 10 cells are about 2 ms of Redis. */
const SKUS_AT_ONCE = 200;
/** Entries are searched for the names of so few SKUs before they are decoded: most have none of them. */
const SEARCHED_SKUS = 16;

export interface BalanceHistoryOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** Left out: every answer follows from the present. */
  anchors?: BalanceAnchors;
  entriesLimit?: number;
  /** The same for a scan. */
  scanLimit?: number;
  /** Where a partition's log is read; the one in Redis when left out. */
  logOf?: ((partition: number) => LogSource) | undefined;
}

/** Moves the balances of one SKU from an anchor to an instant. Pure; takes the SKU's events in the order of the log. */
class SkuFold {
  readonly locations = new Map<string, Balances>();
  readonly #anchor: BalanceAnchor;
  readonly #isWanted: (event: StockEvent) => boolean;
  /** Whether the next event is before the anchor's position, so that its balances contain it. */
  #isContained = true;
  /** By pool and location. */
  readonly #sums = new ExactSums<string>();

  /** @param listed the SKU's locations */
  constructor(anchor: BalanceAnchor, listed: Iterable<string>, isWanted: (event: StockEvent) => boolean) {
    this.#anchor = anchor;
    this.#isWanted = isWanted;
    for (const location of listed)
      this.locations.set(location, { ...emptyBalances(), ...anchor.locations.get(location) });
  }

  take(event: StockEvent): void {
    const { offset, index } = this.#anchor;
    // By order: the second event of a command has an index past all others of its entry.
    if (event.offset > offset || (event.offset === offset && (index === 0 || event.index === index)))
      this.#isContained = false;
    const isWanted = this.#isWanted(event);
    if (isWanted === this.#isContained) return;
    const units = isWanted ? event.units : -event.units;
    this.#move(event.location, event.from, -units);
    this.#move(event.toLocation ?? event.location, event.to, units);
  }

  /** Call it once, after the last event. */
  finish(): Locations {
    for (const [place, units] of this.#sums.rest()) {
      const [pool, location] = place.split(CELL_SEPARATOR) as [Pool, string];
      this.#at(location)[pool] += units;
    }
    return this.locations;
  }

  #move(location: string, account: Account, units: number): void {
    if (account === "outside") return;
    const balances = this.#at(location);
    balances[account] = this.#sums.add(cellOf(account, location), balances[account], units);
  }

  #at(location: string): Balances {
    const found = this.locations.get(location) ?? emptyBalances();
    this.locations.set(location, found);
    return found;
  }
}

export class BalanceHistory {
  readonly #options: BalanceHistoryOptions;

  constructor(options: BalanceHistoryOptions) {
    this.#options = options;
  }

  /**
   * The balances of SKUs at one instant, in milliseconds since the epoch. Reads each partition's log once. Those of
   * different partitions do not belong to one moment of the outside world: each log has a clock of its own.
   * @param signal ends it before the next page: it rejects with the signal's reason
   * @throws EngineError `undecodable` when an entry cannot be read that may hold an event of these SKUs
   */
  async asOf(skus: readonly string[], atMs: number, signal?: AbortSignal): Promise<AsOf> {
    const { redis, prefix, partitions } = this.#options;
    const groups = new Map<number, string[]>();
    for (const sku of new Set(skus)) {
      const partition = partitionOf(sku, partitions);
      groups.set(partition, [...(groups.get(partition) ?? []), sku]);
    }
    const found = new Map<string, Locations>();
    const positions: AsOfPosition[] = [];
    // One after the other, so that memory and load of Redis are those of one.
    for (const [partition, group] of groups) {
      const log = this.#logOf(partition);
      const target = await targetAt(log, await readHead(redis, prefix, partition, log), atMs);
      const refusal = "outcome" in target ? target : await this.#fold(target, log, group, found, signal);
      if (refusal) return refusal;
      const { offset, asOfMs, isFinal } = target as Target;
      positions.push({ partition, offset, asOfMs, isFinal });
    }
    return { outcome: "found", skus: found, positions };
  }

  /**
   * All cells of one partition at some instants, each with the events up to `windowMs` before and after it.
   * @param signal ends it before the next page: it rejects with the signal's reason
   * @throws EngineError as `scanCells`
   */
  scan(
    partition: number,
    instants: readonly number[],
    windowMs: number,
    signal?: AbortSignal,
  ): Promise<ScannedCells | AsOfRefusal> {
    return scanCells(this.#placeOf(partition), instants, windowMs, signal);
  }

  /** Why a scan to an instant would be refused in some partition; undefined: it would not. */
  async refusalOf(atMs: number, windowMs: number): Promise<AsOfRefusal | undefined> {
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      const refusal = await refusalOf(this.#placeOf(partition), [atMs], windowMs);
      if (refusal) return refusal;
    }
    return undefined;
  }

  #placeOf(partition: number): ScanPlace {
    const { redis, prefix, scanLimit: entriesLimit = DEFAULT_SCAN_LIMIT } = this.#options;
    return { redis, prefix, partition, log: this.#logOf(partition), entriesLimit };
  }

  #logOf(partition: number): LogSource {
    const { redis, prefix, logOf } = this.#options;
    return logOf?.(partition) ?? redisLog(redis, stockKeys(prefix, partition).log);
  }

  async #fold(
    target: Target,
    log: LogSource,
    skus: readonly string[],
    found: Map<string, Locations>,
    signal: AbortSignal | undefined,
  ): Promise<AsOfRefusal | undefined> {
    const { redis, prefix, anchors, entriesLimit: limit = DEFAULT_ENTRIES_LIMIT } = this.#options;
    const keys = stockKeys(prefix, target.partition);
    const folds = new Map<string, SkuFold>();
    let [from, to] = [Number.POSITIVE_INFINITY, 0];
    for (let at = 0; at < skus.length; at += SKUS_AT_ONCE) {
      signal?.throwIfAborted();
      const part = skus.slice(at, at + SKUS_AT_ONCE);
      const present = await readPresent(redis, keys, part);
      const stored = (await anchors?.read(keys, part, target.asOfMs)) ?? [];
      for (const [i, sku] of part.entries()) {
        const now = present[i];
        if (!now) continue;
        const { anchor, first, last } = nearest(target, [now, ...(stored[i] ?? [])]);
        folds.set(sku, new SkuFold(anchor, now.locations.keys(), target.isWanted));
        if (first > last) continue;
        [from, to] = [Math.min(from, first), Math.max(to, last)];
      }
    }
    if (to - from >= limit) return { outcome: "too_many_entries", entries: to - from + 1, limit };
    const isComplete = from > to || (await readEvents(log, from, to, folds, signal));
    // Trimmed in the meantime.
    if (!isComplete) return removedMeanwhile(log, target.asOfMs);
    for (const [sku, fold] of folds) found.set(sku, fold.finish());
    return undefined;
  }
}

/** The anchor from which the fewest entries have to be read, and these entries; `first` > `last`: none. */
function nearest(
  target: Target,
  anchors: readonly BalanceAnchor[],
): { anchor: BalanceAnchor; first: number; last: number } {
  const zero: BalanceAnchor[] = target.oldest === 1 ? [{ offset: 1, index: 0, locations: new Map() }] : [];
  let best: ReturnType<typeof nearest> | undefined;
  for (const anchor of [...anchors, ...zero]) {
    const { offset, index } = anchor;
    const isAfter = offset > target.offset;
    const first = isAfter ? target.firstUnwanted : offset;
    const last = isAfter ? offset - (index === 0 ? 1 : 0) : target.offset;
    // Its own entry has been trimmed.
    if (first <= last && first < (target.oldest ?? 0)) continue;
    if (!best || last - first < best.last - best.first) best = { anchor, first, last };
  }
  return best as ReturnType<typeof nearest>;
}

/** The SKUs' present balances, as anchors after the log's end at the same moment; undefined for an unknown SKU. */
async function readPresent(
  redis: RedisClient,
  keys: StockKeys,
  skus: readonly string[],
): Promise<(BalanceAnchor | undefined)[]> {
  const fields = skus.map((sku) => sku + CELL_SEPARATOR);
  let listed = (await redis.hmget(keys.cells, ...fields)) as (string | null)[];
  for (;;) {
    const locations = listed.map((list) => list?.split(CELL_SEPARATOR) ?? []);
    const cells = skus.flatMap((sku, i) => (locations[i] as string[]).map((location) => cellOf(sku, location)));
    const [offset, lists, packed] = (await readTogether(redis, [
      ["hget", keys.head, "offset"],
      ["hmget", keys.cells, fields],
      ...(cells.length > 0 ? [["hmgetBuffer", keys.cells, cells] as ["hmgetBuffer", string, string[]]] : []),
    ])) as [string | null, (string | null)[], (Buffer | null)[] | undefined];
    const isSame = lists.every((list, i) => list === listed[i]);
    listed = lists;
    // A location was added in between: read again. It happens a few times in the life of a SKU.
    if (!isSame) continue;
    let cell = 0;
    return skus.map((_, i) => {
      if (lists[i] === null) return undefined;
      const balances = (locations[i] as string[]).map((location): [string, Balances] => {
        const bytes = packed?.[cell++];
        return [location, bytes ? balancesOf(bytes) : emptyBalances()];
      });
      return { offset: Number(offset ?? 0) + 1, index: 0, locations: new Map(balances) };
    });
  }
}

/** Gives the events of some entries to the folds of their SKUs. Returns false when entries are missing at the start. */
async function readEvents(
  log: LogSource,
  from: number,
  to: number,
  folds: ReadonlyMap<string, SkuFold>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const names =
    folds.size > SEARCHED_SKUS ? undefined : [...folds.keys()].map((sku) => Buffer.from(sku + CELL_SEPARATOR));
  let events = 0;
  for (let after = from - 1; after < to; ) {
    signal?.throwIfAborted();
    const page = await log.read(after, Math.min(PAGE_ENTRIES, to - after));
    if (page[0]?.offset !== after + 1) return false;
    assertContiguous(page, after, "the stock log");
    for (const entry of page) {
      if (names && !mentions(entry, names)) continue;
      for (const event of eventsOf(entry).events) {
        folds.get(event.sku)?.take(event);
        events++;
      }
      if (events < TURN_EVENTS) continue;
      events = 0;
      await nextTurn();
    }
    after += page.length;
  }
  return true;
}

const mentions = ({ fields }: LogEntry, names: readonly Buffer[]): boolean =>
  fields.some((bytes) => names.some((name) => bytes.includes(name)));
