/**
 * The snapshots that sources report (R13): received part by part, kept for comparison, and removed when they are old.
 * Only a complete snapshot is ever compared: all parts are there, their rows add up to what was announced, no cell
 * comes twice, the ledger has every location, and the source has reported no newer one. Everything else is listed as
 * refused, with the reason. Rows are stored packed, by the partition of their SKU. It does not compare anything.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, DAY_MS } from "../../kernel/clock.js";
import { EngineError } from "../../kernel/errors.js";
import type { OnTrouble } from "../../kernel/logger.js";
import { CellIndex } from "../../stock/cell-index.js";
import { reportKeys } from "../../stream/keys.js";
import type { RedisClient } from "../../stream/redis.js";
import type { Measure, RowChunk, Snapshot, SnapshotReader, SnapshotRecord, SnapshotRefusal } from "../model.js";
import { SnapshotChunkBuilder, snapshotRowsOf } from "./packed-rows.js";
import type { StoredPart } from "./part-registry.js";
import { PartUpload } from "./part-upload.js";
import {
  headersOf,
  nameOf,
  type Report,
  type ReportEnd,
  type ReportHeader,
  type ReportOutcome,
  Reports,
  sourcesOf,
} from "./reports.js";
import {
  checkSnapshotShape,
  headerRefusal,
  isoOf,
  MAX_RECEIVING,
  MAX_ROW_UNITS,
  MAX_ROWS,
  MAX_SOURCES,
  olderRefusal,
  rowFault,
  type SnapshotPartHeader,
  skewOf,
} from "./snapshot-rules.js";
import { gone } from "./stored-rows.js";

/** What became of a part. The same part again gets the same answer. */
export type PartOutcome =
  | { readonly outcome: "received"; readonly partsReceived: number; readonly parts: number }
  | { readonly outcome: "complete"; readonly snapshot: Snapshot }
  | { readonly outcome: "refused"; readonly refusal: SnapshotRefusal };

export interface SnapshotStoreOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly partitions: number;
  /** The shop's time. */
  readonly clock: Clock;
  /** The locations that the ledger has; undefined: not known yet. */
  locations(): ReadonlySet<string> | undefined;
  readonly onTrouble: OnTrouble;
  /** Complete snapshots that are kept of each source; left out: 8. */
  readonly keep?: number;
  /** How long they are kept at most; left out: 7 days. */
  readonly keepMs?: number;
  readonly maxRows?: number;
  /** Called at least once for each complete snapshot; repeated until it does not fail. */
  onComplete?(snapshot: Snapshot): Promise<void>;
}

interface Header extends ReportHeader {
  readonly measure: Measure;
  readonly statedAsOfMs: number;
}

const DEFAULT_KEEP = 8;
const DEFAULT_KEEP_MS = 7 * DAY_MS;
const REFUSED_KEPT_MS = DAY_MS;
/** Refused ones of one source: a client that repeats a mistake does not fill the list. */
const REFUSED_KEPT = 32;

const asOfOf = ({ statedAsOfMs, skewMs = 0 }: Header): number => statedAsOfMs - skewMs;

const snapshotOf = (header: Header, end: ReportEnd): Snapshot => ({
  source: header.source,
  id: header.id,
  measure: header.measure,
  asOfMs: asOfOf(header),
  ...(header.skewMs === undefined ? {} : { skewMs: header.skewMs }),
  rows: header.rows,
  completedMs: end.endedMs,
});

const outcomeOf = (outcome: ReportOutcome<Header>): PartOutcome =>
  outcome.outcome === "complete" ? { outcome: "complete", snapshot: snapshotOf(outcome.header, outcome.end) } : outcome;

export class SnapshotStore implements SnapshotReader {
  readonly #options: SnapshotStoreOptions;
  readonly #reports: Reports<Header>;

