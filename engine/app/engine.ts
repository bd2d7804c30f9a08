/**
 * The composition root: from settings to a running engine, and back. Redis, ledger, order desk, jobs, views, live
 * source are put together here and nowhere else, in the order in which they need each other, and are taken apart in
 * the opposite order: first nobody new is let in, then what is under way ends, then Redis goes. A private Redis is
 * the engine's own and ends with it.
 */
import { hostname } from "node:os";
import { Histogram } from "prom-client";
import type { ObjectStore } from "../../connectors/objects/index.js";
import { loadContract, WMS_CONTRACT, WMS_SINK, wmsClient, wmsReceiver } from "../../connectors/wms/index.js";
import { ShadowFold } from "../audit/shadow-fold.js";
import { DepletionView } from "../jobs/depletion/view.js";
import { orderJobs as orderJobsOf, stockJobs } from "../jobs/index.js";
import { ExceptionList } from "../jobs/order-flow/exceptions.js";
import { OrderTracker } from "../jobs/order-flow/track.js";
import { StorefrontView } from "../jobs/storefront/view.js";
import { type Clock, monotonicClock, systemClock } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { secureBytes } from "../kernel/random.js";
import { zoneOf } from "../kernel/zone.js";
import { type Deadlines, deadlinesWith } from "../orders/flow.js";
import type { OrderEvent } from "../orders/model.js";
import { OrderService } from "../orders/order-service.js";
import type { PersonalDataTimes } from "../orders/order-store.js";
import { OrderStore } from "../orders/order-store.js";
import { orderTopic } from "../orders/topic.js";
import { Outbox } from "../outbox/outbox.js";
import { loadRateLimiterLibrary } from "../outbox/rate-limiter.js";
import { type RedisServer, startRedis } from "../redis/embedded.js";
import { Categories } from "../stock/categories.js";
import { Ledger } from "../stock/ledger.js";
import type { StockEvent } from "../stock/model.js";
import { stockTopic } from "../stock/topic.js";
import { freeTask, loadStreamLibrary } from "../stream/commit.js";
import { Heartbeat } from "../stream/fleet.js";
import { Follower } from "../stream/follower.js";
import { FormatWatch } from "../stream/format.js";
import { partitionKeys, sinkKeys } from "../stream/keys.js";
import { claimDeployment } from "../stream/partition.js";
import { checkRedis, connect, openReader, type RedisClient } from "../stream/redis.js";
import { ReplicationBarrier } from "../stream/replication-barrier.js";
import { claimSettings, type SharedSettings } from "../stream/settings.js";
import { Worker } from "../stream/worker.js";
import type { Warehouse } from "./intake.js";
import { EngineLiveSource } from "./live.js";
import { PersonalData } from "./personal-data.js";
import { releaseVersion } from "./release.js";

/** Time in a demo: the shop's own clock, and how fast it runs. */
export interface ShopTime {
  clock: Clock;
  speed(): number;
  scene(): string | undefined;
}

export interface WmsSettings {
  url: string;
  token: string | undefined;
  /** What it takes; all workers together stay below it in every second (R22). */
  limitPerSecond: number;
  inFlight: number;
  timeoutMs: number;
  /** Paid orders that may wait for it before new ones are refused. */
  maxBacklog: number;
  /** Where goes what its contract has no field for. */
  objects: ObjectStore;
}

