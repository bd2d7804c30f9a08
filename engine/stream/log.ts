/**
 * Reading and trimming a partition's log. An entry is one record batch: a few binary fields under an offset. Offsets
 * start at 1 and have no gaps, so a reader can detect a missing entry. Only the function libraries append entries, each
 * in the same atomic call as the change that it records.
 */
import { EngineError } from "../kernel/errors.js";
import type { RedisClient } from "./redis.js";

export interface LogEntry {
  offset: number;
  /** Field name, then value, as stored. */
  fields: readonly Buffer[];
}

/** A field of an entry, or undefined. */
export function field(entry: LogEntry, name: string): Buffer | undefined {
  const { fields } = entry;
  for (let i = 0; i < fields.length; i += 2)
    if ((fields[i] as Buffer).toString("latin1") === name) return fields[i + 1];
  return undefined;
}

type RawEntry = [id: Buffer, fields: Buffer[]];

const entryOf = ([id, fields]: RawEntry): LogEntry => ({ offset: Number.parseInt(id.toString("latin1"), 10), fields });

/** Reads entries after an offset. Waits up to `blockMs` when there is none; 0 or less does not wait. */
export async function readLog(
  client: RedisClient,
  key: string,
  after: number,
  count: number,
  blockMs = 0,
): Promise<LogEntry[]> {
  const [entries] = await readLogs(client, [key], after, count, blockMs);
  return entries as LogEntry[];
}

/** The same of several logs of one partition: up to `count` entries of each; waits for an entry of any of them. */
export async function readLogs(
  client: RedisClient,
  keys: readonly string[],
  after: number,
  count: number,
  blockMs = 0,
): Promise<LogEntry[][]> {
  const streams = [...keys, ...keys.map(() => `${after}-0`)];
  const reply = (
    blockMs > 0
      ? await client.xreadBuffer("COUNT", count, "BLOCK", blockMs, "STREAMS", ...streams)
      : await client.xreadBuffer("COUNT", count, "STREAMS", ...streams)
  ) as [Buffer, RawEntry[]][] | null;
  const read = new Map((reply ?? []).map(([name, entries]) => [name.toString("utf8"), entries]));
  return keys.map((key) => (read.get(key) ?? []).map(entryOf));
}

/** Checks that entries follow `after` without a gap; a gap means that the log was trimmed past this reader. */
export function assertContiguous(entries: readonly LogEntry[], after: number, key: string): void {
  let expected = after + 1;
  for (const { offset } of entries) {
    if (offset !== expected) {
      throw new EngineError(`${key}: expected entry ${expected}, found ${offset}: the entries between are missing`, {
        op: "log.read",
        code: "log_gap",
        retryable: false,
        input: key,
      });
    }
    expected++;
  }
}

/**
 * Removes entries below `keepFrom` that were written before `beforeMs`, by MINID. Times never decrease within a log,
 * so the boundary is found by binary search: about log2(entries) reads of one entry. An entry whose time cannot be read
 * counts as old as the next one. A run of such entries may be long: its end is searched for in the same way.
 * @param timeOf when an entry was written; may throw
 * @returns how many entries were removed
 */
export async function trimLog(
  client: RedisClient,
  key: string,
  keepFrom: number,
  beforeMs: number,
  timeOf: (entry: LogEntry) => number,
): Promise<number> {
  /** The entry at an offset or the next one after it, below a limit. */
  const timedFrom = async (offset: number, limit: number) => {
    const entry = await entryFrom(client, key, offset);
    return entry && entry.offset < limit ? { offset: entry.offset, atMs: timeOrNothing(entry, timeOf) } : undefined;
  };
  /** The first entry after an unreadable one whose time can be read: by steps that double, then by halves. */
  const timedAfter = async (unreadable: number) => {
    let unread = unreadable;
    let found: Awaited<ReturnType<typeof timedFrom>>;
    let limit = keepFrom;
    for (let step = 1; unread + step < keepFrom; step *= 2) {
      found = await timedFrom(unread + step, keepFrom);
      if (!found) break;
      limit = unread + step;
      if (found.atMs !== undefined) break;
      unread = found.offset;
      limit = keepFrom;
    }
    while (limit - unread > 1) {
      const middle = Math.floor((unread + limit) / 2);
      const between = await timedFrom(middle, limit);
      if (between && between.atMs === undefined) unread = between.offset;
      else {
        limit = middle;
        found = between ?? found;
      }
    }
    return found;
  };
  /** The first entry from an offset on whose time can be read, if it is removable; otherwise undefined. */
  const removableFrom = async (offset: number): Promise<number | undefined> => {
    const entry = await timedFrom(offset, keepFrom);
    const found = entry && entry.atMs === undefined ? await timedAfter(entry.offset) : entry;
    return found?.atMs !== undefined && found.atMs < beforeMs ? found.offset : undefined;
  };
  let low = await removableFrom(0);
  if (low === undefined) return 0;
  let high = keepFrom;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const found = await removableFrom(middle);
    if (found === undefined) high = middle;
    else low = found;
  }
  return Number(await client.xtrim(key, "MINID", `${high}-0`));
}

/** Entries of one step of `removeEntries`: each may be some 100 KB. */
const REMOVED_AT_ONCE = 64;
/** It ends after so many whose time cannot be read: they are read each time. */
const UNREAD_LIMIT = 1_000;

/**
 * Removes the entries from an offset on, below `keepFrom`, that were written before `beforeMs`, and keeps all before
 * that offset. It reads each of them, so `trimLog` is better wherever it will do. Times as there.
 */
export async function removeEntries(
  client: RedisClient,
  key: string,
  from: number,
  keepFrom: number,
  beforeMs: number,
  timeOf: (entry: LogEntry) => number,
): Promise<void> {
  /** Entries whose time cannot be read, since the last one whose time can. */
  const unread: string[] = [];
  for (let next = from; ; ) {
    const raw = (await client.xrangeBuffer(key, `${next}-0`, `(${keepFrom}-0`, "COUNT", REMOVED_AT_ONCE)) as RawEntry[];
    const old: string[] = [];
    for (const entry of raw.map(entryOf)) {
      const atMs = timeOrNothing(entry, timeOf);
      if (atMs !== undefined && atMs >= beforeMs) {
        next = Number.POSITIVE_INFINITY;
        break;
      }
      unread.push(`${entry.offset}-0`);
      if (atMs !== undefined) old.push(...unread.splice(0));
      next = entry.offset + 1;
    }
    if (old.length > 0) await client.xdel(key, ...old);
    if (raw.length < REMOVED_AT_ONCE || next === Number.POSITIVE_INFINITY || unread.length > UNREAD_LIMIT) return;
  }
}

function timeOrNothing(entry: LogEntry, timeOf: (entry: LogEntry) => number): number | undefined {
  try {
    return timeOf(entry);
  } catch {
    return undefined;
  }
}

async function entryFrom(client: RedisClient, key: string, offset: number): Promise<LogEntry | undefined> {
  const [raw] = (await client.xrangeBuffer(key, `${offset}-0`, "+", "COUNT", 1)) as RawEntry[];
  return raw ? entryOf(raw) : undefined;
}
