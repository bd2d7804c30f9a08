/**
 * What an engine is made of, as tables: topics, jobs, sinks of its own, connectors with their sinks, feeds.
 * Composition, configuration, metrics, readiness, `dead-letters` and the freeing of leases iterate over them, so
 * whatever is in a table appears everywhere. An extension passes tables with more lines to `startEngine`.
 */
import type { ChannelKind } from "../../connectors/channel.js";
import type { Connector, Sink } from "../../connectors/connector.js";
import { CONNECTORS } from "../../connectors/index.js";
import type { PurgerKind } from "../../connectors/purger.js";
import type { SourceKind } from "../../connectors/source.js";
import type { Feed } from "../../dashboards/feed.js";
import { FEEDS, type FeedSources } from "../../dashboards/feeds/index.js";
import { NOTIFICATIONS_TOPIC } from "../alerting/notification.js";
import { ALERTS_TOPIC } from "../jobs/alerts/events.js";
import { AlertReceiver, type AlertReceiverOptions } from "../jobs/alerts/receiver.js";
import { COMPARISON_KEY, CONSISTENCY_TOPIC } from "../jobs/consistency/events.js";
import type { ConsistencySettings } from "../jobs/consistency/options.js";
import { ConsistencyReceiver, type ConsistencyReceiverOptions } from "../jobs/consistency/receiver.js";
import { JOBS, type JobEntry, SKU_SETTINGS } from "../jobs/index.js";
import { assert } from "../kernel/errors.js";
import { orderEventsOf } from "../orders/log-entry.js";
import { OrderStore } from "../orders/order-store.js";
import { orderTopic } from "../orders/topic.js";
import type { Receiver } from "../outbox/receiver.js";
import { Ledger } from "../stock/ledger.js";
import { eventsOf } from "../stock/log-entry.js";
import type { SkuSetting } from "../stock/settings.js";
import { stockTopic } from "../stock/topic.js";
import { topicEventsOf } from "../stream/event-entry.js";
import { type EventTopicOptions, eventTopic, loadEventsLibrary } from "../stream/event-topic.js";
import type { View } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";
import type { LogEntry } from "../stream/log.js";
import type { RedisClient } from "../stream/redis.js";
import { checkRoutes, type Route } from "../stream/route.js";
import { daily, type Schedule } from "../stream/schedule.js";
import { forwarderSink } from "../stream/sinks.js";
import type { Topic } from "../stream/topic.js";
import { ALERT_ROUTES } from "./alert-routes.js";

/** What a topic may be made from. */
export interface TopicParts {
  readonly ledger: Ledger;
  readonly orderStore: OrderStore;
  /** Erases what is due of buyers' personal data in a partition of the orders. */
  onErasuresDue(partition: number): void;
  readonly consistency: ConsistencySettings;
  /** What every event topic of the engine has. */
  readonly events: Omit<EventTopicOptions, "name" | "routes" | "schedules">;
}

/** A line of the table of topics. */
export interface TopicEntry {
  readonly name: string;
  make(parts: TopicParts): Topic<LogEvent>;
  /** Loads its function library into Redis; called before `make`. */
  load(redis: RedisClient): Promise<void>;
  /** Decodes one entry, for whoever reads the log without an engine; as the topic does. */
  decode(entry: LogEntry): { events: readonly LogEvent[] };
  /** The jobs pause after a small batch for so many times the configured pace; left out: once. */
  readonly paces?: number;
  /** Whether commits publish views, by the deployment's format; left out: they do. */
  withViews?(format: number): boolean;
  /** The followers poll no more often than this; left out: as often as configured. */
  readonly minPollMs?: number;
  /** Of an event topic: which emits of other topics become its events. */
  readonly routes?: readonly Route[];
}

/** What schedules may depend on. */
type ScheduleParts = Pick<TopicParts, "consistency">;

/** An event topic: the routes and schedules that feed it. */
export interface EventTopicEntry {
  /** At most 29 lower-case letters, digits and hyphens. */
  readonly name: string;
  readonly routes?: readonly Route[];
  /** Those that depend on settings are made from them. Such a setting belongs to the deployment. */
  readonly schedules?: readonly Schedule[] | ((parts: ScheduleParts) => readonly Schedule[]);
}

/** The line of an event topic. */
export const eventTopicEntry = ({ schedules = [], ...own }: EventTopicEntry): TopicEntry => ({
  ...own,
  load: loadEventsLibrary,
  make: (parts) => {
    const made = typeof schedules === "function" ? schedules(parts) : schedules;
    return eventTopic({ ...parts.events, ...own, schedules: made });
  },
  decode: topicEventsOf,
});

/** The views of a running engine. */
export interface Views {
  /** The view of a class. Asking for one that no job of the tables has is a programming mistake. */
  of<Kind extends View>(kind: new () => Kind): Kind;
}

/** What the engine's own sinks deliver to; both use the same clock and zone. */
export interface OwnSinkParts {
  readonly consistency: Omit<ConsistencyReceiverOptions, "name">;
  readonly alerts: Omit<AlertReceiverOptions, "name">;
}

/** A sink whose receiver is a part of the engine, not an outside system. */
export interface OwnSink {
  readonly name: string;
  /** The topic whose emits it delivers. */
  readonly topic: string;
  /** Deliveries a second, and at once, of all workers together. */
  readonly limits: { readonly perSecond: number; readonly inFlight: number };
  open(parts: OwnSinkParts): Receiver & { warnings(): string[] };
}

export interface Tables {
  readonly topics: readonly TopicEntry[];
  readonly jobs: readonly JobEntry[];
  readonly ownSinks: readonly OwnSink[];
  /** Their sinks are the engine's sinks, too. */
  readonly connectors: readonly Connector[];
  /** What screens can subscribe to. */
  readonly feeds: readonly FeedEntry[];
  /** What a SKU or a category may be configured with. */
  readonly skuSettings: readonly SkuSetting[];
}

