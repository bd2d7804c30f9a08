/**
 * How a report in numbered parts is received, whatever its rows are: parts come in any order, to any process, twice, or
 * not at all; the report ends as `complete` once all have come and fit together, or as `refused`. Each step reads the
 * facts of the registry again, so that two processes, a repeated part and a process that is killed all lead to the same
 * end. A report of which a process was killed before it ended is ended by the sweep of any process. It does not decide
 * which headers and rows are right: snapshot-store.ts and movement-store.ts do.
 */
import { type Clock, HOUR_MS, sleep } from "../../kernel/clock.js";
import { EngineError, messageOf } from "../../kernel/errors.js";
import type { OnTrouble } from "../../kernel/logger.js";
import type { ReportKeys } from "../../stream/keys.js";
import type { RedisClient } from "../../stream/redis.js";
import type { SnapshotRefusal } from "../model.js";
import type { ChunkBuilder } from "./packed-rows.js";
import { PartRegistry, type Registered, type StoredPart } from "./part-registry.js";
import type { PartUpload } from "./part-upload.js";
import { headerDifference, MAX_SOURCES, RECEIVING_MS, type Skew } from "./snapshot-rules.js";
import { StoredRows } from "./stored-rows.js";

/** What the registry keeps of every report. */
export interface ReportHeader extends Skew {
  readonly source: string;
  readonly id: string;
  readonly parts: number;
  readonly rows: number;
  /** When its first part began, by the engine's clock. */
  readonly receivedMs: number;
}

export interface ReportEnd {
  readonly state: "complete" | "refused";
  readonly endedMs: number;
  readonly refusal?: SnapshotRefusal;
}

export type Report<Header> = Registered<Header, ReportEnd>;

/** What became of a part. */
export type ReportOutcome<Header> =
  | { readonly outcome: "received"; readonly partsReceived: number; readonly parts: number }
  | { readonly outcome: "complete"; readonly header: Header; readonly end: ReportEnd }
  | { readonly outcome: "refused"; readonly refusal: SnapshotRefusal };

export interface ReportsOptions<Header> {
  readonly redis: RedisClient;
  readonly keys: ReportKeys;
  readonly partitions: number;
  /** The shop's time. */
  readonly clock: Clock;
  /** How long the rows of a complete report are kept in real time, at least. */
  readonly keptMs: number;
  readonly onTrouble: OnTrouble;
  /** What every part has to state alike. */
  stated(header: Header): Readonly<Record<string, unknown>>;
  /** What is wrong with a whole report whose parts are all there, read partition by partition. */
  check(header: Header, parts: ReadonlyMap<number, StoredPart>): Promise<SnapshotRefusal | undefined>;
  /** What became wrong with a report that is still received; read again before it is complete. */
  late(header: Header, all: readonly Report<Header>[]): SnapshotRefusal | undefined;
  /** Reports that are not kept any longer. */
  expired(all: readonly Report<Header>[], nowMs: number): readonly string[];
  /** Called at least once for each complete report; repeated until it does not fail. */
  onComplete?(header: Header, end: ReportEnd): Promise<void>;
}

/** The headers of one source's reports. */
export const headersOf = <Header extends ReportHeader>(all: readonly Report<Header>[], source: string): Header[] =>
  all.flatMap(({ header }) => (header.source === source ? [header] : []));

/** Those that count as sources: a name under which everything was refused may be a mistake, and takes no place. */
export const sourcesOf = (all: readonly Report<ReportHeader>[]): ReadonlySet<string> =>
  new Set(all.flatMap(({ header, end }) => (end?.state === "refused" ? [] : [header.source])));

/** Longer than a part may take; a chunk renews it. */
const UNFINISHED_MS = 2 * HOUR_MS;
const SWEEP_MS = 10_000;

export const nameOf = ({ source, id }: Pick<ReportHeader, "source" | "id">): string => `${source}/${id}`;

export class Reports<Header extends ReportHeader> {
  readonly registry: PartRegistry<Header, ReportEnd>;
  readonly rows: StoredRows;
  readonly #options: ReportsOptions<Header>;
  readonly #settling = new Map<string, Promise<ReportOutcome<Header>>>();
  /** Reports are checked one after the other, for the memory's sake: some 100 bytes for each row of a partition. */
  #lastCheck: Promise<unknown> = Promise.resolve();
  /** Reports that had all parts and no end at the last sweep. */
  #stuck = new Set<string>();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  /** Reports of each of the first sources by how they ended, and rows, through this process. */
  readonly ended = new Map<string, Record<ReportEnd["state"], number>>();
  rowsReceived = 0;

