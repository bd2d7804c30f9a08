/**
 * Removes what has left a partition's commits and nobody needs any more. Records for views are kept for some minutes,
 * and no sink holds them back. Emits are kept for the same time and until every sink has delivered them; how much of
 * them a sink may hold back is bounded by the outbox. In the old form, where one record has both, the record waits for
 * the sinks. While the server's clock and this process's differ, the earlier one counts.
 */
import { type Clock, systemClock } from "../kernel/clock.js";
import { readTask } from "./commit.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import { type LogEntry, removeEntries, trimLog } from "./log.js";
import type { RedisClient } from "./redis.js";
import { agreedMs, serverNowMs } from "./server-clock.js";
import { oldestUndelivered } from "./sinks.js";

/** For views and sinks that read late, by the clock that commits are dated with: this machine's may differ. */
const OUTPUT_RETENTION_MS = 900_000;

/**
 * When an entry was committed.
 * @throws RangeError for a time after `nowMs`: the server's clock was ahead then
 */
const committedMsOf =
  (nowMs: number) =>
  ({ fields }: LogEntry): number => {
    const committedMs = Number(fields[1]?.toString("latin1"));
    if (committedMs > nowMs) throw new RangeError(`committed at ${committedMs}, which is after ${nowMs}`);
    return committedMs;
  };

/**
 * @param retentionMs the log's: outputs are never kept longer than the log
 * @param serverClock what commits are dated with; left out: the Redis server's own
 */
export async function trimOutputs(
  redis: RedisClient,
  { prefix, topic, partition }: { prefix: string; topic: string; partition: number },
  retentionMs: number,
  serverClock?: Clock,
): Promise<void> {
  const keys: PartitionKeys = partitionKeys(prefix, topic, partition);
  const { committedMs, commit, emits } = await readTask(redis, keys);
  const serverMs = await serverNowMs(redis, serverClock);
  // While the clocks differ, the earlier one removes nothing too early. The last commit may be dated ahead.
  const nowMs = Math.min(committedMs, agreedMs(serverMs, serverClock) ?? Math.min(serverMs, systemClock.now()));
  const timeOf = committedMsOf(nowMs);
  const beforeMs = nowMs - Math.min(retentionMs, OUTPUT_RETENTION_MS);
  const undelivered = await oldestUndelivered(redis, prefix, topic, partition, nowMs);
  const keepFrom = Math.min(commit, undelivered);
  if (!emits || undelivered < emits.from) {
    await trimLog(redis, keys.out, keepFrom, beforeMs, timeOf);
    // Old records that wait for a sink are at the beginning: what was written after them is removed one by one.
    if (emits) await removeEntries(redis, keys.out, emits.from, commit, beforeMs, timeOf);
  } else await trimLog(redis, keys.out, commit, beforeMs, timeOf);
  if (emits) await trimLog(redis, keys.emits, keepFrom, beforeMs, timeOf);
}
