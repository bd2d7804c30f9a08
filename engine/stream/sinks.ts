/**
 * Registration and cursors of sinks. A sink delivers a partition's emits to an outside receiver; it is a task of its
 * own (`sinkKeys`) with a lease and a cursor. Emits that it has not delivered are kept, within the bounds of the
 * outbox. A sink that nobody has run for a week counts as retired, so that an unused name does not fill Redis.
 */
import { cursorField } from "./commit.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** The cursors of a sink's task: the last entry that is delivered, and how many emits of the next one are. */
export const ENTRY_CURSOR = "entry";
export const EMIT_CURSOR = "emit";

/** The name of the sink that forwards emits to an event topic. */
export const forwarderSink = (target: string): string => `to-${target}`;

/** Longer than most outages of a receiver. */
const RETIRED_AFTER_MS = 7 * 86_400_000;

/**
 * Registers a sink: before it reads for the first time, and repeatedly. While it is registered, nothing that it has not
 * delivered is trimmed.
 * @param keys of the partition
 * @param nowMs the time, by the clock that commits are dated with
 */
export async function registerSink(
  redis: RedisClient,
  keys: PartitionKeys,
  sink: string,
  nowMs: number,
): Promise<void> {
  await redis.hset(keys.sinks, sink, nowMs);
}

/** Sinks of a partition that somebody has run within a week. Parameters as above. */
export async function activeSinks(redis: RedisClient, keys: PartitionKeys, nowMs: number): Promise<string[]> {
  const sinks = await redis.hgetall(keys.sinks);
  return Object.keys(sinks).filter((sink) => Number(sinks[sink]) >= nowMs - RETIRED_AFTER_MS);
}

/**
 * The lowest commit whose emits a sink may not have delivered; Infinity when there is none.
 * @param nowMs as above
 */
export async function oldestUndelivered(
  redis: RedisClient,
  prefix: string,
  topic: string,
  partition: number,
  nowMs: number,
): Promise<number> {
  const active = await activeSinks(redis, partitionKeys(prefix, topic, partition), nowMs);
  const cursors = await Promise.all(
    active.map((sink) => redis.hget(sinkKeys(prefix, topic, partition, sink).task, cursorField(ENTRY_CURSOR))),
  );
  return Math.min(Number.POSITIVE_INFINITY, ...cursors.map((entry) => Number(entry ?? 0) + 1));
}
