/**
 * Where the entries of one partition's log are read from: Redis, or an archive that continues before what Redis still
 * has. Entries never change, so every source returns the same ones; sources differ only in how far they go back. A
 * reader checks itself that entries follow each other (`assertContiguous`), because those at the beginning may be
 * removed while it reads.
 */
import type { EngineError } from "../kernel/errors.js";
import { type LogEntry, readLog } from "./log.js";
import type { RedisClient } from "./redis.js";

export interface LogSource {
  /** Offset of the oldest entry; undefined when it has none. */
  first(): Promise<number | undefined>;
  /**
   * Entries after an offset in order, `count` at most; it does not wait for new ones. Those between the offset and the
   * first one are not there any more.
   */
  read(after: number, count: number): Promise<LogEntry[]>;
  /**
   * Two offsets `low` < `high` between which an instant lies: the entry at `low` was begun by then, that at `high` was
   * not. Left out, or undefined: not known more cheaply than by reading.
   */
  around?(atMs: number): Promise<{ low: number; high: number } | undefined>;
  /** Why `first` could not go further back than it did, when something failed. */
  readonly fault?: EngineError | undefined;
}

/** The log as Redis has it. @param key of the log */
export const redisLog = (redis: RedisClient, key: string): LogSource => ({
  first: async () => (await readLog(redis, key, 0, 1))[0]?.offset,
  read: (after, count) => readLog(redis, key, after, count),
});

/**
 * The last entry whose clock before it has not passed an instant. All entries before it have ended by then.
 * @param first an entry that was begun by then
 * @param last the log's last offset
 * @param timeOf the clock before an entry; it never decreases within a log
 */
export async function lastBegunBy(
  source: LogSource,
  atMs: number,
  first: number,
  last: number,
  timeOf: (entry: LogEntry) => number,
): Promise<number> {
  const around = await source.around?.(atMs);
  let low = Math.max(first, around?.low ?? first);
  let high = Math.min(last + 1, around?.high ?? last + 1);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const [entry] = await source.read(middle - 1, 1);
    if (entry && timeOf(entry) <= atMs) low = middle;
    else high = middle;
  }
  return low;
}
