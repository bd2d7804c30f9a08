/**
 * A partition's log as one source: what Redis has, and before that what the archive has, as far back as there is no
 * gap. Entries are the same in both. Manifests and the segments that were read last are kept in memory; the archive's
 * end is read again for each call of `first`. Nothing is taken from an object whose hash is another one.
 */
import type { LogEntry } from "../stream/log.js";
import { readLog } from "../stream/log.js";
import type { LogSource } from "../stream/log-source.js";
import type { RedisClient } from "../stream/redis.js";
import {
  type ArchiveHead,
  type ArchivePlace,
  type ClosedCell,
  type Closing,
  EMPTY_HEAD,
  type Manifest,
} from "./archive-format.js";
import { readArchiveHead } from "./archive-head.js";
import { ArchiveObjects, type ArchiveStore } from "./archive-objects.js";

/** Manifests in memory: 4,000 × some 800 bytes are 3 MB. */
const MANIFESTS_KEPT = 4_000;
/** Decoded segments in memory, of all partitions together: 4 × some 4 MB, 64 MB at most. */
const SEGMENTS_KEPT = 4;

/** Buckets of closings in memory, of all partitions together: 64 × some 200 KB. */
const BUCKETS_KEPT = 64;

/** The results that were used last, of all archived logs of a process. */
class Recent<Value> {
  readonly #kept = new Map<string, Promise<Value>>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string, read: () => Promise<Value>): Promise<Value> {
    const found = this.#kept.get(key) ?? read();
    this.#kept.delete(key);
    this.#kept.set(key, found);
    // What could not be read may be there later.
    found.catch(() => this.#kept.delete(key));
    if (this.#kept.size > this.#limit) this.#kept.delete(this.#kept.keys().next().value as string);
    return found;
  }
}

/** What the archives of all partitions share. */
export class ArchiveCache {
  readonly segments = new Recent<LogEntry[]>(SEGMENTS_KEPT);
  readonly buckets = new Recent<ClosedCell[]>(BUCKETS_KEPT);
}

/** Reads manifests and segments of one partition, each once while it is in memory. */
export class ArchiveReader {
  readonly objects: ArchiveObjects;
  readonly #redis: RedisClient;
  readonly #cache: ArchiveCache;
  readonly #manifests = new Map<number, Manifest>();
  head: ArchiveHead = EMPTY_HEAD;

  constructor(redis: RedisClient, store: ArchiveStore, place: ArchivePlace, cache: ArchiveCache) {
    this.#redis = redis;
    this.#cache = cache;
    this.objects = new ArchiveObjects(store, place);
  }

  /** Reads where the archive ends now. */
  async refresh(): Promise<ArchiveHead> {
    const head = await readArchiveHead(this.#redis, this.objects.place);
    // Another archive of the same numbers: Redis has lost or got back an earlier state.
    if (head.number < this.head.number || !isContinued(this.head, head)) this.#manifests.clear();
    this.head = head;
    return head;
  }

  /** The manifests that can be read, without a gap up to the newest; `first` > `last`: none. */
  get range(): { first: number; last: number } {
    const { oldest, unbrokenFrom, number } = this.head;
    return { first: Math.max(oldest, unbrokenFrom), last: number };
  }

  async manifest(number: number): Promise<Manifest> {
    const kept = this.#manifests.get(number);
    if (kept) return kept;
    const { manifest } = await this.objects.manifest(this.head.generations, number);
    this.#manifests.set(number, manifest);
    if (this.#manifests.size > MANIFESTS_KEPT) this.#manifests.delete(this.#manifests.keys().next().value as number);
    return manifest;
  }

  /** The last manifest of a range for which something holds; it holds for all before it. Undefined: for none. */
  async lastWith(holds: (manifest: Manifest) => boolean): Promise<Manifest | undefined> {
    const { first, last } = this.range;
    if (first > last || !holds(await this.manifest(first))) return undefined;
    let [low, high] = [first, last + 1];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (holds(await this.manifest(middle))) low = middle;
      else high = middle;
    }
    return this.manifest(low);
  }

  segment(manifest: Manifest): Promise<LogEntry[]> {
    const { topic, partition, content } = manifest;
    return this.#cache.segments.get(`${topic} ${partition} ${content.sha256}`, () => this.objects.segment(manifest));
  }

  bucket(closing: Closing, number: number): Promise<ClosedCell[]> {
    const hash = closing.buckets[number]?.sha256 ?? "";
    return this.#cache.buckets.get(hash, () => this.objects.bucket(closing, number));
  }
}

/** Whether an archive is the same one, some segments later. */
const isContinued = (before: ArchiveHead, now: ArchiveHead): boolean =>
  before.generations
    .filter(([from]) => from <= before.number)
    .every(([from, name]) => now.generations.some((each) => each[0] === from && each[1] === name) || from < now.oldest);

export class ArchivedLog implements LogSource {
  readonly #redis: RedisClient;
  readonly #key: string;
  readonly #reader: ArchiveReader;
  readonly #timeOf: (entry: LogEntry) => number;
  /** The oldest entry that Redis had when it was last asked, and its time; they only move on. */
  #liveFirst = 0;
  #liveFirstMs = Number.POSITIVE_INFINITY;
  /** The archive's oldest entry: whoever looks for an instant reads it first. */
  #oldest: LogEntry | undefined;

