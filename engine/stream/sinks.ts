/**
 * Registration and cursors of sinks. A sink delivers a partition's emits to an outside receiver; it is a task of its
 * own (`sinkKeys`) with a lease and a cursor. Emits that it has not delivered are kept, within the bounds of the
 * outbox. A sink that nobody has run for two weeks counts as retired, so that an unused name does not fill Redis. In
 * the last day before that all that waits for it is given up.
 */
import { DAY_MS } from "../kernel/clock.js";
import { cursorField } from "./commit.js";
import { callFunction } from "./functions.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** The cursors of a sink's task: the last entry that is delivered, and how many emits of the next one are. */
export const ENTRY_CURSOR = "entry";
export const EMIT_CURSOR = "emit";

/** The name of the sink that forwards emits to an event topic. */
export const forwarderSink = (target: string): string => `to-${target}`;

/** Longer than emits may wait by default: what a sink that is away does not get becomes dead letters first. */
const RETIRED_AFTER_MS = 14 * DAY_MS;
/** Workers look at waiting emits every few seconds: a day contains a time at which one runs. */
const RETIRING_MS = DAY_MS;

/**
 * Registers a sink: before it reads for the first time, and repeatedly. While it is registered, nothing that it has not
 * delivered is trimmed.
 * @param keys of the partition
 * @param nowMs the time, by the clock that commits are dated with: `renewalMs`
 */
export async function registerSink(
  redis: RedisClient,
  keys: PartitionKeys,
  sink: string,
  nowMs: number,
): Promise<void> {
  await callFunction(redis, "sinks_register", [keys.sinks], [sink, nowMs]);
}

/** A sink that is not retired. */
interface ActiveSink {
  readonly name: string;
  /** Whether it retires within a day unless somebody runs it: what waits for it is given up now. */
  readonly isRetiring: boolean;
}

/** Sinks of a partition that are not retired. @param nowMs as above; undefined: clocks differ, and none is retired */
export async function activeSinks(
  redis: RedisClient,
  keys: PartitionKeys,
  nowMs = Number.NEGATIVE_INFINITY,
): Promise<ActiveSink[]> {
  return Object.entries(await redis.hgetall(keys.sinks)).flatMap(([name, registered]) => {
    const awayMs = nowMs - Number(registered);
    return awayMs <= RETIRED_AFTER_MS ? [{ name, isRetiring: awayMs > RETIRED_AFTER_MS - RETIRING_MS }] : [];
  });
}

/**
 * The lowest commit whose emits a sink may not have delivered; Infinity when there is none.
 * @param nowMs the time, by the clock that commits are dated with
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
    active.map(({ name }) => redis.hget(sinkKeys(prefix, topic, partition, name).task, cursorField(ENTRY_CURSOR))),
  );
  return Math.min(Number.POSITIVE_INFINITY, ...cursors.map((entry) => Number(entry ?? 0) + 1));
}
