/**
 * Kinds of emits that a sink has read and does not want: its receiver ignores them, or no route of a forwarder has
 * them. They are stored beside the cursor, so that emits of these kinds become no dead letters while no process runs
 * the sink. A kind that is not listed may be unwanted, too.
 */
import { callFunction } from "./functions.js";
import type { Emit } from "./job.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** What a sink wants; a receiver does. */
interface Wants {
  wants(kind: string): boolean;
  /** What it wants is of no use later: it becomes no dead letters either. */
  readonly isShortLived?: boolean;
}

const isKept = (sink: Wants, kind: string): boolean => !sink.isShortLived && sink.wants(kind);

/** The field of the sink's task, as `sinks_ignore` in stream.lua writes it. */
const FIELD = "unwanted";

export async function readUnwantedKinds(redis: RedisClient, keysOfSink: PartitionKeys): Promise<Set<string>> {
  const text = await redis.hget(keysOfSink.task, FIELD);
  return new Set(text === null ? [] : (JSON.parse(text) as string[]));
}

export class UnwantedKinds {
  readonly #kinds = new Set<string>();
  /** As Redis has them; undefined until they have been read. */
  #stored: string | undefined;

  add(emits: readonly Emit[], sink: Wants): void {
    for (const { kind } of emits) if (!isKept(sink, kind)) this.#kinds.add(kind);
  }

  /** Stores what is new, and removes what an earlier release of the sink did not want and this one does. */
  async store(redis: RedisClient, keysOfSink: PartitionKeys, sink: Wants): Promise<void> {
    if (this.#stored === undefined) {
      const stored = await readUnwantedKinds(redis, keysOfSink);
      for (const kind of stored) if (!isKept(sink, kind)) this.#kinds.add(kind);
      this.#stored = textOf(stored);
    }
    const text = textOf(this.#kinds);
    if (text === this.#stored) return;
    await callFunction(redis, "sinks_ignore", [keysOfSink.task], [text]);
    this.#stored = text;
  }
}

const textOf = (kinds: ReadonlySet<string>): string => JSON.stringify([...kinds].sort());
