/**
 * The records of one Redis hash, read and decoded at most once a second by a process. The stores of people, devices and
 * silences are small and are read for every alert and every request of a phone. A change by this process is seen by its
 * next read, one by another process within a second. Concurrent readers share one call.
 */
import { type Clock, monotonicClock } from "../kernel/clock.js";
import type { RedisClient } from "../stream/redis.js";

/** A person who is added is notified of what happens a second later. */
const FRESH_MS = 1_000;

export type Fields = Readonly<Record<string, string>>;

export class HashCache<Records> {
  readonly #redis: RedisClient;
  readonly #key: string;
  readonly #decode: (fields: Fields) => Records;
  readonly #clock: Clock;
  #reading: { atMs: number; records: Promise<Records> } | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param clock measures an age, so it cannot be set */
  constructor(redis: RedisClient, key: string, decode: (fields: Fields) => Records, clock: Clock = monotonicClock) {
    this.#redis = redis;
    this.#key = key;
    this.#decode = decode;
    this.#clock = clock;
  }

  /** All records, a second old at most; not to be changed. Errors are those of Redis; the next call tries again. */
  read(): Promise<Records> {
    const atMs = this.#clock.now();
    if (!this.#reading || atMs - this.#reading.atMs >= FRESH_MS) {
      const reading = { atMs, records: this.#redis.hgetall(this.#key).then(this.#decode) };
      this.#reading = reading;
      reading.records.catch(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    }
    return this.#reading.records;
  }

  /** All records as they are now. */
  readNow(): Promise<Records> {
    this.#reading = undefined;
    return this.read();
  }

  /**
   * Runs changes of this process that depend on what is there one after the other, so that many at once do not pass a
   * limit together. Those of another process may, by one each.
   */
  inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(change);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Writes fields and removes others, in one transaction. */
  async write(fields: Fields, removed: readonly string[] = []): Promise<void> {
    const calls = this.#redis.multi();
    if (Object.keys(fields).length > 0) calls.hset(this.#key, fields);
    if (removed.length > 0) calls.hdel(this.#key, ...removed);
    try {
      const replies = await calls.exec();
      const fault = replies?.find(([error]) => error)?.[0];
      if (fault) throw fault;
    } finally {
      this.#reading = undefined;
    }
  }
}
