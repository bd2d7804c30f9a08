/**
 * What an engine is made of, as tables: topics, jobs, sinks. Composition, metrics, readiness, `dead-letters` and the
 * freeing of leases iterate over them, so whatever is in a table appears everywhere. An extension passes tables with
 * more lines to `startEngine`.
 */
import { JOBS, type JobEntry, SKU_SETTINGS } from "../jobs/index.js";
import { orderEventsOf } from "../orders/log-entry.js";
import type { OrderStore } from "../orders/order-store.js";
import { orderTopic } from "../orders/topic.js";
import type { Ledger } from "../stock/ledger.js";
import { eventsOf } from "../stock/log-entry.js";
import type { SkuSetting } from "../stock/settings.js";
import { stockTopic } from "../stock/topic.js";
import type { LogEvent } from "../stream/job.js";
import type { LogEntry } from "../stream/log.js";
import type { Topic } from "../stream/topic.js";
import { SINKS, type SinkEntry } from "./sinks.js";

/** What a topic may be made from. */
export interface TopicParts {
  readonly ledger: Ledger;
  readonly orderStore: OrderStore;
  /** Erases what is due of buyers' personal data in a partition of the orders. */
  onErasuresDue(partition: number): void;
}

/** A line of the table of topics. */
export interface TopicEntry {
  readonly name: string;
  make(parts: TopicParts): Topic<LogEvent>;
  /** Decodes one entry, for whoever reads the log without an engine; as the topic does. */
  decode(entry: LogEntry): { events: readonly LogEvent[] };
  /** The jobs pause after a small batch for so many times the configured pace; left out: once. */
  readonly paces?: number;
  /** Whether commits publish views, by the deployment's format; left out: they do. */
  withViews?(format: number): boolean;
  /** The followers poll no more often than this; left out: as often as configured. */
  readonly minPollMs?: number;
}

export interface Tables {
  readonly topics: readonly TopicEntry[];
  readonly jobs: readonly JobEntry[];
  readonly sinks: readonly SinkEntry[];
  /** What a SKU or a category may be configured with. */
  readonly skuSettings: readonly SkuSetting[];
}

/** From this format on exceptions are read from Redis, not from a view. */
const FORMAT_WITHOUT_ORDER_VIEWS = 2;

const TOPICS: readonly TopicEntry[] = [
  { name: "stock", make: ({ ledger }) => stockTopic(ledger), decode: eventsOf },
  {
    name: "orders",
    make: ({ orderStore, onErasuresDue }) => orderTopic(orderStore, onErasuresDue),
    decode: orderEventsOf,
    // The next step of an order is seconds away, so its jobs may wait longer for a larger batch.
    paces: 5,
    // Only processes of the previous release read this view.
    withViews: (format) => format < FORMAT_WITHOUT_ORDER_VIEWS,
    // Exceptions are about minutes and hours.
    minPollMs: 250,
  },
];

/** The product. */
export const PRODUCT_TABLES: Tables = { topics: TOPICS, jobs: JOBS, sinks: SINKS, skuSettings: SKU_SETTINGS };
