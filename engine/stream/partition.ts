/**
 * Which partition a key belongs to. The number of partitions is fixed when a deployment is created and stored in Redis.
 * A process with another number does not start, because the same key would then be in two partitions.
 */
import { EngineError } from "../kernel/errors.js";
import { checkFormat, createDeployment, type Deployment, LATEST_FORMAT, readDeployment } from "./format.js";
import type { RedisClient } from "./redis.js";

/**
 * More partitions let more workers share a topic, but each costs calls of its own, and one Redis is one thread
 * (`engine/README.md`, 2026-11-23).
 */
export const DEFAULT_PARTITIONS = 4;
export const MAX_PARTITIONS = 256;

/** The partition of a key: 32-bit FNV-1a over its UTF-16 units, modulo the number of partitions. */
export function partitionOf(key: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % partitions;
}

/**
 * Fixes the number of partitions on first use and checks it on every later one.
 * @returns the deployment's format; the latest for a new deployment
 * @throws EngineError `partitions_differ`, or `format_too_new` when a newer release has made the deployment
 */
export async function claimDeployment(client: RedisClient, prefix: string, partitions: number): Promise<number> {
  // Read first: a full Redis rejects even a write that would change nothing.
  let found = await readDeployment(client, prefix);
  if (!found) {
    await createDeployment(client, prefix, { partitions, format: LATEST_FORMAT });
    found = await readDeployment(client, prefix);
  }
  const { partitions: fixed, format } = found as Deployment;
  checkFormat(format);
  if (fixed !== partitions) {
    throw new EngineError(
      `this deployment has ${fixed} partitions and cannot be run with ${partitions}: set --partitions ${fixed}`,
      {
        op: "deployment.claim",
        code: "partitions_differ",
        retryable: false,
        input: "partitions",
      },
    );
  }
  return format;
}
