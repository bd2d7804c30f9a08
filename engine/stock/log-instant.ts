/**
 * An instant as a place in one partition's stock log. The log's clock never goes back, so the events up to an instant
 * are a prefix of the log: the place is found by binary search over the clocks at which entries began. What the log
 * does not reach back to is refused. Nothing here reads events or balances.
 */
import { stockKeys } from "../stream/keys.js";
import type { LogEntry } from "../stream/log.js";
import { type LogSource, lastBegunBy } from "../stream/log-source.js";
import { readTogether } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";
import { entryTimeMs } from "./log-entry.js";
import type { StockEvent } from "./model.js";

/** What an answer contains of one partition's log. */
export interface AsOfPosition {
  partition: number;
  /** The last entry with an event in the answer, at most; 0: none. */
  offset: number;
  /** The instant that was asked for, or the log's clock when that is earlier. */
  asOfMs: number;
  /**
   * The log's clock has passed the instant, so every later answer is the same. Otherwise an event at `asOfMs` or later
   * may still follow.
   */
  isFinal: boolean;
}

export type AsOfRefusal =
  /** The log does not go back that far; it does from `fromMs` on. */
  | { outcome: "outside_retention"; fromMs: number }
  /** The nearest stored balances are too many entries away. */
  | { outcome: "too_many_entries"; entries: number; limit: number };

/** One partition's log at one moment. */
export interface LogHead {
  partition: number;
  first: LogEntry | undefined;
  /** Offset of the last entry; 0: there is none. */
  last: number;
  /** The log's clock. */
  clockMs: number;
}

/** The instant as a place in one partition's log. */
export interface Target extends AsOfPosition {
  isWanted(event: StockEvent): boolean;
  /** The first entry that may have events which are not in the answer. */
  firstUnwanted: number;
  /** The log's first entry; undefined when it has none. */
  oldest: number | undefined;
}

export async function readHead(
  redis: RedisClient,
  prefix: string,
  partition: number,
  log: LogSource,
): Promise<LogHead> {
  const { head } = stockKeys(prefix, partition);
  const first = await firstEntry(log);
  const [lastText, clockText] = await readTogether(redis, [
    ["hget", head, "offset"],
    ["hget", head, "clock"],
  ]);
  return { partition, first, last: Number(lastText ?? 0), clockMs: Number(clockText ?? 0) };
}

async function firstEntry(log: LogSource): Promise<LogEntry | undefined> {
  const offset = await log.first();
  return offset === undefined ? undefined : (await log.read(offset - 1, 1))[0];
}

/**
 * Where an instant is in the log, as the log was at a moment.
 * @throws EngineError when what is before the log's oldest entry exists, but cannot be read
 */
export async function targetAt(log: LogSource, head: LogHead, atMs: number): Promise<Target | AsOfRefusal> {
  const { partition, first, last, clockMs } = head;
  const target = { partition, oldest: first?.offset, isFinal: true };
  if (atMs >= clockMs)
    return {
      ...target,
      isFinal: false,
      offset: last,
      firstUnwanted: last + 1,
      asOfMs: clockMs,
      isWanted: ({ offset }) => offset <= last,
    };
  const isWanted = (event: StockEvent): boolean => event.clockMs <= atMs;
  if (first && entryTimeMs(first) <= atMs) {
    const offset = await lastBegunBy(log, atMs, first.offset, last, entryTimeMs);
    return { ...target, offset, firstUnwanted: offset, asOfMs: atMs, isWanted };
  }
  if (first?.offset === 1) return { ...target, offset: 0, firstUnwanted: 1, asOfMs: atMs, isWanted };
  return outsideRetention(log, first, clockMs);
}

/** The refusal after entries were removed in the meantime. @param clockMs stated when the log has no entry */
export const removedMeanwhile = async (log: LogSource, clockMs: number): Promise<AsOfRefusal> =>
  outsideRetention(log, await firstEntry(log), clockMs);

function outsideRetention(log: LogSource, first: LogEntry | undefined, clockMs: number): AsOfRefusal {
  if (log.fault) throw log.fault;
  return { outcome: "outside_retention", fromMs: first ? entryTimeMs(first) : clockMs };
}
