/**
 * What the pulls of a source have stored (progress.lua): cursors, and of a source of changes the newest units of every
 * cell, of which whole snapshots are made. Every write is fenced by the lease of the source. The number of cells is
 * bounded; a source that has more is refused, and nothing of that page is stored.
 */
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { callFunction, loadLibrary } from "../../engine/stream/functions.js";
import type { SourceKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import type { StockRow } from "./row-mapper.js";

export const loadSourcesLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./progress.lua", import.meta.url));

/** The cursors of a source. */
export type Cursor = "snapshot" | "movements" | "request";

/** A million cells of 60 bytes each take some 100 MB. */
const MAX_CELLS = 1_000_000;
/** Cells of one call, so that no call takes longer than a few milliseconds. */
const CALL_CELLS = 1_000;
const SCAN_CELLS = 2_000;
/** Between SKU and location, which have no control characters. */
const SEPARATOR = "\u001f";

export class SourceProgress {
  readonly #redis: RedisClient;
  readonly #keys: SourceKeys;
  readonly #epoch: number;
  readonly #maxCells: number;

  /** @param epoch of the lease under which the source is pulled */
  constructor(redis: RedisClient, keys: SourceKeys, epoch: number, maxCells = MAX_CELLS) {
    this.#redis = redis;
    this.#keys = keys;
    this.#epoch = epoch;
    this.#maxCells = maxCells;
  }

  async cursor(name: Cursor): Promise<string | undefined> {
    return (await this.#redis.hget(this.#keys.progress, name)) ?? undefined;
  }

  /** @throws EngineError `stale_epoch` when another process pulls the source now */
  async setCursor(name: Cursor, value: string): Promise<void> {
    await this.#store([name, value], []);
  }

  /**
   * Stores the newest units of cells, and with the last of them the cursor.
   * @throws EngineError `stale_epoch`, and `too_many_cells`
   */
  async storeCells(rows: readonly StockRow[], cursor: string | undefined): Promise<void> {
    for (let from = 0; from < rows.length || from === 0; from += CALL_CELLS) {
      const isLast = from + CALL_CELLS >= rows.length;
      const some = rows.slice(from, from + CALL_CELLS);
      await this.#store(isLast && cursor !== undefined ? ["snapshot", cursor] : [], some);
    }
  }

  async countCells(): Promise<number> {
    return this.#redis.hlen(this.#keys.cells);
  }

  /** Every cell once. */
  async *cells(signal: AbortSignal): AsyncGenerator<[sku: string, location: string, units: number]> {
    const given = new Set<string>();
    let at = "0";
    do {
      signal.throwIfAborted();
      const [next, found] = await this.#redis.hscan(this.#keys.cells, at, "COUNT", SCAN_CELLS);
      at = next;
      for (let i = 0; i < found.length; i += 2) {
        const name = found[i] as string;
        // A scan may give a field again while the hash grows.
        if (given.has(name)) continue;
        given.add(name);
        const [sku = "", location = ""] = name.split(SEPARATOR);
        yield [sku, location, Number((found[i + 1] as string).split(":")[1])];
      }
    } while (at !== "0");
  }

  async #store(cursor: readonly string[], rows: readonly StockRow[]): Promise<void> {
    const { task, cells, progress } = this.#keys;
    const args = [
      ...[this.#epoch, this.#maxCells, cursor.length / 2, ...cursor],
      ...rows.flatMap(({ sku, location, version, units }) => [sku + SEPARATOR + location, version, units]),
    ];
    let count: unknown;
    try {
      count = await callFunction(this.#redis, "source_store", [task, cells, progress], args);
    } catch (thrown) {
      if (!messageOf(thrown).includes("STALE_EPOCH")) throw thrown;
      const detail = { op: "source.store", code: "stale_epoch", retryable: true, input: task };
      throw new EngineError(`${task}: another process pulls this source now`, detail, { cause: thrown });
    }
    if (count === -1)
      throw new EngineError(`the source has more than ${this.#maxCells} cells`, {
        ...{ op: "source.store", code: "too_many_cells", retryable: false, input: cells },
      });
  }
}
