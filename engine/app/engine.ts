/**
 * The composition root: from settings to a running engine, and back. Redis, stock, orders, warehouse and views are
 * put together here and nowhere else. Parts start in the order in which they depend on each other and stop in the
 * opposite order: what serves first, then the jobs and what they have begun, then Redis.
 */
import type { Histogram } from "prom-client";
import { ShadowFold } from "../audit/shadow-fold.js";
import { DepletionView } from "../jobs/depletion/view.js";
import { orderJobs, stockJobs } from "../jobs/index.js";
import { ExceptionList } from "../jobs/order-flow/exceptions.js";
import { OrderTracker } from "../jobs/order-flow/track.js";
import { StorefrontView } from "../jobs/storefront/view.js";
import { type Clock, monotonicClock, systemClock } from "../kernel/clock.js";
import { zoneOf } from "../kernel/zone.js";
import { deadlinesWith } from "../orders/flow.js";
import type { OrderEvent } from "../orders/model.js";
import { OrderService } from "../orders/order-service.js";
import { OrderStore } from "../orders/order-store.js";
import { orderTopic } from "../orders/topic.js";
import type { Outbox } from "../outbox/outbox.js";
import { Categories } from "../stock/categories.js";
import { Ledger } from "../stock/ledger.js";
import type { StockEvent } from "../stock/model.js";
import { stockTopic } from "../stock/topic.js";
import { Follower } from "../stream/follower.js";
import type { FormatWatch } from "../stream/format.js";
import { openReader, type RedisClient } from "../stream/redis.js";
import { Worker } from "../stream/worker.js";
import { type EngineRedis, openEngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Warehouse } from "./intake.js";
import { Lifecycle } from "./lifecycle.js";
import { EngineLiveSource, type LiveSourceParts } from "./live.js";
import { PersonalData } from "./personal-data.js";
import { makeWarehouseOutbox, pickingHistogram } from "./warehouse.js";

/** The running parts that servers and feeders need. */
export interface Engine {
  readonly settings: EngineSettings;
  readonly redis: RedisClient;
  readonly ledger: Ledger;
  readonly orderService: OrderService;
  readonly worker: Worker<StockEvent> | undefined;
  readonly orderWorker: Worker<OrderEvent> | undefined;
  /** Compares the jobs' state with the ledger all the time, where this process runs jobs. */
  readonly shadow: ShadowFold | undefined;
  readonly follower: Follower<StockEvent>;
  readonly orderFollower: Follower<OrderEvent>;
  readonly depletionView: DepletionView;
  readonly storefrontView: StorefrontView;
  readonly exceptions: ExceptionList;
  readonly tracker: OrderTracker;
  /** Sends paid orders to the WMS, where this process runs jobs and there is one. */
  readonly outbox: Outbox | undefined;
  /** How long orders took from payment to the warehouse, through this process, in seconds (R22). */
  readonly pickingSeconds: Histogram;
  /** The WMS as the intake needs it; undefined without one. */
  readonly warehouse: Warehouse | undefined;
  readonly categories: Categories;
  readonly personalData: PersonalData;
  /** The format that the deployment is written in, and what its operator has to do about it. */
  readonly formats: Pick<FormatWatch, "current" | "wrong" | "warnings">;
  readonly live: EngineLiveSource;
  readonly clock: Clock;
  /** Resolves with the last line of its log when a private Redis ends by itself; otherwise never. */
  readonly redisEnded: Promise<string>;
  /** Stops jobs and views after what is under way, then the private Redis. */
  stop(): Promise<void>;
}

const DAY_SECONDS = 86_400;
/** The next step of an order is seconds away, so its jobs may wait longer for a larger batch. */
const ORDER_PACES = 5;
/** Exceptions are about minutes and hours. */
const EXCEPTIONS_POLL_MS = 250;
/** From this format on exceptions are read from Redis, not from a view. */
const FORMAT_WITHOUT_ORDER_VIEWS = 2;

export async function startEngine(settings: EngineSettings): Promise<Engine> {
  const lifecycle = new Lifecycle();
  try {
    return await assemble(settings, lifecycle);
  } catch (thrown) {
    await lifecycle.stop();
    throw thrown;
  }
}

