/**
 * A partition's log as one source: what Redis has, and before that what the archive has, as far back as there is no
 * gap. Entries are the same in both. Manifests and the segments that were read last are kept in memory; the archive's
 * end is read again for each call of `first`. Nothing is taken from an object whose hash is another one.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError } from "../kernel/errors.js";
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
  generationOf,
  type Manifest,
} from "./archive-format.js";
import { readArchiveHead } from "./archive-head.js";
import { ArchiveObjects, type ArchiveStore } from "./archive-objects.js";

/** Manifests in memory: 4,000 × some 800 bytes are 3 MB. */
const MANIFESTS_KEPT = 4_000;
/**
 * Decoded segments in memory, of all partitions together: one for each of the 8 requests that the HTTP interface lets
 * read the past concurrently, and one more. With fewer, each page of a reader would fetch its segment again. 9 × some
 * 4 MB, 144 MB at most.
 */
const SEGMENTS_KEPT = 9;

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
  /** By generation and number, under which a manifest that counts never changes. */
  readonly #manifests = new Map<string, Manifest>();
  head: ArchiveHead = EMPTY_HEAD;

  constructor(redis: RedisClient, store: ArchiveStore, place: ArchivePlace, cache: ArchiveCache) {
    this.#redis = redis;
    this.#cache = cache;
    this.objects = new ArchiveObjects(store, place);
  }

  /** Reads where the archive ends now. */
  async refresh(): Promise<ArchiveHead> {
    this.head = await readArchiveHead(this.#redis, this.objects.place);
    return this.head;
  }

  /** The manifests that can be read, without a gap up to the newest; `first` > `last`: none. */
  get range(): { first: number; last: number } {
    const { oldest, unbrokenFrom, number } = this.head;
    return { first: Math.max(oldest, unbrokenFrom), last: number };
  }

  async manifest(number: number): Promise<Manifest> {
    const { generations } = this.head;
    const name = `${generationOf(generations, number)} ${number}`;
    const kept = this.#manifests.get(name);
    if (kept) return kept;
    const { manifest } = await this.objects.manifest(generations, number);
    this.#manifests.set(name, manifest);
    if (this.#manifests.size > MANIFESTS_KEPT) this.#manifests.delete(this.#manifests.keys().next().value as string);
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

export class ArchivedLog implements LogSource {
  readonly #redis: RedisClient;
  readonly #key: string;
  readonly #reader: ArchiveReader;
  readonly #timeOf: (entry: LogEntry) => number;
  /** The oldest entry that Redis had when it was last asked, and its time; they only move on. */
  #liveFirst = 0;
  #liveFirstMs = Number.POSITIVE_INFINITY;
  /** The archive's oldest entry: whoever looks for an instant reads it first. */
  #oldest: { readonly generation: string; readonly number: number; readonly entry: LogEntry } | undefined;
  #fault: EngineError | undefined;

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
    this.#begins(live);
    this.#fault = undefined;
    const { first, last } = this.#reader.range;
    // A gap between archive and log that is not recorded yet: only the log can be read.
    const isJoined = first <= last && (!live || head.last >= live.offset - 1);
    if (!isJoined || live?.offset === 1) return live?.offset;
    try {
      const { offset } = await this.#oldestAt(first);
      return live ? Math.min(offset, live.offset) : offset;
    } catch (thrown) {
      // What Redis has can be read all the same.
      if (!live || !(thrown instanceof EngineError)) throw thrown;
      this.#fault = thrown;
      return live.offset;
    }
  }

  get fault(): EngineError | undefined {
    return this.#fault;
  }

  async read(after: number, count: number): Promise<LogEntry[]> {
    if (after + 1 >= this.#liveFirst) {
      const entries = await readLog(this.#redis, this.#key, after, count);
      const [first] = entries;
      if (!first || first.offset === after + 1) return entries;
      // Trimmed meanwhile.
      this.#begins(first);
      await this.#reader.refresh();
    }
    const archived = await this.#archived(after, count);
    return archived.length > 0 ? archived : readLog(this.#redis, this.#key, after, count);
  }

  /** Whether Redis has all entries of an instant and later, as far as is known. */
  isLive(atMs: number): boolean {
    return atMs >= this.#liveFirstMs;
  }

  async around(atMs: number): Promise<{ low: number; high: number } | undefined> {
    // What Redis has is found without the object storage.
    if (this.isLive(atMs)) return { low: this.#liveFirst, high: Number.POSITIVE_INFINITY };
    const begun = await this.#reader.lastWith(({ beginMs }) => beginMs <= atMs);
    if (!begun) return undefined;
    const isNewest = begun.number === this.#reader.range.last;
    return { low: begun.first, high: isNewest ? Number.POSITIVE_INFINITY : begun.last + 1 };
  }

  /** Keeps where Redis begins: place and time together, because a search for a time begins at the place. */
  #begins(live: LogEntry | undefined): void {
    this.#liveFirst = live?.offset ?? Number.POSITIVE_INFINITY;
    this.#liveFirstMs = live ? this.#timeOf(live) : Number.POSITIVE_INFINITY;
  }

  /** The first entry of the archive's first manifest that can be read. */
  async #oldestAt(number: number): Promise<LogEntry> {
    const kept = this.#keptOldest(number);
    if (kept) return kept;
    const generation = generationOf(this.#reader.head.generations, number);
    const [{ offset, fields }] = (await this.#reader.segment(await this.#reader.manifest(number))) as [LogEntry];
    // A copy: the bytes are part of the whole segment's.
    const entry = { offset, fields: fields.map((bytes) => Buffer.from(bytes)) };
    this.#oldest = { generation, number, entry };
    return entry;
  }

  #keptOldest(number: number): LogEntry | undefined {
    const generation = generationOf(this.#reader.head.generations, number);
    return this.#oldest?.number === number && this.#oldest.generation === generation ? this.#oldest.entry : undefined;
  }

  /** Entries of the segment that has the next entry; none when no segment has it. */
  async #archived(after: number, count: number): Promise<LogEntry[]> {
    const { first, last } = this.#reader.range;
    if (first > last) return [];
    const oldest = this.#keptOldest(first);
    if (count === 1 && oldest?.offset === after + 1) return [oldest];
    const manifest = await this.#reader.lastWith((each) => each.first <= after + 1);
    if (!manifest || manifest.last <= after) return [];
    const entries = await this.#reader.segment(manifest);
    // A segment in memory is read without waiting: other work must go on between its pages.
    await nextTurn();
    const from = after + 1 - manifest.first;
    return entries.slice(from, from + count);
  }
}
