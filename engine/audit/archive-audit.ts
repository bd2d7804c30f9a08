/**
 * Proves that an archive is what was written: every manifest has the hash that the next one names (the newest: that
 * which Redis names), every object the hash that its manifest names, the entries follow each other without a gap that
 * was not recorded, those that Redis still has are the same, and every closing is the fold of the entries before it. A
 * byte that changed, an object that is missing and two that were exchanged are each found and named. It only reads, and
 * goes on after a finding.
 */
import {
  type ArchiveHead,
  bucketKey,
  bucketOf,
  generationOf,
  headKey,
  isDamage,
  type Manifest,
} from "../history/archive-format.js";
import { readArchiveHead } from "../history/archive-head.js";
import { ArchiveObjects, type ArchiveStore } from "../history/archive-objects.js";
import { messageOf } from "../kernel/errors.js";
import { eventsOf } from "../stock/log-entry.js";
import { type Balances, CELL_SEPARATOR, POOLS, type StockEvent } from "../stock/model.js";
import { partitionKeys } from "../stream/keys.js";
import { type LogEntry, readLog } from "../stream/log.js";
import type { RedisClient } from "../stream/redis.js";
import { foldInto } from "./fold.js";

export interface ArchiveFinding {
  readonly topic: string;
  readonly partition: number;
  /** The object, where one can be named. */
  readonly key?: string;
  readonly words: string;
}

export interface ArchiveReport {
  readonly partitions: number;
  readonly manifests: number;
  readonly entries: number;
  readonly closings: number;
  /** Entries that were compared with those that Redis still has. */
  readonly live: number;
  readonly findings: readonly ArchiveFinding[];
  /** What is true and worth knowing: gaps that were recorded, closings without a fold to compare with. */
  readonly notes: readonly string[];
}

/** Findings that are kept and listed, at most; an empty folder would give one for every object. */
const MAX_FINDINGS = 100;
const TOPICS = ["stock", "orders"] as const;

export interface ArchiveAuditOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly partitions: number;
  readonly store: ArchiveStore;
  readonly signal: AbortSignal;
}

/** @throws EngineError `objects_unavailable` and the like when the storage does not answer; the signal's reason */
export async function auditArchive(options: ArchiveAuditOptions): Promise<ArchiveReport> {
  const { redis, prefix, partitions, store } = options;
  const sum = { partitions: 0, manifests: 0, entries: 0, closings: 0, live: 0 };
  const findings: ArchiveFinding[] = [];
  const notes: string[] = [];
  for (const topic of TOPICS)
    for (let partition = 0; partition < partitions; partition++) {
      const place = { prefix, topic, partition };
      const objects = new ArchiveObjects(store, place);
      // In this order: an archive that goes on is not ahead of Redis.
      const stored = await objects.head(options.signal).catch(damageOnly);
      const head = await readArchiveHead(redis, place);
      if (stored && stored.number > head.number)
        notes.push(
          `${topic}, partition ${partition}: the storage has manifests up to ${stored.number}, Redis names ${head.number}: Redis is that of an earlier time`,
        );
      if (head.number === 0) continue;
      const audit = new PartitionAudit(options, objects, head);
      await audit.run(stored);
      sum.partitions++;
      for (const figure of ["manifests", "entries", "closings", "live"] as const) sum[figure] += audit.counts[figure];
      findings.push(...audit.findings);
      notes.push(...audit.notes);
    }
  if (findings.length >= MAX_FINDINGS) notes.push(`at most ${MAX_FINDINGS} findings are listed; there may be more`);
  return { ...sum, findings: findings.slice(0, MAX_FINDINGS), notes };
}

/** Undefined for damage. @throws all else */
function damageOnly(thrown: unknown): undefined {
  if (!isDamage(thrown)) throw thrown;
}

class PartitionAudit {
  readonly counts = { manifests: 0, entries: 0, closings: 0, live: 0 };
  readonly findings: ArchiveFinding[] = [];
  readonly notes: string[] = [];
  readonly #options: ArchiveAuditOptions;
  readonly #objects: ArchiveObjects;
  readonly #head: ArchiveHead;
  /** Balances by cell; undefined where the fold has no beginning. */
  #cells: Map<string, Balances> | undefined;
  #liveFirst = Number.POSITIVE_INFINITY;

  constructor(options: ArchiveAuditOptions, objects: ArchiveObjects, head: ArchiveHead) {
    this.#options = options;
    this.#objects = objects;
    this.#head = head;
  }

