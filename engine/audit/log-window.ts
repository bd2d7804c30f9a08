/**
 * The log as an audit reads it: entries are decoded one by one, and what is wrong with the log itself (an entry
 * missing, or not to be read) is reported as an entry, too, instead of ending the reading. A window keeps what the
 * storefront job has not folded yet. Entries never change, so they may be read after the moment that they belong to;
 * only trimming can get ahead of the reader, and is distinguished from a loss.
 */
import { eventsOf } from "../stock/log-entry.js";
import type { StockEvent } from "../stock/model.js";
import { type LogEntry, readLog } from "../stream/log.js";
import type { RedisClient } from "../stream/redis.js";

export interface ReadEntry {
  offset: number;
  /** The same as `offset`; of missing entries, the last one. */
  lastOffset: number;
  /** `lost`: missing although older ones are there; `trimmed`: removed with everything before. */
  state: "read" | "unreadable" | "lost" | "trimmed";
  events: readonly StockEvent[];
}

/** At most 64 × 1,000 events in memory beside what is kept. */
const PAGE_ENTRIES = 64;

/** Reads the entries after an offset up to and with another, in order, without leaving any out in silence. */
export async function* readEntries(
  redis: RedisClient,
  key: string,
  after: number,
  upTo: number,
): AsyncGenerator<ReadEntry> {
  let position = after;
  while (position < upTo) {
    const page = await readLog(redis, key, position, Math.min(PAGE_ENTRIES, upTo - position));
    const [first] = page;
    if (!first || first.offset > upTo) {
      yield await missing(redis, key, position + 1, upTo);
      return;
    }
    for (const entry of page) {
      if (entry.offset > upTo) break;
      if (entry.offset > position + 1) yield await missing(redis, key, position + 1, entry.offset - 1);
      yield decoded(entry);
      position = entry.offset;
    }
  }
}

/** Offset of the oldest entry that the log keeps; undefined when it keeps none. */
export async function firstOffset(redis: RedisClient, key: string): Promise<number | undefined> {
  const [first] = await readLog(redis, key, 0, 1);
  return first?.offset;
}

async function missing(redis: RedisClient, key: string, offset: number, lastOffset: number): Promise<ReadEntry> {
  const first = await firstOffset(redis, key);
  return { offset, lastOffset, state: first === undefined || first < offset ? "lost" : "trimmed", events: [] };
}

function decoded(entry: LogEntry): ReadEntry {
  const { offset } = entry;
  try {
    return { offset, lastOffset: offset, state: "read", events: eventsOf(entry).events };
  } catch {
    return { offset, lastOffset: offset, state: "unreadable", events: [] };
  }
}

export class LogWindow {
  /** What the job has not folded yet, the oldest first. */
  entries: ReadEntry[] = [];
  /** The last offset that has been read. */
  position: number;
  readonly #redis: RedisClient;
  readonly #key: string;
  /** Gets every entry once; without it, what the job has folded meanwhile is passed over unread. */
  readonly #onEntry: ((entry: ReadEntry) => void) | undefined;

  constructor(redis: RedisClient, key: string, position: number, onEntry?: (entry: ReadEntry) => void) {
    this.#redis = redis;
    this.#key = key;
    this.position = position;
    this.#onEntry = onEntry;
  }

  /**
   * Brings the window to where the job stands and where the log ends. Returns false when trimming has been faster, or
   * when the log has become shorter (a Redis that lost something): the caller has to read again.
   */
  async moveTo(cursor: number, head: number): Promise<boolean> {
    const oldest = this.entries[0]?.offset ?? this.position + 1;
    if (head < this.position || cursor < oldest - 1) {
      if (this.#onEntry) return false;
      this.#restart(cursor);
    }
    this.entries = this.entries.filter(({ lastOffset }) => lastOffset > cursor);
    if (!this.#onEntry && this.position < cursor) this.#restart(cursor);
    for await (const entry of readEntries(this.#redis, this.#key, this.position, head)) {
      if (entry.state === "trimmed") {
        if (!this.#onEntry) this.#restart(cursor);
        return false;
      }
      this.#onEntry?.(entry);
      this.position = entry.lastOffset;
      if (entry.lastOffset > cursor) this.entries.push(entry);
    }
    return true;
  }

  #restart(position: number): void {
    this.entries = [];
    this.position = position;
  }
}
