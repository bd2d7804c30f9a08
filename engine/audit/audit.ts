/**
 * Checks that ledger, log and storefront job agree to the unit (R1, R2). The job folds the log alone; its state, plus
 * the entries after it, must give the ledger's balances, pool by pool. Balances, state, cursor and head are read at
 * one moment, so the comparison is exact under any load. A `slice` is small enough to run all the time beside the
 * work; a `whole` audit also folds the log from its first entry, if that is still stored, and sums up the held lines.
 * It changes nothing. The event with which a difference began is searched from the last agreement on.
 */
import { STOREFRONT_JOB } from "../jobs/storefront/job.js";
import { sleep, stopwatch } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { type Balances, onHandUnits, type StockEvent } from "../stock/model.js";
import { balancesOf } from "../stock/records.js";
import { type StockKeys, stockKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { addCell, cellsOf, everyCell, listField, locationOf, scanFields, skuOf, type Wanted } from "./cell-names.js";
import {
  brokenEntryMismatch,
  type CellReading,
  differs,
  lostLineMismatch,
  type Mismatch,
  mismatchOf,
  signatureOf,
} from "./comparison.js";
import { foldInto, foldStates } from "./fold.js";
import { HeldLines } from "./held-lines.js";
import { firstOffset, LogWindow, type ReadEntry } from "./log-window.js";
import { searchPasts, searchReservations } from "./past-search.js";
import { CURSOR_FIELD, readSnapshot } from "./snapshot.js";

export interface SliceReport {
  cells: number;
  /** Mismatches that are new, or whose difference has changed. */
  newMismatches: Mismatch[];
  /** Set when this slice ends a cycle: how long the cycle took. */
  cycleSeconds?: number;
  /** Set when nothing was compared: how many entries the job is behind the log. */
  lagEntries?: number;
}

export interface PartitionReport {
  skus: number;
  cells: number;
  /** On hand and for presale. */
  units: number;
  entries: number;
  events: number;
  heldLines: number;
  /** Whether the log was folded from its first entry on. */
  fromFirst: boolean;
  mismatches: Mismatch[];
}

/**
 * Fields of one page, and SKUs of one read: measured, 128 fields to find and 42 SKUs with three cells each to read
 * take 0.25 ms of Redis.
 */
const SLICE_SKUS = 128;
/**
 * A job that is further behind is about its own work, and its lag has a figure; reading after it would cost more than
 * the comparison.
 */
const SLICE_LAG_ENTRIES = 256;
/** Kept in memory for a whole audit: 1,000 entries of 64 commands, some 10 MB. */
const WHOLE_LAG_ENTRIES = 1_000;
/** How long a whole audit waits for a job that does not move, and for one that moves and does not catch up. */
const STILL_LIMIT_MS = 10_000;
const BEHIND_LIMIT_MS = 60_000;
const WAIT_MS = 100;
/** Line records of one read of a whole audit, unless one SKU has more: 2 ms of Redis. */
const READ_LINES = 2_000;
/** New cells and trimming make a read begin again. */
const READ_TRIES = 5;
const WHOLE_TRIES = 3;
/** Cells whose past is searched at once. */
const EXPLAINED_CELLS = 20;
/** How far back a slice searches: 2,000 entries are 32 reads. A whole audit searches the whole log. */
const EXPLAINED_ENTRIES = 2_000;

interface Reading {
  head: number;
  cells: Map<string, CellReading>;
}

/** State of a whole audit. */
interface Whole {
  /** Every cell folded from the log's first entry; undefined when that was trimmed. */
  log: Map<string, Balances> | undefined;
  lines: HeldLines;
  /** The first event that took a cell below zero. */
  belowZero: Map<string, StockEvent>;
  /** Cells whose past has been searched. */
  explained: number;
  waitedMs: number;
}

export class PartitionAudit {
  /** Every current mismatch, by the cell, line or entry that it is about. */
  readonly mismatches = new Map<string, Mismatch>();
  readonly #redis: RedisClient;
  readonly #keys: StockKeys;
  readonly #partition: number;
  /** The difference as it was reported, by cell. */
  readonly #reported = new Map<string, string>();
  /** The offset at which a SKU last agreed, and in which cycle. The views keep ten times as much for each SKU. */
  readonly #agreed = new Map<string, { offset: number; cycle: number }>();
  readonly #pending: Wanted = new Map();
  #window: LogWindow;
  #whole: Whole | undefined;
  #head = 0;
  #lagEntries = 0;
  #cycle = 1;
  #phase: "cells" | "states" = "cells";
  #cursor = "0";
  #cycleTime = stopwatch();

  constructor(redis: RedisClient, prefix: string, partition: number) {
    this.#redis = redis;
    this.#keys = stockKeys(prefix, partition);
    this.#partition = partition;
    this.#window = new LogWindow(redis, this.#keys.log, 0);
  }

  /** Compares a few SKUs, and goes on with the next ones when called again; after the last it begins anew. */
  async slice(): Promise<SliceReport> {
    let cycleSeconds: number | undefined;
    if (this.#pending.size === 0 && (await this.#scanOn())) {
      cycleSeconds = this.#cycleTime() / 1_000;
      this.#cycleTime = stopwatch();
      this.#cycle++;
    }
    const report: SliceReport = { cells: 0, newMismatches: [], ...(cycleSeconds !== undefined && { cycleSeconds }) };
    const wanted: Wanted = new Map([...this.#pending].slice(0, SLICE_SKUS));
    if (wanted.size === 0) return report;
    const reading = await this.#read(wanted);
    if (!reading) return { ...report, lagEntries: this.#lagEntries };
    const newMismatches = await this.#compare(wanted, reading);
    for (const sku of wanted.keys()) this.#pending.delete(sku);
    return { ...report, cells: reading.cells.size, newMismatches };
  }

  /**
   * Compares everything, once.
   * @throws EngineError `audit_lags` when the job is far behind the log and does not move
   */
  async whole(): Promise<PartitionReport> {
    for (let attempt = 1; ; attempt++) {
      const report = await this.#wholeOnce();
      if (report) return report;
      if (attempt === WHOLE_TRIES) {
        throw this.#fault("audit_disturbed", "the log was trimmed or replaced while it was read; audit again");
      }
    }
  }

  /** Undefined when trimming was faster than reading. */
  async #wholeOnce(): Promise<PartitionReport | undefined> {
    this.mismatches.clear();
    this.#reported.clear();
    const first = (await firstOffset(this.#redis, this.#keys.log)) ?? 1;
    const whole: Whole = {
      log: first === 1 ? new Map() : undefined,
      lines: new HeldLines(this.#redis, this.#keys),
      belowZero: new Map(),
      explained: 0,
      waitedMs: 0,
    };
    this.#whole = whole;
    let listing = true;
    const counts = { entries: 0, events: 0 };
    const broken: ReadEntry[] = [];
    this.#window = new LogWindow(this.#redis, this.#keys.log, first - 1, (entry) => {
      if (entry.state !== "read") broken.push(entry);
      counts.entries += entry.state === "lost" ? 0 : 1;
      counts.events += entry.events.length;
      for (const event of entry.events) {
        if (whole.log) foldInto(whole.log, event, whole.belowZero);
        if (!listing) whole.lines.fold(event);
      }
    });
    if (!(await this.#read(new Map()))) return undefined;
    listing = false;
    await whole.lines.list();

    const totals = { skus: 0, cells: 0, units: 0 };
    const rest = await everyCell(this.#redis, this.#keys);
    for (const cell of whole.log?.keys() ?? []) addCell(rest, cell);
    const wanted: Wanted = new Map();
    let lines = 0;
    const compare = async (): Promise<boolean> => {
      const reading = await this.#read(wanted);
      if (!reading) return false;
      await this.#compare(wanted, reading);
      totals.skus += wanted.size;
      totals.cells += reading.cells.size;
      for (const { ledger } of reading.cells.values())
        totals.units += ledger ? onHandUnits(ledger) + ledger.presale : 0;
      wanted.clear();
      lines = 0;
      return true;
    };
    for (const [sku, cells] of rest) {
      wanted.set(sku, cells);
      lines += whole.lines.size(cells);
      if ((wanted.size >= SLICE_SKUS || lines >= READ_LINES) && !(await compare())) return undefined;
    }
    if (wanted.size > 0 && !(await compare())) return undefined;
    await this.#addLostLines(first);
    for (const entry of broken)
      this.mismatches.set(`${entry.state} ${entry.offset}`, brokenEntryMismatch(this.#partition, entry));
    return {
      ...totals,
      ...counts,
      heldLines: whole.lines.count,
      fromFirst: whole.log !== undefined,
      mismatches: [...this.mismatches.values()],
    };
  }

  // ---- what to compare

  /** Reads the next page of names and notes whose turn it is. Returns true when it was the last of the cycle. */
  async #scanOn(): Promise<boolean> {
    const inCells = this.#phase === "cells";
    const [next, fields] = await scanFields(
      this.#redis,
      inCells ? this.#keys.cells : this.#keys.state(STOREFRONT_JOB),
      this.#cursor,
      SLICE_SKUS,
    );
    const found: Wanted = new Map();
    if (inCells) for (const field of fields) addCell(found, field);
    else for (const sku of fields) found.set(sku, new Set());
    const skus = [...found.keys()];
    const lists = skus.length === 0 ? [] : await this.#redis.hmget(this.#keys.cells, ...skus.map(listField));
    skus.forEach((sku, i) => {
      const cells = found.get(sku) as Set<string>;
      const listed = cellsOf(sku, lists[i] ?? null);
      const isDone = this.#agreed.get(sku)?.cycle === this.#cycle;
      if (isDone && [...cells].every((cell) => listed.has(cell))) return;
      this.#pending.set(sku, new Set([...cells, ...listed]));
    });
    this.#cursor = next;
    if (next !== "0") return false;
    this.#phase = inCells ? "states" : "cells";
    return !inCells;
  }

  // ---- reading: everything of some SKUs at one moment

  /** Undefined when it cannot be taken now: the job lags, or trimming was faster. A whole audit waits for the job. */
  async #read(wanted: Wanted): Promise<Reading | undefined> {
    const skus = [...wanted.keys()];
    for (let attempt = 0; attempt < READ_TRIES; attempt++) {
      const cells = [...wanted.values()].flatMap((names) => [...names]);
      const lineReads = this.#whole?.lines.commands(cells) ?? [];
      const snapshot = await readSnapshot(this.#redis, this.#keys, skus, cells, lineReads);
      const { head, cursor, states, lists, packed, lines } = snapshot;
      this.#lagEntries = Math.max(0, head - cursor);
      // Redis has lost the end of its log: earlier agreements no longer hold.
      if (head < this.#head) this.#agreed.clear();
      this.#head = head;
      if (this.#whole) {
        if (this.#lagEntries > WHOLE_LAG_ENTRIES) {
          if (!(await this.#waitForJob(this.#whole, cursor))) return undefined;
          attempt--;
          continue;
        }
        if (!(await this.#window.moveTo(cursor, head))) return undefined;
      } else {
        if (this.#lagEntries > SLICE_LAG_ENTRIES) return undefined;
        if (!(await this.#window.moveTo(cursor, head))) continue;
      }

      const belowZero = new Map(this.#whole?.belowZero);
      const job = foldStates(skus, states, this.#window.entries, belowZero);
      const listed = new Set(skus.flatMap((sku, i) => [...cellsOf(sku, lists[i] ?? null)]));
      const isWanted = (cell: string): boolean => wanted.get(skuOf(cell))?.has(cell) === true;
      const more = [...listed, ...job.keys()].filter((cell) => !isWanted(cell));
      if (more.length > 0) {
        for (const cell of more) addCell(wanted, cell);
        continue;
      }
      const held = this.#whole?.lines.units(lineReads, lines);
      const reading: Reading = { head, cells: new Map() };
      cells.forEach((cell, i) => {
        const bytes = packed[i];
        reading.cells.set(cell, {
          sku: skuOf(cell),
          location: locationOf(cell),
          ledger: bytes ? balancesOf(bytes) : undefined,
          listed: listed.has(cell),
          job: job.get(cell),
          log: this.#whole?.log?.get(cell),
          fromFirst: this.#whole?.log !== undefined,
          lines: held ? (held.get(cell) ?? 0) : undefined,
          belowZero: belowZero.get(cell),
        });
      });
      return reading;
    }
    return undefined;
  }

  /**
   * Waits for the job, while there is more that it has not folded than can be kept. Returns false when trimming was
   * faster.
   */
  async #waitForJob(whole: Whole, cursor: number): Promise<boolean> {
    const elapsed = stopwatch();
    if (!(await this.#window.moveTo(cursor, Math.max(cursor, this.#window.position)))) return false;
    while (Number((await this.#redis.hget(this.#keys.task, CURSOR_FIELD)) ?? 0) === cursor) {
      const isStill = elapsed() > STILL_LIMIT_MS;
      if (isStill || whole.waitedMs + elapsed() > BEHIND_LIMIT_MS) {
        const what = isStill ? "do not move: start a worker, then audit again" : "do not catch up: audit again later";
        throw this.#fault("audit_lags", `the jobs are ${this.#lagEntries} entries behind the log and ${what}`);
      }
      await sleep(WAIT_MS);
    }
    whole.waitedMs += elapsed();
    return true;
  }

  // ---- comparing

  /** Compares, reads again what differs, and keeps and returns what is new. */
  async #compare(wanted: Wanted, reading: Reading): Promise<Mismatch[]> {
    let confirmed = reading;
    const suspects: Wanted = new Map();
    for (const [cell, at] of reading.cells) if (differs(at)) addCell(suspects, cell);
    const differing = new Map<string, CellReading>();
    if (suspects.size > 0) {
      const again = await this.#read(suspects);
      if (!again) return [];
      confirmed = again;
      for (const [cell, at] of again.cells) {
        // A pool was below zero, even if the job has folded that event meanwhile.
        const belowZero = at.belowZero ?? reading.cells.get(cell)?.belowZero;
        if (belowZero || differs(at)) differing.set(cell, { ...at, belowZero });
      }
    }
    const differingSkus = new Set([...differing.values()].map(({ sku }) => sku));
    for (const [sku, cells] of wanted) {
      for (const cell of cells) if (!differing.has(cell)) this.#clear(cell);
      if (!differingSkus.has(sku)) this.#agreed.set(sku, { offset: reading.head, cycle: this.#cycle });
    }
    const newMismatches = [...differing].filter(([cell, at]) => this.#reported.get(cell) !== signatureOf(at));
    if (newMismatches.length === 0) return [];
    const found = await this.#explain(newMismatches, confirmed.head);
    newMismatches.forEach(([cell, at], i) => {
      this.#reported.set(cell, signatureOf(at));
      this.mismatches.set(cell, found[i] as Mismatch);
    });
    return found;
  }

  #clear(cell: string): void {
    this.#reported.delete(cell);
    this.mismatches.delete(cell);
  }

  /** Describes differing cells with the events that touched them since their last agreement. */
  async #explain(differing: readonly [cell: string, at: CellReading][], head: number): Promise<Mismatch[]> {
    const agreed = new Map<string, number>();
    for (const [cell, { sku }] of differing.slice(0, EXPLAINED_CELLS - (this.#whole?.explained ?? 0)))
      agreed.set(cell, this.#agreed.get(sku)?.offset ?? 0);
    if (this.#whole) this.#whole.explained += agreed.size;
    const furthest = this.#whole ? undefined : EXPLAINED_ENTRIES;
    const { pasts, ...found } = await searchPasts(this.#redis, this.#keys, agreed, head, furthest);
    const lostLines = this.#whole?.lines.lost ?? [];
    return differing.map(([cell, at]) =>
      mismatchOf(this.#partition, cell, at, { past: pasts.get(cell), ...found, lostLines, head }),
    );
  }

  // ---- faults beside the balances

  /** Lines without a record that no cell's mismatch has named. */
  async #addLostLines(first: number): Promise<void> {
    const named = new Set([...this.mismatches.values()].map(({ first: at }) => (at && "id" in at ? at.id : undefined)));
    const ids = this.#whole?.lines.lost.filter((id) => !named.has(id)) ?? [];
    if (ids.length === 0) return;
    const reserved = await searchReservations(this.#redis, this.#keys, ids, first - 1, this.#window.position);
    for (const id of ids) this.mismatches.set(`line ${id}`, lostLineMismatch(this.#partition, id, reserved.get(id)));
  }

  #fault(code: string, message: string): EngineError {
    return new EngineError(`partition ${this.#partition}: ${message}`, {
      op: "storefront.audit",
      code,
      retryable: true,
      input: this.#keys.log,
    });
  }
}
