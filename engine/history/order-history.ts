/**
 * The history of one order: its steps, each with the evidence that it was taken on, and what its lines did to the
 * stock. Both come from the logs, so they do not depend on any job's state; what is older than the logs is missing, and
 * `isComplete` is then false with the reason. It has no personal data: a buyer's name and address are never read. It
 * also finds the evidence behind changes of stock, for histories of SKUs.
 */
import { chainIdTimeMs } from "../kernel/chain-id.js";
import { MINUTE_MS } from "../kernel/clock.js";
import { orderEventsOf, timeOf } from "../orders/log-entry.js";
import { lineId, type OrderEvent, type OrderLine, type OrderStep } from "../orders/model.js";
import type { OrderStore } from "../orders/order-store.js";
import type { EventType, StockEvent } from "../stock/model.js";
import { assertFollowing, findEvents, type SkuEventsOptions } from "../stock/sku-events.js";
import { partitionKeys } from "../stream/keys.js";
import type { LogEntry } from "../stream/log.js";
import { type LogSource, lastBegunBy, redisLog } from "../stream/log-source.js";
import { partitionOf } from "../stream/partition.js";
import type { Change } from "./changes.js";

/** Entries of the orders' log that one history reads, at most: as many as of the stock log. */
const ENTRIES_LIMIT = 250_000;
const PAGE_ENTRIES = 64;
/** Clocks of clients may be ahead: an id's time may be later than the order. */
const CLOCKS_MS = 10 * MINUTE_MS;
/** The stock is changed before the step is recorded, or soon after it. */
const AROUND_STEP_MS = MINUTE_MS;
/** Orders whose evidence is searched at once: each entry is searched for their ids. */
const MAX_SEARCHED_ORDERS = 200;
/** After these an order's lines change no more, except for returns, which have ids of their own. */
const LAST_STEPS: ReadonlySet<OrderStep> = new Set(["outbound", "cancelled"]);

export interface OrderHistoryOptions extends SkuEventsOptions {
  orderStore: Pick<OrderStore, "find">;
  /** The orders' log of each partition; left out: what Redis has. */
  orderLogOf?: ((partition: number) => LogSource) | undefined;
}

/** What a history lacks, as the dictionary has sentences for it. */
export type Missing =
  | { readonly what: "stepsInPart" | "linesUnknown" }
  | { readonly what: "evidenceInPart"; readonly searched: number; readonly orders: number }
  | { readonly what: "ordersLogBegins" | "stockLogBegins"; readonly atMs: number }
  | { readonly what: "ordersLogLimit"; readonly limit: number }
  | { readonly what: "stockLogLimit"; readonly entries: number; readonly limit: number };

export interface OrderHistoryFound {
  readonly outcome: "found";
  readonly id: string;
  /** As ordered; empty when the order store does not have the order any more. */
  readonly lines: readonly OrderLine[];
  readonly steps: readonly OrderEvent[];
  /** What its lines did to the stock, in the order of time. */
  readonly changes: readonly StockEvent[];
  readonly isComplete: boolean;
  /** Why it is not. */
  readonly reasons: readonly Missing[];
}

export type OrderHistoryResult = OrderHistoryFound | { readonly outcome: "unknown_order" };

export class OrderHistory {
  readonly #options: OrderHistoryOptions;

  constructor(options: OrderHistoryOptions) {
    this.#options = options;
  }

