/**
 * Takes the rows of one part while they stream in, and stores them chunk by chunk: memory is a chunk for each partition
 * and a few that are on their way, whatever the size of the part. Nothing counts before the part is recorded; a part
 * that is aborted, or whose process ends, leaves only rows that expire. It checks nothing in the rows.
 */
import { createHash } from "node:crypto";
import { secureBytes } from "../../kernel/random.js";
import { partitionOf } from "../../stream/partition.js";
import { CHUNK_ROWS, type ChunkBuilder, stored } from "./packed-rows.js";
import type { StoredPart } from "./part-registry.js";
import type { StoredRows } from "./stored-rows.js";

/** Chunks on their way to Redis: 8 × 20 KB. */
const MAX_UNDER_WAY = 8;

export class PartUpload<Builder extends ChunkBuilder> {
  readonly #rows: StoredRows;
  readonly #makeBuilder: () => Builder;
  /** Whether rows are stored; otherwise only their digest is computed. */
  readonly #stores: boolean;
  readonly #writer = secureBytes(12).toString("hex");
  readonly #digest = createHash("sha256");
  readonly #builders: Builder[];
  readonly #chunks: number[];
  readonly #underWay = new Set<Promise<void>>();
  #failure: unknown;
  #count = 0;

  constructor(rows: StoredRows, makeBuilder: () => Builder, stores: boolean) {
    this.#rows = rows;
    this.#makeBuilder = makeBuilder;
    this.#stores = stores;
    this.#builders = Array.from({ length: rows.partitions }, () => this.#makeBuilder());
    this.#chunks = new Array<number>(rows.partitions).fill(0);
  }

  /** Rows taken so far. */
  get count(): number {
    return this.#count;
  }

  /** The builder for the next row of a SKU; add exactly one row to it, then call `added`. */
  builderOf(sku: string): { builder: Builder; partition: number } {
    const partition = partitionOf(sku, this.#builders.length);
    return { builder: this.#builders[partition] as Builder, partition };
  }

  added(partition: number): void {
    this.#count++;
    if ((this.#builders[partition] as Builder).rows >= CHUNK_ROWS) this.#flush(partition);
  }

  /** Whether so many chunks are under way that the caller has to wait for `drain` before it adds more. */
  get isFull(): boolean {
    return this.#underWay.size >= MAX_UNDER_WAY;
  }

  /** @throws EngineError `unavailable` when a chunk could not be stored */
  async drain(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Stores the rest. @throws as `drain` */
  async finish(): Promise<StoredPart> {
    for (let partition = 0; partition < this.#builders.length; partition++) this.#flush(partition);
    await this.drain();
    return {
      writer: this.#writer,
      digest: this.#digest.digest("base64url"),
      rows: this.#count,
      chunks: this.#chunks,
    };
  }

  /** Removes what was stored; never fails, because it would expire anyway. */
  async abort(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#stores) await this.#rows.drop({ writer: this.#writer, chunks: this.#chunks }).catch(() => {});
  }

  #flush(partition: number): void {
    const builder = this.#builders[partition] as Builder;
    if (builder.rows === 0) return;
    const packed = builder.take();
    this.#digest.update(Buffer.of(partition)).update(packed);
    if (!this.#stores || this.#failure !== undefined) return;
    this.#chunks[partition] = (this.#chunks[partition] as number) + 1;
    const pushed: Promise<void> = this.#rows
      .push(partition, this.#writer, stored(packed))
      .catch((thrown: unknown) => {
        this.#failure ??= thrown;
      })
      .finally(() => this.#underWay.delete(pushed));
    this.#underWay.add(pushed);
  }
}
