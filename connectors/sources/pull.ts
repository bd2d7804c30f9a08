/**
 * One pull of one source: asks for its rows, maps them, and stores them as a snapshot or as batches of movements.
 * Guarantee: nothing is stored unless all rows of the snapshot, or of the span, have come and every one is sound; the
 * source is informed that it need not give rows again only after they are stored. A dry run does the same up to there.
 * When to pull, and what to do after a failure, is decided by the runner.
 */
import { createHash } from "node:crypto";
import { type Clock, DAY_MS, MINUTE_MS } from "../../engine/kernel/clock.js";
import { badInput, EngineError } from "../../engine/kernel/errors.js";
import type { SnapshotRefusal } from "../../engine/reconciliation/model.js";
import type { MovementPartWriter, MovementStore } from "../../engine/reconciliation/reports/movement-store.js";
import { isReportId, MAX_ROWS, skewRefusal } from "../../engine/reconciliation/reports/snapshot-rules.js";
import type { SnapshotPartWriter, SnapshotStore } from "../../engine/reconciliation/reports/snapshot-store.js";
import type { PullRequest, Source, SourceClient, SourcePage } from "../source.js";
import type { PullConfiguration, SourceConfiguration } from "./configuration.js";
import type { SourceProgress } from "./progress.js";
import { type CollectedRow, RowCollector } from "./row-collector.js";
import { ourLocation, type RowFault, rowMapper, type StockRow } from "./row-mapper.js";

export interface PullStores {
  readonly snapshots: Pick<SnapshotStore, "receive" | "complete">;
  readonly movements: Pick<MovementStore, "receive">;
  readonly progress: SourceProgress;
}

export interface PullParts {
  readonly configuration: SourceConfiguration;
  readonly source: Source;
  readonly client: Pick<SourceClient, "skewMs">;
  /** The IANA zone of the shop. */
  readonly zone: string;
  /** The shop's. */
  readonly clock: Clock;
  /** Left out: a dry run, which stores and acknowledges nothing. */
  readonly stores?: PullStores;
}

export interface PullResult {
  readonly outcome: "stored" | "nothing_new" | "refused";
  /** Rows that were mapped, those that the configuration leaves out, and pages. */
  readonly rows: number;
  readonly ignored: number;
  readonly pages: number;
  /** The newest instant that was brought, by the engine's clock. */
  readonly reachedMs?: number;
  /** Why it was refused, each with its place; a limited number. */
  readonly faults: readonly string[];
  /** The first mapped rows, for people. */
  readonly samples: readonly StockRow[];
  /** Another snapshot waits. */
  readonly more: boolean;
}

const OP = "source.pull";
const FAULTS_SHOWN = 20;
/** A source with so many faulty rows has another form than the configuration states. */
const MOST_FAULTS = 1_000;
const SAMPLES = 3;
/** Ten times the rows of the largest snapshot: a source that never ends does not hold its lease for ever. */
const MAX_IGNORED = 10 * MAX_ROWS;
/** What a source books this late is still seen by the next pull; movements that come twice count once. */
const OVERLAP_MS = 5 * MINUTE_MS;
/** The longest span of a batch that the store takes. */
const MAX_SPAN_MS = 2 * DAY_MS;

/** Pulls a snapshot, or of a source of changes the changes, and makes a snapshot of all its cells. */
export function pullSnapshot(parts: PullParts, signal: AbortSignal): Promise<PullResult> {
  return parts.configuration.kind.gives === "changes"
    ? new Pull(parts, "snapshot").changes(signal)
    : whole(parts, signal);
}

const whole = (parts: PullParts, signal: AbortSignal): Promise<PullResult> =>
  new Pull(parts, "snapshot").collect((pull, collector) => pull.whole(collector, signal));