  /**
   * @param key of the log in Redis
   * @param timeOf the clock before an entry
   */
  constructor(redis: RedisClient, key: string, reader: ArchiveReader, timeOf: (entry: LogEntry) => number) {
    this.#redis = redis;
    this.#key = key;
    this.#reader = reader;
    this.#timeOf = timeOf;
  }

  async first(): Promise<number | undefined> {
    const [live] = await readLog(this.#redis, this.#key, 0, 1);
    const head = await this.#reader.refresh();
    this.#liveFirst = live?.offset ?? Number.POSITIVE_INFINITY;
    this.#liveFirstMs = live ? this.#timeOf(live) : Number.POSITIVE_INFINITY;
    const { first, last } = this.#reader.range;
    // A gap between archive and log that is not recorded yet: only the log can be read.
    const isJoined = first <= last && (!live || head.last >= live.offset - 1);
    if (!isJoined) return live?.offset;
    const oldest = (await this.#reader.manifest(first)).first;
    return live ? Math.min(oldest, live.offset) : oldest;
  }

  async read(after: number, count: number): Promise<LogEntry[]> {
    if (after + 1 >= this.#liveFirst) {
      const entries = await readLog(this.#redis, this.#key, after, count);
      const [first] = entries;
      if (!first || first.offset === after + 1) return entries;
      // Trimmed meanwhile.
      this.#liveFirst = first.offset;
      await this.#reader.refresh();
    }
    const archived = await this.#archived(after, count);
    return archived.length > 0 ? archived : readLog(this.#redis, this.#key, after, count);
  }

  async around(atMs: number): Promise<{ low: number; high: number } | undefined> {
    // What Redis has is found without the object storage.
    if (atMs >= this.#liveFirstMs) return { low: this.#liveFirst, high: Number.POSITIVE_INFINITY };
    const begun = await this.#reader.lastWith(({ beginMs }) => beginMs <= atMs);
    if (!begun) return undefined;
    const isNewest = begun.number === this.#reader.range.last;
    return { low: begun.first, high: isNewest ? Number.POSITIVE_INFINITY : begun.last + 1 };
  }

  /** Entries of the segment that has the next entry; none when no segment has it. */
  async #archived(after: number, count: number): Promise<LogEntry[]> {
    if (count === 1 && this.#oldest?.offset === after + 1) return [this.#oldest];
    const manifest = await this.#reader.lastWith(({ first }) => first <= after + 1);
    if (!manifest || manifest.last <= after) return [];
    const entries = await this.#reader.segment(manifest);
    const from = after + 1 - manifest.first;
    if (from === 0 && manifest.number === this.#reader.range.first) this.#oldest = entries[0];
    return entries.slice(from, from + count);
  }
}