  constructor(options: SnapshotStoreOptions) {
    const { redis, prefix, partitions, clock, onTrouble, onComplete, keepMs = DEFAULT_KEEP_MS } = options;
    this.#options = options;
    this.#reports = new Reports<Header>({
      ...{ redis, partitions, clock, onTrouble },
      keys: reportKeys(prefix, "snapshots"),
      // A sweep removes them; this is for rows that no sweep finds.
      keptMs: keepMs + DAY_MS,
      stated: ({ measure, statedAsOfMs, parts, rows }) => ({ measure, asOf: isoOf(statedAsOfMs), parts, rows }),
      check: (header, parts) => this.#duplicate(header, parts),
      late: (header, all) => olderRefusal(header.source, asOfOf(header), newestMsOf(all, header.source)),
      expired: (all, nowMs) => this.#expired(all, nowMs),
      ...(onComplete ? { onComplete: (header, end) => onComplete(snapshotOf(header, end)) } : {}),
    });
  }

  /** Ends and removes snapshots from time to time, while it runs. */
  start(): void {
    this.#reports.start();
  }

  stop(): Promise<void> {
    return this.#reports.stop();
  }

  /** What `start` does from time to time. */
  sweep(): Promise<void> {
    return this.#reports.sweep();
  }

  /** Of this process since its start: how snapshots of each source ended, and rows that were stored. */
  get figures(): { ended: ReadonlyMap<string, { complete: number; refused: number }>; rows: number } {
    return { ended: this.#reports.ended, rows: this.#reports.rowsReceived };
  }

  /** Whether this process is the one that makes a source's snapshot of an instant; the claim ends by itself. */
  claim(source: string, dueMs: number, keptMs: number): Promise<boolean> {
    return this.#reports.registry.claim(`${source}/${dueMs}`, keptMs);
  }

  /** All that are kept, the newest instant first. */
  async list(): Promise<readonly SnapshotRecord[]> {
    const all = await this.#reports.registry.all();
    const records = await Promise.all(all.map((report) => this.#recordOf(report)));
    return records.sort((a, b) => b.asOfMs - a.asOfMs || b.receivedMs - a.receivedMs);
  }

  async find(source: string, id: string): Promise<SnapshotRecord | undefined> {
    const report = await this.#reports.registry.find(nameOf({ source, id }));
    return report && this.#recordOf(report);
  }

  async complete(source: string, id: string): Promise<Snapshot | undefined> {
    const report = await this.#reports.registry.find(nameOf({ source, id }));
    return report?.end?.state === "complete" ? snapshotOf(report.header, report.end) : undefined;
  }

  /** The newest complete one of each source. */
  async newest(): Promise<ReadonlyMap<string, Snapshot>> {
    const newest = new Map<string, Snapshot>();
    for (const { header, end } of await this.#reports.registry.all()) {
      if (end?.state !== "complete") continue;
      const snapshot = snapshotOf(header, end);
      const known = newest.get(header.source);
      if (!known || isNewer(snapshot, known)) newest.set(header.source, snapshot);
    }
    return newest;
  }

  /** @throws EngineError `snapshot_gone` when it is no longer kept */
  async *rows(snapshot: Snapshot, partition: number, signal?: AbortSignal): AsyncGenerator<RowChunk> {
    const parts = await this.#reports.registry.parts(nameOf(snapshot));
    if (parts.size === 0) throw gone(`snapshot ${nameOf(snapshot)}`);
    for await (const chunk of this.#reports.rows.read(parts.values(), partition, signal)) yield snapshotRowsOf(chunk);
  }

  /**
   * Begins a part: returns what takes its rows, or an outcome that needs none of them.
   * @throws EngineError `bad_input` when the header is impossible, `unavailable` when it cannot be decided now
   */
  async receive(given: SnapshotPartHeader): Promise<SnapshotPartWriter | PartOutcome> {
    checkSnapshotShape(given);
    const { clock, maxRows = MAX_ROWS } = this.#options;
    const locations = this.#options.locations();
    if (!locations) {
      const detail = { op: "snapshots.receive", code: "unavailable", retryable: true };
      throw new EngineError("the locations of the ledger are not known yet", detail);
    }
    const nowMs = clock.now();
    const all = await this.#reports.registry.all();
    const skew = skewOf(given, nowMs, headersOf(all, given.source));
    const header: Header = {
      source: given.source,
      id: given.id,
      measure: given.measure,
      statedAsOfMs: given.asOfMs,
      parts: given.parts,
      rows: given.rows,
      receivedMs: nowMs,
      ...skew,
    };
    if (!all.some(({ name }) => name === nameOf(header))) {
      const full = (await this.#reports.registry.isFull()) ? tooManySnapshots : boundRefusal(all, given.source);
      if (full) return { outcome: "refused", refusal: full };
      const newestMs = newestMsOf(all, given.source);
      const refusal = headerRefusal(given, { nowMs, skewMs: skew.skewMs, newestMs, maxRows });
      if (refusal) return outcomeOf(await this.#reports.refuse(header, refusal));
    }
    const opened = await this.#reports.open(header, given.part);
    if ("outcome" in opened) return outcomeOf(opened);
    return new SnapshotPartWriter(this.#reports, { ...opened, part: given.part, locations });
  }

  async #recordOf({ name, header, end }: Report<Header>): Promise<SnapshotRecord> {
    const isComplete = end?.state === "complete";
    const parts = isComplete ? undefined : [...(await this.#reports.registry.parts(name)).values()];
    const { receivedMs, skewMs, measuredSkewMs: _, ...stated } = header;
    return {
      ...stated,
      state: end?.state ?? "receiving",
      asOfMs: asOfOf(header),
      ...(skewMs === undefined ? {} : { skewMs }),
      receivedMs,
      partsReceived: parts?.length ?? header.parts,
      rowsReceived: parts?.reduce((sum, part) => sum + part.rows, 0) ?? header.rows,
      ...(end ? { endedMs: end.endedMs } : {}),
      ...(end?.refusal ? { refusal: end.refusal } : {}),
    };
  }

  async #duplicate(_header: Header, parts: ReadonlyMap<number, StoredPart>): Promise<SnapshotRefusal | undefined> {
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      const cells = new CellIndex();
      for (const [number, part] of [...parts].sort(([a], [b]) => a - b))
        for await (const chunk of this.#reports.rows.read([part], partition)) {
          const twice = firstTwice(snapshotRowsOf(chunk), cells);
          if (twice) {
            const message = `SKU ${twice.sku} at ${twice.location} comes twice, the second time in part ${number}`;
            return { code: "duplicate_row", message, part: number };
          }
          await nextTurn();
        }
    }
    return undefined;
  }

  #expired(all: readonly Report<Header>[], nowMs: number): string[] {
    const { keep = DEFAULT_KEEP, keepMs = DEFAULT_KEEP_MS } = this.#options;
    const expired: string[] = [];
    for (const source of new Set(all.map(({ header }) => header.source))) {
      const own = all
        .filter(({ header }) => header.source === source)
        .sort((a, b) => asOfOf(b.header) - asOfOf(a.header));
      const complete = own.filter(({ end }) => end?.state === "complete");
      const refused = own
        .filter(({ end }) => end?.state === "refused")
        .sort((a, b) => (b.end?.endedMs ?? 0) - (a.end?.endedMs ?? 0));
      for (const [i, { name, header }] of complete.entries())
        if (i >= keep || nowMs - asOfOf(header) > keepMs) expired.push(name);
      for (const [i, { name, end }] of refused.entries())
        if (i >= REFUSED_KEPT || nowMs - (end?.endedMs ?? 0) > REFUSED_KEPT_MS) expired.push(name);
    }
    return expired;
  }
}

/**
 * The first cell of a chunk that has come before, in it or in an earlier one. A source that reports a cell twice may
 * mean the sum or the later row; that is not certain, so it is a fault.
 */
function firstTwice({ skus, locations }: RowChunk, cells: CellIndex): { sku: string; location: string } | undefined {
  for (let i = 0; i < skus.length; i++) {
    const [sku, location] = [skus[i] as string, locations[i] as string];
    const known = cells.length;
    if (cells.add(sku, location) < known) return { sku, location };
  }
  return undefined;
}

const isNewer = (a: Snapshot, b: Snapshot): boolean =>
  a.asOfMs > b.asOfMs || (a.asOfMs === b.asOfMs && a.completedMs > b.completedMs);

/** The instant of a source's newest complete snapshot. */
function newestMsOf(all: readonly Report<Header>[], source: string): number | undefined {
  const times = all.flatMap(({ header, end }) =>
    end?.state === "complete" && header.source === source ? [asOfOf(header)] : [],
  );
  return times.length === 0 ? undefined : Math.max(...times);
}

const tooManySnapshots: SnapshotRefusal = {
  code: "too_many_snapshots",
  message: "too many snapshots are listed or being received; send it again later under the same id",
};

/** Of one source, so that it cannot take the places of all others. */
const MAX_RECEIVING_OF_SOURCE = 8;

function boundRefusal(all: readonly Report<Header>[], source: string): SnapshotRefusal | undefined {
  const sources = sourcesOf(all);
  if (!sources.has(source) && sources.size >= MAX_SOURCES)
    return { code: "too_many_sources", message: `${MAX_SOURCES} sources report snapshots already` };
  const receiving = all.filter(({ end }) => !end);
  const own = receiving.filter(({ header }) => header.source === source);
  return receiving.length >= MAX_RECEIVING || own.length >= MAX_RECEIVING_OF_SOURCE ? tooManySnapshots : undefined;
}

/**
 * Takes the rows of one part. Add rows, wait for `drain` whenever `isFull`, then `end`; or `abort`, after which nothing
 * is left. A row that is wrong refuses the part and its snapshot: add no more then, and call `refuse`.
 */
export class SnapshotPartWriter {
  readonly #reports: Reports<Header>;
  readonly #part: { header: Header; part: number; known?: StoredPart; locations: ReadonlySet<string> };
  readonly #upload: PartUpload<SnapshotChunkBuilder>;
  #lastSku: string | undefined;

  constructor(
    reports: Reports<Header>,
    part: { header: Header; part: number; known?: StoredPart; locations: ReadonlySet<string> },
  ) {
    this.#reports = reports;
    this.#part = part;
    this.#upload = new PartUpload(reports.rows, () => new SnapshotChunkBuilder(), part.known === undefined);
  }

  /** Rows taken so far. */
  get count(): number {
    return this.#upload.count;
  }

  get isFull(): boolean {
    return this.#upload.isFull;
  }

  /** Takes a row, or returns what is wrong with it. Values are checked here, whatever they are. */
  add(sku: unknown, location: unknown, units: unknown): SnapshotRefusal | undefined {
    const { header, part, locations } = this.#part;
    const row = this.#upload.count + 1;
    const isPlain = typeof units === "number" && units >= 0 && units <= MAX_ROW_UNITS && Number.isInteger(units);
    // Most files have all rows of a SKU together.
    const isChecked = isPlain && typeof sku === "string" && sku === this.#lastSku && typeof location === "string";
    const fault = isChecked ? undefined : rowFault(sku, location, units, 0);
    if (fault) return placed(fault, part, row);
    if (!locations.has(location as string)) {
      const message = `the ledger has no location ${JSON.stringify(location).slice(0, 40)}`;
      return placed({ code: "unknown_location", message }, part, row);
    }
    if (row > header.rows) {
      const message = `it has more rows than the ${header.rows} that were announced for all parts`;
      return placed({ code: "row_total", message }, part, row);
    }
    this.#lastSku = sku as string;
    const { builder, partition } = this.#upload.builderOf(sku as string);
    builder.add(sku as string, location as string, units as number);
    this.#upload.added(partition);
    return undefined;
  }

  /** @throws EngineError `unavailable`: abort, and send the part again */
  drain(): Promise<void> {
    return this.#upload.drain();
  }

  /** Ends the part, and its snapshot if it was the last. @throws as `drain` */
  async end(): Promise<PartOutcome> {
    const { header, part, known } = this.#part;
    return outcomeOf(await this.#reports.finish(header, part, this.#upload, known));
  }

  /** Refuses the part and its snapshot because of its content. */
  async refuse(refusal: SnapshotRefusal): Promise<PartOutcome> {
    await this.#upload.abort();
    return outcomeOf(await this.#reports.refuse(this.#part.header, refusal));
  }

  /** A fault of the format in the next row, as a refusal. */
  malformed(message: string): SnapshotRefusal {
    return placed({ code: "malformed_row", message }, this.#part.part, this.#upload.count + 1);
  }

  /** Deletes the part as if it had not begun; never fails. */
  abort(): Promise<void> {
    return this.#upload.abort();
  }
}

const placed = (
  { code, message }: Pick<SnapshotRefusal, "code" | "message">,
  part: number,
  row: number,
): SnapshotRefusal => ({ code, message: `row ${row} of part ${part}: ${message}`, part, row });