async function assemble(settings: EngineSettings, lifecycle: Lifecycle): Promise<Engine> {
  const { prefix, partitions, wms } = settings;
  const connections = await openEngineRedis(settings, lifecycle);
  const { redis, viewRedis, formats } = connections;
  const clock = settings.shopTime?.clock ?? systemClock;
  const stores = makeStores(settings, connections);
  const { ledger, orderStore, orderService } = stores;
  const personalData = personalDataOf(settings, connections, orderStore);
  await lifecycle.start(personalData);

  const topics = topicsOf(settings, stores, personalData);
  const workers = workersOf(settings, connections, topics);
  const views = viewsOf(settings, connections, topics, clock);
  const { follower, orderFollower, depletionView, storefrontView } = views;
  const live = liveSourceOf(settings, { ledger, ...workers, ...views, clock });
  const pickingSeconds = pickingHistogram();
  const outbox =
    wms && settings.worker
      ? await makeWarehouseOutbox(
          {
            wms,
            orderStore,
            orderService,
            pickingSeconds,
            outbox: {
              ...sharedByWorkers(settings, connections),
              wall: clock,
              topic: topics.orders.topic.name,
              partitions,
              ...barrierOf(connections),
            },
          },
          lifecycle,
        )
      : undefined;
  const shadow = shadowFoldOf(settings, connections, workers.worker);

  // Before the first event is processed; the ticks read whether a warehouse was added later.
  if (settings.worker) await orderStore.waiting.readHasWarehouse(0);
  await lifecycle.start(workers.worker);
  await lifecycle.start(workers.orderWorker);
  await lifecycle.start(outbox);
  await Promise.all([lifecycle.start(follower), lifecycle.start(orderFollower)]);
  await lifecycle.start(shadow);
  await lifecycle.start(live);
  ledger.breakers.start(settings.onTrouble);
  lifecycle.onStop(() => ledger.breakers.stop());

  return {
    settings,
    redis,
    ledger,
    orderService,
    ...workers,
    shadow,
    follower,
    orderFollower,
    depletionView,
    storefrontView,
    exceptions: new ExceptionList(viewRedis, prefix, partitions),
    tracker: new OrderTracker(redis, prefix, partitions),
    outbox,
    pickingSeconds,
    warehouse: wms && { ...wms, backlog: () => orderStore.waiting.count() },
    categories: new Categories(redis, prefix),
    personalData,
    formats,
    live,
    clock,
    redisEnded: connections.ended,
    stop: () => lifecycle.stop(),
  };
}

type Stores = Pick<Engine, "ledger" | "orderService"> & { orderStore: OrderStore };
type Workers = Pick<Engine, "worker" | "orderWorker">;
type Topics = ReturnType<typeof topicsOf>;

/** What every command that has to be replicated waits for. */
const barrierOf = ({ replicas }: EngineRedis) => (replicas ? { replicas } : {});

function makeStores(settings: EngineSettings, connections: EngineRedis): Stores {
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
  return { ledger, orderStore, orderService: new OrderService(ledger, orderStore) };
}

function personalDataOf(settings: EngineSettings, { redis }: EngineRedis, orderStore: OrderStore): PersonalData {
  const { prefix, wms, onTrouble } = settings;
  return new PersonalData({
    orderStore,
    redis,
    prefix,
    onTrouble,
    clock: monotonicClock,
    ...(wms ? { objects: wms.objects } : {}),
  });
}

/** The two logs and the jobs on each. */
function topicsOf(settings: EngineSettings, { ledger, orderStore }: Stores, personalData: PersonalData) {
  const { zone, deadlines = {} } = settings;
  return {
    stock: { topic: stockTopic(ledger), jobs: stockJobs(zoneOf(zone)) },
    orders: {
      topic: orderTopic(orderStore, personalData.sweep),
      jobs: orderJobs(() => deadlinesWith(deadlines, orderStore.waiting.hasWarehouse)),
    },
  };
}

function sharedByWorkers(settings: EngineSettings, { redis, address, owner }: EngineRedis) {
  const { prefix, leaseMs, onTrouble } = settings;
  return {
    prefix,
    redis,
    openReader: (key: string) => openReader(redis, address, key),
    owner,
    // Leases and deadlines do not use a clock that can be set.
    clock: monotonicClock,
    leaseMs,
    onTrouble,
  };
}

function workersOf(settings: EngineSettings, connections: EngineRedis, { stock, orders }: Topics): Workers {
  if (!settings.worker) return { worker: undefined, orderWorker: undefined };
  const { tickMs, retentionMs, paceMs = 0 } = settings;
  const format = connections.formats.current;
  const shared = { ...sharedByWorkers(settings, connections), tickMs, retentionMs, format };
  return {
    worker: new Worker({ ...shared, ...stock, paceMs, withViews: true }),
    orderWorker: new Worker({
      ...shared,
      ...orders,
      paceMs: ORDER_PACES * paceMs,
      // Only processes of the previous release read this view.
      withViews: () => format() < FORMAT_WITHOUT_ORDER_VIEWS,
    }),
  };
}

function viewsOf(settings: EngineSettings, connections: EngineRedis, { stock, orders }: Topics, clock: Clock) {
  const { prefix, partitions, pollMs, onTrouble } = settings;
  const shared = { prefix, partitions, redis: connections.viewRedis, clock, onTrouble };
  const depletionView = new DepletionView();
  const storefrontView = new StorefrontView();
  return {
    depletionView,
    storefrontView,
    follower: new Follower({
      ...shared,
      topic: stock.topic.name,
      jobs: stock.jobs,
      views: [depletionView, storefrontView],
      pollMs,
    }),
    orderFollower: new Follower({
      ...shared,
      topic: orders.topic.name,
      jobs: orders.jobs,
      views: [],
      pollMs: Math.max(pollMs, EXCEPTIONS_POLL_MS),
    }),
  };
}

function liveSourceOf(
  { shopTime }: EngineSettings,
  parts: Omit<LiveSourceParts, "wall" | "speed" | "scene">,
): EngineLiveSource {
  return new EngineLiveSource({
    ...parts,
    wall: systemClock,
    speed: () => shopTime?.speed() ?? 1,
    scene: () => shopTime?.scene(),
  });
}

function shadowFoldOf(
  { prefix, partitions, onTrouble }: EngineSettings,
  { viewRedis }: EngineRedis,
  worker: Worker<StockEvent> | undefined,
): ShadowFold | undefined {
  if (!worker) return undefined;
  const owned = (partition: number): boolean => worker.stats()[partition]?.owned === true;
  return new ShadowFold({ redis: viewRedis, prefix, partitions, owned, onTrouble });
}
