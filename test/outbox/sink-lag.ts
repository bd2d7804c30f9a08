/**
 * How far a sink is behind the commits of a partition, for tests that wait for its deliveries.
 */
import { cursorField, readTask } from "../../engine/stream/commit.js";
import { lastEmitEntry } from "../../engine/stream/emits.js";
import { partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { ENTRY_CURSOR } from "../../engine/stream/sinks.js";

/** Commits after the last one delivered; commits without emits may count. */
export async function entriesBehind(
  redis: RedisClient,
  prefix: string,
  topic: string,
  partition: number,
  sink: string,
): Promise<number> {
  const [entry, task] = await Promise.all([
    redis.hget(sinkKeys(prefix, topic, partition, sink).task, cursorField(ENTRY_CURSOR)),
    readTask(redis, partitionKeys(prefix, topic, partition)),
  ]);
  return Math.max(0, lastEmitEntry(task) - Number(entry ?? 0));
}
