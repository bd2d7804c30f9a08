/**
 * How far a sink is behind the commits of a partition, for tests that wait for its deliveries.
 */
import { cursorField } from "../../engine/stream/commit.js";
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
  const [entry, lastOut] = await Promise.all([
    redis.hget(sinkKeys(prefix, topic, partition, sink).task, cursorField(ENTRY_CURSOR)),
    redis.hget(partitionKeys(prefix, topic, partition).task, "lastOut"),
  ]);
  return Math.max(0, Number(lastOut ?? 0) - Number(entry ?? 0));
}