  /** @throws EngineError `undecodable`, `log_gap`; the signal's reason */
  async read(id: string, nowMs: number, signal?: AbortSignal): Promise<OrderHistoryResult> {
    const found = await this.#options.orderStore.find(id);
    const reasons: Missing[] = [];
    const fromMs = Math.min(chainIdTimeMs(id), nowMs) - CLOCKS_MS;
    const steps: OrderEvent[] = [];
    for await (const event of this.#orderEvents([id], fromMs, Number.POSITIVE_INFINITY, reasons, signal))
      steps.push(event);
    if (!found && steps.length === 0) return { outcome: "unknown_order" };
    if (steps[0]?.step !== "created") reasons.push({ what: "stepsInPart" });
    const lines = found?.order.lines ?? steps.find(({ body }) => body)?.body?.lines ?? [];
    if (lines.length === 0) reasons.push({ what: "linesUnknown" });
    // Of its first attempt: a repeated order is created once.
    const createdMs = (steps[0]?.createdMs ?? chainIdTimeMs(id)) - AROUND_STEP_MS;
    const last = steps.findLast(({ step }) => LAST_STEPS.has(step));
    const changes = await this.#lineEvents(id, lines, createdMs, last ? last.clockMs + AROUND_STEP_MS : nowMs, {
      reasons,
      signal,
    });
    return { outcome: "found", id, lines, steps, changes, isComplete: reasons.length === 0, reasons };
  }

  /**
   * Adds to changes of orders' lines the evidence of the step that caused each, as far as the orders' log has it.
   * @returns why some may lack it; empty: none does
   */
  async withEvidence(
    changes: readonly Change[],
    signal?: AbortSignal,
  ): Promise<{ changes: readonly Change[]; reasons: readonly Missing[] }> {
    const ids = [...new Set(changes.flatMap(({ line }) => (line ? [line.order] : [])))];
    if (ids.length === 0) return { changes, reasons: [] };
    const reasons: Missing[] = [];
    if (ids.length > MAX_SEARCHED_ORDERS)
      reasons.push({ what: "evidenceInPart", searched: MAX_SEARCHED_ORDERS, orders: ids.length });
    const times = changes.map(({ event }) => event.clockMs);
    const [fromMs, toMs] = [Math.min(...times) - AROUND_STEP_MS, Math.max(...times) + AROUND_STEP_MS];
    const steps = new Map<string, OrderEvent[]>();
    const searched = ids.slice(0, MAX_SEARCHED_ORDERS);
    for await (const event of this.#orderEvents(searched, fromMs, toMs, reasons, signal))
      steps.set(event.id, [...(steps.get(event.id) ?? []), event]);
    const evidenced = changes.map((change): Change => {
      const step = change.line && causeOf(change.event, steps.get(change.line.order) ?? []);
      return step ? { ...change, evidence: evidenceOf(step) } : change;
    });
    return { changes: evidenced, reasons };
  }

  /** The events of orders, read from each of their partitions once. */
  async *#orderEvents(
    ids: readonly string[],
    fromMs: number,
    toMs: number,
    reasons: Missing[],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<OrderEvent> {
    const { redis, prefix, partitions, orderLogOf } = this.#options;
    const wanted = new Set(ids);
    for (const partition of new Set(ids.map((id) => partitionOf(id, partitions)))) {
      const { log: key, head } = partitionKeys(prefix, "orders", partition);
      const source = orderLogOf?.(partition) ?? redisLog(redis, key);
      const names = ids.filter((id) => partitionOf(id, partitions) === partition).map((id) => Buffer.from(id));
      const start = await startOf(source, Number((await redis.hget(head, "offset")) ?? 0), fromMs);
      if (!start) continue;
      if (start.isLater) reasons.push({ what: "ordersLogBegins", atMs: start.oldestMs });
      for await (const entry of entriesFrom(source, key, start.after, signal)) {
        if (entry === "too_many") {
          reasons.push({ what: "ordersLogLimit", limit: ENTRIES_LIMIT });
          break;
        }
        if (timeOf(entry) > toMs) break;
        if (!names.some((name) => entry.fields.some((bytes) => bytes.includes(name)))) continue;
        for (const event of orderEventsOf(entry).events) if (wanted.has(event.id)) yield event;
      }
    }
  }

  async #lineEvents(
    id: string,
    lines: readonly OrderLine[],
    fromMs: number,
    toMs: number,
    { reasons, signal }: { reasons: Missing[]; signal: AbortSignal | undefined },
  ): Promise<StockEvent[]> {
    const { partitions } = this.#options;
    const ids = new Set(lines.map((_, i) => lineId(id, i)));
    const events: StockEvent[] = [];
    for (const partition of new Set(lines.map(({ sku }) => partitionOf(sku, partitions)))) {
      const isWanted = (event: StockEvent): boolean => ids.has(event.id);
      const wanted = { partition, texts: [`${id}-`], isWanted };
      const found = await findEvents(this.#options, wanted, fromMs, toMs, signal);
      if (found.outcome === "found") for await (const event of found.events) events.push(event);
      else if (found.outcome === "outside_retention") reasons.push({ what: "stockLogBegins", atMs: found.fromMs });
      else reasons.push({ what: "stockLogLimit", entries: found.entries, limit: found.limit });
    }
    return events.sort((a, b) => a.clockMs - b.clockMs);
  }
}

/** The step after which a line's stock changes so. */
const STEPS: Readonly<Partial<Record<EventType, readonly OrderStep[]>>> = {
  StockReserved: ["created"],
  LineAccepted: ["created"],
  LinePaid: ["paid"],
  LineSuspended: ["cancelling"],
  LineResumed: ["cancellation_refused"],
  LineCancelled: ["cancelled", "cancelling"],
  LineOutbound: ["outbound", "partly_outbound"],
};

function causeOf({ type }: StockEvent, steps: readonly OrderEvent[]): OrderEvent | undefined {
  const causes = STEPS[type] ?? [];
  return steps.find(({ step }) => causes.includes(step));
}

const evidenceOf = ({ source, detail }: OrderEvent) => (detail ? { source, detail } : { source });

interface Start {
  readonly after: number;
  readonly oldestMs: number;
  /** The log begins after the instant. */
  readonly isLater: boolean;
}

/** Where to begin to read for what is after an instant; undefined: the log is empty. */
async function startOf(source: LogSource, last: number, fromMs: number): Promise<Start | undefined> {
  const first = await source.first();
  const [oldest] = first === undefined ? [] : await source.read(first - 1, 1);
  if (!oldest) return undefined;
  const oldestMs = timeOf(oldest);
  if (oldestMs > fromMs && source.fault) throw source.fault;
  if (oldestMs > fromMs) return { after: oldest.offset - 1, oldestMs, isLater: oldest.offset > 1 };
  const begun = await lastBegunBy(source, fromMs, oldest.offset, last, timeOf);
  return { after: begun - 1, oldestMs, isLater: false };
}

async function* entriesFrom(
  source: LogSource,
  key: string,
  start: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogEntry | "too_many"> {
  for (let after = start, read = 0; ; ) {
    signal?.throwIfAborted();
    const page = await source.read(after, PAGE_ENTRIES);
    if (page.length === 0) return;
    await assertFollowing(source, page, after, key);
    yield* page;
    read += page.length;
    after += page.length;
    if (read >= ENTRIES_LIMIT) {
      yield "too_many";
      return;
    }
  }
}
