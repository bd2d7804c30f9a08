/**
 * Entries of emits that were given up while a forwarder could not forward them: their emits are in dead letters. They
 * are stored beside the cursor, so that a forwarder which reads again what its target has lost leaves them out.
 */
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** The field of the sink's task. */
export const GIVEN_UP_FIELD = "givenUp";
/** Of the ranges. Entries of older ones have been deleted long ago. */
const RANGES_LIMIT = 64;

/** Commits after the first up to the second. */
type Range = readonly [after: number, upTo: number];

export class GivenUpEntries {
  readonly #ranges: readonly Range[];

  constructor(ranges: readonly Range[] = []) {
    this.#ranges = ranges;
  }

  static async read(redis: RedisClient, keysOfSink: PartitionKeys): Promise<GivenUpEntries> {
    const text = await redis.hget(keysOfSink.task, GIVEN_UP_FIELD);
    return new GivenUpEntries(text === null ? [] : (JSON.parse(text) as Range[]));
  }

  has(commit: number): boolean {
    return this.#ranges.some(([after, upTo]) => commit > after && commit <= upTo);
  }

  with(after: number, upTo: number): GivenUpEntries {
    const ranges: [number, number][] = [];
    const sorted = [...this.#ranges, [after, upTo] as const].sort(([a], [b]) => a - b);
    for (const [from, to] of sorted) {
      const last = ranges.at(-1);
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else ranges.push([from, to]);
    }
    return new GivenUpEntries(ranges.slice(-RANGES_LIMIT));
  }

  /** As it is stored. */
  get text(): string {
    return JSON.stringify(this.#ranges);
  }
}
