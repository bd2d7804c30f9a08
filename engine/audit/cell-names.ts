/**
 * Which SKUs and cells there are to compare: the fields of the ledger's cells and of the storefront job's states, read
 * page by page. A scan returns every name that exists from its start to its end, and may return one twice; names that
 * appear or disappear meanwhile may be missed.
 */
import { STOREFRONT_JOB } from "../jobs/storefront/job.js";
import { CELL_SEPARATOR, cellOf } from "../stock/model.js";
import type { StockKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";

/** Cells to compare, by SKU; a read may add more. */
export type Wanted = Map<string, Set<string>>;

const SCAN_COUNT = 1_000;

/** The ledger's field with a SKU's list of locations. */
export const listField = (sku: string): string => sku + CELL_SEPARATOR;
export const skuOf = (field: string): string => field.slice(0, field.indexOf(CELL_SEPARATOR));
export const locationOf = (cell: string): string => cell.slice(cell.indexOf(CELL_SEPARATOR) + 1);
export const cellsOf = (sku: string, list: string | null): Set<string> =>
  new Set(list === null || list === "" ? [] : list.split(CELL_SEPARATOR).map((location) => cellOf(sku, location)));

/** Adds a field of the ledger's cells: a cell, or a SKU's list of locations, which is none. */
export function addCell(wanted: Wanted, field: string): void {
  const sku = skuOf(field);
  const cells = wanted.get(sku) ?? new Set();
  wanted.set(sku, field.endsWith(CELL_SEPARATOR) ? cells : cells.add(field));
}

/** Every SKU and cell of the ledger or the job. */
export async function everyCell(redis: RedisClient, keys: StockKeys): Promise<Wanted> {
  const found: Wanted = new Map();
  for (const key of [keys.cells, keys.state(STOREFRONT_JOB)]) {
    let cursor = "0";
    do {
      const [next, fields] = await scanFields(redis, key, cursor, SCAN_COUNT);
      cursor = next;
      if (key === keys.cells) for (const field of fields) addCell(found, field);
      else for (const sku of fields) if (!found.has(sku)) found.set(sku, new Set());
    } while (cursor !== "0");
  }
  return found;
}

/** One page of a hash's field names; the cursor "0" begins and ends a scan. */
export async function scanFields(
  redis: RedisClient,
  key: string,
  cursor: string,
  count: number,
): Promise<[next: string, fields: string[]]> {
  const [next, pairs] = await redis.hscanBuffer(key, cursor, "COUNT", count);
  return [next.toString("latin1"), pairs.flatMap((field, i) => (i % 2 === 0 ? [field.toString("utf8")] : []))];
}
