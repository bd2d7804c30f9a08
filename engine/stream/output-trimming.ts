/**
 * Removes what has left a partition's commits and nobody needs any more. Records for views are kept for some minutes,
 * and no sink holds them back. Emits are kept for the same time and until every sink has delivered them; how much of
 * them a sink may hold back is bounded by the outbox. In the old form, where one record has both, the record waits for
 * the sinks.
 */
import { readTask } from "./commit.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import { type LogEntry, removeEntries, trimLog } from "./log.js";
import type { RedisClient } from "./redis.js";
import { oldestUndelivered } from "./sinks.js";

/** For views and sinks that read late, by the clock that commits are dated with: this machine's may differ. */
const OUTPUT_RETENTION_MS = 900_000;

const committedMsOf = ({ fields }: LogEntry): number => Number(fields[1]?.toString("latin1"));

/** @param retentionMs the log's: outputs are never kept longer than the log */
export async function trimOutputs(
  redis: RedisClient,
  { prefix, topic, partition }: { prefix: string; topic: string; partition: number },
  retentionMs: number,
): Promise<void> {
  const keys: PartitionKeys = partitionKeys(prefix, topic, partition);
  const { committedMs, commit, emits } = await readTask(redis, keys);
  const beforeMs = committedMs - Math.min(retentionMs, OUTPUT_RETENTION_MS);
  const undelivered = await oldestUndelivered(redis, prefix, topic, partition, committedMs);
  const keepFrom = Math.min(commit, undelivered);
  if (!emits || undelivered < emits.from) {
    await trimLog(redis, keys.out, keepFrom, beforeMs, committedMsOf);
    // Old records that wait for a sink are at the beginning: what was written after them is removed one by one.
    if (emits) await removeEntries(redis, keys.out, emits.from, commit, beforeMs, committedMsOf);
  } else await trimLog(redis, keys.out, commit, beforeMs, committedMsOf);
  if (emits) await trimLog(redis, keys.emits, keepFrom, beforeMs, committedMsOf);
}