/** Pulls the movements since the last pull, span by span. */
export async function pullMovements(parts: PullParts, signal: AbortSignal): Promise<PullResult> {
  const { configuration, client, clock, stores } = parts;
  const { reachMs } = configuration.pulls.movements as PullConfiguration;
  const skewed = skewRefusal(client.skewMs());
  if (skewed) throw failed(skewed.code, skewed.message);
  // Spans are the source's time.
  const untilMs = clock.now() + (client.skewMs() ?? 0);
  const stored = Number((await stores?.progress.cursor("movements")) ?? Number.NaN);
  // A cursor ahead of the time was stored while a clock was wrong.
  const isKnown = stored <= untilMs + OVERLAP_MS;
  let fromMs = isKnown ? Math.min(untilMs, stored) - OVERLAP_MS : untilMs - reachMs;
  const stepMs = Math.min(MAX_SPAN_MS, configuration.kind.movementSpanMs ?? MAX_SPAN_MS);
  let sum: PullResult = { outcome: "nothing_new", rows: 0, ignored: 0, pages: 0, faults: [], samples: [], more: false };
  while (fromMs < untilMs) {
    const toMs = Math.min(untilMs, fromMs + stepMs);
    const span = { fromMs, toMs };
    const result = await new Pull(parts, "movements").collect((pull, rows) => pull.span(rows, span, signal));
    sum = {
      ...result,
      outcome: result.outcome === "nothing_new" ? sum.outcome : result.outcome,
      rows: sum.rows + result.rows,
      ignored: sum.ignored + result.ignored,
      pages: sum.pages + result.pages,
      samples: [...sum.samples, ...result.samples].slice(0, SAMPLES),
    };
    if (result.outcome === "refused") return sum;
    await stores?.progress.setCursor("movements", String(toMs));
    fromMs = toMs;
  }
  return { ...sum, reachedMs: untilMs };
}

/** What pages state about their snapshot. */
type About = Pick<SourcePage, "id" | "asOfMs" | "totalRows">;

class Pull {
  readonly #parts: PullParts;
  readonly #map: ReturnType<typeof rowMapper>;
  readonly #startedMs: number;
  readonly #faults: string[] = [];
  readonly #samples: StockRow[] = [];
  #faulty = 0;
  #rows = 0;
  #ignored = 0;
  #pageCount = 0;
  #last: SourcePage | undefined;

  constructor(parts: PullParts, kind: PullRequest["kind"]) {
    const { configuration, zone, clock } = parts;
    this.#parts = parts;
    this.#map = rowMapper(configuration, kind, configuration.pulls[kind] as PullConfiguration, zone);
    this.#startedMs = clock.now();
  }

