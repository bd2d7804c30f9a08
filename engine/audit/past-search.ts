/**
 * Searches the log for what has happened to cells that differ: the events since their last agreement, the job's dead
 * letters, and entries that are missing or cannot be read. It only reads. Of a cell with too many events the newest are
 * kept, and the result states it.
 */
import { STOREFRONT_JOB } from "../jobs/storefront/job.js";
import { eventsOf } from "../stock/log-entry.js";
import type { StockEvent } from "../stock/model.js";
import { newestDeadLetters } from "../stream/dead-letter.js";
import type { StockKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { type AuditRecords, cellsTouched, type DeadLetter, type Past } from "./comparison.js";
import { type ReadEntry, readEntries } from "./log-window.js";

/** Events kept of each cell: of 20 cells at once, 20 × 10,000 × 200 bytes are 40 MB. */
const EVENTS_KEPT = 10_000;
const DEAD_LETTERS_READ = 1_000;

export interface PastSearch extends Pick<AuditRecords, "deadLetters" | "broken" | "kept"> {
  /** By cell. */
  pasts: Map<string, Past>;
}

/**
 * Reads the log from the oldest agreement to `head`.
 * @param agreed cells to search for, each with the offset of its last agreement; 0: none is known
 * @param furthest entries before `head` at most; undefined: as far as the log goes
 */
export async function searchPasts(
  redis: RedisClient,
  keys: StockKeys,
  agreed: ReadonlyMap<string, number>,
  head: number,
  furthest: number | undefined,
): Promise<PastSearch> {
  const pasts = new Map<string, Past>();
  for (const [cell, offset] of agreed) pasts.set(cell, { agreed: offset, events: [], isCut: false });
  const deadLetters = await readDeadLetters(redis, keys);
  const broken: ReadEntry[] = [];
  const oldest = Math.min(...agreed.values());
  const from = furthest === undefined ? oldest : Math.max(oldest, head - furthest);
  let kept = from + 1;
  for await (const entry of readEntries(redis, keys.log, from, head)) {
    if (entry.state === "trimmed") kept = entry.lastOffset + 1;
    else if (entry.state !== "read") broken.push(entry);
    for (const event of entry.events) {
      for (const cell of cellsTouched(event)) {
        const past = pasts.get(cell);
        if (!past || event.offset <= past.agreed) continue;
        past.events.push(event);
        if (past.events.length > EVENTS_KEPT) {
          past.events.shift();
          past.isCut = true;
        }
      }
    }
  }
  return { pasts, deadLetters, broken, kept };
}

/** The reservations of lines, by id, as far as the log still has them. */
export async function searchReservations(
  redis: RedisClient,
  keys: StockKeys,
  ids: readonly string[],
  after: number,
  upTo: number,
): Promise<Map<string, StockEvent>> {
  const wanted = new Set(ids);
  const reserved = new Map<string, StockEvent>();
  for await (const { events } of readEntries(redis, keys.log, after, upTo))
    for (const event of events)
      if (event.type === "StockReserved" && wanted.has(event.id)) reserved.set(event.id, event);
  return reserved;
}

/** The storefront job's dead letters, the newest first. */
async function readDeadLetters(redis: RedisClient, keys: StockKeys): Promise<DeadLetter[]> {
  const deadLetters: DeadLetter[] = [];
  for (const deadLetter of await newestDeadLetters(redis, keys, DEAD_LETTERS_READ)) {
    try {
      if (deadLetter.job !== STOREFRONT_JOB) continue;
      const { events } = eventsOf(deadLetter);
      const event = events.find(({ index }) => index === deadLetter.index);
      if (event) deadLetters.push({ event, reason: deadLetter.reason });
    } catch {
      // Not of this job, or of an entry that cannot be read: the log reports that itself.
    }
  }
  return deadLetters;
}
