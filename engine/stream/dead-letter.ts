/**
 * Dead letters: records that could not be processed. A dead letter states where and why, and keeps the failed record,
 * so that it can be examined and replayed long after the log has been trimmed: the record alone where its topic can
 * cut it out of its entry, otherwise the whole entry, stored once for all its dead letters. Only commits write dead
 * letters. They are removed by a replay, by an operator, or at the age limit; those of emits that waited too long also
 * to make room for newer ones. Requesting a replay only stores the request: the partition's owner does it.
 */
import { Packr, Unpackr } from "msgpackr";
import { callFunction } from "./functions.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";
import { wallArgument } from "./server-clock.js";

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** A record that could not be processed, with all that is needed to examine and replay it. Field names are stored. */
export interface DeadLetter {
  offset: number;
  /** Undefined when the entry could not be decoded at all. */
  job?: string;
  /** Index of the event in the entry; undefined for a timer. */
  index?: number;
  key?: string;
  timerMs?: number;
  /** The name of a named timer. */
  timer?: string;
  reason: string;
  /** How often it has been processed. */
  tries: number;
  /** Field name, then value, as the log holds them; empty for a timer. */
  fields: readonly Buffer[];
  /** True when `fields` hold the failed record alone: then they are stored for this dead letter only. */
  isOwn?: boolean;
  /**
   * Of a sink that fell too far behind: how many deliveries of the entry it holds, which are all of its `fields`. Only
   * such a dead letter may be removed to make room for newer ones.
   */
  deliveries?: number;
  /** Of such a dead letter: digest of its entry, in hexadecimal digits. */
  digest?: string;
  /** Ids of the dead letter that this one has replaced, and of the first of the chain. */
  was?: string;
  first?: string;
}

/** A dead letter as Redis stores it. */
export interface StoredDeadLetter extends DeadLetter {
  /** `<ms>-<number>`: when it was written, by the server's clock. */
  id: string;
}

/** How much a partition stores. */
export interface DeadLetterTotals {
  deadLetters: number;
  /** Size of their entries. */
  bytes: number;
}

/**
 * At either limit a partition stops reading: with so many failures a job or a sender is at fault, and the log keeps
 * what follows. A dead letter is some 300 bytes, so both together are 70 MB of Redis a partition, plus those of the
 * last entry before the stop.
 */
export const DEAD_LETTERS_LIMIT = 10_000;
const DEAD_LETTER_BYTES_LIMIT = 64 * 1024 * 1024;
/** 30 days: longer than an operator's holiday. */
const DEAD_LETTER_AGE_MS = 30 * 86_400_000;
const REASON_LIMIT = 1_000;

export const isDeadLetterLimitReached = ({ deadLetters, bytes }: DeadLetterTotals): boolean =>
  deadLetters >= DEAD_LETTERS_LIMIT || bytes >= DEAD_LETTER_BYTES_LIMIT;

/** A dead letter without its entry. */
export function encodeDeadLetter({ fields: _, ...deadLetter }: DeadLetter): Buffer {
  return packr.pack({ ...deadLetter, reason: deadLetter.reason.slice(0, REASON_LIMIT) });
}

/**
 * The name under which a dead letter's entry is stored; dead letters of one entry share it. Functions and older
 * releases do not interpret it.
 */
export const entryName = ({ offset, index, isOwn }: DeadLetter): string =>
  isOwn && index !== undefined ? `${offset}.${index}` : String(offset);

export const encodeEntry = (fields: readonly Buffer[]): Buffer => packr.pack(fields);

/** How much a partition stores: two reads, however many there are. */
export async function countDeadLetters(redis: RedisClient, keys: PartitionKeys): Promise<DeadLetterTotals> {
  const [deadLetters, bytes] = await Promise.all([redis.xlen(keys.deadLetters), redis.hget(keys.deadEntries, "bytes")]);
  return { deadLetters, bytes: Number(bytes ?? 0) };
}

/** How many there are, and when the newest was written, by the server's clock; 0: there is none. */
export async function deadLetterNews(
  redis: RedisClient,
  keys: PartitionKeys,
): Promise<{ deadLetters: number; newestMs: number }> {
  const [deadLetters, [newest]] = await Promise.all([
    redis.xlen(keys.deadLetters),
    redis.xrevrange(keys.deadLetters, "+", "-", "COUNT", 1),
  ]);
  return { deadLetters, newestMs: Number(newest?.[0].split("-")[0] ?? 0) };
}

/** How much of it is of a sink that fell too far behind. */
export interface OverflowTotals extends DeadLetterTotals {
  deliveries: number;
}

export async function countOverflow(redis: RedisClient, keys: PartitionKeys): Promise<OverflowTotals> {
  const found = await redis.hmget(keys.deadEntries, "overflow", "overflowBytes", "overflowDeliveries");
  const [deadLetters = 0, bytes = 0, deliveries = 0] = found.map(Number);
  return { deadLetters, bytes, deliveries };
}

/** The two kinds apart: only the ordinary ones stop a reader at the limit, the others make room for newer ones. */
export async function countDeadLettersByKind(
  redis: RedisClient,
  keys: PartitionKeys,
): Promise<{ ordinary: DeadLetterTotals; overflow: OverflowTotals }> {
  const [all, overflow] = await Promise.all([countDeadLetters(redis, keys), countOverflow(redis, keys)]);
  return {
    ordinary: { deadLetters: all.deadLetters - overflow.deadLetters, bytes: all.bytes - overflow.bytes },
    overflow,
  };
}

/** As Redis returns it. The fourth field is the name of its entry, if it has one. */
export type RawDeadLetter = [id: Buffer, fields: Buffer[]];

/**
 * Reads dead letters in the order in which they were written, without their entries (`fields` is empty).
 * @param after the id after which to begin; `-`: from the start
 */