  async collect(work: (pull: Pull, collector: RowCollector) => Promise<PullResult>): Promise<PullResult> {
    const collector = await RowCollector.open(this.#parts.configuration);
    try {
      return await work(this, collector);
    } finally {
      await collector.close();
    }
  }

  // ---- a whole snapshot

  async whole(collector: RowCollector, signal: AbortSignal): Promise<PullResult> {
    const acknowledge: NonNullable<SourcePage["acknowledge"]>[] = [];
    let about: About = {};
    await this.#pages({ kind: "snapshot" }, signal, async (page) => {
      about = joined(about, page);
      if (page.acknowledge) acknowledge.push(page.acknowledge.bind(page));
      for (const row of this.#mapped(page)) {
        about = this.#withTime(about, row);
        if (!(await collector.add(row))) this.#fault(duplicateOf(row));
      }
    });
    if (this.#last === undefined) return this.#result("nothing_new");
    // Before the total: with many faults not all rows were read.
    if (this.#faulty > 0) return this.#refused();
    const came = this.#rows + this.#ignored;
    const { totalRows = came } = about;
    if (totalRows !== came) throw failed("row_total", `${totalRows} rows were announced, and ${came} came`);
    const result = await this.#store(collector, about.asOfMs, about.id);
    if (result.outcome === "refused" || !this.#parts.stores) return result;
    for (const each of acknowledge) await each(signal);
    return result;
  }

  /** The instant that the rows state; all the same, or the page's. */
  #withTime(about: About, row: StockRow): About {
    if (row.timeMs === undefined || row.timeMs === about.asOfMs) return about;
    if (about.asOfMs === undefined) return { ...about, asOfMs: row.timeMs };
    this.#fault({
      code: "header_differs",
      place: `SKU ${row.sku}`,
      message: `has the time ${isoOf(row.timeMs)}, and the rows before ${isoOf(about.asOfMs)}; a snapshot has one instant`,
    });
    return about;
  }

  // ---- a source of changes

  async changes(signal: AbortSignal): Promise<PullResult> {
    const { configuration, stores } = this.#parts;
    const cursor = await stores?.progress.cursor("snapshot");
    await this.#pages({ kind: "snapshot", ...(cursor === undefined ? {} : { cursor }) }, signal, async (page) => {
      const rows = [...this.#mapped(page)];
      // The page comes again once the configuration covers its content.
      if (this.#faulty > 0 || !stores) return;
      // Under the outside location: a changed map applies to all cells.
      const cells = rows.map((row) => ({ ...row, location: row.theirLocation ?? "" }));
      await stores.progress.storeCells(cells, page.cursor);
      await page.acknowledge?.(signal);
    });
    if (this.#faulty > 0) return this.#refused(false);
    if (!stores || (await stores.progress.countCells()) === 0) return this.#result(stores ? "nothing_new" : "stored");
    return this.collect(async (_, collector) => {
      for await (const [sku, theirs, units] of stores.progress.cells(signal)) {
        const location = configuration.location ?? ourLocation(configuration, theirs);
        if (location === null) continue;
        if (location === undefined) {
          this.#fault({
            code: "unknown_location",
            place: `SKU ${sku}`,
            message: `is at ${theirs}, which is not mapped`,
          });
          continue;
        }
        const row = { sku, location, theirLocation: theirs, units, timeMs: undefined, id: undefined, version: 0 };
        await collector.add(row);
      }
      if (this.#faulty > 0) return this.#refused(false);
      return this.#store(collector, undefined, undefined);
    });
  }

  // ---- movements

  async span(
    collector: RowCollector,
    span: { readonly fromMs: number; readonly toMs: number },
    signal: AbortSignal,
  ): Promise<PullResult> {
    const acknowledge: NonNullable<SourcePage["acknowledge"]>[] = [];
    await this.#pages({ kind: "movements", ...span }, signal, async (page) => {
      if (page.acknowledge) acknowledge.push(page.acknowledge.bind(page));
      for (const row of this.#mapped(page)) if (!(await collector.add(row))) this.#fault(duplicateOf(row));
    });
    if (this.#faulty > 0) return this.#refused();
    const { stores, configuration } = this.#parts;
    if (stores && collector.count > 0) {
      const id = `${span.fromMs}-${span.toMs}`;
      const whole = { source: configuration.name, id, ...span, part: 1, parts: 1, rows: collector.count };
      const writer = await stores.movements.receive({ ...whole, ...this.#skew() });
      const outcome =
        "add" in writer
          ? await filled(writer, collector, (row) => writer.add(row.id, row.sku, row.location, row.units, row.timeMs))
          : writer;
      if (outcome.outcome === "refused") return this.#refusedBy(outcome.refusal);
    }
    if (stores) for (const each of acknowledge) await each(signal);
    return this.#result(collector.count > 0 ? "stored" : "nothing_new");
  }

  // ---- what they share

  async #pages(request: PullRequest, signal: AbortSignal, take: (page: SourcePage) => Promise<void>): Promise<void> {
    try {
      for await (const page of this.#parts.source.pull(request, signal)) {
        this.#last = page;
        this.#pageCount++;
        await take(page);
        if (this.#faulty >= MOST_FAULTS) break;
      }
    } catch (thrown) {
      // What is broken for good is not asked for again.
      if (thrown instanceof EngineError && thrown.code === "bad_input" && !thrown.retryable)
        await this.#refuseLast(thrown.message);
      throw thrown;
    }
  }

  *#mapped(page: SourcePage): Generator<StockRow> {
    for (const raw of page.rows) {
      const reading = this.#map(raw);
      if (reading === "ignored") {
        if (++this.#ignored > MAX_IGNORED) throw failed("too_many_rows", `more than ${MAX_IGNORED} rows are left out`);
      } else if ("fault" in reading) this.#fault(reading.fault);
      else {
        this.#rows++;
        if (this.#samples.length < SAMPLES) this.#samples.push(reading.row);
        yield reading.row;
      }
    }
  }

  #fault({ place, message }: RowFault): void {
    this.#faulty++;
    if (this.#faults.length < FAULTS_SHOWN) this.#faults.push(`${place}: ${message}`);
  }

  /** @param statedMs by the source's clock; undefined: when the pull began */
  async #store(
    collector: RowCollector,
    statedMs: number | undefined,
    givenId: string | undefined,
  ): Promise<PullResult> {
    const { stores, configuration } = this.#parts;
    const asOfMs = statedMs ?? this.#startedMs;
    if (collector.count === 0) {
      this.#fault({ code: "row_total", place: configuration.name, message: "the snapshot has no rows" });
      return this.#refused();
    }
    const skew = statedMs === undefined ? {} : this.#skew();
    if (!stores) return { ...this.#result("stored"), reachedMs: asOfMs };
    const about = {
      source: configuration.name,
      id: reportIdOf(givenId ?? isoOf(asOfMs)),
      measure: configuration.measure,
    };
    const header = { ...about, asOfMs, part: 1, parts: 1, rows: collector.count, ...skew };
    const isKnown = (await stores.snapshots.complete(header.source, header.id)) !== undefined;
    const writer = await stores.snapshots.receive(header);
    const outcome =
      "add" in writer
        ? await filled(writer, collector, ({ sku, location, units }) => writer.add(sku, location, units))
        : writer;
    if (outcome.outcome === "refused") return this.#refusedBy(outcome.refusal);
    if (outcome.outcome !== "complete") throw failed("incomplete", "the only part did not complete the snapshot");
    return { ...this.#result(isKnown ? "nothing_new" : "stored"), reachedMs: outcome.snapshot.asOfMs };
  }

  /** How far the source's clock is ahead, where it is known. */
  #skew(): { skewMs?: number } {
    const skewMs = this.#parts.client.skewMs();
    return skewMs === undefined ? {} : { skewMs };
  }

  async #refusedBy({ code, message }: SnapshotRefusal): Promise<PullResult> {
    // Not the rows are at fault: they may be stored later.
    if (code === "too_many_snapshots") throw failed(code, message);
    this.#fault({ code: "header_differs", place: this.#parts.configuration.name, message });
    return this.#refused();
  }

  /** @param forGood the source need not give these rows again */
  async #refused(forGood = true): Promise<PullResult> {
    const more = this.#faulty - this.#faults.length;
    if (forGood) await this.#refuseLast([...this.#faults, ...(more > 0 ? [`and ${more} more`] : [])].join("\n"));
    return this.#result("refused");
  }

  async #refuseLast(reason: string): Promise<void> {
    if (this.#parts.stores) await this.#last?.refuse?.(reason);
  }

  #result(outcome: PullResult["outcome"]): PullResult {
    return {
      outcome,
      rows: this.#rows,
      ignored: this.#ignored,
      pages: this.#pageCount,
      faults: this.#faults,
      samples: this.#samples,
      more: this.#last?.more === true,
    };
  }
}

