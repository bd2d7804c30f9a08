/**
 * Reads the dead letters of a sink whose replay is requested: a few at a time, because one may hold all that a commit
 * has emitted. Those that are under replay or cannot be replayed are passed over without reading them, so they neither
 * cost a read at every check nor hold up the requests after them.
 */
import {
  DEAD_LETTERS_LIMIT,
  type RawDeadLetter,
  requestedDeadLetters,
  type StoredDeadLetter,
  withEntries,
} from "./dead-letter.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** Requests of one read, without their entries: some 300 bytes each. */
const REQUESTS_AT_ONCE = 256;
/** Entries of one read; one at least. */
const ENTRIES_AT_ONCE = 64;
const ENTRY_BYTES_AT_ONCE = 1024 * 1024;

export class RequestedReplays {
  readonly #redis: RedisClient;
  readonly #keys: PartitionKeys;
  /** Ids of those that cannot be replayed. */
  readonly #passed = new Set<string>();

  /** @param keys of the sink */
  constructor(redis: RedisClient, keys: PartitionKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Some at a time, in the order of their offsets; without `fields` when the entry is missing. None may be removed
   * before the last has been read or the reading ends. Requests for dead letters that have been removed are deleted.
   * @param isKnown whether one is under replay already: it is passed over
   */
  async *read(isKnown: (id: string) => boolean = () => false): AsyncGenerator<StoredDeadLetter[], void> {
    for (let from = 0; ; ) {
      const ids = await this.#redis.zrange(this.#keys.deadRequests, String(from), String(from + REQUESTS_AT_ONCE - 1));
      const wanted = ids.filter((id) => !this.#passed.has(id) && !isKnown(id));
      const { raw, deleted } = await requestedDeadLetters(this.#redis, this.#keys, wanted);
      from += ids.length - deleted;
      yield* this.#groupsOf(raw);
      if (ids.length < REQUESTS_AT_ONCE) return;
    }
  }

  /** Of those that have bytes, the first ones, as many as are replayed with one commit. */
  async next(): Promise<StoredDeadLetter[]> {
    const found: StoredDeadLetter[] = [];
    let bytes = 0;
    for await (const some of this.read()) {
      for (const deadLetter of some) {
        if (deadLetter.fields.length === 0) this.pass(deadLetter.id);
        else found.push(deadLetter);
        for (const { length } of deadLetter.fields) bytes += length;
      }
      if (found.length >= REQUESTS_AT_ONCE || bytes >= ENTRY_BYTES_AT_ONCE) break;
    }
    return found;
  }

  /** Passes over this one from now on: it cannot be replayed. */
  pass(id: string): void {
    // Some may have been removed: those that are left are read once more.
    if (this.#passed.size >= 2 * DEAD_LETTERS_LIMIT) this.#passed.clear();
    this.#passed.add(id);
  }

  async *#groupsOf(raw: readonly RawDeadLetter[]): AsyncGenerator<StoredDeadLetter[], void> {
    const sizes = await Promise.all(
      raw.map(([, [, , , name]]) =>
        name ? this.#redis.hstrlen(this.#keys.deadEntries, `r:${name.toString("latin1")}`) : 0,
      ),
    );
    for (let from = 0, to = 0; from < raw.length; from = to) {
      let bytes = 0;
      do bytes += sizes[to++] as number;
      while (to < raw.length && to - from < ENTRIES_AT_ONCE && bytes + (sizes[to] as number) <= ENTRY_BYTES_AT_ONCE);
      yield await withEntries(this.#redis, this.#keys, raw.slice(from, to));
    }
  }
}