export async function listDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  after: string,
  count: number,
): Promise<StoredDeadLetter[]> {
  const from = after === "-" ? "-" : `(${after}`;
  const raw = (await redis.xrangeBuffer(keys.deadLetters, from, "+", "COUNT", count)) as RawDeadLetter[];
  return raw.map(deadLetterOf);
}

/** The dead letters of these ids, without their entries; ids that do not exist are left out. */
export async function findDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<StoredDeadLetter[]> {
  return (await rawDeadLetters(redis, keys, ids)).map(deadLetterOf);
}

async function rawDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<RawDeadLetter[]> {
  const found = ids.map((id) => redis.xrangeBuffer(keys.deadLetters, id, id) as Promise<RawDeadLetter[]>);
  return (await Promise.all(found)).flat();
}

/** The same with their entries. */
export async function readDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<StoredDeadLetter[]> {
  return withEntries(redis, keys, await rawDeadLetters(redis, keys, ids));
}

/** The newest dead letters with their entries, the newest first. */
export async function newestDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  count: number,
): Promise<StoredDeadLetter[]> {
  const raw = (await redis.xrevrangeBuffer(keys.deadLetters, "+", "-", "COUNT", count)) as RawDeadLetter[];
  return withEntries(redis, keys, raw);
}

/** The dead letters with their entries; without `fields` when an entry is missing. */
export async function withEntries(
  redis: RedisClient,
  keys: PartitionKeys,
  raw: readonly RawDeadLetter[],
): Promise<StoredDeadLetter[]> {
  const names = [...new Set(raw.flatMap(([, [, , , name]]) => (name ? [name.toString("latin1")] : [])))];
  const packed =
    names.length === 0 ? [] : await redis.hmgetBuffer(keys.deadEntries, ...names.map((name) => `r:${name}`));
  const entries = new Map(names.map((name, i) => [name, packed[i] ? (unpackr.unpack(packed[i]) as Buffer[]) : []]));
  return raw.map((each) => {
    const name = each[1][3];
    return { ...deadLetterOf(each), fields: (name && entries.get(name.toString("latin1"))) || [] };
  });
}

const deadLetterOf = ([id, [, deadLetter]]: RawDeadLetter): StoredDeadLetter => ({
  ...(unpackr.unpack(deadLetter as Buffer) as Omit<DeadLetter, "fields">),
  fields: [],
  id: id.toString("latin1"),
});

/**
 * Dead letters whose replay is requested, in the order of the log, `count` at most. Requests for dead letters that have
 * been removed are deleted.
 */
export async function requestedReplays(
  redis: RedisClient,
  keys: PartitionKeys,
  count: number,
): Promise<StoredDeadLetter[]> {
  const ids = await redis.zrange(keys.deadRequests, "0", String(count - 1));
  const { raw } = await requestedDeadLetters(redis, keys, ids);
  return withEntries(redis, keys, raw);
}

/** Those of these requests, without their entries. Requests for dead letters that have been removed are deleted. */
export async function requestedDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<{ raw: RawDeadLetter[]; deleted: number }> {
  const found = (await rawDeadLetters(redis, keys, ids)).map((raw) => ({ raw, deadLetter: deadLetterOf(raw) }));
  const there = new Set(found.map(({ deadLetter }) => deadLetter.id));
  const gone = ids.filter((id) => !there.has(id));
  const deleted = gone.length === 0 ? 0 : await redis.zrem(keys.deadRequests, ...gone);
  found.sort(({ deadLetter: a }, { deadLetter: b }) => a.offset - b.offset || (a.index ?? 0) - (b.index ?? 0));
  return { raw: found.map(({ raw }) => raw), deleted };
}

/** Requests a replay by the partition's owner. */
export async function requestReplay(
  redis: RedisClient,
  keys: PartitionKeys,
  deadLetters: readonly { id: string; offset: number }[],
): Promise<void> {
  await redis.zadd(keys.deadRequests, ...deadLetters.flatMap(({ id, offset }) => [offset, id]));
}

/** Those of the ids whose replay has been requested and not done yet. */
export async function pendingReplays(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<string[]> {
  const scores = await redis.zmscore(keys.deadRequests, ...ids);
  return ids.filter((_, i) => scores[i] !== null);
}

/** Removes dead letters without processing them. Returns for each id whether it existed. */
export async function removeDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<boolean[]> {
  const deadLetterKeys = [keys.deadLetters, keys.deadEntries, keys.deadRequests];
  const removed = (await callFunction(redis, "dead_letters_remove", deadLetterKeys, [...ids])) as number[];
  return removed.map((n) => n === 1);
}

/** Dead letters that one call removes: Redis serves nobody else meanwhile. */
const TRIM_AT_ONCE = 200;
/** Calls of one trimming. */
const TRIM_CALLS = 20;

/**
 * Removes dead letters that are too old, the oldest first, 4,000 at most; none while the server's clock and this
 * process's differ. Returns how many.
 */
export async function trimDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ageMs = DEAD_LETTER_AGE_MS,
): Promise<number> {
  const deadLetterKeys = [keys.deadLetters, keys.deadEntries, keys.deadRequests];
  let trimmed = 0;
  for (let call = 1; call <= TRIM_CALLS; call++) {
    const removed = (await callFunction(redis, "dead_letters_trim", deadLetterKeys, [
      ageMs,
      TRIM_AT_ONCE,
      wallArgument(),
    ])) as number;
    trimmed += removed;
    if (removed < TRIM_AT_ONCE) break;
  }
  return trimmed;
}

/** When a dead letter was written, by its id, in milliseconds since the epoch. */
export const deadLetterTimeMs = (id: string): number => Number.parseInt(id, 10);