/** Gives all collected rows to a writer, and ends it. */
async function filled<Outcome>(
  writer: Pick<SnapshotPartWriter | MovementPartWriter, "isFull" | "drain" | "abort"> & {
    end(): Promise<Outcome>;
    refuse(refusal: NonNullable<ReturnType<SnapshotPartWriter["add"]>>): Promise<Outcome>;
  },
  collector: RowCollector,
  add: (row: CollectedRow) => ReturnType<SnapshotPartWriter["add"]>,
): Promise<Outcome> {
  try {
    for await (const row of collector.rows()) {
      const refusal = add(row);
      if (refusal) return await writer.refuse(refusal);
      if (writer.isFull) await writer.drain();
    }
    return await writer.end();
  } catch (thrown) {
    await writer.abort();
    throw thrown;
  }
}

/** What the pages state together. */
function joined(before: About, page: SourcePage): About {
  const about: Record<string, unknown> = { ...before };
  for (const name of ["id", "asOfMs", "totalRows"] as const) {
    const value = page[name];
    if (value === undefined) continue;
    if (about[name] !== undefined && about[name] !== value)
      throw failed("changed_meanwhile", `two pages state another ${name}: the stock has changed while it was read`);
    about[name] = value;
  }
  return about;
}

const duplicateOf = ({ sku, theirLocation, location }: StockRow): RowFault => ({
  code: "duplicate_row",
  place: `SKU ${sku} at ${theirLocation ?? location}`,
  message: "comes twice",
});

const failed = (code: string, message: string): EngineError =>
  new EngineError(message, { op: OP, code, retryable: true });

/** An id that the store takes; another one becomes a digest of it. */
const reportIdOf = (id: string): string =>
  isReportId(id) ? id : createHash("sha256").update(id).digest("hex").slice(0, 32);

function isoOf(ms: number): string {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) throw badInput(OP, "time", `${ms} ms is no time`);
  return date.toISOString();
}
