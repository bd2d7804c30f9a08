/**
 * Reads a partition's emits in the order of their commits, whichever stream holds them: the stream of emits from the
 * commit on that began it, the records for views before that. Nothing is skipped or read twice where one form ends and
 * the other begins, because each record states its form and all old records precede the first new one. Readers keep
 * their own position; nothing is written here.
 */
import type { EmitStream } from "./commit.js";
import type { Emit } from "./job.js";
import type { PartitionKeys } from "./keys.js";
import { field, type LogEntry, readLog, readLogs } from "./log.js";
import { decodeEmits, decodeOut } from "./out-record.js";
import type { RedisClient } from "./redis.js";

/** The emits of one commit. */
export interface EmitEntry {
  readonly commit: number;
  /** The commit with such an entry before it; if that has not been read, it was deleted. */
  readonly previous: number;
  /** When it was committed, by the server's clock. */
  readonly committedMs: number;
  /** Size of its record. */
  readonly bytes: number;
  /** May be empty in the old form, where a record has views, too. */
  readonly emits: readonly Emit[];
  /** Bytes of all entries that were ever written before it; undefined in the old form. */
  readonly startBytes?: number;
  /** As stored. */
  readonly stored: LogEntry;
}

type StreamKeys = Pick<PartitionKeys, "out" | "emits">;

export class EmitReader {
  readonly #reader: RedisClient;
  readonly #keys: StreamKeys;
  /** Whether no old record follows the last entry that was returned. */
  #isSplit: boolean;

  /**
   * @param reader a connection that may wait for entries
   * @param isSplit whether all old records are known to be before the first position
   */
  constructor(reader: RedisClient, keys: StreamKeys, isSplit = false) {
    this.#reader = reader;
    this.#keys = keys;
    this.#isSplit = isSplit;
  }

  /**
   * Reads up to `count` entries after a commit, in order. Positions must not decrease from call to call.
   * @param blockMs how long to wait when there is none; it may return nothing earlier
   */
  async read(after: number, count: number, blockMs: number): Promise<EmitEntry[]> {
    return [...((await this.readLazily(after, count, blockMs)) ?? [])];
  }

  /**
   * The same; an entry is decoded only when it is asked for, because each may hold some thousands of emits. Undefined
   * when there is none.
   */
  async readLazily(after: number, count: number, blockMs: number): Promise<Iterable<EmitEntry> | undefined> {
    const { out, emits } = this.#keys;
    if (this.#isSplit) {
      const entries = await readLog(this.#reader, emits, after, count, blockMs);
      return entries.length === 0 ? undefined : this.#decoded([], entries);
    }
    const [joint = [], split = []] = await readLogs(this.#reader, [out, emits], after, count, blockMs);
    if (joint.length + split.length === 0) return undefined;
    // Otherwise `out` may have more old records: the entries of `emits` were written after them.
    return this.#decoded(joint, split, joint.length < count);
  }

  *#decoded(joint: readonly LogEntry[], split: readonly LogEntry[], isAll = true): Generator<EmitEntry> {
    for (const entry of joint) {
      const found = jointEntryOf(entry);
      if (found) yield found;
      else this.#isSplit = true;
      // All that follow are for views, too.
      if (!found) break;
    }
    if (isAll && split.length > 0) this.#isSplit = true;
    if (this.#isSplit) for (const entry of split) yield splitEntryOf(entry);
  }
}

/** The emits of one commit; undefined when it has none or they were removed. */
export async function readEmitEntry(
  redis: RedisClient,
  { out, emits }: StreamKeys,
  commit: number,
): Promise<EmitEntry | undefined> {
  const [joint = [], split = []] = await readLogs(redis, [out, emits], commit - 1, 1);
  const [entry] = split;
  if (entry?.offset === commit) return splitEntryOf(entry);
  const [old] = joint;
  return old?.offset === commit ? jointEntryOf(old) : undefined;
}

/** The last commit with an entry of emits; 0 for none. */
export const lastEmitEntry = ({ emits, lastOut }: { emits?: EmitStream; lastOut: number }): number =>
  emits?.last ?? lastOut;

function splitEntryOf(entry: LogEntry): EmitEntry {
  const bytes = field(entry, "r") as Buffer;
  const endBytes = Number(field(entry, "b")?.toString("latin1"));
  return { ...decodeEmits(bytes), ...placeOf(entry, bytes), startBytes: endBytes - bytes.length };
}

/** Undefined when the record has views only. */
function jointEntryOf(entry: LogEntry): EmitEntry | undefined {
  const bytes = field(entry, "r") as Buffer;
  const { previous, emits, isSplit } = decodeOut(bytes);
  return isSplit ? undefined : { previous, emits, ...placeOf(entry, bytes) };
}

const placeOf = (stored: LogEntry, { length }: Buffer) => ({
  commit: stored.offset,
  committedMs: Number(field(stored, "m")?.toString("latin1")),
  bytes: length,
  stored,
});
