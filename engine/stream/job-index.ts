/**
 * A secondary index of keyed states: one sorted set for each job and partition. The commit that writes the states
 * writes the index, so both always agree, and it counts the entries of each name. Readers of open, late or stuck keys
 * read pages of it, the lowest scores first, and keep nothing in memory. When the last owner of a partition did not
 * maintain the index (an older release), the next one rebuilds it page by page; until then readers get
 * `complete: false`.
 */
import type { IndexEntry } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** An entry to set, or to remove. */
export type IndexChange =
  | { name: string; key: string; score: number }
  | { name: string; key: string; score: undefined };

const SEPARATOR = "\u001f";

/** An entry's member in the sorted set. */
export const memberOf = (name: string, key: string): string => name + SEPARATOR + key;

/** The field of a task that holds the epoch of the last owner that has maintained a job's index. */
export const indexedField = (job: string): string => `indexed:${job}`;

/** Adds to `changes` what turns one key's entries from `before` into `now`. */
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

/** An entry as readers get it. */
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
  /** False while a partition's index is rebuilt: entries are missing. */
  readonly complete: boolean;
}

/** Entries of one read. */
const READ_MOST = 1_000;
const READ_LEAST = 16;

/** A position in the order of the index. */
interface Position {
  readonly score: number;
  readonly member: string;
}

/** The entries of one partition after a position, read a page at a time. */
class PartitionCursor {
  readonly #redis: RedisClient;
  readonly #key: string;
  /** The last entry read. */
  #after: Position | undefined;
  readonly #pageSize: number;
  #found: Position[] = [];
  #isAtEnd = false;

  constructor(redis: RedisClient, key: string, after: Position | undefined, pageSize: number) {
    this.#redis = redis;
    this.#key = key;
    this.#after = after;
    this.#pageSize = pageSize;
  }

  get first(): Position | undefined {
    return this.#found[0];
  }

  get needsRead(): boolean {
    return this.#found.length === 0 && !this.#isAtEnd;
  }

  /** Continues after the last entry read, not at its rank: entries before it may have been removed. */
  async read(): Promise<void> {
    let count = this.#pageSize;
    while (this.needsRead) {
      const after = this.#after;
      const from = after === undefined ? "-inf" : String(after.score);
      const flat = await this.#redis.zrangebyscore(this.#key, from, "+inf", "WITHSCORES", "LIMIT", 0, count);
      this.#isAtEnd = flat.length < 2 * count;
      for (let i = 0; i < flat.length; i += 2) {
        const position = { score: Number(flat[i + 1]), member: flat[i] as string };
        if (after === undefined || isBefore(after, position)) this.#found.push(position);
      }
      this.#after = this.#found.at(-1) ?? after;
      // When nothing was found, the whole page has the score of the last entry read: read more.
      count *= 2;
    }
  }

  take(): Position {
    return this.#found.shift() as Position;
  }
}

/** The order of a Redis sorted set; members are ASCII. */
const isBefore = (a: Position, b: Position): boolean => (a.score !== b.score ? a.score < b.score : a.member < b.member);

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
   * Entries in the order of their scores, `limit` at most. An entry that is added or removed between two pages may be
   * in them or not; every other entry is in exactly one page.
   * @param after `next` of the previous page
   */
  async page(limit: number, after?: string): Promise<IndexPage> {
    const from = after === undefined ? undefined : positionOf(after);
    const pageSize = Math.min(READ_MOST, Math.max(READ_LEAST, Math.ceil((2 * limit) / this.#keys.length)));
    const cursors = this.#keys.map((keys) => new PartitionCursor(this.#redis, keys.index(this.#job), from, pageSize));
    const positions: Position[] = [];
    // One entry more than the limit shows whether there is another page.
    while (positions.length <= limit) {
      await Promise.all(cursors.filter(({ needsRead }) => needsRead).map((cursor) => cursor.read()));
      let lowest: PartitionCursor | undefined;
      for (const cursor of cursors) {
        if (cursor.first && (!lowest?.first || isBefore(cursor.first, lowest.first))) lowest = cursor;
      }
      if (!lowest) break;
      positions.push(lowest.take());
    }
    const entries = positions.slice(0, limit);
    const last = entries.at(-1);
    return { entries: entries.map(entryOf), next: positions.length > limit && last ? textOf(last) : undefined };
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

function entryOf({ score, member }: Position): FoundEntry {
  const at = member.indexOf(SEPARATOR);
  return { name: member.slice(0, at), key: member.slice(at + 1), score };
}

const textOf = ({ score, member }: Position): string =>
  Buffer.from(`${score}${SEPARATOR}${member}`, "utf8").toString("base64url");

/** Parses `next` of a page; undefined for a text that `page` has not made. */
export function parsePosition(text: string): Position | undefined {
  const whole = Buffer.from(text, "base64url").toString("utf8");
  const at = whole.indexOf(SEPARATOR);
  const score = Number(whole.slice(0, at));
  return at > 0 && Number.isFinite(score) ? { score, member: whole.slice(at + 1) } : undefined;
}

function positionOf(text: string): Position {
  const position = parsePosition(text);
  if (position) return position;
  throw new RangeError("this is not a position in an index");
}