  /** @param stored the head object, if it can be read */
  async run(stored: ArchiveHead | undefined): Promise<void> {
    const { redis, signal } = this.#options;
    const { topic, partition, prefix } = this.#objects.place;
    const { log, head: logHead } = partitionKeys(prefix, topic, partition);
    const [live] = await readLog(redis, log, 0, 1);
    this.#liveFirst = live?.offset ?? Number.POSITIVE_INFINITY;
    const logged = Number((await redis.hget(logHead, "offset")) ?? 0);
    if (logged < this.#head.last)
      this.find(undefined, `the archive has entries up to ${this.#head.last}, but the log ends at ${logged}`);
    await this.#headObject(stored);
    const chain = await this.#chain();
    let before: Manifest | undefined;
    for (const number of chain) {
      signal.throwIfAborted();
      const manifest = await this.#manifest(number);
      if (!manifest) {
        this.#cells = undefined;
        before = undefined;
        continue;
      }
      this.#follows(before, manifest);
      await this.#segment(manifest, log);
      before = manifest;
    }
    if (live && live.offset > this.#head.last + 1)
      this.find(
        undefined,
        `entries ${this.#head.last + 1} to ${live.offset - 1} are in neither the archive nor the log`,
      );
  }

  /** The head object may be some segments behind, when its writer ended, but it has to be of this archive. */
  async #headObject(stored: ArchiveHead | undefined): Promise<void> {
    const key = headKey(this.#objects.place);
    if (!stored) return this.find(key, "the head is missing or cannot be read; it is written with the next segment");
    const { number, oldest, generations, ...newest } = this.#head;
    // A later one has been noted.
    if (stored.number > number) return;
    const isNewest = stored.number === number;
    const isSame =
      stored.oldest <= oldest &&
      generationOf(stored.generations, stored.number) === generationOf(generations, stored.number) &&
      (!isNewest || Object.entries(newest).every(([name, value]) => stored[name as keyof ArchiveHead] === value));
    const hash =
      isNewest || stored.number < oldest
        ? stored.sha256
        : (await this.#objects.manifest(generations, stored.number).catch(damageOnly))?.hash;
    if (!isSame || (hash !== undefined && hash !== stored.sha256))
      this.find(key, "the head states something else than Redis; it is written with the next segment");
  }

  /** Whether a manifest was removed, because of its age, after the audit began. */
  async #isRemoved(number: number): Promise<boolean> {
    return number < (await readArchiveHead(this.#options.redis, this.#objects.place)).oldest;
  }

  /** Checks the hashes of all manifests, the newest first. Returns their numbers, the oldest first. */
  async #chain(): Promise<number[]> {
    const { generations, number: newest, oldest, sha256 } = this.#head;
    const numbers: number[] = [];
    let wanted: string | undefined = sha256;
    for (let number = newest; number >= oldest; number--) {
      this.#options.signal.throwIfAborted();
      numbers.push(number);
      try {
        const { manifest, hash, key } = await this.#objects.manifest(generations, number);
        if (wanted !== undefined && hash !== wanted)
          this.find(key, `manifest ${number} has another hash than the next one (or Redis) names`);
        wanted = manifest.previous;
        this.counts.manifests++;
      } catch (thrown) {
        await this.#findThrown(thrown, number);
        // Without it, that of the one before is not known.
        wanted = undefined;
      }
    }
    return numbers.reverse();
  }

  /** Undefined: it has been named as a finding. */
  async #manifest(number: number): Promise<Manifest | undefined> {
    return this.#objects.manifest(this.#head.generations, number).then(
      ({ manifest }) => manifest,
      () => undefined,
    );
  }

  #follows(before: Manifest | undefined, manifest: Manifest): void {
    const { first, gap, number } = manifest;
    const isFirst = number === this.#head.oldest;
    if (gap) this.notes.push(`${this.#name}: entries ${gap.first} to ${gap.last} were lost before they were archived`);
    if (before && first !== (gap ? gap.last : before.last) + 1)
      this.find(undefined, `manifest ${number} begins at entry ${first}, but the one before ends at ${before.last}`);
    // The fold begins where the log does.
    if (first === 1) this.#cells = new Map();
    else if (gap || isFirst || !before) this.#cells = undefined;
  }

