/**
 * How much of a partition's emits one sink may hold back: a number of bytes and an age. What is beyond either becomes a
 * dead letter of the sink, one for each log entry, with the emits that it has not delivered; a replay delivers them as
 * a whole. Dead letters have a limit themselves: beyond it the oldest of this kind are removed, counted and recorded.
 * So a receiver that stays down costs a bounded amount of memory. Emits of the old form, which share a record with
 * views, are bounded by age alone once there is a stream of emits; their number does not grow any more.
 */
import type { Clock } from "../kernel/clock.js";
import { durationText } from "../kernel/options.js";
import type { CommitBody, EmitStream } from "../stream/commit.js";
import {
  countDeadLetters,
  countOverflow,
  type DeadLetter,
  encodeEntry,
  isDeadLetterLimitReached,
  listDeadLetters,
} from "../stream/dead-letter.js";
import { recordDeadLetterAction, removeDeadLetterAction } from "../stream/dead-letter-actions.js";
import { onlyEmits } from "../stream/emit-dead-letter.js";
import { type EmitEntry, EmitReader } from "../stream/emits.js";
import { digestOf } from "../stream/event-producer.js";
import type { PartitionKeys } from "../stream/keys.js";
import { streamOptions } from "../stream/options.js";
import type { RedisClient } from "../stream/redis.js";

export interface EmitBounds {
  /** Of a partition's stream of emits. */
  readonly maxBytes: number;
  /** By the clock that commits are dated with. */
  readonly maxAgeMs: number;
}

export const DEFAULT_EMIT_BOUNDS: EmitBounds = {
  maxBytes: streamOptions.emitMaxBytes.default,
  maxAgeMs: streamOptions.emitMaxAgeMs.default,
};

/** What decides whether an entry is beyond a bound. */
export type EntryPlace = Pick<EmitEntry, "committedMs" | "startBytes">;

/**
 * Why an entry may not wait any longer, in words; undefined: it may.
 * @param nowMs undefined: clocks differ, and only bytes count
 */
export function boundReached(
  { committedMs, startBytes }: EntryPlace,
  { maxBytes, maxAgeMs }: EmitBounds,
  totalBytes: number,
  nowMs: number | undefined,
): string | undefined {
  if (startBytes !== undefined && totalBytes - startBytes > maxBytes)
    return `not delivered before ${maxBytes} bytes of emits waited`;
  return nowMs !== undefined && nowMs - committedMs > maxAgeMs
    ? `not delivered within ${durationText(maxAgeMs)}`
    : undefined;
}

/** The oldest entry after a sink's cursor. */
export async function oldestAfter(
  redis: RedisClient,
  keys: PartitionKeys,
  emits: EmitStream,
  cursor: number,
): Promise<EmitEntry | undefined> {
  const [oldest] = await new EmitReader(redis, keys, cursor >= emits.from - 1).read(cursor, 1, 0);
  return oldest;
}

/** The bytes of emits that a sink holds back whose oldest undelivered entry is given. */
export const pinnedBytes = (emits: EmitStream, oldest: EntryPlace | undefined): number =>
  oldest ? (emits.bytes ?? 0) - (oldest.startBytes ?? 0) : 0;

/** An entry that is given up: the emits that the sink wants and has not delivered. */
export interface OverflowEntry {
  readonly commit: number;
  /** Of the emits, in the entry. */
  readonly indexes: readonly number[];
  readonly reason: string;
  readonly stored: EmitEntry["stored"];
}

/** What a commit has to write for entries that are given up. */
export interface OverflowChanges extends Required<Pick<CommitBody, "deadLetters" | "resolvedDeadLetters" | "fields">> {
  /** Deliveries that become dead letters, and those of dead letters that are removed for them. */
  overflowed: number;
  dropped: number;
}

/** Dead letters of one read while the oldest of this kind are looked for: as many as are added, within these. */
const PAGE_FEWEST = 16;
const PAGE_MOST = 500;

/** One sink's dead letters of this kind, while one process has its lease. */
export class EmitOverflow {
  readonly #redis: RedisClient;
  /** The sink's. */
  readonly #keys: PartitionKeys;
  /** Deliveries since the sink began. */
  #overflowed = 0;
  #dropped = 0;
  #isRead = false;
  /** All dead letters up to this one are of another kind, or removed. */
  #searched = "-";
  /** The record of what was removed to make room, since this process has the lease. */
  #action: { id: string; names: readonly string[] } | undefined;

  constructor(redis: RedisClient, sinkKeys: PartitionKeys) {
    this.#redis = redis;
    this.#keys = sinkKeys;
  }

