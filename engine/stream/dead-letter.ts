/**
 * Dead letters: what became of a record that could not be processed. A letter says where and why, and keeps what
 * failed, so that it can be looked into and tried again long after the log has let it go: the record alone where its
 * topic can take it out of its entry, otherwise the entry byte by byte, once for all its letters. Letters are written
 * by commits and by nothing else; they go when they were replayed, when an operator removes them, or with their age,
 * never because there are many. Asking for a replay only leaves a request: the partition's owner does the work.
 */
import { Packr, Unpackr } from "msgpackr";
import { callFunction } from "./functions.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** A record that could not be processed, with all that is needed to look into it and to try it again. */
export interface DeadLetter {
  offset: number;
  /** Undefined when the entry could not be decoded at all. */
  job?: string;
  /** The event's place in the entry; undefined for a timer. */
  index?: number;
  key?: string;
  timerMs?: number;
  reason: string;
  /** How often it has been tried. */
  tries: number;
  /** Field name, then value, as the log holds them; empty for a timer. */
  fields: readonly Buffer[];
  /** True when `fields` are the entry with nothing in it but what failed: then they are kept for this record alone. */
  isOwn?: boolean;
  /** The letter that this one has taken the place of, and the first of them all. */
  was?: string;
  first?: string;
}

/** A letter as Redis keeps it. */
export interface StoredDeadLetter extends DeadLetter {
  /** `<ms>-<number>`: when it was written, by the server's clock. */
  id: string;
}

/** What a partition keeps. */
export interface DeadLetterTotals {
  deadLetters: number;
  /** Of their entries. */
  bytes: number;
}

/**
 * Past either a partition reads no further: with so many failures the fault is a job's or a sender's, and the log
 * keeps what follows. A letter is some 300 bytes, so both together are 70 MB of Redis a partition, and what the last
 * entry before the stop adds.
 */
export const DEAD_LETTERS_LIMIT = 10_000;
const DEAD_LETTER_BYTES_LIMIT = 64 * 1024 * 1024;
/** 30 days: long enough for somebody to come back from holiday. */
const DEAD_LETTER_AGE_MS = 30 * 86_400_000;
const REASON_LIMIT = 1_000;

export const isDeadLetterLimitReached = ({ deadLetters, bytes }: DeadLetterTotals): boolean =>
  deadLetters >= DEAD_LETTERS_LIMIT || bytes >= DEAD_LETTER_BYTES_LIMIT;

/** A letter without its entry. */
export function encodeDeadLetter({ fields: _, ...deadLetter }: DeadLetter): Buffer {
  return packr.pack({ ...deadLetter, reason: deadLetter.reason.slice(0, REASON_LIMIT) });
}

/**
 * Under which name a letter's bytes are kept; letters of one name share them. Functions and older releases take it as
 * it is.
 */
export const entryName = ({ offset, index, isOwn }: DeadLetter): string =>
  isOwn && index !== undefined ? `${offset}.${index}` : String(offset);

export const encodeEntry = (fields: readonly Buffer[]): Buffer => packr.pack(fields);

/** How much a partition keeps: two reads, whatever the number. */
export async function countDeadLetters(redis: RedisClient, keys: PartitionKeys): Promise<DeadLetterTotals> {
  const [deadLetters, bytes] = await Promise.all([redis.xlen(keys.deadLetters), redis.hget(keys.deadEntries, "bytes")]);
  return { deadLetters, bytes: Number(bytes ?? 0) };
}

type RawDeadLetter = [id: Buffer, fields: Buffer[]];

/**
 * Reads letters in the order in which they were written, without their entries (`fields` is empty).
 * @param after the id after which to begin; `-` from the start
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

/** The letters of these ids, without their entries; one that is not there is left out. */
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

/** The newest letters with their entries, the newest first. */
export async function newestDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  count: number,
): Promise<StoredDeadLetter[]> {
  const raw = (await redis.xrevrangeBuffer(keys.deadLetters, "+", "-", "COUNT", count)) as RawDeadLetter[];
  return withEntries(redis, keys, raw);
}

async function withEntries(redis: RedisClient, keys: PartitionKeys, raw: RawDeadLetter[]): Promise<StoredDeadLetter[]> {
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
 * Letters that somebody wants tried again, in the order of the log, `count` at most. Requests for letters that are
 * gone are dropped.
 */
export async function requestedReplays(
  redis: RedisClient,
  keys: PartitionKeys,
  count: number,
): Promise<StoredDeadLetter[]> {
  const ids = await redis.zrange(keys.deadRequests, "0", String(count - 1));
  if (ids.length === 0) return [];
  const deadLetters = await readDeadLetters(redis, keys, ids);
  if (deadLetters.length < ids.length) {
    const there = new Set(deadLetters.map(({ id }) => id));
    await redis.zrem(keys.deadRequests, ...ids.filter((id) => !there.has(id)));
  }
  return deadLetters.sort((a, b) => a.offset - b.offset || (a.index ?? 0) - (b.index ?? 0));
}

/** Asks the partition's owner to try letters again. */
export async function requestReplay(
  redis: RedisClient,
  keys: PartitionKeys,
  deadLetters: readonly { id: string; offset: number }[],
): Promise<void> {
  await redis.zadd(keys.deadRequests, ...deadLetters.flatMap(({ id, offset }) => [offset, id]));
}

/** Those of the letters whose replay has been asked for and not been done. */
export async function pendingReplays(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<string[]> {
  const scores = await redis.zmscore(keys.deadRequests, ...ids);
  return ids.filter((_, i) => scores[i] !== null);
}

/** Removes letters unread. Returns, for each id, whether it was there. */
export async function removeDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ids: readonly string[],
): Promise<boolean[]> {
  const deadLetterKeys = [keys.deadLetters, keys.deadEntries, keys.deadRequests];
  const removed = (await callFunction(redis, "dead_letters_remove", deadLetterKeys, [...ids])) as number[];
  return removed.map((n) => n === 1);
}

/** Removes letters that are too old, some 2,000 at a time. Returns how many went. */
export async function trimDeadLetters(
  redis: RedisClient,
  keys: PartitionKeys,
  ageMs = DEAD_LETTER_AGE_MS,
): Promise<number> {
  const deadLetterKeys = [keys.deadLetters, keys.deadEntries, keys.deadRequests];
  return (await callFunction(redis, "dead_letters_trim", deadLetterKeys, [ageMs])) as number;
}

/** When a letter's id was given, in milliseconds since the epoch. */
export const deadLetterTimeMs = (id: string): number => Number.parseInt(id, 10);