export interface EngineSettings {
  /** Undefined: a private Redis in `dir`. */
  redisUrl: string | undefined;
  /** Replicas that must have a command before it is answered; left out or 0: none. */
  waitReplicas?: number;
  dir: string;
  appendfsync: "everysec" | "always" | "no";
  /** What a private Redis takes at most; left out: half of the memory. */
  redisMemoryShare?: number;
  partitions: number;
  prefix: string;
  leaseMs: number;
  tickMs: number;
  /** Left out: jobs pause after no step. */
  paceMs?: number;
  retentionMs: number;
  pollMs: number;
  zone: string;
  idRetentionDays: number;
  batchLimit: number;
  /** Where paid orders go; left out: nowhere from here. */
  wms?: WmsSettings;
  /**
   * How long an order may take from step to step; the same in every process of a deployment. The one for `picking`
   * holds from when on the deployment has a warehouse. Left out: as long as it likes.
   */
  deadlines?: Deadlines;
  /** How long a buyer's text is kept; the same in every process. Left out: the defaults. */
  personalData?: PersonalDataTimes;
  /** What every process of the deployment must be told alike; left out: nothing is looked at. */
  sharedSettings?: SharedSettings;
  /** Whether they take the place of what it was run with before. */
  acceptSettings?: boolean;
  /** Whether this process runs jobs, beside serving. */
  worker: boolean;
  /** Whether to forget what the Redis holds, as a demo does. */
  empty: boolean;
  /** Ends a start that takes long. */
  signal?: AbortSignal;
  /** Undefined: real time, and the ledger goes by the Redis server's clock. */
  shopTime: ShopTime | undefined;
  onTrouble: OnTrouble;
}

/** The running parts that servers and feeders need. */
export interface Engine {
  readonly settings: EngineSettings;
  readonly redis: RedisClient;
  readonly ledger: Ledger;
  readonly orderService: OrderService;
  readonly worker: Worker<StockEvent> | undefined;
  readonly orderWorker: Worker<OrderEvent> | undefined;
  /** Where there are jobs, they are compared with the ledger all the time. */
  readonly shadow: ShadowFold | undefined;
  readonly follower: Follower<StockEvent>;
  readonly orderFollower: Follower<OrderEvent>;
  readonly depletionView: DepletionView;
  readonly storefrontView: StorefrontView;
  readonly exceptions: ExceptionList;
  readonly tracker: OrderTracker;
  /** Sends paid orders to the WMS, where this process works and there is one. */
  readonly outbox: Outbox | undefined;
  /** How long orders took from payment to the warehouse, through this process, in seconds (R22). */
  readonly pickingSeconds: Histogram;
  /** What the intake has to know of the WMS; undefined without one. */
  readonly warehouse: Warehouse | undefined;
  readonly categories: Categories;
  readonly personalData: PersonalData;
  /** What the deployment may be written in, and whether its operator has to do something about it. */
  readonly formats: Pick<FormatWatch, "current" | "wrong" | "warnings">;
  readonly live: EngineLiveSource;
  readonly clock: Clock;
  /** Resolves with its last words when the private Redis ends without being told to; never when there is none. */
  readonly redisEnded: Promise<string>;
  /** Ends jobs and views after what they are at, then the private Redis. */
  stop(): Promise<void>;
}

const DAY_SECONDS = 86_400;
/** R22 asks for less than 0.8 s; the incident took 4.7. */
const PICKING_BUCKETS = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 60, 600, 3_600];
const ORDER_PACES = 5;
/** Exceptions are about minutes and hours. */
const EXCEPTIONS_POLL_MS = 250;

export async function startEngine(settings: EngineSettings): Promise<Engine> {
  const undo: (() => Promise<unknown> | unknown)[] = [];
  try {
    const server = settings.redisUrl === undefined ? await startRedis(settings) : undefined;
    if (server) undo.push(() => server.stop());
    return await assemble(settings, server, undo);
  } catch (thrown) {
    await takeApart(undo);
    throw thrown;
  }
}

/** Undoes every step, the last first, also after one has failed. */
async function takeApart(undo: (() => Promise<unknown> | unknown)[]): Promise<void> {
  const faults: unknown[] = [];
  for (const step of undo.splice(0).reverse()) {
    try {
      await step();
    } catch (thrown) {
      faults.push(thrown);
    }
  }
  if (faults.length > 0) throw faults[0];
}