  /**
   * The changes for these entries, and for further dead letters that the same commit adds. Records what is removed
   * before it is.
   */
  async changes(entries: readonly OverflowEntry[], others: readonly DeadLetter[]): Promise<OverflowChanges> {
    await this.#readCounts();
    const added = entries.map(({ commit, indexes, reason, stored }): DeadLetter => {
      const fields = onlyEmits(stored, indexes);
      const digest = digestOf(stored).toString("hex");
      return { offset: commit, reason, tries: 0, fields, isOwn: true, deliveries: indexes.length, digest };
    });
    const overflowed = deliveriesOf(added);
    const { resolvedDeadLetters, dropped, kept } = await this.#makeRoom(added, others);
    this.#overflowed += overflowed;
    this.#dropped += dropped;
    return {
      deadLetters: kept,
      resolvedDeadLetters,
      overflowed,
      dropped,
      fields: { overflowed: this.#overflowed, dropped: this.#dropped },
    };
  }

  /** The oldest dead letters of this kind to remove, or new ones that are not written, so that the limits hold. */
  async #makeRoom(added: DeadLetter[], others: readonly DeadLetter[]) {
    const totals = await countDeadLetters(this.#redis, this.#keys);
    const sizes = added.map(({ fields }) => encodeEntry(fields).length);
    totals.deadLetters += added.length + others.length;
    totals.bytes += sizes.reduce((sum, size) => sum + size, 0);
    totals.bytes += others.reduce((sum, { fields }) => sum + encodeEntry(fields).length, 0);
    const resolvedDeadLetters: string[] = [];
    let dropped = 0;
    let { deadLetters: removable } = await countOverflow(this.#redis, this.#keys);
    const count = Math.max(PAGE_FEWEST, Math.min(added.length, PAGE_MOST));
    while (isDeadLetterLimitReached(totals) && removable > 0) {
      const page = await listDeadLetters(this.#redis, this.#keys, this.#searched, count);
      if (page.length === 0) break;
      const lengths = await this.#entrySizes(page.map(({ offset }) => offset));
      for (const [i, { id, deliveries }] of page.entries()) {
        if (!isDeadLetterLimitReached(totals)) break;
        this.#searched = id;
        if (deliveries === undefined) continue;
        resolvedDeadLetters.push(id);
        dropped += deliveries;
        removable--;
        totals.deadLetters--;
        totals.bytes -= lengths[i] as number;
      }
    }
    // Ordinary dead letters fill the store: then the oldest of the new ones are not written at all.
    let from = 0;
    for (; from < added.length && isDeadLetterLimitReached(totals); from++) {
      dropped += added[from]?.deliveries ?? 0;
      totals.deadLetters--;
      totals.bytes -= sizes[from] as number;
    }
    if (dropped > 0) await this.#recordDropped(resolvedDeadLetters);
    return { resolvedDeadLetters, dropped, kept: added.slice(from) };
  }

  async #entrySizes(offsets: readonly number[]): Promise<number[]> {
    return Promise.all(offsets.map((offset) => this.#redis.hstrlen(this.#keys.deadEntries, `r:${offset}`)));
  }

  /**
   * One record for all that this process removes, so that the operators' actions are not displaced by it. It names the
   * first and the last; those that were never written have no names.
   */
  async #recordDropped(ids: readonly string[]): Promise<void> {
    const before = this.#action;
    const names = [...(before?.names ?? []), ...ids];
    const ends = names.length < 2 ? names : [names[0] as string, names.at(-1) as string];
    const record = { action: "drop" as const, actor: "engine", deadLetters: ends };
    this.#action = { id: await recordDeadLetterAction(this.#redis, this.#keys, record), names: ends };
    if (before) await removeDeadLetterAction(this.#redis, this.#keys, before.id);
  }

  async #readCounts(): Promise<void> {
    if (this.#isRead) return;
    const [overflowed, dropped] = await this.#redis.hmget(this.#keys.task, "overflowed", "dropped");
    this.#overflowed = Number(overflowed ?? 0);
    this.#dropped = Number(dropped ?? 0);
    this.#isRead = true;
  }
}

const deliveriesOf = (deadLetters: readonly DeadLetter[]): number =>
  deadLetters.reduce((sum, { deliveries = 0 }) => sum + deliveries, 0);

/** How often what has overflowed is reported. */
const REPORT_EVERY_MS = 60_000;

/** Sums up what has overflowed, for one message a minute: a receiver that is down has more every second. */
export class OverflowReport {
  readonly #clock: Clock;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #overflowed = 0;
  #dropped = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(overflowed: number, dropped: number): void {
    this.#overflowed += overflowed;
    this.#dropped += dropped;
  }

  /** A message about all that was added since the last one; undefined when there is none yet. */
  takeMessage(): string | undefined {
    const nowMs = this.#clock.now();
    if (nowMs - this.#reportedMs < REPORT_EVERY_MS || this.#overflowed === 0) return undefined;
    const lost = this.#dropped > 0 ? `, and ${this.#dropped} of the oldest ones were removed to make room` : "";
    const message = `ALARM: ${this.#overflowed} deliveries waited too long and became dead letters${lost}`;
    this.#reportedMs = nowMs;
    this.#overflowed = 0;
    this.#dropped = 0;
    return message;
  }
}
