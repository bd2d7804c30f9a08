/**
 * Snapshots of made-up sources in memory, for tests of what compares them: a source is a list of rows that a test may
 * change at will.
 */
import type { RowChunk, Snapshot, SnapshotReader, SnapshotRow } from "../../../engine/reconciliation/model.js";
import { gone } from "../../../engine/reconciliation/reports/stored-rows.js";
import { partitionOf } from "../../../engine/stream/partition.js";

/** Rows of one chunk: few, so that small tests have several. */
const CHUNK_ROWS = 7;

export class Reports implements SnapshotReader {
  readonly #partitions: number;
  /** Sources of which the rows of the last partition are not there any more. */
  readonly lost = new Set<string>();
  readonly #reports = new Map<string, { snapshot: Snapshot; rows: readonly SnapshotRow[] }>();

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  /** Replaces the source's newest snapshot. */
  set(snapshot: Pick<Snapshot, "source" | "measure" | "asOfMs">, rows: readonly SnapshotRow[]): Snapshot {
    const { asOfMs } = snapshot;
    const complete = { ...snapshot, id: `${asOfMs}`, rows: rows.length, completedMs: asOfMs };
    this.#reports.set(snapshot.source, { snapshot: complete, rows });
    return complete;
  }

  async newest(): Promise<ReadonlyMap<string, Snapshot>> {
    return new Map([...this.#reports].map(([source, { snapshot }]) => [source, snapshot]));
  }

  async *rows({ source }: Snapshot, partition: number): AsyncGenerator<RowChunk> {
    if (this.lost.has(source) && partition === this.#partitions - 1) throw gone("rows");
    const all = this.#reports.get(source)?.rows ?? [];
    const own = all.filter(({ sku }) => partitionOf(sku, this.#partitions) === partition);
    for (let at = 0; at < own.length; at += CHUNK_ROWS) {
      const part = own.slice(at, at + CHUNK_ROWS);
      yield {
        skus: part.map(({ sku }) => sku),
        locations: part.map(({ location }) => location),
        units: part.map(({ units }) => units),
      };
    }
  }
}
