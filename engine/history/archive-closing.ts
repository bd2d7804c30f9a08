/**
 * The balances of a partition at a position of its log, for the archive's closings: the present ones, from which every
 * event after the position is taken back. Each page of balances is read with the log's last offset, so the result is
 * exact while commands go on. Memory is that of one partition's cells, some 100 bytes each.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError } from "../kernel/errors.js";
import { type Present, readPresent } from "../stock/as-of-scan.js";
import { ExactSums } from "../stock/exact-sums.js";
import { eventsOf } from "../stock/log-entry.js";
import { cellOf, POOLS, type Pool, type StockEvent } from "../stock/model.js";
import { stockKeys } from "../stream/keys.js";
import { assertContiguous } from "../stream/log.js";
import type { LogSource } from "../stream/log-source.js";
import type { RedisClient } from "../stream/redis.js";
import { bucketCount, bucketOf, type ClosedCell, encodeBucket } from "./archive-format.js";

const PAGE_ENTRIES = 64;
const POOL_COUNT = POOLS.length;

export interface ClosingPlace {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly partition: number;
  readonly partitions: number;
  readonly log: LogSource;
}

export interface ClosedPartition {
  readonly cells: number;
  /** How many there are. */
  readonly buckets: number;
  /** The bytes of one, made when it is asked for. */
  bucket(number: number): Promise<Uint8Array>;
}

/**
 * The balances after all entries up to `offset`.
 * @throws EngineError `undecodable` when an entry cannot be read, `log_gap`, `log_shorter` when Redis has lost what it
 *   had; the signal's reason
 */
export async function closePartition(
  closed: ClosingPlace,
  offset: number,
  signal?: AbortSignal,
): Promise<ClosedPartition> {
  const present = await readPresent(closed, signal);
  const { partition, prefix, partitions, log } = closed;
  if (present.oldestOffset < offset)
    throw new EngineError(`the stock log of partition ${partition} has become shorter`, {
      op: "archive.close",
      code: "log_shorter",
      retryable: true,
    });
  const key = stockKeys(prefix, partition).log;
  const sums = new ExactSums<number>();
  for (let after = offset; after < present.newestOffset; ) {
    signal?.throwIfAborted();
    const page = await log.read(after, Math.min(PAGE_ENTRIES, present.newestOffset - after));
    assertContiguous(page, after, key);
    if (page.length === 0) break;
    for (const entry of page) for (const event of eventsOf(entry).events) takeBack(present, event, sums);
    after += page.length;
    await nextTurn();
  }
  for (const [place, units] of sums.rest()) present.balances[place] = (present.balances[place] as number) + units;
  const buckets = bucketCount(present.length);
  const members = Array.from({ length: buckets }, (): number[] => []);
  for (let cell = 0; cell < present.length; cell++)
    if (holdsUnits(present, cell)) members[bucketOf(present.cells.sku(cell), partitions, buckets)]?.push(cell);
  return {
    cells: present.length,
    buckets,
    bucket: (number) =>
      encodeBucket(
        offset,
        number,
        (members[number] ?? []).map((cell) => closedCell(present, cell)),
      ),
  };
}

function takeBack({ cells, balances, offsets }: Present, event: StockEvent, sums: ExactSums<number>): void {
  const { offset, sku, location, toLocation = location, from, to, units } = event;
  const change = (at: string, pool: string, by: number): void => {
    const cell = pool === "outside" ? -1 : cells.find(sku, at);
    // Made after its page was read: it held nothing at the position.
    if (cell < 0 || offset > (offsets[cell] as number)) return;
    const place = cell * POOL_COUNT + POOLS.indexOf(pool as Pool);
    balances[place] = sums.add(place, balances[place] as number, by);
  };
  change(location, from, units);
  change(toLocation, to, -units);
}

/** What is not in a closing held nothing. */
const holdsUnits = ({ balances }: Present, cell: number): boolean =>
  balances.subarray(cell * POOL_COUNT, (cell + 1) * POOL_COUNT).some((units) => units !== 0);

function closedCell({ cells, balances }: Present, cell: number): ClosedCell {
  const at = cell * POOL_COUNT;
  return [cellOf(cells.sku(cell), cells.location(cell)), ...balances.subarray(at, at + POOL_COUNT)];
}