  async #segment(manifest: Manifest, log: string): Promise<void> {
    try {
      const entries = await this.#objects.segment(manifest);
      this.counts.entries += entries.length;
      await this.#compareLive(entries, log);
      if (this.#objects.place.topic === "stock") {
        this.#fold(entries);
        if (manifest.closing) await this.#closing(manifest);
      }
    } catch (thrown) {
      await this.#findThrown(thrown, manifest.number);
      this.#cells = undefined;
    }
  }

  /** Entries that Redis still has must be the same, byte by byte. */
  async #compareLive(entries: readonly LogEntry[], log: string): Promise<void> {
    const { redis } = this.#options;
    const [first, last] = [entries[0]?.offset ?? 0, entries.at(-1)?.offset ?? 0];
    if (last < this.#liveFirst) return;
    const from = Math.max(first, this.#liveFirst);
    const archived = new Map(entries.map((entry) => [entry.offset, entry]));
    for (let after = from - 1; after < last; ) {
      const page = await readLog(redis, log, after, Math.min(64, last - after));
      if (page.length === 0) return;
      for (const { offset, fields } of page) {
        const other = archived.get(offset);
        if (!other) continue;
        this.counts.live++;
        const isSame =
          other.fields.length === fields.length && fields.every((bytes, i) => bytes.equals(other.fields[i] as Buffer));
        if (!isSame) this.find(undefined, `entry ${offset} of the archive differs from the log's`);
      }
      after = page.at(-1)?.offset ?? last;
    }
  }

  #fold(entries: readonly LogEntry[]): void {
    if (!this.#cells) return;
    const belowZero = new Map<string, StockEvent>();
    for (const entry of entries) for (const event of eventsOf(entry).events) foldInto(this.#cells, event, belowZero);
  }

  /** Compares a closing with the fold; a fold without a beginning begins with the closing. */
  async #closing({ closing, number }: Manifest): Promise<void> {
    if (!closing) return;
    const { partitions } = this.#options;
    const stored = new Map<string, readonly number[]>();
    for (const [bucket, ref] of closing.buckets.entries()) {
      const cells = await this.#objects.bucket(closing, bucket);
      for (const [name, ...units] of cells) {
        const sku = name.slice(0, name.indexOf(CELL_SEPARATOR));
        if (bucketOf(sku, partitions, closing.buckets.length) !== bucket)
          this.find(bucketKey(this.#objects.place, ref), `has the SKU ${sku}, which belongs to another bucket`);
        stored.set(name, units);
      }
    }
    this.counts.closings++;
    if (this.#cells) this.#compareClosing(number, stored, this.#cells);
    else {
      this.notes.push(`${this.#name}: the closing of manifest ${number} begins the fold, it was not compared`);
      this.#cells = new Map([...stored].map(([name, units]) => [name, balancesOf(units)]));
    }
  }

  #compareClosing(number: number, stored: ReadonlyMap<string, readonly number[]>, cells: Map<string, Balances>): void {
    for (const name of new Set([...stored.keys(), ...cells.keys()])) {
      const [units, folded] = [stored.get(name), cells.get(name)];
      for (const [p, pool] of POOLS.entries()) {
        const [a, b] = [units?.[p] ?? 0, folded?.[pool] ?? 0];
        if (a === b) continue;
        const [sku, location] = name.split(CELL_SEPARATOR);
        this.find(
          undefined,
          `the closing of manifest ${number} has ${a} ${pool} of ${sku} at ${location}; the entries make ${b}`,
        );
      }
    }
  }

  find(key: string | undefined, words: string): void {
    const { topic, partition } = this.#objects.place;
    if (this.findings.length >= MAX_FINDINGS) return;
    this.findings.push({ topic, partition, ...(key === undefined ? {} : { key }), words });
  }

  /** @throws what is no finding about an object */
  async #findThrown(thrown: unknown, number: number): Promise<void> {
    if (!isDamage(thrown)) throw thrown;
    if (await this.#isRemoved(number)) return;
    this.find(thrown.input, messageOf(thrown));
  }

  get #name(): string {
    const { topic, partition } = this.#objects.place;
    return `${topic}, partition ${partition}`;
  }
}

const balancesOf = (units: readonly number[]): Balances =>
  Object.fromEntries(POOLS.map((pool, p) => [pool, units[p] ?? 0])) as unknown as Balances;

/** Findings in one line each. */
export const findingText = ({ topic, partition, words }: ArchiveFinding): string =>
  `${topic}, partition ${partition}: ${words}`;
