/**
 * Removes from a partition's log what is older than the retention and what nobody has to read any more: every job has
 * processed it, those that other processes run too, and the archive has it, if there is one. A job that nobody runs any
 * more, and an archive whose object storage does not answer, hold entries for some retentions, not without end: Redis
 * must not fill because of them. For an archive they are held only while Redis has room: its gap is better than orders
 * that are refused.
 */
import { archivedUpTo } from "./archive-cursor.js";
import { partitionKeys } from "./keys.js";
import { type LogEntry, trimLog } from "./log.js";
import type { RedisClient } from "./redis.js";
import { readMemory, shareOf } from "./server-memory.js";

/** After this many times the retention, a job that nobody runs counts as retired, and the archive gets a gap. */
const HELD_RETENTIONS = 3;
/** Past this share of `maxmemory` nothing is held for an archive; new orders are refused from 85 % on by default. */
const HELD_MEMORY_SHARE = 0.7;

export interface TrimmedLog {
  /** The last entry that this process's jobs have processed. */
  readonly readAfter: number;
  /** The same of jobs that it does not have: a newer or older release's. */
  readonly others: readonly number[];
  timeOf(entry: LogEntry): number;
  /** By the log's clock. */
  readonly nowMs: number;
  readonly retentionMs: number;
}

export async function trimEntries(
  redis: RedisClient,
  place: { readonly prefix: string; readonly topic: string; readonly partition: number },
  { readAfter, others, timeOf, nowMs, retentionMs }: TrimmedLog,
): Promise<void> {
  const { log } = partitionKeys(place.prefix, place.topic, place.partition);
  const beforeMs = nowMs - retentionMs;
  const read = Math.min(readAfter, ...others);
  const archived = (await archivedUpTo(redis, place, beforeMs)) ?? Number.POSITIVE_INFINITY;
  const isHeld = archived + 1 < read && !(await isNearlyFull(redis));
  await trimLog(redis, log, isHeld ? archived + 1 : read, beforeMs, timeOf);
  await trimLog(redis, log, readAfter, nowMs - HELD_RETENTIONS * retentionMs, timeOf);
}

async function isNearlyFull(redis: RedisClient): Promise<boolean> {
  const memory = await readMemory(redis);
  return memory !== undefined && shareOf(memory) > HELD_MEMORY_SHARE;
}
