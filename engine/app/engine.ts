/**
 * The composition root: from settings and tables to a running engine, and back. Redis, stock, orders, topics, sinks and
 * views are put together here and nowhere else. Parts start in the order in which they depend on each other and stop in
 * the opposite order: what serves first, then the jobs and what they have begun, then Redis.
 */
import type { ConnectorParts, OpenConnector } from "../../connectors/connector.js";
import type { Feed } from "../../dashboards/feed.js";
import { type AlertingStores, openAlertingStores } from "../alerting/stores.js";
import { ShadowFold } from "../audit/shadow-fold.js";
import type { Archiver } from "../history/archiver.js";
import type { OrderHistory } from "../history/order-history.js";
import type { SkuHistory } from "../history/sku-history.js";
import { type ConsistencySettings, consistencyOptions, consistencySettingsOf } from "../jobs/consistency/options.js";
import { ConsistencyView } from "../jobs/consistency/view.js";
import { DepletionView } from "../jobs/depletion/view.js";
import type { JobParts } from "../jobs/index.js";
import { ExceptionList } from "../jobs/order-flow/exceptions.js";
import { OrderTracker } from "../jobs/order-flow/track.js";
import { StorefrontView } from "../jobs/storefront/view.js";
import { type Clock, monotonicClock, systemClock } from "../kernel/clock.js";
import { valuesOf } from "../kernel/options.js";
import { zoneOf } from "../kernel/zone.js";
import { deadlinesWith } from "../orders/flow.js";
import { OrderService } from "../orders/order-service.js";
import { OrderStore } from "../orders/order-store.js";
import type { EmitKeeper } from "../outbox/emit-keeper.js";
import type { BalanceHistory } from "../stock/as-of.js";
import { Categories } from "../stock/categories.js";
import { InboundReceipts } from "../stock/inbound.js";
import { Ledger } from "../stock/ledger.js";
import type { SkuSetting } from "../stock/settings.js";
import type { FormatWatch } from "../stream/format.js";
import { Forwarders } from "../stream/forwarders.js";
import type { RedisClient } from "../stream/redis.js";
import { alertsOf, type EngineAlerts, unnotifiedWatchOf } from "./alerts.js";
import { conditionWatchOf } from "./conditions.js";
import { type EngineRedis, openEngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import { archiverOf, type Histories, makeHistories } from "./histories.js";
import type { Warehouse } from "./intake.js";
import { Lifecycle } from "./lifecycle.js";
import { EngineLiveSource } from "./live.js";
import { hidingSecrets } from "./logging.js";
import { connectorPartsOf, openConfigurations, openConnectors, openObjects } from "./open-connectors.js";
import { ownSinkPartsOf } from "./own-sinks.js";
import { PersonalData } from "./personal-data.js";
import { type EnginePublication, startPublication } from "./publication.js";
import { type EngineReconciliation, startReconciliation } from "./reconciliation.js";
import {
  eventTopicNamed,
  eventTopicsOf,
  makeTopics,
  type RunningTopic,
  sharedByWorkers,
  topicNamed,
  viewsOf,
} from "./running-topics.js";
import { type EngineSeries, openSeries } from "./series.js";
import {
  emitBoundsOf,
  emitKeepersOf,
  openOwnSinks,
  openSinks,
  orderLimitPerSecond,
  type RunningSink,
} from "./sinks.js";
import { checkTables, PRODUCT_TABLES, type Tables, type TopicParts } from "./tables.js";

/** Balances and what is known about SKUs. */
export interface EngineStock {
  readonly ledger: Ledger;
  readonly categories: Categories;
  /** Balances of instants in the past. */
  readonly history: BalanceHistory;
  /** Changes of a SKU's stock in the past. */
  readonly skuHistory: SkuHistory;
  /** The settings that a SKU or a category may have. */
  readonly skuSettings: readonly SkuSetting[];
  readonly storefrontView: StorefrontView;
  readonly depletionView: DepletionView;
  /** Receipts on their way. */
  readonly inbound: InboundReceipts;
  /** Compares the jobs' state with the ledger all the time, where this process runs jobs. */
  readonly shadow: ShadowFold | undefined;
}

/** Orders, their steps and their buyers. */
export interface EngineOrders {
  readonly service: OrderService;
  readonly store: OrderStore;
  readonly tracker: OrderTracker;
  readonly history: OrderHistory;
  readonly exceptions: ExceptionList;
  readonly personalData: PersonalData;
  /** The receiver of paid orders as the intake needs it; undefined without one. */
  readonly warehouse: Warehouse | undefined;
}

/** The running parts that servers and feeders need. */
export interface Engine {
  readonly settings: EngineSettings;
  readonly redis: RedisClient;
  /** The shop's time. */
  readonly clock: Clock;
  /** In the order of their table. */
  readonly topics: readonly RunningTopic[];
  /** The topic of a name; asking for one that the tables do not have is a programming mistake. */
  topic(name: string): RunningTopic;
  readonly stock: EngineStock;
  readonly orders: EngineOrders;
  /** What sources report. */
  readonly reconciliation: EngineReconciliation;
  /** Who is notified of alerts, and what is silenced. */
  readonly alerting: AlertingStores;
  /** Alerts of all rules, and what people do about them. */
  readonly alerts: EngineAlerts;
  /** Those that the settings name, where this process runs jobs. */
  readonly sinks: readonly RunningSink[];
  /** Of each event topic, where this process runs jobs. */
  readonly forwarders: readonly Forwarders[];
  /** What holds the bounds for sinks and forwarders that no process runs, where this process runs jobs. */
  readonly emitKeepers: readonly EmitKeeper[];
  /** What archives the logs, where the settings ask for it and this process runs jobs. */
  readonly archiver: Archiver | undefined;
  /** Figures over time, where the settings enable them. */
  readonly series: EngineSeries | undefined;
  /** Whether CDNs find their copies of a SKU by its tag, to purge them. */
  readonly isPurged: boolean;
  /** What the storefront is shown, as published; undefined where the settings disable it. */
  readonly publication: EnginePublication | undefined;
  /** What connectors offer beside sinks, where the settings ask for it. */
  readonly connectors: readonly OpenConnector[];
  readonly live: EngineLiveSource;
  /** What screens can subscribe to. */
  readonly feeds: readonly Feed[];
  /** The format that the deployment is written in, and what its operator has to do about it. */
  readonly formats: Pick<FormatWatch, "current" | "wrong" | "warnings">;
  /** Resolves with the last line of its log when a private Redis ends by itself; otherwise never. */
  readonly redisEnded: Promise<string>;
  /** Stops jobs and views after what is under way, then the private Redis. */
  stop(): Promise<void>;
}

const DAY_SECONDS = 86_400;

/**
 * Starts an engine of these settings and tables.
 * @throws EngineError as openEngineRedis, checkTables, the connectors and the workers
 */
export async function startEngine(settings: EngineSettings, tables: Tables = PRODUCT_TABLES): Promise<Engine> {
  const lifecycle = new Lifecycle();
  try {
    return await assemble(settings, tables, lifecycle);
  } catch (thrown) {
    await lifecycle.stop();
    throw thrown;
  }
}

async function assemble(given: EngineSettings, tables: Tables, lifecycle: Lifecycle): Promise<Engine> {
  checkTables(tables);
  const objects = await openObjects(given, tables);
  const clock = given.shopTime?.clock ?? systemClock;
  const { channels, cdns, secrets } = await openConfigurations(given, tables, clock);
  const settings = { ...given, onTrouble: hidingSecrets(given.onTrouble, secrets) };
  const connections = await openEngineRedis(settings, tables, lifecycle);
  const { ledger, orderStore } = makeStores(settings, connections);
  const histories = makeHistories({ ...settings, ...connections }, orderStore, settings.archive ? objects : undefined);
  const orders = makeOrders(settings, tables, connections, { ledger, orderStore, objects, history: histories.orders });
  await lifecycle.start(orders.personalData);
  const topics = makeTopics({
    tables,
    settings,
    connections,
    topicParts: {
      ...{ ledger, orderStore, consistency: consistencyOf(settings) },
      onErasuresDue: orders.personalData.sweep,
      events: eventsOf(settings, connections),
    },
    jobParts: jobPartsOf(settings, orderStore),
    clock,
  });
  const stock = makeStock(settings, connections, { ledger, histories }, tables, topics);
  const alerts = alertsOf(topics, stock, clock);
  const live = liveSourceOf(settings, stock, alerts, topics, clock);
  const { redis } = connections;
  const { options = {} } = settings;
  const reconciliation = await startReconciliation(settings, { ...connections, ledger, topics, clock }, lifecycle);
  const alerting = openAlertingStores({ ...settings, redis, clock, channels: channels.directory });
  const connectorParts = connectorPartsOf(settings, tables, connections, reconciliation, {
    ...{ ledger, orderStore, objects, channels, cdns, clock, alerting, alertRequests: alerts.alertRequests },
    orderService: orders.service,
    append: (topic, events) => eventTopicNamed(topics, topic).append(events),
  });
  const delivering = deliveringOf(settings, connections, clock);
  const sinks = settings.worker ? await openSinks(tables, options, connectorParts, delivering, lifecycle) : [];
  const targets = settings.worker ? eventTopicsOf(topics) : [];
  const forwarders = targets.map((target) => new Forwarders({ ...delivering, target }));
  const emitKeepers = emitKeepersOf(topics, delivering);

  // Before the first event is processed; the ticks read whether a warehouse was added later.
  if (settings.worker) await orderStore.waiting.readHasWarehouse(0);
  const archiver = archiverOf(settings, connections, objects);
  const workers = topics.map(({ worker }) => worker);
  await lifecycle.startEach([...workers, ...sinks.map(outboxOf), ...forwarders, ...emitKeepers, archiver]);
  await Promise.all(topics.map(({ follower }) => lifecycle.start(follower)));
  const series = await openSeries(
    settings,
    { connections, orderStore, clock, topics, tables, ...stock, ...alerts },
    lifecycle,
  );
  const publication = await startPublication(settings, { tables, connections, topics, ...stock }, lifecycle);
  await lifecycle.startEach([stock.shadow, live]);
  const ownParts = ownSinkPartsOf(settings, consistencyOf(settings), {
    ...{ stock, topics, reconciliation, alerting, clock },
  });
  const ownSinks = settings.worker ? openOwnSinks(tables, ownParts, delivering) : [];
  const watched = { sinks: [...sinks, ...ownSinks], topics, orders, clock };
  const watch = settings.worker ? conditionWatchOf(settings, tables, connections, watched) : undefined;
  const unnotified = settings.worker ? unnotifiedWatchOf(topics, alerting.directory, settings.onTrouble) : undefined;
  await lifecycle.startEach([...ownSinks.map(outboxOf), watch, unnotified]);
  const connectors = await openConnectors(tables, options, connectorParts, lifecycle);
  await lifecycle.start(breakerReadingOf(ledger, settings));

  return {
    ...{ settings, redis, clock, topics, stock, orders, reconciliation, alerting, alerts },
    topic: (name) => topicNamed(topics, name),
    sinks: [...sinks, ...ownSinks],
    ...{ forwarders, emitKeepers, archiver, series, publication, connectors, live },
    isPurged: cdns !== undefined,
    feeds: tables.feeds.map((feed) => feed(live, viewsOf(topics))),
    formats: connections.formats,
    redisEnded: connections.ended,
    stop: () => lifecycle.stop(),
  };
}

/** The ledger's reading of breakers from Redis. */
const breakerReadingOf = ({ breakers }: Ledger, { onTrouble }: EngineSettings) => ({
  start: () => breakers.start(onTrouble),
  stop: () => breakers.stop(),
});

const outboxOf = ({ outbox }: RunningSink) => outbox;

/** What all sinks and forwarders share. */
const deliveringOf = (settings: EngineSettings, connections: EngineRedis, clock: Clock) => ({
  ...sharedByWorkers(settings, connections),
  ...barrierOf(connections),
  bounds: emitBoundsOf(settings),
  wall: clock,
  partitions: settings.partitions,
});

const consistencyOf = ({ consistency }: EngineSettings): ConsistencySettings =>
  consistency ?? consistencySettingsOf(valuesOf(consistencyOptions, {}));

const jobPartsOf = ({ zone, deadlines = {} }: EngineSettings, orderStore: OrderStore): JobParts => ({
  zone: zoneOf(zone),
  deadlines: () => deadlinesWith(deadlines, orderStore.waiting.hasWarehouse),
});

/** What every event topic has. */
const eventsOf = (
  { prefix, partitions, zone, shopTime, onTrouble }: EngineSettings,
  connections: EngineRedis,
): TopicParts["events"] => ({
  redis: connections.redis,
  prefix,
  partitions,
  zone: zoneOf(zone),
  onTrouble,
  ...barrierOf(connections),
  ...(shopTime ? { clock: shopTime.clock } : {}),
});

/** What every command that has to be replicated waits for. */
const barrierOf = ({ replicas }: EngineRedis) => (replicas ? { replicas } : {});

function makeStores(settings: EngineSettings, connections: EngineRedis): { ledger: Ledger; orderStore: OrderStore } {
  const { prefix, partitions, shopTime, idRetentionDays, batchLimit, personalData } = settings;
  const shared = {
    redis: connections.redis,
    prefix,
    partitions,
    format: connections.formats.current,
    ...barrierOf(connections),
    ...(shopTime ? { clock: shopTime.clock } : {}),
  };
  const ledger = new Ledger({ ...shared, idRetentionDays, batchLimit });
  const orderStore = new OrderStore({
    ...shared,
    // An order may be placed under the oldest id that the ledger accepts, and paid that much later.
    keepSeconds: 2 * idRetentionDays * DAY_SECONDS,
    ...(personalData ? { personalData } : {}),
  });
  return { ledger, orderStore };
}

function makeOrders(
  { prefix, partitions, options = {}, onTrouble }: EngineSettings,
  tables: Tables,
  { redis, viewRedis }: EngineRedis,
  {
    ledger,
    orderStore: store,
    objects,
    history,
  }: Pick<ConnectorParts, "ledger" | "orderStore" | "objects"> & Pick<EngineOrders, "history">,
): EngineOrders {
  const limitPerSecond = orderLimitPerSecond(tables, options);
  return {
    service: new OrderService(ledger, store),
    store,
    tracker: new OrderTracker(redis, prefix, partitions),
    history,
    exceptions: new ExceptionList(viewRedis, prefix, partitions),
    personalData: new PersonalData({
      orderStore: store,
      redis,
      prefix,
      onTrouble,
      clock: monotonicClock,
      // Only what takes the orders has stored objects of them.
      ...(limitPerSecond === undefined ? {} : { objects }),
    }),
    warehouse: limitPerSecond === undefined ? undefined : { limitPerSecond, backlog: () => store.waiting.count() },
  };
}

function makeStock(
  { prefix, partitions, shopTime, onTrouble }: EngineSettings,
  { redis, viewRedis }: EngineRedis,
  { ledger, histories }: { ledger: Ledger; histories: Histories },
  { skuSettings }: Tables,
  topics: readonly RunningTopic[],
): EngineStock {
  const { worker } = topicNamed(topics, "stock");
  const views = viewsOf(topics);
  const owned = (partition: number): boolean => worker?.stats()[partition]?.owned === true;
  return {
    ledger,
    categories: new Categories(redis, prefix),
    history: histories.balances,
    skuHistory: histories.skus,
    skuSettings,
    depletionView: views.of(DepletionView),
    inbound: new InboundReceipts({ redis, prefix, ledger, clock: shopTime?.clock ?? systemClock }),
    storefrontView: views.of(StorefrontView),
    shadow: worker && new ShadowFold({ redis: viewRedis, prefix, partitions, owned, onTrouble }),
  };
}

function liveSourceOf(
  settings: EngineSettings,
  { ledger, depletionView, storefrontView }: EngineStock,
  { alertList }: EngineAlerts,
  topics: readonly RunningTopic[],
  clock: Clock,
): EngineLiveSource {
  const { worker, follower } = topicNamed(topics, "stock");
  const { shopTime, zone } = settings;
  return new EngineLiveSource({
    ledger,
    depletionView,
    storefrontView,
    alertList,
    consistencyView: viewsOf(topics).of(ConsistencyView),
    shopThreshold: consistencyOf(settings).shopShare,
    worker,
    follower,
    clock,
    wall: systemClock,
    zone,
    speed: () => shopTime?.speed() ?? 1,
    scene: () => shopTime?.scene(),
  });
}