  constructor(options: ReportsOptions<Header>) {
    const { redis, keys, partitions, keptMs } = options;
    this.#options = options;
    this.registry = new PartRegistry(redis, keys, keptMs);
    this.rows = new StoredRows(redis, keys, partitions, UNFINISHED_MS);
  }

  /** Sweeps from time to time. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /**
   * Begins a part; it changes nothing yet. Returns the report's header and the part under that number if it has come
   * before; or an outcome that needs no rows.
   */
  async open(given: Header, part: number): Promise<{ header: Header; known?: StoredPart } | ReportOutcome<Header>> {
    const name = nameOf(given);
    const [known, found] = await Promise.all([this.registry.part(name, part), this.registry.find(name)]);
    if (!found) return { header: given };
    const difference = this.#difference(found.header, given, part);
    if (difference) return this.refuse(found.header, difference);
    if (found.end?.refusal) return { outcome: "refused", refusal: found.end.refusal };
    return { header: found.header, ...(known ? { known } : {}) };
  }

  #difference(first: Header, given: Header, part: number): SnapshotRefusal | undefined {
    const { stated } = this.#options;
    return headerDifference(stated(first), stated(given), part);
  }

  /**
   * Ends a part, and its report if it was the last one.
   * @param known the part under its number when it began: the rows of this one are only compared with it
   * @throws EngineError `unavailable`, retryable: send the part again
   */
  async finish(
    given: Header,
    part: number,
    upload: PartUpload<ChunkBuilder>,
    known: StoredPart | undefined,
  ): Promise<ReportOutcome<Header>> {
    const name = nameOf(given);
    const own = await upload.finish();
    // Only now, so that a part which breaks off leaves nothing. Another part may have been first meanwhile.
    const header = await this.registry.open(name, given);
    const difference = this.#difference(header, given, part);
    if (difference) {
      await upload.abort();
      return this.refuse(header, difference);
    }
    const recorded = known ?? (await this.registry.record(name, part, own));
    const isRepeated = recorded.writer !== own.writer;
    if (isRepeated) await upload.abort();
    else this.rowsReceived += own.rows;
    if (recorded.digest !== own.digest) {
      const message = `part ${part} came twice, with other rows or in another order`;
      return this.refuse(header, { code: "part_differs", message, part });
    }
    const found = await this.registry.find(name);
    if (found?.end?.state === "complete") return { outcome: "complete", header, end: found.end };
    if (found?.end?.refusal) {
      // Whoever refused it may have looked before this part was recorded.
      await this.#dropRows(name);
      return { outcome: "refused", refusal: found.end.refusal };
    }
    const parts = await this.registry.parts(name);
    const { size: partsReceived } = parts;
    // Not only once all have come: a thousand parts, each as long as the whole may be, would fill Redis before.
    const rows = rowsIn(parts);
    if (rows > header.rows) return this.#refuseWhole(header, rowTotal(rows, header.rows));
    if (partsReceived < header.parts) return { outcome: "received", partsReceived, parts: header.parts };
    return this.#settle(header);
  }

  /** Refuses a report. One that has ended stays as it is; of a complete one only this part is refused. */
  async refuse(header: Header, refusal: SnapshotRefusal): Promise<ReportOutcome<Header>> {
    const name = nameOf(header);
    await this.registry.open(name, header);
    const own: ReportEnd = { state: "refused", endedMs: this.#options.clock.now(), refusal };
    const end = await this.registry.end(name, own);
    if (end === own) this.#count(header, end);
    if (end.state === "complete") return { outcome: "refused", refusal };
    await this.#dropRows(name);
    return { outcome: "refused", refusal: end.refusal ?? refusal };
  }

  /** Ends what nobody ends any more, removes what is old, and makes known what was not. Safe in several processes. */
  async sweep(): Promise<void> {
    const { expired, late, clock } = this.#options;
    const nowMs = clock.now();
    const all = await this.registry.all();
    const removed = new Set(expired(all, nowMs));
    for (const name of removed) await this.#remove(name);
    const full = new Set<string>();
    for (const { name, header, end } of all) {
      if (end || removed.has(name)) continue;
      const superseded = late(header, all);
      const { size } = await this.registry.parts(name);
      if (superseded) await this.refuse(header, { ...superseded, code: "incomplete" });
      else if (size >= header.parts) full.add(name);
      else if (nowMs - header.receivedMs > RECEIVING_MS) await this.refuse(header, incomplete(size, header.parts));
    }
    // A process may be at it right now; one that is found twice has lost its process.
    for (const { name, header } of all)
      if (full.has(name) && this.#stuck.has(name))
        await this.#settle(header).catch((thrown) =>
          this.#options.onTrouble(`${name} cannot be ended: ${messageOf(thrown)}`),
        );
    this.#stuck = full;
    const complete = all.filter(({ name, end }) => end?.state === "complete" && !removed.has(name));
    const missing = new Set(await this.registry.unannounced(complete.map(({ name }) => name)));
    for (const { name, header, end } of complete) if (end && missing.has(name)) await this.#announce(header, end);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(SWEEP_MS, signal);
      if (signal.aborted) return;
      await this.sweep().catch((thrown) => this.#options.onTrouble(`sweep of reports: ${messageOf(thrown)}`));
    }
  }

  /** Ends a report of which all parts have come; once at a time in this process. */
  #settle(header: Header): Promise<ReportOutcome<Header>> {
    const name = nameOf(header);
    const known = this.#settling.get(name);
    if (known) return known;
    const turn = this.#lastCheck.then(() => this.#decide(header)).finally(() => this.#settling.delete(name));
    this.#lastCheck = turn.catch(() => {});
    this.#settling.set(name, turn);
    return turn;
  }

  async #decide(header: Header): Promise<ReportOutcome<Header>> {
    const name = nameOf(header);
    const { check, late, keptMs, clock } = this.#options;
    const parts = await this.registry.parts(name);
    const rows = rowsIn(parts);
    if (rows !== header.rows) return this.#refuseWhole(header, rowTotal(rows, header.rows));
    const wrong = (await check(header, parts).catch(rowsLost)) ?? late(header, await this.registry.all());
    if (wrong) return this.#refuseWhole(header, wrong);
    // Before it is complete, so that no complete report loses rows because its process was killed here.
    await Promise.all([...parts.values()].map((part) => this.rows.keep(part, keptMs)));
    const own: ReportEnd = { state: "complete", endedMs: clock.now() };
    const end = await this.registry.end(name, own);
    if (end.refusal) {
      await this.#dropRows(name);
      return { outcome: "refused", refusal: end.refusal };
    }
    if (end === own) this.#count(header, end);
    await this.#announce(header, end);
    return { outcome: "complete", header, end };
  }

  #count({ source }: Header, { state }: ReportEnd): void {
    const known = this.ended.get(source);
    // Names that are mistakes would be counted for good.
    if (!known && this.ended.size >= MAX_SOURCES) return;
    const counts = known ?? { complete: 0, refused: 0 };
    counts[state]++;
    this.ended.set(source, counts);
  }

  /** Refuses a report that may have been ended by another process meanwhile: the answer is how it ended. */
  async #refuseWhole(header: Header, refusal: SnapshotRefusal): Promise<ReportOutcome<Header>> {
    const refused = await this.refuse(header, refusal);
    const end = (await this.registry.find(nameOf(header)))?.end;
    return end?.state === "complete" ? { outcome: "complete", header, end } : refused;
  }

  async #announce(header: Header, end: ReportEnd): Promise<void> {
    try {
      await this.#options.onComplete?.(header, end);
      await this.registry.setAnnounced(nameOf(header));
    } catch (thrown) {
      this.#options.onTrouble(`${nameOf(header)} is complete, but was not made known: ${messageOf(thrown)}`);
    }
  }

  async #dropRows(name: string): Promise<void> {
    for (const part of (await this.registry.parts(name)).values()) await this.rows.drop(part);
  }

  async #remove(name: string): Promise<void> {
    await this.#dropRows(name);
    await this.registry.remove(name);
  }
}

/** Rows of a part that was recorded are not there: another process has refused the report, or a failover lost them. */
function rowsLost(thrown: unknown): SnapshotRefusal {
  if (!(thrown instanceof EngineError) || thrown.code !== "snapshot_gone") throw thrown;
  return { code: "incomplete", message: "rows of a part were lost in the store: send all parts again under a new id" };
}

const rowsIn = (parts: ReadonlyMap<number, StoredPart>): number =>
  [...parts.values()].reduce((sum, part) => sum + part.rows, 0);

const rowTotal = (rows: number, announced: number): SnapshotRefusal => ({
  code: "row_total",
  message: `the parts have ${rows} rows together, and ${announced} were announced`,
});

const incomplete = (came: number, parts: number): SnapshotRefusal => ({
  code: "incomplete",
  message: `${came} of ${parts} parts came within an hour`,
});
