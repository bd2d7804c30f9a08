/**
 * Registration and cursors of sinks. A sink delivers a partition's out records to an outside receiver; it is a task of
 * its own (`sinkKeys`) with a lease and a cursor, and its log is the partition's `out`. Records that it has not
 * delivered are kept, however long its receiver is unavailable. A sink that nobody has run for a week counts as
 * retired, so that an unused name does not fill Redis.
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

/**
 * The lowest entry of a partition's `out` that a sink may not have delivered; Infinity when there is none.
 * @param nowMs as above
 */
export async function oldestUndelivered(
  redis: RedisClient,
  prefix: string,
  topic: string,
  partition: number,
  nowMs: number,
): Promise<number> {
  const sinks = await redis.hgetall(partitionKeys(prefix, topic, partition).sinks);
  const active = Object.keys(sinks).filter((sink) => Number(sinks[sink]) >= nowMs - RETIRED_AFTER_MS);
  const cursors = await Promise.all(
    active.map((sink) => redis.hget(sinkKeys(prefix, topic, partition, sink).task, cursorField(ENTRY_CURSOR))),
  );
  return Math.min(Number.POSITIVE_INFINITY, ...cursors.map((entry) => Number(entry ?? 0) + 1));
}
