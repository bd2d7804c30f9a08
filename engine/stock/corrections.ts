/**
 * Corrections of cells as the ledger keeps them beside its log (R2, R14): when a cell was last corrected, and which
 * corrections settled a difference between the ledger and a source's snapshot. The ledger writes both in the call that
 * appends the event, so they cannot disagree with the log, whatever ends in between. They are kept for 8 days after the
 * event, a day longer than snapshots are compared. A process of a release that does not write them leaves its
 * corrections out: compare again when an upgrade is finished.
 */
import { assert } from "../kernel/errors.js";
import { type StockKeys, stockKeys } from "../stream/keys.js";
import { readTogether } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";
import { type Balances, CELL_SEPARATOR, emptyBalances } from "./model.js";
import { balancesOf } from "./records.js";

/** A correction of sellable units that settled a difference. */
export interface SettledCorrection {
  /** The cell's name (`cellOf`). */
  readonly cell: string;
  /** Of the command. */
  readonly id: string;
  /** Signed: what was added to sellable. */
  readonly units: number;
  /** The instant of the snapshot that it follows; milliseconds since the epoch. */
  readonly asOfMs: number;
  /** The ledger's clock at the event. */
  readonly bookedMs: number;
}

/** A cell at one moment. */
export interface CellNow {
  /** All 0 of a cell that does not exist. */
  readonly balances: Balances;
  /** The ledger's clock at its last correction; undefined: not corrected for 8 days. */
  readonly correctedMs: number | undefined;
}

export interface CorrectionsOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly partitions: number;
}

/** Cells of one read: 500 × two look-ups of 1 µs are about 1 ms of Redis. */
const CELLS_AT_ONCE = 500;

export class Corrections {
  readonly #redis: RedisClient;
  readonly #keys: readonly StockKeys[];

  constructor({ redis, prefix, partitions }: CorrectionsOptions) {
    this.#redis = redis;
    this.#keys = Array.from({ length: partitions }, (_, partition) => stockKeys(prefix, partition));
  }

  /** Balances and last corrections of cells of one partition, in their order; those of one read at one moment. */
  async cellsNow(partition: number, cells: readonly string[]): Promise<CellNow[]> {
    const keys = this.#keysOf(partition);
    const found: CellNow[] = [];
    for (let first = 0; first < cells.length; first += CELLS_AT_ONCE) {
      const names = cells.slice(first, first + CELLS_AT_ONCE);
      const [packed, scores] = (await readTogether(this.#redis, [
        ["hmgetBuffer", keys.cells, names],
        ["zmscore", keys.corrected, names],
      ])) as [(Buffer | null)[], (string | null)[]];
      for (const [i, bytes] of packed.entries()) {
        const score = scores[i];
        found.push({
          balances: bytes ? balancesOf(bytes) : emptyBalances(),
          correctedMs: score ? Number(score) : undefined,
        });
      }
    }
    return found;
  }

  /** What settled differences in a partition after an instant of the ledger's clock, in the order of their events. */
  async settledAfter(partition: number, afterMs: number): Promise<SettledCorrection[]> {
    const listed = await this.#redis.zrangebyscore(
      this.#keysOf(partition).settled,
      `(${afterMs}`,
      "+inf",
      "WITHSCORES",
    );
    const found: SettledCorrection[] = [];
    for (let i = 0; i < listed.length; i += 2) {
      const [sku = "", location = "", id = "", units, asOfMs] = (listed[i] as string).split(CELL_SEPARATOR);
      const cell = sku + CELL_SEPARATOR + location;
      found.push({ cell, id, units: Number(units), asOfMs: Number(asOfMs), bookedMs: Number(listed[i + 1]) });
    }
    return found;
  }

  #keysOf(partition: number): StockKeys {
    const keys = this.#keys[partition];
    assert(keys, `no partition ${partition}`);
    return keys;
  }
}
