/**
 * Movements that sources report (R15): what a source has booked in a span of time, in numbered parts as snapshots are.
 * A batch is complete once all of its parts fit together and every time lies in its span. Batches of a source may
 * overlap, and a movement may be in several; a reader gets it once. They are kept for 8 days, as long as closings and a
 * day longer than snapshots, so that the time between two snapshots can be explained. It does not compare them.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { DAY_MS } from "../../kernel/clock.js";
import { badInput } from "../../kernel/errors.js";
import { reportKeys } from "../../stream/keys.js";
import type { Movement, MovementRecord, SnapshotRefusal } from "../model.js";
import { MovementChunkBuilder, movementsOf } from "./packed-rows.js";
import type { StoredPart } from "./part-registry.js";
import { PartUpload } from "./part-upload.js";
import {
  headersOf,
  nameOf,
  type Report,
  type ReportHeader,
  type ReportOutcome,
  Reports,
  sourcesOf,
} from "./reports.js";
import {
  checkShape,
  isoOf,
  isReportId,
  MAX_AHEAD_MS,
  MAX_RECEIVING,
  MAX_ROW_UNITS,
  MAX_SOURCES,
  rowFault,
  rowsRefusal,
  type SnapshotPartHeader,
  skewOf,
  skewRefusal,
} from "./snapshot-rules.js";
import type { SnapshotStoreOptions } from "./snapshot-store.js";

/** What a part states about itself and its batch. */
export interface MovementPartHeader
  extends Pick<SnapshotPartHeader, "source" | "id" | "part" | "parts" | "rows" | "sentAtMs" | "skewMs"> {
  /** The span [fromMs, toMs), by the source's clock. */
  readonly fromMs: number;
  readonly toMs: number;
}

export type MovementOutcome =
  | { readonly outcome: "received"; readonly partsReceived: number; readonly parts: number }
  | { readonly outcome: "complete"; readonly batch: MovementRecord }
  | { readonly outcome: "refused"; readonly refusal: SnapshotRefusal };

interface Header extends ReportHeader {
  readonly fromMs: number;
  readonly toMs: number;
}

const KEPT_MS = 8 * DAY_MS;
const REFUSED_KEPT_MS = DAY_MS;
/** Refused ones of one source, so that a client that repeats a mistake takes no place from those that are right. */
const REFUSED_KEPT = 32;
/** Of one batch: to find one that comes twice, those of a partition are held in memory, some 150 bytes each. */
const MAX_MOVEMENTS = 1_000_000;
/** The longest span of one batch. */
const MAX_SPAN_MS = 2 * DAY_MS;
/** Batches of one source: 8 days of one every 10 minutes. */
const MAX_BATCHES = 1_200;
/** Identities that a reader keeps in one partition, to give each movement once; beyond it, one may come again. */
const MAX_IDENTITIES = 1_000_000;

export class MovementStore {
  readonly #options: Pick<SnapshotStoreOptions, "clock" | "partitions">;
  readonly #reports: Reports<Header>;

