/**
 * The events of one SKU in a span of time, the oldest first, read from its partition's log page by page. The span is
 * that between two balances: events with `fromMs` < `clockMs` ≤ `toMs` are exactly what makes the balances as of
 * `fromMs` those as of `toMs`. What is returned is complete or refused: a span that begins before the oldest entry is
 * `outside_retention`, and an entry that cannot be read is an error. What is written after the start is not read.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError } from "../kernel/errors.js";
import { stockKeys } from "../stream/keys.js";
import { assertContiguous, type LogEntry } from "../stream/log.js";
import { type LogSource, redisLog } from "../stream/log-source.js";
import { partitionOf } from "../stream/partition.js";
import type { RedisClient } from "../stream/redis.js";
import { breakerKey } from "./breaker.js";
import { eventsOf } from "./log-entry.js";
import { type AsOfRefusal, readHead, targetAt } from "./log-instant.js";
import { CELL_SEPARATOR, type StockEvent } from "./model.js";

/** Entries that a call reads, at most: as many as for balances in the past, about 6 s in which other work goes on. */
const DEFAULT_ENTRIES_LIMIT = 250_000;
const PAGE_ENTRIES = 64;
/** Events decoded in one turn of the event loop: 2,000 × 1 µs are 2 ms; the last entry adds 1,000 at most. */
const TURN_EVENTS = 2_000;

export interface SkuEventsOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** The log of each partition; left out: what Redis has. */
  logOf?: ((partition: number) => LogSource) | undefined;
  entriesLimit?: number;
}

/** Where a span ends in a partition's log. */
export interface SpanEnd {
  readonly partition: number;
  /** The end that was asked for, or the log's clock when that is earlier. */
  readonly toMs: number;
  /** The log's clock has passed the end, so a later call finds the same. */
  readonly isFinal: boolean;
}

export type FoundEvents =
  | ({ readonly outcome: "found"; readonly events: AsyncIterable<StockEvent> } & SpanEnd)
  | AsOfRefusal;

/** Which events of a partition are wanted. */
export interface WantedEvents {
  readonly partition: number;
  /** An entry with none of these texts has no wanted event: it is not decoded. */
  readonly texts: readonly string[];
  isWanted(event: StockEvent): boolean;
}

/**
 * Finds a SKU's span, and reads its events when they are iterated.
 * @param fromMs the events after this instant
 * @param toMs up to and with this one
 * @param signal ends the reading before the next page: it rejects with the signal's reason
 * @throws EngineError `undecodable` while iterating, when an entry cannot be read that may hold an event of the SKU;
 *   `log_gap`, retryable when the log is trimmed past the reader
 */
export const findSkuEvents = (
  options: SkuEventsOptions,
  sku: string,
  fromMs: number,
  toMs: number,
  signal?: AbortSignal,
): Promise<FoundEvents> =>
  findEvents(
    options,
    {
      partition: partitionOf(sku, options.partitions),
      texts: [sku + CELL_SEPARATOR, breakerKey({ kind: "sku", sku })],
      isWanted: (event) => event.sku === sku,
    },
    fromMs,
    toMs,
    signal,
  );

/** The same for any events of one partition. */
export async function findEvents(
  options: SkuEventsOptions,
  { partition, texts, isWanted }: WantedEvents,
  fromMs: number,
  toMs: number,
  signal?: AbortSignal,
): Promise<FoundEvents> {
  const { redis, prefix, logOf, entriesLimit: limit = DEFAULT_ENTRIES_LIMIT } = options;
  const key = stockKeys(prefix, partition).log;
  const log = logOf?.(partition) ?? redisLog(redis, key);
  const head = await readHead(redis, prefix, partition, log);
  const [start, end] = [await targetAt(log, head, fromMs), await targetAt(log, head, toMs)];
  if ("outcome" in start) return start;
  if ("outcome" in end) return end;
  const [from, to] = [start.firstUnwanted, end.offset];
  if (to - from >= limit) return { outcome: "too_many_entries", entries: to - from + 1, limit };
  const isInSpan = (event: StockEvent): boolean => event.clockMs > fromMs && event.clockMs <= toMs && isWanted(event);
  return {
    outcome: "found",
    events: readEvents(log, key, { from, to }, texts, isInSpan, signal),
    partition,
    toMs: end.asOfMs,
    isFinal: end.isFinal,
  };
}

/**
 * The same as a stream, for whoever cannot go on without the events.
 * @throws EngineError also `outside_retention` and `too_many_entries`
 */
export async function* skuEvents(
  options: SkuEventsOptions,
  sku: string,
  fromMs: number,
  toMs: number,
  signal?: AbortSignal,
): AsyncGenerator<StockEvent> {
  const found = await findSkuEvents(options, sku, fromMs, toMs, signal);
  if (found.outcome === "found") {
    yield* found.events;
    return;
  }
  const message =
    found.outcome === "outside_retention"
      ? `the log of ${sku} begins at ${new Date(found.fromMs).toISOString()}`
      : `${found.entries} entries of the log would have to be read; at most ${found.limit} are`;
  throw new EngineError(message, { op: "stock.skuEvents", code: found.outcome, retryable: false, input: sku });
}

async function* readEvents(
  source: LogSource,
  key: string,
  { from, to }: { from: number; to: number },
  texts: readonly string[],
  isWanted: (event: StockEvent) => boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<StockEvent> {
  const names = texts.map((text) => Buffer.from(text));
  let decoded = 0;
  for (let after = from - 1; after < to; ) {
    signal?.throwIfAborted();
    const page = await source.read(after, Math.min(PAGE_ENTRIES, to - after));
    await assertFollowing(source, page, after, key);
    if (page.length === 0) throw missingEntry(key, after + 1);
    for (const entry of page) {
      if (!mentions(entry, names)) continue;
      const { events } = eventsOf(entry);
      for (const event of events) if (isWanted(event)) yield event;
      decoded += events.length;
      if (decoded < TURN_EVENTS) continue;
      decoded = 0;
      await nextTurn();
    }
    after += page.length;
  }
}

const mentions = ({ fields }: LogEntry, names: readonly Buffer[]): boolean =>
  fields.some((bytes) => names.some((name) => bytes.includes(name)));

/**
 * Asserts that a page follows what was read before it.
 * @throws EngineError `log_gap`; retryable when the log was trimmed past the reader: a new call finds its beginning
 */
export async function assertFollowing(
  source: LogSource,
  page: readonly LogEntry[],
  after: number,
  key: string,
): Promise<void> {
  if (page[0]?.offset === after + 1) return assertContiguous(page, after, key);
  const first = await source.first();
  if (first === undefined || first <= after + 1) return assertContiguous(page, after, key);
  throw new EngineError(`${key}: entry ${after + 1} was removed while it was read; the log begins at ${first} now`, {
    op: "log.read",
    code: "log_gap",
    retryable: true,
    input: key,
  });
}

const missingEntry = (key: string, offset: number): EngineError =>
  new EngineError(`${key}: entry ${offset} is missing`, {
    op: "log.read",
    code: "log_gap",
    retryable: false,
    input: key,
  });
