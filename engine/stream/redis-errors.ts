/**
 * Errors of Redis and of its client library: what they mean, in words for an operator. The patterns are the texts of
 * the servers and of the client; an unknown text stays as it is.
 */
import { messageOf } from "../kernel/errors.js";

/** Whether a server has rejected a call, undone, because it has no memory left. */
export const isOutOfMemory = (thrown: unknown): boolean => messageOf(thrown).startsWith("OOM ");

const MEANINGS: readonly [pattern: RegExp, meaning: string][] = [
  [/Too many Cluster redirections\. Last error: (?:\w*Error: )?/g, ""],
  [
    /Reached the max retries per request limit[^;]*|Connection is closed\.?|connect E[A-Z]+ \S+|Socket timeout[^;]*/g,
    "Redis cannot be reached",
  ],
  [
    /None of startup nodes is available|Failed to refresh slots cache\.?|Cluster is ended\.?/g,
    "no node of the Redis Cluster can be reached",
  ],
  [/All sentinels are unreachable[^;]*/g, "no Sentinel can be reached"],
  [/Command timed out/g, "Redis does not answer in time"],
  [/OOM (?:command not allowed|allow-oom flag)[^;]*/g, "Redis has no memory left (maxmemory)"],
  [/CLUSTERDOWN [^;]*/g, "the Redis Cluster has no primary for this partition at the moment"],
  [/TRYAGAIN [^;]*/g, "the partition is moving to another node of the Redis Cluster"],
  [/MOVED \d+ \S+|ASK \d+ \S+/g, "the partition has moved to another node of the Redis Cluster"],
  [/LOADING [^;]*/g, "Redis is still reading its data from the disk"],
  [/MASTERDOWN [^;]*/g, "this Redis is a replica without its primary"],
  [/READONLY [^;]*|UNBLOCKED [^;]*/g, "this Redis has become a replica"],
  [/NOREPLICAS [^;]*/g, "Redis has too few replicas to take writes (min-replicas-to-write)"],
];

/** A message with the texts of Redis and its client library replaced by their meanings. */
export const explainRedisErrors = (message: string): string =>
  MEANINGS.reduce((text, [pattern, meaning]) => text.replace(pattern, meaning), message);