  constructor(options: Pick<SnapshotStoreOptions, "redis" | "prefix" | "partitions" | "clock" | "onTrouble">) {
    const { redis, prefix, partitions, clock, onTrouble } = options;
    this.#options = options;
    this.#reports = new Reports<Header>({
      ...{ redis, partitions, clock, onTrouble },
      keys: reportKeys(prefix, "movements"),
      keptMs: KEPT_MS + DAY_MS,
      stated: ({ fromMs, toMs, parts, rows }) => ({ from: isoOf(fromMs), to: isoOf(toMs), parts, rows }),
      check: (_header, parts) => this.#duplicate(parts),
      late: () => undefined,
      expired,
    });
  }

  start(): void {
    this.#reports.start();
  }

  stop(): Promise<void> {
    return this.#reports.stop();
  }

  /** Ends and removes batches; `start` does it from time to time. */
  sweep(): Promise<void> {
    return this.#reports.sweep();
  }

  /** All batches that are kept, the latest span first. */
  async list(): Promise<readonly MovementRecord[]> {
    const all = await this.#reports.registry.all();
    const records = await Promise.all(all.map((report) => this.#recordOf(report)));
    return records.sort((a, b) => b.toMs - a.toMs || b.receivedMs - a.receivedMs);
  }

  /**
   * The movements of a source in [fromMs, toMs) by its clock, of one partition's SKUs, batch by batch.
   * @throws EngineError `snapshot_gone` when a batch was removed meanwhile
   */
  async *read(
    source: string,
    { fromMs, toMs }: { fromMs: number; toMs: number },
    partition: number,
    signal?: AbortSignal,
  ): AsyncGenerator<readonly Movement[]> {
    const batches = (await this.#reports.registry.all())
      .filter(({ header, end }) => header.source === source && end?.state === "complete")
      .filter(({ header }) => header.fromMs < toMs && header.toMs > fromMs)
      .sort((a, b) => a.header.fromMs - b.header.fromMs);
    const known = new Set<string>();
    for (const { name } of batches) {
      const parts = await this.#reports.registry.parts(name);
      for await (const chunk of this.#reports.rows.read(parts.values(), partition, signal)) {
        const wanted: Movement[] = [];
        for (const movement of movementsOf(chunk)) {
          if (movement.atMs < fromMs || movement.atMs >= toMs) continue;
          const identity = identityOf(movement);
          if (known.has(identity)) continue;
          if (known.size < MAX_IDENTITIES) known.add(identity);
          wanted.push(movement);
        }
        if (wanted.length > 0) yield wanted;
        await nextTurn();
      }
    }
  }

  /**
   * Begins a part: returns what takes its movements, or an outcome that needs none of them.
   * @throws EngineError `bad_input` when the header is impossible, `unavailable` when Redis cannot be reached
   */
  async receive(given: MovementPartHeader): Promise<MovementPartWriter | MovementOutcome> {
    checkShape(given);
    for (const name of ["fromMs", "toMs"] as const)
      if (!Number.isSafeInteger(given[name]) || given[name] < 0)
        throw badInput("movements.receive", name, "expected milliseconds since 1970");
    const nowMs = this.#options.clock.now();
    const { registry } = this.#reports;
    const all = await registry.all();
    const skew = skewOf(given, nowMs, headersOf(all, given.source));
    const { source, id, parts, rows, fromMs, toMs, part } = given;
    const header: Header = {
      ...{ source, id, parts, rows, fromMs, toMs, receivedMs: nowMs },
      ...skew,
    };
    if (!all.some(({ name }) => name === nameOf(header))) {
      const full = (await registry.isFull()) ? tooMany : boundRefusal(all, source);
      if (full) return { outcome: "refused", refusal: full };
      const refusal = skewRefusal(skew.skewMs) ?? spanRefusal(header) ?? rowsRefusal(rows, MAX_MOVEMENTS);
      if (refusal) return this.#outcomeOf(await this.#reports.refuse(header, refusal));
    }
    const opened = await this.#reports.open(header, part);
    if ("outcome" in opened) return this.#outcomeOf(opened);
    return new MovementPartWriter(this.#reports, (outcome) => this.#outcomeOf(outcome), { ...opened, part });
  }

  async #outcomeOf(outcome: ReportOutcome<Header>): Promise<MovementOutcome> {
    if (outcome.outcome !== "complete") return outcome;
    const { header, end } = outcome;
    return { outcome: "complete", batch: await this.#recordOf({ name: nameOf(header), header, end }) };
  }

  async #recordOf({ name, header, end }: Report<Header>): Promise<MovementRecord> {
    const isComplete = end?.state === "complete";
    const parts = isComplete ? undefined : [...(await this.#reports.registry.parts(name)).values()];
    const { measuredSkewMs: _, ...stated } = header;
    return {
      ...stated,
      state: end?.state ?? "receiving",
      partsReceived: parts?.length ?? header.parts,
      rowsReceived: parts?.reduce((sum, part) => sum + part.rows, 0) ?? header.rows,
      ...(end ? { endedMs: end.endedMs } : {}),
      ...(end?.refusal ? { refusal: end.refusal } : {}),
    };
  }

  async #duplicate(parts: ReadonlyMap<number, StoredPart>): Promise<SnapshotRefusal | undefined> {
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      const seen = new Set<string>();
      for (const [number, part] of [...parts].sort(([a], [b]) => a - b))
        for await (const chunk of this.#reports.rows.read([part], partition)) {
          for (const movement of movementsOf(chunk)) {
            const identity = identityOf(movement);
            if (seen.has(identity)) {
              const { id, sku, location } = movement;
              const message = `movement ${id} of SKU ${sku} at ${location} comes twice, the second time in part ${number}`;
              return { code: "duplicate_row", message, part: number };
            }
            seen.add(identity);
          }
          await nextTurn();
        }
    }
    return undefined;
  }
}

/**
 * A transfer is two movements with one id, at two locations; and where the id is an order's, the same id comes again
 * with every step of it, and when the source has booked one twice: these differ by time.
 */
const identityOf = ({ id, sku, location, atMs }: Movement): string => [id, sku, location, atMs].join("\u001f");

function expired(all: readonly Report<Header>[], nowMs: number): string[] {
  const names: string[] = [];
  const refused = new Map<string, number>();
  for (const { name, header, end } of [...all].sort((a, b) => (b.end?.endedMs ?? 0) - (a.end?.endedMs ?? 0))) {
    if (end?.state !== "refused") {
      // The rows themselves expire by the time at which they came.
      if (nowMs - Math.min(header.toMs, header.receivedMs) > KEPT_MS) names.push(name);
      continue;
    }
    const newer = refused.get(header.source) ?? 0;
    refused.set(header.source, newer + 1);
    if (newer >= REFUSED_KEPT || nowMs - end.endedMs > REFUSED_KEPT_MS) names.push(name);
  }
  return names;
}

const tooMany: SnapshotRefusal = {
  code: "too_many_snapshots",
  message: "too many batches are kept or being received; send it again later under the same id, or fewer larger ones",
};

function boundRefusal(all: readonly Report<Header>[], source: string): SnapshotRefusal | undefined {
  const own = all.filter(({ header }) => header.source === source);
  const sources = sourcesOf(all);
  if (!sources.has(source) && sources.size >= MAX_SOURCES)
    return { code: "too_many_sources", message: `${MAX_SOURCES} sources report movements already` };
  const receiving = all.filter(({ end }) => !end).length;
  return receiving >= MAX_RECEIVING || own.length >= MAX_BATCHES ? tooMany : undefined;
}

function spanRefusal({ fromMs, toMs, receivedMs, skewMs = 0 }: Header): SnapshotRefusal | undefined {
  const refusal = (message: string): SnapshotRefusal => ({ code: "outside_span", message });
  if (toMs <= fromMs || toMs - fromMs > MAX_SPAN_MS)
    return refusal(
      `a batch has a span of more than 0 and at most ${MAX_SPAN_MS / DAY_MS} days; this one has ${toMs - fromMs} ms`,
    );
  if (fromMs - skewMs > receivedMs + MAX_AHEAD_MS)
    return refusal(`the span begins at ${isoOf(fromMs)}, which is in the future`);
  if (receivedMs - (toMs - skewMs) > KEPT_MS)
    return refusal(`the span ends at ${isoOf(toMs)}; movements are kept for ${KEPT_MS / DAY_MS} days`);
  return undefined;
}

/** Takes the movements of one part; used as the writer of a snapshot's part. */
export class MovementPartWriter {
  readonly #reports: Reports<Header>;
  readonly #outcomeOf: (outcome: ReportOutcome<Header>) => Promise<MovementOutcome>;
  readonly #part: { header: Header; part: number; known?: StoredPart };
  readonly #upload: PartUpload<MovementChunkBuilder>;

  constructor(
    reports: Reports<Header>,
    outcomeOf: (outcome: ReportOutcome<Header>) => Promise<MovementOutcome>,
    part: { header: Header; part: number; known?: StoredPart },
  ) {
    this.#reports = reports;
    this.#outcomeOf = outcomeOf;
    this.#part = part;
    this.#upload = new PartUpload(reports.rows, () => new MovementChunkBuilder(), part.known === undefined);
  }

  /** Movements taken so far. */
  get count(): number {
    return this.#upload.count;
  }

  get isFull(): boolean {
    return this.#upload.isFull;
  }

  /** Takes a movement, or returns what is wrong with it. Values are checked here, whatever they are. */
  add(id: unknown, sku: unknown, location: unknown, units: unknown, atMs: unknown): SnapshotRefusal | undefined {
    const { header, part } = this.#part;
    const row = this.#upload.count + 1;
    const refusal = (code: SnapshotRefusal["code"], message: string): SnapshotRefusal => ({
      ...{ code, part, row },
      message: `row ${row} of part ${part}: ${message}`,
    });
    if (typeof id !== "string" || !isReportId(id))
      return refusal("malformed_row", "the id must be 1 to 64 letters, digits, dots, colons, hyphens and underscores");
    const fault = rowFault(sku, location, units, -MAX_ROW_UNITS);
    if (fault) return refusal(fault.code, fault.message);
    if (!isReportId(location as string)) return refusal("malformed_row", "the location is not possible");
    if (units === 0) return refusal("wrong_unit", "a movement of 0 units moves nothing");
    if (typeof atMs !== "number" || !Number.isSafeInteger(atMs))
      return refusal("malformed_row", "its time must be an instant");
    if (atMs < header.fromMs || atMs >= header.toMs)
      return refusal("outside_span", `movement ${id} is not in the span that is reported`);
    if (row > header.rows)
      return refusal("row_total", `it has more rows than the ${header.rows} that were announced for all parts`);
    const { builder, partition } = this.#upload.builderOf(sku as string);
    builder.add({ id, sku: sku as string, location: location as string, units: units as number, atMs });
    this.#upload.added(partition);
    return undefined;
  }

  /** @throws EngineError `unavailable`: abort, and send the part again */
  drain(): Promise<void> {
    return this.#upload.drain();
  }

  /** Ends the part, and its batch if it was the last. @throws as `drain` */
  async end(): Promise<MovementOutcome> {
    const { header, part, known } = this.#part;
    return this.#outcomeOf(await this.#reports.finish(header, part, this.#upload, known));
  }

  /** Refuses the part and its batch because of its content. */
  async refuse(refusal: SnapshotRefusal): Promise<MovementOutcome> {
    await this.#upload.abort();
    return this.#outcomeOf(await this.#reports.refuse(this.#part.header, refusal));
  }

  /** A fault of the format in the next row, as a refusal. */
  malformed(message: string): SnapshotRefusal {
    const { part } = this.#part;
    const row = this.#upload.count + 1;
    return { code: "malformed_row", message: `row ${row} of part ${part}: ${message}`, part, row };
  }

  /** Deletes the part as if it had not begun; never fails. */
  abort(): Promise<void> {
    return this.#upload.abort();
  }
}
