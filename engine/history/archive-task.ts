/**
 * Archives one partition's log under one lease: reads entries after the last archived one, and writes them as segments
 * to object storage, with the closing balances where a UTC day ends. A segment counts only once the head in Redis names
 * its manifest; until then writing it again is harmless. So an archive has every entry once, whatever ends when.
 * Entries that the log had lost before they could be archived are recorded as a gap. Any error ends the task; the
 * lease's loop starts it again.
 */
import { type Clock, DAY_MS, type Scheduler } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { secureBytes } from "../kernel/random.js";
import { renewTask, type Task } from "../stream/commit.js";
import { archiveKeys, type PartitionKeys, partitionKeys } from "../stream/keys.js";
import { assertContiguous, type LogEntry, readLog } from "../stream/log.js";
import { redisLog } from "../stream/log-source.js";
import type { RedisClient } from "../stream/redis.js";
import { nowArgument } from "../stream/server-clock.js";
import { closePartition } from "./archive-closing.js";
import {
  type ArchiveHead,
  type ArchivePlace,
  type Closing,
  encodeSegment,
  type Generation,
  generationOf,
  isDamage,
  MAX_OBJECT_BYTES,
  type Manifest,
  type ObjectRef,
  refOf,
  SEGMENT_BYTES,
  VERSION,
} from "./archive-format.js";
import { commitArchiveHead, readArchiveHead } from "./archive-head.js";
import type { ArchiveObjects } from "./archive-objects.js";

/** Entries of one read. */
const PAGE_ENTRIES = 64;
/** How often the log is looked at while a segment fills. */
const CHECK_EVERY_MS = 5_000;
/** A segment that does not fill ends after this time, by the log's clock: 96 a day. */
export const SEGMENT_MS = 15 * 60_000;
/** Manifests that are removed before the next segment is written. */
const REMOVED_AT_ONCE = 16;
const GENERATION_BYTES = 6;

export interface ArchiveTaskOptions {
  redis: RedisClient;
  objects: ArchiveObjects;
  place: ArchivePlace;
  /** Of the deployment. */
  partitions: number;
  /** When an entry was written. */
  timeOf(entry: LogEntry): number;
  /** Whether the partition has balances, which are closed at the end of each day. */
  hasClosings: boolean;
  /** Whether an entry must not be archived: it becomes part of a gap. Left out: none. */
  isPrivate?: ((entry: LogEntry) => boolean) | undefined;
  /** Segments older than this are removed, by the log's clock; 0: none. */
  retentionMs: number;
  leaseMs: number;
  onTrouble: OnTrouble;
  clock: Scheduler;
  serverClock?: Clock;
  checkEveryMs?: number;
  segmentMs?: number;
  segmentBytes?: number;
}

export interface ArchiveFigures {
  /** Since the start of the process. */
  segments: number;
  entries: number;
  /** Written to object storage. */
  bytes: number;
  /** Entries that were lost before they could be archived. */
  lostEntries: number;
  /** The last archived entry, and the log's last one. */
  archived: number;
  logged: number;
  /** By the log's clock, how long the oldest entry that is not archived has waited. */
  behindMs: number;
}

export class ArchiveTask {
  readonly #options: ArchiveTaskOptions;
  readonly #task: Task;
  readonly #figures: ArchiveFigures;
  readonly #keys: PartitionKeys;
  #commit: number;
  #head!: ArchiveHead;
  /** Of the log, not archived yet. */
  #pending: LogEntry[] = [];
  #pendingBytes = 0;
  #gap: Manifest["gap"];
  /** Entries of the gap that the log still has, and that must not be archived. */
  #private = 0;
  #renewedMs: number;

  /** @param askedMs when the lease was requested, by the clock */
  constructor(options: ArchiveTaskOptions, task: Task, figures: ArchiveFigures, askedMs: number) {
    const { prefix, topic, partition } = options.place;
    this.#options = options;
    this.#task = task;
    this.#figures = figures;
    this.#keys = archiveKeys(prefix, topic, partition);
    this.#commit = task.commit;
    this.#renewedMs = askedMs;
  }

