/**
 * The history of one SKU in a span of time: the balances before it, every change with the balances after it, and the
 * balances at its end. On the last page the changes are added up and compared with what the ledger has for the end, by
 * another way (from stored balances, not from the span's beginning): `isComplete` is true only when both agree to the
 * unit. Pages do not depend on each other: each begins with the balances at its own first change. It only reads.
 */
import { badInput } from "../kernel/errors.js";
import type { BalanceHistory, Locations } from "../stock/as-of.js";
import type { AsOfRefusal } from "../stock/log-instant.js";
import type { StockEvent } from "../stock/model.js";
import { findSkuEvents, type SkuEventsOptions } from "../stock/sku-events.js";
import { type Change, lineOf, type Mismatch, mismatchesOf, RunningBalances } from "./changes.js";

/** Changes of one page, at most: 1,000 × some 300 bytes of JSON are 300 KB. */
export const MAX_CHANGES = 1_000;
/** What is shown when no beginning is given. */
const DEFAULT_SPAN_MS = 86_400_000;

export interface SpanQuery {
  /** The changes after this instant; left out: a day before `toMs`, or the beginning of the log if that is later. */
  readonly fromMs?: number | undefined;
  /** Up to and with this one. */
  readonly toMs: number;
  /** Only changes that touch this location, and its balances. */
  readonly location?: string | undefined;
  /** The `next` of the previous page. */
  readonly after?: string | undefined;
  /** Changes of the page; 1 to MAX_CHANGES. */
  readonly limit: number;
}

export interface SkuSpan {
  readonly outcome: "found";
  readonly sku: string;
  readonly fromMs: number;
  /** The end that was asked for, or the log's clock when that is earlier. */
  readonly toMs: number;
  /** The log's clock has passed the end: a later call finds the same. */
  readonly isFinal: boolean;
  readonly partition: number;
  /** Before the page's first change. */
  readonly opening: Locations;
  readonly changes: readonly Change[];
  /** After the page's last change. */
  readonly closing: Locations;
  /** Of the next page; undefined on the last one. */
  readonly next: string | undefined;
  /** Nothing follows, and all changes add up to what the ledger has for the end. */
  readonly isComplete: boolean;
  /** On the last page: what does not add up. */
  readonly mismatches: readonly Mismatch[];
}

export type SkuSpanResult = SkuSpan | AsOfRefusal | { readonly outcome: "unknown_sku" };

interface Cursor {
  readonly clockMs: number;
  readonly offset: number;
  readonly index: number;
}

/** Time of the last change of a page, its entry and its index there. */
const CURSOR = /^(\d{1,15})-(\d{1,15})-(\d{1,6})$/;

/** @throws EngineError `bad_input` */
function cursorOf(after: string): Cursor {
  const match = CURSOR.exec(after);
  if (!match) throw badInput("history", "after", "is not the `next` of a page");
  return { clockMs: Number(match[1]), offset: Number(match[2]), index: Number(match[3]) };
}

export class SkuHistory {
  readonly #balances: BalanceHistory;
  readonly #events: SkuEventsOptions;

  constructor(balances: BalanceHistory, events: SkuEventsOptions) {
    this.#balances = balances;
    this.#events = events;
  }

  /**
   * @throws EngineError `bad_input` for a cursor that no page returned, `undecodable` when an entry cannot be read
   *   that may hold a change of the SKU; the signal's reason
   */
  async read(sku: string, query: SpanQuery, signal?: AbortSignal): Promise<SkuSpanResult> {
    const end = await this.#balances.asOf([sku], query.toMs, signal);
    if (end.outcome !== "found") return end;
    const stored = end.skus.get(sku);
    const [position] = end.positions;
    if (!stored || !position) return { outcome: "unknown_sku" };
    const cursor = query.after === undefined ? undefined : cursorOf(query.after);
    if (cursor && cursor.clockMs > query.toMs) throw badInput("history", "after", "is of a page after the end");
    const fromMs = query.fromMs ?? query.toMs - DEFAULT_SPAN_MS;
    // Just before the last change of the page before, so that no page reads what earlier ones have read.
    const startMs = cursor ? Math.max(fromMs, cursor.clockMs - 1) : fromMs;
    // Nothing can lie between the log's clock and a later beginning. Reading the balances once more could find more.
    const isEmpty = !position.isFinal && startMs >= position.asOfMs;
    const start = isEmpty ? end : await this.#balances.asOf([sku], startMs, signal);
    if (start.outcome === "outside_retention" && query.fromMs === undefined && !cursor)
      return this.read(sku, { ...query, fromMs: start.fromMs }, signal);
    if (start.outcome !== "found") return start;
    const found = await findSkuEvents(this.#events, sku, startMs, position.asOfMs, signal);
    if (found.outcome !== "found") return found;
    // Of a moment that has not passed, exactly those events count that are in the balances of the end.
    const upTo = position.isFinal ? Number.POSITIVE_INFINITY : position.offset;
    const page = await pageOf(found.events, start.skus.get(sku) ?? new Map(), { ...query, cursor, upTo });
    const mismatches = page.next === undefined ? mismatchesOf(page.counted, stored) : [];
    const at = query.location;
    const only = (locations: Locations): Locations =>
      at === undefined ? locations : new Map([...locations].filter(([location]) => location === at));
    return {
      outcome: "found",
      sku,
      fromMs,
      toMs: position.asOfMs,
      isFinal: position.isFinal,
      partition: position.partition,
      opening: only(page.opening),
      changes: page.changes,
      closing: only(page.counted),
      next: page.next,
      isComplete: page.next === undefined && mismatches.length === 0,
      mismatches,
    };
  }
}

interface Page {
  readonly opening: Locations;
  readonly changes: readonly Change[];
  readonly counted: Locations;
  readonly next: string | undefined;
}

async function pageOf(
  events: AsyncIterable<StockEvent>,
  start: Locations,
  query: SpanQuery & { cursor: Cursor | undefined; upTo: number },
): Promise<Page> {
  const { location, limit, cursor, upTo } = query;
  const running = new RunningBalances(start);
  let opening: Locations | undefined;
  const changes: Change[] = [];
  let last: StockEvent | undefined;
  let isPast = cursor === undefined;
  for await (const event of events) {
    if (event.offset > upTo) break;
    // By order: the second event of a command has an index past all others of its entry.
    isPast ||= event.offset > (cursor?.offset ?? 0);
    const isListed = isPast && (location === undefined || [event.location, event.toLocation].includes(location));
    if (isListed && changes.length === limit) {
      const { clockMs, offset, index } = last as StockEvent;
      return { opening: opening ?? start, changes, counted: running.locations, next: `${clockMs}-${offset}-${index}` };
    }
    if (isListed) opening ??= new RunningBalances(running.locations).locations;
    const after = running.apply(event);
    isPast ||= event.offset === cursor?.offset && event.index === cursor.index;
    if (!isListed) continue;
    const line = lineOf(event);
    changes.push({ event, after, ...(line && { line }) });
    last = event;
  }
  return { opening: opening ?? running.locations, changes, counted: running.locations, next: undefined };
}
