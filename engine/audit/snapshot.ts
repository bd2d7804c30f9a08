/**
 * One read of everything that an audit compares of some SKUs: the ledger's balances and lists of locations, the
 * storefront job's states, and where the log and the job stand. All of it belongs to one moment, so that the
 * comparison is exact while the shop works.
 */
import { STOREFRONT_JOB } from "../jobs/storefront/job.js";
import { cursorField } from "../stream/commit.js";
import type { StockKeys } from "../stream/keys.js";
import { type ReadCommand, readTogether } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";
import { listField } from "./cell-names.js";

/** Where the task's hash keeps the offset up to which the job has folded the log. */
export const CURSOR_FIELD = cursorField(STOREFRONT_JOB);

export interface Snapshot {
  /** Offset of the log's last entry. */
  head: number;
  /** Offset of the last entry that the job has folded. */
  cursor: number;
  /** By SKU, as they are stored. */
  states: (Buffer | null)[];
  /** The SKUs' lists of locations. */
  lists: (string | null)[];
  /** By cell, as they are stored. */
  packed: (Buffer | null)[];
  /** The replies to `lineReads`. */
  lines: (Buffer | null)[][];
}

export async function readSnapshot(
  redis: RedisClient,
  keys: StockKeys,
  skus: readonly string[],
  cells: readonly string[],
  lineReads: readonly ReadCommand[],
): Promise<Snapshot> {
  const [offset, cursor, states, lists, packed, ...lines] = (await readTogether(redis, [
    ["hget", keys.head, "offset"],
    ["hget", keys.task, CURSOR_FIELD],
    ["hmgetBuffer", keys.state(STOREFRONT_JOB), skus],
    ["hmget", keys.cells, skus.map(listField)],
    ["hmgetBuffer", keys.cells, cells],
    ...lineReads,
  ])) as [
    string | null,
    string | null,
    (Buffer | null)[],
    (string | null)[],
    (Buffer | null)[],
    ...(Buffer | null)[][],
  ];
  return { head: Number(offset ?? 0), cursor: Number(cursor ?? 0), states, lists, packed, lines };
}
