/**
 * Kinds of emits that a sink has read and its receiver ignores. They are stored beside the cursor, so that emits
 * of these kinds become no dead letters while no process runs the sink. A kind that is not listed may be unwanted, too.
 */
import type { Emit } from "../stream/job.js";
import type { PartitionKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { Receiver } from "./receiver.js";

/** The field of the sink's task. */
const FIELD = "unwanted";

export async function readUnwantedKinds(redis: RedisClient, keysOfSink: PartitionKeys): Promise<Set<string>> {
  const text = await redis.hget(keysOfSink.task, FIELD);
  return new Set(text === null ? [] : (JSON.parse(text) as string[]));
}

export class UnwantedKinds {
  readonly #kinds = new Set<string>();
  #stored = 0;

  add(emits: readonly Emit[], receiver: Pick<Receiver, "wants">): void {
    for (const { kind } of emits) if (!receiver.wants(kind)) this.#kinds.add(kind);
  }

  /** Stores what is new. */
  async store(redis: RedisClient, keysOfSink: PartitionKeys): Promise<void> {
    if (this.#kinds.size === this.#stored) return;
    const size = this.#kinds.size;
    await redis.hset(keysOfSink.task, FIELD, JSON.stringify([...this.#kinds]));
    this.#stored = size;
  }
}