async function assemble(
  settings: EngineSettings,
  server: RedisServer | undefined,
  undo: (() => Promise<unknown> | unknown)[],
): Promise<Engine> {
  const { prefix, partitions, zone, shopTime, onTrouble } = settings;
  const address = { url: settings.redisUrl ?? (server as RedisServer).socketPath };
  const redis = connect(address);
  undo.push(() => redis.disconnect());
  // Views read much and often; on a connection of their own they never stand before a command.
  const viewRedis = connect(address);
  undo.push(() => viewRedis.disconnect());
  if (server) {
    if (settings.empty) await redis.flushall();
    // Nobody else can hold a lease here: one that a killed process left need not be waited for.
    await Promise.all(
      ["stock", "orders"].flatMap((topic) =>
        Array.from({ length: partitions }, (_, i) => freeTask(redis, partitionKeys(prefix, topic, i))),
      ),
    );
    await Promise.all(
      Array.from({ length: partitions }, (_, i) => freeTask(redis, sinkKeys(prefix, "orders", i, WMS_SINK))),
    );
  } else await checkRedis(redis, address, onTrouble);
  const { waitReplicas: wanted = 0 } = settings;
  if (server && wanted > 0) throw badInput("serve", "--wait-replicas", "a private Redis has no replicas");
  const replicas = wanted > 0 ? new ReplicationBarrier({ open: () => connect(address), replicas: wanted }) : undefined;
  undo.push(() => replicas?.close());
  const claimed = await claimDeployment(redis, prefix, partitions);
  const { sharedSettings = {}, acceptSettings = false } = settings;
  await claimSettings({ redis, prefix, settings: sharedSettings, accept: acceptSettings, onTrouble });
  const formats = new FormatWatch({ redis: viewRedis, prefix, format: claimed, clock: systemClock, onTrouble });
  formats.start();
  undo.push(() => formats.stop());
  const format = formats.current;
  const owner = `${hostname()}/${process.pid}/${secureBytes(4).toString("hex")}`;
  await Promise.all([
    Ledger.load(redis),
    OrderStore.load(redis),
    loadStreamLibrary(redis),
    loadRateLimiterLibrary(redis),
  ]);
  const own = { name: owner, release: releaseVersion(), runsJobs: settings.worker };
  const heartbeat = new Heartbeat({ redis: viewRedis, prefix, ...own, clock: systemClock, onTrouble });
  heartbeat.start();
  undo.push(() => heartbeat.stop());

  const clock = shopTime?.clock ?? systemClock;
  const ledger = new Ledger({
    redis,
    prefix,
    partitions,
    format,
    idRetentionDays: settings.idRetentionDays,
    batchLimit: settings.batchLimit,
    ...(replicas ? { replicas } : {}),
    ...(shopTime ? { clock: shopTime.clock } : {}),
  });
  // An order may be placed under an id that is as old as the ledger takes, and paid that much later.
  const keepSeconds = 2 * settings.idRetentionDays * DAY_SECONDS;
  const orderStore = new OrderStore({
    redis,
    prefix,
    partitions,
    format,
    keepSeconds,
    ...(settings.personalData ? { personalData: settings.personalData } : {}),
    ...(replicas ? { replicas } : {}),
    ...(shopTime ? { clock: shopTime.clock } : {}),
  });
  const orderService = new OrderService(ledger, orderStore);
  const topic = stockTopic(ledger);
  const jobs = stockJobs(zoneOf(zone));
  const { wms } = settings;
  const personalData = new PersonalData({
    orderStore,
    redis,
    prefix,
    onTrouble,
    clock: monotonicClock,
    ...(wms ? { objects: wms.objects } : {}),
  });
  personalData.start();
  undo.push(() => personalData.stop());
  const orders = orderTopic(orderStore, personalData.sweep);
  const { deadlines = {} } = settings;
  const orderJobs = orderJobsOf(() => deadlinesWith(deadlines, orderStore.isWarehouseKnown));

  const work = {
    prefix,
    redis,
    openReader: (key: string) => openReader(redis, address, key),
    owner,
    // Leases and deadlines do not go by a clock that somebody may set.
    clock: monotonicClock,
    leaseMs: settings.leaseMs,
    tickMs: settings.tickMs,
    retentionMs: settings.retentionMs,
    withViews: true,
    onTrouble,
  };
  const { paceMs = 0 } = settings;
  const worker = settings.worker ? new Worker({ ...work, paceMs, topic, jobs }) : undefined;
  // The next step of an order is seconds away.
  const orderPace = { paceMs: ORDER_PACES * paceMs };
  // Processes of the previous release are told of exceptions; ours read them.
  const ordersHaveViews = (): boolean => format() < 2;
  const orderWorker = settings.worker
    ? new Worker({ ...work, ...orderPace, topic: orders, jobs: orderJobs, withViews: ordersHaveViews })
    : undefined;
  const depletionView = new DepletionView();
  const storefrontView = new StorefrontView();
  const exceptions = new ExceptionList(viewRedis, prefix, partitions);
  const views = { prefix, partitions, redis: viewRedis, clock, onTrouble };
  const follower = new Follower({
    ...views,
    topic: topic.name,
    jobs,
    views: [depletionView, storefrontView],
    pollMs: settings.pollMs,
  });
  const orderFollower = new Follower({
    ...views,
    topic: orders.name,
    jobs: orderJobs,
    views: [],
    pollMs: Math.max(settings.pollMs, EXCEPTIONS_POLL_MS),
  });
  const live = new EngineLiveSource({
    ledger,
    worker,
    follower,
    depletionView,
    storefrontView,
    clock,
    wall: systemClock,
    speed: () => shopTime?.speed() ?? 1,
    scene: () => shopTime?.scene(),
  });

  const pickingSeconds = new Histogram({
    name: "shuiwei_paid_to_picking_seconds",
    help: "From an order's payment to the WMS having it",
    buckets: PICKING_BUCKETS,
    registers: [],
  });
  let outbox: Outbox | undefined;
  if (wms && settings.worker) {
    const { limitPerSecond, inFlight, timeoutMs, objects } = wms;
    await orderStore.beginWaiting();
    const client = wmsClient({
      url: wms.url,
      timeoutMs,
      connections: inFlight,
      ...(wms.token === undefined ? {} : { token: wms.token }),
    });
    undo.push(() => client.close());
    const receiver = wmsReceiver({
      client,
      contract: await loadContract(WMS_CONTRACT),
      objects,
      orderStore,
      settle: (order, result, evidence) => orderService.settleCancellation(order, result, evidence),
      onPicking: (tookMs) => pickingSeconds.observe(Math.max(0, tookMs) / 1_000),
    });
    outbox = new Outbox({
      ...work,
      wall: systemClock,
      receiver,
      topic: orders.name,
      partitions,
      limitPerSecond,
      inFlight,
      ...(replicas ? { replicas } : {}),
    });
  }

  // Before the first event is looked at; a warehouse that comes later is seen by the ticks.
  if (settings.worker) await orderStore.hasWarehouseAt(0);
  worker?.start();
  undo.push(() => worker?.stop());
  orderWorker?.start();
  undo.push(() => orderWorker?.stop());
  outbox?.start();
  undo.push(() => outbox?.stop());
  await Promise.all([follower.start(), orderFollower.start()]);
  undo.push(() => Promise.all([follower.stop(), orderFollower.stop()]));
  const owned = (partition: number): boolean => worker?.stats()[partition]?.owned === true;
  const shadow = worker && new ShadowFold({ redis: viewRedis, prefix, partitions, owned, onTrouble });
  shadow?.start();
  undo.push(() => shadow?.stop());
  live.start();
  undo.push(() => live.stop());
  ledger.breakers.start(onTrouble);
  undo.push(() => ledger.breakers.stop());

  return {
    settings,
    redis,
    ledger,
    orderService,
    worker,
    orderWorker,
    shadow,
    follower,
    orderFollower,
    depletionView,
    storefrontView,
    exceptions,
    tracker: new OrderTracker(redis, prefix, partitions),
    outbox,
    pickingSeconds,
    warehouse: wms && { ...wms, backlog: () => orderStore.waiting() },
    categories: new Categories(redis, prefix),
    personalData,
    formats,
    live,
    clock,
    redisEnded: server ? server.ended : new Promise(() => {}),
    async stop() {
      await takeApart(undo);
    },
  };
}
