/**
 * Rows of parts in Redis: packed chunks in one list for each part and partition, so that everything is read partition
 * by partition. A part's lists have a name that no other part has, and expire unless they are kept: a part that failed
 * half-way leaves nothing that anybody reads. What has to be kept longer says so once it is complete.
 */
import { EngineError, messageOf } from "../../kernel/errors.js";
import type { ReportKeys } from "../../stream/keys.js";
import type { RedisClient } from "../../stream/redis.js";
import type { StoredPart } from "./part-registry.js";

/** Chunks of one read: 8 × 20 KB deflated, and 3 MB of rows in memory. */
const READ_CHUNKS = 8;

export class StoredRows {
  readonly #redis: RedisClient;
  readonly #keys: Pick<ReportKeys, "rows">;
  readonly partitions: number;
  readonly #unfinishedMs: number;

  /** @param unfinishedMs how long rows are kept without a call of `keep` */
  constructor(redis: RedisClient, keys: Pick<ReportKeys, "rows">, partitions: number, unfinishedMs: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.partitions = partitions;
    this.#unfinishedMs = unfinishedMs;
  }

  /** @throws EngineError `unavailable`, retryable with another writer: the chunk may have been stored */
  async push(partition: number, writer: string, chunk: Buffer): Promise<void> {
    const key = this.#keys.rows(partition, writer);
    try {
      const replies = await this.#redis.pipeline().rpush(key, chunk).pexpire(key, this.#unfinishedMs).exec();
      for (const [error] of replies ?? []) if (error) throw error;
    } catch (cause) {
      throw unavailable(`rows of partition ${partition}: ${messageOf(cause)}`, cause);
    }
  }

  /**
   * The stored chunks of parts in one partition.
   * @throws EngineError `snapshot_gone` when not all of them are there
   */
  async *read(parts: Iterable<StoredPart>, partition: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
    for (const { writer, chunks } of parts) {
      const expected = chunks[partition] ?? 0;
      const key = this.#keys.rows(partition, writer);
      for (let from = 0; from < expected; from += READ_CHUNKS) {
        signal?.throwIfAborted();
        const to = Math.min(expected, from + READ_CHUNKS);
        const found = await this.#redis.lrangeBuffer(key, from, to - 1);
        if (found.length !== to - from) throw gone(`${expected} chunks of partition ${partition}`);
        yield* found;
      }
    }
  }

  /** Keeps the rows of a part for so long from now. */
  async keep(part: StoredPart, keptMs: number): Promise<void> {
    await this.#onEach(part, (key) => this.#redis.pexpire(key, keptMs));
  }

  async drop(part: Pick<StoredPart, "writer" | "chunks">): Promise<void> {
    await this.#onEach(part, (key) => this.#redis.unlink(key));
  }

  async #onEach({ writer, chunks }: Pick<StoredPart, "writer" | "chunks">, act: (key: string) => Promise<unknown>) {
    await Promise.all(chunks.map((count, partition) => (count > 0 ? act(this.#keys.rows(partition, writer)) : 0)));
  }
}

export const gone = (what: string): EngineError =>
  new EngineError(`${what}: no longer kept, or lost in a failover`, {
    op: "reconciliation.rows",
    code: "snapshot_gone",
    retryable: false,
  });

const unavailable = (message: string, cause: unknown): EngineError =>
  new EngineError(message, { op: "reconciliation.rows", code: "unavailable", retryable: true }, { cause });