/** From this format on exceptions are read from Redis, not from a view. */
const FORMAT_WITHOUT_ORDER_VIEWS = 2;

const TOPICS: readonly TopicEntry[] = [
  { name: "stock", load: Ledger.load, make: ({ ledger }) => stockTopic(ledger), decode: eventsOf },
  {
    name: "orders",
    load: OrderStore.load,
    make: ({ orderStore, onErasuresDue }) => orderTopic(orderStore, onErasuresDue),
    decode: orderEventsOf,
    // The next step of an order is seconds away, so its jobs may wait longer for a larger batch.
    paces: 5,
    // Only processes of the previous release read this view.
    withViews: (format) => format < FORMAT_WITHOUT_ORDER_VIEWS,
    // Exceptions are about minutes and hours.
    minPollMs: 250,
  },
  {
    ...eventTopicEntry({
      name: CONSISTENCY_TOPIC,
      schedules: ({ consistency }) => [{ name: COMPARISON_KEY, due: daily(consistency.compareAt), catchUp: "last" }],
    }),
    // Breakers change within seconds.
    minPollMs: 250,
  },
  // Alerts of depletion are listed as the depletion job's view has them.
  { ...eventTopicEntry({ name: ALERTS_TOPIC, routes: ALERT_ROUTES }), minPollMs: 250 },
  // A person sees within a second whether a message was displayed.
  { ...eventTopicEntry({ name: NOTIFICATIONS_TOPIC }), minPollMs: 250 },
];

/** Makes a feed from the data of the product's screens, or from the views of jobs. */
export type FeedEntry = (sources: FeedSources, views: Views) => Feed;

/** Comparisons and changes of breakers, in the order in which the job asks for them. */
const CONSISTENCY_SINK: OwnSink = {
  name: "consistency",
  topic: CONSISTENCY_TOPIC,
  limits: { perSecond: 100, inFlight: 1 },
  open: ({ consistency }) => new ConsistencyReceiver({ ...consistency, name: CONSISTENCY_SINK.name }),
};

/** Whom alerts notify: each is a few calls of Redis, and 500 of them in a minute are a rush. */
const ALERTS_SINK: OwnSink = {
  name: "alerts",
  topic: ALERTS_TOPIC,
  limits: { perSecond: 500, inFlight: 16 },
  open: ({ alerts }) => new AlertReceiver({ ...alerts, name: ALERTS_SINK.name }),
};

/** The product. */
export const PRODUCT_TABLES: Tables = {
  topics: TOPICS,
  jobs: JOBS,
  ownSinks: [CONSISTENCY_SINK, ALERTS_SINK],
  connectors: CONNECTORS,
  feeds: FEEDS,
  skuSettings: SKU_SETTINGS,
};

/** Who reads the emits of a topic: sinks, and the forwarders to event topics. */
export const emitReadersOf = (
  tables: Pick<Tables, "connectors" | "ownSinks" | "topics">,
): { name: string; topic: string }[] => [
  ...[...sinksOf(tables), ...tables.ownSinks].map(({ name, topic }) => ({ name, topic })),
  ...tables.topics.flatMap(({ name, routes = [] }) =>
    [...new Set(routes.map(({ from }) => from))].map((topic) => ({ name: forwarderSink(name), topic })),
  ),
];

/**
 * Checks that the tables fit together, before anything starts. A job or a sink of a topic that does not exist, and a
 * topic that no job reads, are programming mistakes.
 * @throws EngineError `bad_input` when two topics have one name, or routes name no topic or form a circle
 */
export function checkTables(tables: Tables): void {
  checkRoutes(tables.topics);
  const sinks = sinksOf(tables);
  for (const { topic } of [...tables.jobs, ...sinks, ...tables.ownSinks])
    assert(
      tables.topics.some(({ name }) => name === topic),
      `there is no topic ${topic}`,
    );
  // Without a job its log would have no cursor, and would not be trimmed.
  for (const { name } of tables.topics)
    assert(
      tables.jobs.some(({ topic }) => topic === name),
      `no job reads the topic ${name}`,
    );
  const readers = emitReadersOf(tables).map(({ name, topic }) => `${topic} ${name}`);
  assert(new Set(readers).size === readers.length, "two sinks or forwarders of a topic have the same name");
  const names = [...sinks, ...tables.ownSinks].map(({ name }) => name);
  assert(new Set(names).size === names.length, "two sinks have the same name");
  assert(sinks.filter(({ takesOrders }) => takesOrders).length <= 1, "two sinks take the paid orders");
}

/** The kinds of sources of all connectors. */
export const sourceKindsOf = async ({ connectors }: Pick<Tables, "connectors">): Promise<readonly SourceKind[]> =>
  (await Promise.all(connectors.map(async (connector) => (await connector.sourceKinds?.()) ?? []))).flat();

/** The channels of all connectors that endpoints of the configuration file may name. */
export const channelKindsOf = async ({ connectors }: Pick<Tables, "connectors">): Promise<readonly ChannelKind[]> =>
  (await Promise.all(connectors.map((connector) => connector.channelKind?.() ?? []))).flat();

/** The vendors of all connectors whose copies can be purged. */
export const purgerKindsOf = async ({ connectors }: Pick<Tables, "connectors">): Promise<readonly PurgerKind[]> =>
  (await Promise.all(connectors.map((connector) => connector.purgerKind?.() ?? []))).flat();

/** The sinks of all connectors. */
export const sinksOf = ({ connectors }: Pick<Tables, "connectors">): readonly Sink[] =>
  connectors.flatMap(({ sinks = [] }) => sinks);
