/**
 * Sinks, as those see them who do not run them. A sink delivers to the outside what a partition's commits gave out;
 * it is a task of its own (`sinkKeys`) with a lease and a cursor, and its log is the partition's `out`. What it has
 * yet to deliver is kept for it, however long its receiver is away. A sink that nobody has run for a week is taken
 * for retired, so that a name which is not used any more does not fill Redis.
 */
import { cursorField } from "./commit.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** The cursors of a sink's task: the last entry that it is done with, and how many emits of the one after that. */
export const ENTRY_CURSOR = "entry";
export const EMIT_CURSOR = "emit";

/** Longer than the holidays of those who run a receiver. */
const RETIRED_AFTER_MS = 7 * 86_400_000;

/**
 * Makes a sink known, before it reads for the first time and every now and then: so long nothing is trimmed that it
 * has yet to deliver.
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
 * The lowest entry of a partition's `out` that some sink may still have to deliver; Infinity when there is none.
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

/** How far a sink is behind the commits of a partition, for whoever asks, owner or not. */
export interface SinkLag {
  /** Commits after the last one delivered; one without anything to deliver may count. */
  readonly entries: number;
  /** How long ago the oldest of them was committed, by the server's clock; 0 when there is none. */
  readonly behindMs: number;
}

export async function readSinkLag(
  redis: RedisClient,
  prefix: string,
  topic: string,
  partition: number,
  sink: string,
  nowMs: number,
): Promise<SinkLag> {
  const keys = partitionKeys(prefix, topic, partition);
  const [entry, lastOut] = await Promise.all([
    redis.hget(sinkKeys(prefix, topic, partition, sink).task, cursorField(ENTRY_CURSOR)),
    redis.hget(keys.task, "lastOut"),
  ]);
  const entries = Math.max(0, Number(lastOut ?? 0) - Number(entry ?? 0));
  if (entries === 0) return { entries, behindMs: 0 };
  // One record, and only while there is something to wait for.
  const [oldest] = await redis.xrange(keys.out, `(${entry ?? 0}-0`, "+", "COUNT", 1);
  const committedMs = Number(oldest?.[1][1] ?? nowMs);
  return { entries, behindMs: Math.max(0, nowMs - committedMs) };
}
