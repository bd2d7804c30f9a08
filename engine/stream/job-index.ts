/**
 * What keyed states are found by: a sorted set a job and partition, written by the commit that writes the states, so
 * that it never says anything else than they do. How many entries each name has is counted by the same writes.
 * Whoever wants to know what is open, late or stuck reads a page of it, the lowest scores first, and holds nothing. A
 * partition whose last owner did not keep it (an older release) is indexed anew, page by page, by the next who does;
 * until then readers are told that it is not complete.
 */
import type { IndexEntry } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** An entry that comes, or one that goes. */
export type IndexChange =
  | { name: string; key: string; score: number }
  | { name: string; key: string; score: undefined };

const SEPARATOR = "\u001f";

/** An entry as it is called in the sorted set. */
export const memberOf = (name: string, key: string): string => name + SEPARATOR + key;

/** The field of a task that tells which owner, by its epoch, has kept a job's index complete. */
export const indexedField = (job: string): string => `indexed:${job}`;

/** Adds to `changes` what makes one key's entries those of `now`. */
export function indexChanges(
  key: string,
  before: readonly IndexEntry[],
  now: readonly IndexEntry[],
  changes: IndexChange[],
): void {
  for (const { name, score } of now) {
    if (!before.some((entry) => entry.name === name && entry.score === score)) changes.push({ name, key, score });
  }
  for (const { name } of before) {
    if (!now.some((entry) => entry.name === name)) changes.push({ name, key, score: undefined });
  }
}

/** An entry as readers are told of it. */
export interface FoundEntry extends IndexEntry {
  readonly key: string;
}

export interface IndexPage {
  readonly entries: readonly FoundEntry[];
  /** Where the next page begins; undefined after the last. */
  readonly next: string | undefined;
}

export interface IndexCounts {
  readonly counts: ReadonlyMap<string, number>;
  /** False while a partition is indexed anew: entries are missing. */
  readonly complete: boolean;
}

/** Entries of one read. */
const READ_MOST = 1_000;
const READ_LEAST = 16;

/** Where a page has ended: no entry at or before it is in the next. */
interface Place {
  readonly score: number;
  readonly member: string;
}

/** The entries of one partition from a place on, read a page at a time. */
class Line {
  readonly #redis: RedisClient;
  readonly #key: string;
  /** The last entry read. */
  #after: Place | undefined;
  readonly #pageSize: number;
  #found: Place[] = [];
  #isAtEnd = false;

  constructor(redis: RedisClient, key: string, after: Place | undefined, pageSize: number) {
    this.#redis = redis;
    this.#key = key;
    this.#after = after;
    this.#pageSize = pageSize;
  }

  get first(): Place | undefined {
    return this.#found[0];
  }

  get isToBeRead(): boolean {
    return this.#found.length === 0 && !this.#isAtEnd;
  }

  /** Goes on behind the last entry read, not at its number: others may have gone meanwhile. */
  async read(): Promise<void> {
    let count = this.#pageSize;
    while (this.isToBeRead) {
      const after = this.#after;
      const from = after === undefined ? "-inf" : String(after.score);
      const flat = await this.#redis.zrangebyscore(this.#key, from, "+inf", "WITHSCORES", "LIMIT", 0, count);
      this.#isAtEnd = flat.length < 2 * count;
      for (let i = 0; i < flat.length; i += 2) {
        const place = { score: Number(flat[i + 1]), member: flat[i] as string };
        if (after === undefined || isBefore(after, place)) this.#found.push(place);
      }
      this.#after = this.#found.at(-1) ?? after;
      // All of them have one score with the last one read.
      count *= 2;
    }
  }

  take(): Place {
    return this.#found.shift() as Place;
  }
}

/** As Redis orders a sorted set; members are ASCII. */
const isBefore = (a: Place, b: Place): boolean => (a.score !== b.score ? a.score < b.score : a.member < b.member);

/** Reads one job's index over all partitions. */
export class JobIndex {
  readonly #redis: RedisClient;
  readonly #job: string;
  readonly #keys: readonly PartitionKeys[];

  constructor(redis: RedisClient, prefix: string, topic: string, partitions: number, job: string) {
    this.#redis = redis;
    this.#job = job;
    this.#keys = Array.from({ length: partitions }, (_, i) => partitionKeys(prefix, topic, i));
  }

  /**
   * So many entries, the lowest scores first. Entries that come or go between two pages are in them or not; no other
   * is left out or told twice.
   * @param after where the page before ended
   */
  async page(limit: number, after?: string): Promise<IndexPage> {
    const from = after === undefined ? undefined : placeOf(after);
    const pageSize = Math.min(READ_MOST, Math.max(READ_LEAST, Math.ceil((2 * limit) / this.#keys.length)));
    const lines = this.#keys.map((keys) => new Line(this.#redis, keys.index(this.#job), from, pageSize));
    const places: Place[] = [];
    // One more than is asked for tells whether there is another page.
    while (places.length <= limit) {
      await Promise.all(lines.filter(({ isToBeRead }) => isToBeRead).map((line) => line.read()));
      let lowest: Line | undefined;
      for (const line of lines) {
        if (line.first && (!lowest?.first || isBefore(line.first, lowest.first))) lowest = line;
      }
      if (!lowest) break;
      places.push(lowest.take());
    }
    const entries = places.slice(0, limit);
    const last = entries.at(-1);
    return { entries: entries.map(entryOf), next: places.length > limit && last ? textOf(last) : undefined };
  }

  /** How many entries each name has: two reads a partition, however many there are. */
  async counts(): Promise<IndexCounts> {
    const counts = new Map<string, number>();
    const areComplete = await Promise.all(
      this.#keys.map(async (keys) => {
        const [counted, task] = await Promise.all([
          this.#redis.hgetall(keys.indexCounts(this.#job)),
          this.#redis.hmget(keys.task, "epoch", indexedField(this.#job)),
        ]);
        for (const [name, count] of Object.entries(counted)) {
          if (Number(count) > 0) counts.set(name, (counts.get(name) ?? 0) + Number(count));
        }
        return task[0] === task[1];
      }),
    );
    return { counts, complete: areComplete.every((is) => is) };
  }
}

function entryOf({ score, member }: Place): FoundEntry {
  const at = member.indexOf(SEPARATOR);
  return { name: member.slice(0, at), key: member.slice(at + 1), score };
}

const textOf = ({ score, member }: Place): string =>
  Buffer.from(`${score}${SEPARATOR}${member}`, "utf8").toString("base64url");

/** The place that a text names; undefined for one that `page` has not made. */
export function parsePosition(text: string): Place | undefined {
  const whole = Buffer.from(text, "base64url").toString("utf8");
  const at = whole.indexOf(SEPARATOR);
  const score = Number(whole.slice(0, at));
  return at > 0 && Number.isFinite(score) ? { score, member: whole.slice(at + 1) } : undefined;
}

function placeOf(text: string): Place {
  const place = parsePosition(text);
  if (place) return place;
  throw new RangeError("this is no place in an index");
}