  /** Works until the signal aborts. @param progressed called after each segment */
  async run(signal: AbortSignal, progressed: () => void): Promise<void> {
    const { clock, checkEveryMs = CHECK_EVERY_MS } = this.#options;
    await this.#begin();
    let isFirst = true;
    while (!signal.aborted) {
      await this.#renewIfDue();
      const isFull = await this.#fill();
      if (isFull) {
        await this.#renewing(async () => {
          if (isFirst) await this.#skipRemoved(signal);
          await this.#write(signal);
          progressed();
          if (isFirst) await this.#finishRemoval(signal);
          isFirst = false;
          await this.#removeOld(signal);
        });
      } else await clock.sleep(checkEveryMs, signal);
    }
  }

  /**
   * Renews the lease while something is done that may take longer: a slow object storage has many seconds for each
   * object, and a closing reads the log from the day's end on. When the lease is lost, the next commit is refused.
   */
  async #renewing(work: () => Promise<void>): Promise<void> {
    const { clock, leaseMs } = this.#options;
    const done = new AbortController();
    const renewing = async () => {
      for (;;) {
        await clock.sleep(leaseMs / 3, done.signal);
        if (done.signal.aborted) return;
        await this.#renewIfDue();
      }
    };
    const renewed = renewing().catch(() => {});
    try {
      await work();
    } finally {
      done.abort();
      await renewed;
    }
  }

  /** Reads where the archive ends, and begins a generation of its own: see Generation. */
  async #begin(): Promise<void> {
    const { redis, place } = this.#options;
    const head = await readArchiveHead(redis, place);
    const fresh: Generation = [head.number + 1, secureBytes(GENERATION_BYTES).toString("hex")];
    const { generations, oldest } = head;
    const used = generations.filter(
      ([from], i) => from <= head.number && (generations[i + 1]?.[0] ?? oldest) >= oldest,
    );
    await this.#commitHead({ ...head, generations: [...used, fresh] });
  }

  /** Reads entries until the segment ends. Returns whether it has ended. */
  async #fill(): Promise<boolean> {
    const { redis, timeOf, segmentMs = SEGMENT_MS } = this.#options;
    const { prefix, topic, partition } = this.#options.place;
    const [offset, clock] = await redis.hmget(partitionKeys(prefix, topic, partition).head, "offset", "clock");
    if (Number(offset ?? 0) < this.#head.last) throw logShorter(this.#keys.log, Number(offset ?? 0), this.#head.last);
    const isFull = await this.#read();
    const [oldest] = this.#pending;
    const behindMs = oldest ? Math.max(0, Number(clock ?? 0) - timeOf(oldest)) : 0;
    Object.assign(this.#figures, { archived: this.#head.last, logged: Number(offset ?? 0), behindMs });
    return isFull || (oldest !== undefined && behindMs >= segmentMs);
  }

  /** Returns whether the segment has as much as it may, or a day has ended. */
  async #read(): Promise<boolean> {
    const { redis, timeOf, hasClosings, isPrivate, segmentBytes = SEGMENT_BYTES } = this.#options;
    for (;;) {
      const after = this.#pending.at(-1)?.offset ?? this.#gap?.last ?? this.#head.last;
      const page = await readLog(redis, this.#keys.log, after, PAGE_ENTRIES);
      const [first] = page;
      if (!first) return false;
      if (this.#pending.length === 0 && first.offset > after + 1)
        this.#gap = { first: this.#gap?.first ?? after + 1, last: first.offset - 1 };
      else assertContiguous(page, after, this.#keys.log);
      for (const entry of page) {
        const last = this.#pending.at(-1);
        // A day's last entry ends the segment, for its closing.
        if (hasClosings && last && dayOf(timeOf(entry)) > dayOf(timeOf(last))) return true;
        if (isPrivate?.(entry)) {
          if (last) return true;
          this.#gap = { first: this.#gap?.first ?? entry.offset, last: entry.offset };
          this.#private++;
          continue;
        }
        this.#pending.push(entry);
        this.#pendingBytes += entry.fields.reduce((sum, bytes) => sum + bytes.length, 0);
        if (this.#pendingBytes >= segmentBytes) return true;
      }
    }
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { objects, timeOf, place } = this.#options;
    const entries = this.#pending;
    const [first, last] = [entries[0] as LogEntry, entries.at(-1) as LogEntry];
    const { content, parts } = await encodeSegment(entries);
    for (const { ref, bytes } of parts) await objects.putPart(ref, bytes, signal);
    const number = this.#head.number + 1;
    const closing = (await this.#isEndOfDay(last)) ? await this.#closeIfPossible(last, signal) : undefined;
    const unbrokenFrom = this.#gap || number === 1 ? number : this.#head.unbrokenFrom;
    const lastClosing = closing ? number : this.#head.lastClosing;
    const manifest: Manifest = {
      version: VERSION,
      ...{ prefix: place.prefix, topic: place.topic, partition: place.partition },
      number,
      generation: generationOf(this.#head.generations, number),
      previous: this.#head.sha256,
      ...{ first: first.offset, last: last.offset, beginMs: timeOf(first), endMs: timeOf(last), content },
      parts: parts.map(({ ref }) => ref),
      ...(this.#gap && { gap: this.#gap }),
      unbrokenFrom,
      ...(closing && { closing }),
      lastClosing,
    };
    const hash = await objects.putManifest(manifest, signal);
    await this.#commitHead({ ...this.#head, number, sha256: hash, last: last.offset, unbrokenFrom, lastClosing });
    // Also while stopping: without it the audit would find a head that is missing.
    await objects.putHead(this.#head);
    this.#count(
      entries.length,
      parts.reduce((sum, { ref }) => sum + ref.bytes, 0),
    );
  }

  #count(entries: number, bytes: number): void {
    const figures = this.#figures;
    if (this.#gap) figures.lostEntries += this.#gap.last - this.#gap.first + 1 - this.#private;
    figures.segments++;
    figures.entries += entries;
    figures.bytes += bytes;
    figures.archived = this.#head.last;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#gap = undefined;
    this.#private = 0;
  }

  /** Whether the entry after this one is of a later day. */
  async #isEndOfDay(last: LogEntry): Promise<boolean> {
    const { redis, timeOf, hasClosings } = this.#options;
    if (!hasClosings) return false;
    const [next] = await readLog(redis, this.#keys.log, last.offset, 1);
    return next !== undefined && dayOf(timeOf(next)) > dayOf(timeOf(last));
  }

  /** Undefined when the partition cannot be closed: readers then begin from an earlier or a later closing. */
  async #closeIfPossible(last: LogEntry, signal: AbortSignal): Promise<Closing | undefined> {
    try {
      return await this.#close(last, signal);
    } catch (thrown) {
      if (!(thrown instanceof EngineError) || !LEFT_OUT.has(thrown.code)) throw thrown;
      const { onTrouble, place } = this.#options;
      onTrouble(`the archive has no closing for ${dateOf(last, this.#options)}: ${thrown.message}`, { ...place });
      return undefined;
    }
  }

  async #close(last: LogEntry, signal: AbortSignal): Promise<Closing> {
    const { redis, place, partitions, objects, timeOf } = this.#options;
    const log = redisLog(redis, this.#keys.log);
    const closed = await closePartition({ redis, ...place, partitions, log }, last.offset, signal);
    const buckets: ObjectRef[] = [];
    for (let bucket = 0; bucket < closed.buckets; bucket++) {
      const bytes = await closed.bucket(bucket);
      if (bytes.length > MAX_OBJECT_BYTES) throw tooLarge(bytes.length);
      const ref = refOf(bytes);
      await objects.putBucket(ref, bytes, signal);
      buckets.push(ref);
    }
    return { offset: last.offset, atMs: timeOf(last), cells: closed.cells, buckets };
  }

  /**
   * Before the first segment of an owner. After a backup was restored, segments that were removed since are not there
   * any more: the head object, which is newer than Redis then, has where the archive began last.
   */
  async #skipRemoved(signal: AbortSignal): Promise<void> {
    const { objects } = this.#options;
    const { oldest, number, generations } = this.#head;
    const stored = await objects.head(signal).catch(unlessDamaged);
    if (!stored || stored.oldest <= oldest || oldest > number) return;
    const isThere = await objects.manifest(generations, oldest, signal).catch(unlessDamaged);
    if (!isThere) await this.#commitHead({ ...this.#head, oldest: Math.min(stored.oldest, number + 1) });
  }

  /** Removes what an earlier owner had begun to remove. */
  async #finishRemoval(signal: AbortSignal): Promise<void> {
    const { retentionMs, objects } = this.#options;
    const { oldest } = this.#head;
    if (retentionMs === 0 || oldest === 1) return;
    const begun = await this.#manifestAt(oldest - 1, signal);
    if (begun) await objects.remove(begun, signal);
  }

  /** Removes the oldest segments past the retention; the newest stays, and so does the newest with a closing. */
  async #removeOld(signal: AbortSignal): Promise<void> {
    const { retentionMs, objects, hasClosings } = this.#options;
    if (retentionMs === 0) return;
    for (let removed = 0; removed < REMOVED_AT_ONCE; removed++) {
      const { oldest, number, lastClosing } = this.#head;
      if (oldest >= number || (hasClosings && oldest >= lastClosing)) return;
      const newest = await this.#manifestAt(number, signal);
      const manifest = await this.#manifestAt(oldest, signal);
      // One that is missing ended before the next one began.
      const endMs = manifest?.endMs ?? (await this.#manifestAt(oldest + 1, signal))?.beginMs;
      if (!newest || endMs === undefined || newest.endMs - endMs <= retentionMs) return;
      // Readers begin after it from now on.
      await this.#commitHead({ ...this.#head, oldest: oldest + 1 });
      if (manifest) await objects.remove(manifest, signal);
      await objects.putHead(this.#head);
    }
  }

  /** Undefined when it is missing or damaged. */
  async #manifestAt(number: number, signal: AbortSignal): Promise<Manifest | undefined> {
    return (await this.#options.objects.manifest(this.#head.generations, number, signal).catch(unlessDamaged))
      ?.manifest;
  }

  async #commitHead(head: ArchiveHead): Promise<void> {
    const { redis, leaseMs, clock, serverClock } = this.#options;
    const askedMs = clock.now();
    const now = nowArgument(serverClock);
    await commitArchiveHead(redis, this.#keys, head, { task: this.#task, number: this.#commit + 1, leaseMs, now });
    this.#commit++;
    this.#head = head;
    this.#renewedMs = askedMs;
  }

  async #renewIfDue(): Promise<void> {
    const { redis, clock, serverClock, leaseMs } = this.#options;
    if (clock.now() - this.#renewedMs <= leaseMs / 3) return;
    const askedMs = clock.now();
    await renewTask(redis, this.#keys, this.#task, leaseMs, nowArgument(serverClock));
    this.#renewedMs = askedMs;
  }
}

/** Undefined for an object that is missing or damaged. @throws all else */
function unlessDamaged(thrown: unknown): undefined {
  if (!isDamage(thrown) || thrown.code === "newer_version") throw thrown;
}

/** Errors of a closing that do not cease: the segments go on without it. */
const LEFT_OUT: ReadonlySet<string> = new Set(["undecodable", "closing_too_large"]);

const dateOf = (entry: LogEntry, { timeOf }: ArchiveTaskOptions): string =>
  new Date(timeOf(entry)).toISOString().slice(0, 10);

const dayOf = (ms: number): number => Math.floor(ms / DAY_MS);

/** Redis writes both in one slot, so it loses them together: only a hand can have done this. */
const logShorter = (log: string, offset: number, archived: number): EngineError =>
  new EngineError(`${log} ends at entry ${offset}, but entries up to ${archived} are archived; nothing is archived`, {
    op: "archive.read",
    code: "log_shorter",
    retryable: false,
    input: log,
  });

const tooLarge = (bytes: number): EngineError =>
  new EngineError(`a bucket of the closing has ${bytes} bytes; ${MAX_OBJECT_BYTES} are allowed`, {
    op: "archive.close",
    code: "closing_too_large",
    retryable: false,
  });
