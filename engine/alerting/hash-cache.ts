/**
 * The content of one Redis hash, read at most once a second by a process. The stores of people, devices and silences
 * are small and are read for every alert and every request of a phone. A change by this process is seen by its next
 * read, one by another process within a second. Concurrent readers share one call.
 */
import type { Clock } from "../kernel/clock.js";
import type { RedisClient } from "../stream/redis.js";

/** A notification reaches a person who was added a second ago; not one who was added at the same moment. */
const FRESH_MS = 1_000;

export class HashCache {
  readonly #redis: RedisClient;
  readonly #key: string;
  /** Monotonic: it measures an age. */
  readonly #clock: Clock;
  #reading: { atMs: number; fields: Promise<Readonly<Record<string, string>>> } | undefined;

  constructor(redis: RedisClient, key: string, clock: Clock) {
    this.#redis = redis;
    this.#key = key;
    this.#clock = clock;
  }

  /** All fields. Errors are those of Redis; the next call tries again. */
  read(): Promise<Readonly<Record<string, string>>> {
    const atMs = this.#clock.now();
    if (!this.#reading || atMs - this.#reading.atMs >= FRESH_MS) {
      const reading = { atMs, fields: this.#redis.hgetall(this.#key) };
      this.#reading = reading;
      reading.fields.catch(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    }
    return this.#reading.fields;
  }

  /** All fields as they are now. */
  readNow(): Promise<Readonly<Record<string, string>>> {
    this.#reading = undefined;
    return this.read();
  }

  /** Writes fields in one call, and removes those whose value is undefined in the same transaction. */
  async write(fields: Readonly<Record<string, string>>, removed: readonly string[] = []): Promise<void> {
    const set = Object.keys(fields).length > 0;
    try {
      if (set && removed.length === 0) await this.#redis.hset(this.#key, fields);
      else if (set)
        await this.#redis
          .multi()
          .hset(this.#key, fields)
          .hdel(this.#key, ...removed)
          .exec();
      else if (removed.length > 0) await this.#redis.hdel(this.#key, ...removed);
    } finally {
      this.#reading = undefined;
    }
  }
}
