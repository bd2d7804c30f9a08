/**
 * Figures over time in a running engine: what stores them, what reads them, and what records them where this process
 * runs jobs. SKUs are recorded from the views of the stock's jobs, the engine's figures from followers, order store and
 * Redis.
 */
import { Buckets } from "../history/series/buckets.js";
import { CompactSeriesStore } from "../history/series/compact-series-store.js";
import { FigureMinutes, type FigureReadings } from "../history/series/figure-minutes.js";
import { SeriesReader } from "../history/series/series-reader.js";
import { SeriesRecorder } from "../history/series/series-recorder.js";
import type { SeriesStore } from "../history/series/series-store.js";
import { SkuMinutes } from "../history/series/sku-minutes.js";
import type { AlertList } from "../jobs/alerts/alert-list.js";
import { ConsistencyView } from "../jobs/consistency/view.js";
import type { DepletionView } from "../jobs/depletion/view.js";
import type { StorefrontView } from "../jobs/storefront/view.js";
import type { Clock } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { zoneOf } from "../kernel/zone.js";
import type { OrderStore } from "../orders/order-store.js";
import { partitionKeys } from "../stream/keys.js";
import { knownPrimaries, type RedisClient, SENTINEL_SCHEME } from "../stream/redis.js";
import { readMemory } from "../stream/server-memory.js";
import type { EngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import { type RunningTopic, sharedByWorkers, topicNamed, viewsOf } from "./running-topics.js";
import type { Tables } from "./tables.js";

/** Figures of SKUs and of the engine over time. */
export interface EngineSeries {
  readonly kind: SeriesStore["kind"];
  readonly reader: SeriesReader;
  /** Where this process runs jobs. */
  readonly recorder: SeriesRecorder | undefined;
}

export interface SeriesParts {
  readonly tables: Pick<Tables, "connectors">;
  readonly connections: EngineRedis;
  readonly topics: readonly RunningTopic[];
  readonly depletionView: DepletionView;
  readonly storefrontView: StorefrontView;
  /** Of all rules. */
  readonly alertList: Pick<AlertList, "open">;
  readonly orderStore: OrderStore;
  /** The shop's time. */
  readonly clock: Clock;
}

/** Starts to record, where this process runs jobs. Undefined where the settings disable it. */
export async function openSeries(
  settings: EngineSettings,
  parts: SeriesParts,
  lifecycle: Lifecycle,
): Promise<EngineSeries | undefined> {
  const { prefix, partitions, zone, worker, history = "off" } = settings;
  if (history === "off") return undefined;
  const { viewRedis } = parts.connections;
  const buckets = new Buckets(zoneOf(zone));
  const store = await openStore(settings, history, parts, buckets);
  lifecycle.onStop(() => store.close());
  const recorder = worker ? recorderOf(settings, parts, store) : undefined;
  await lifecycle.start(recorder);
  const reader = new SeriesReader({ redis: viewRedis, prefix, partitions, store, buckets });
  return { kind: store.kind, reader, recorder };
}

/** @throws EngineError `bad_input` when time series are requested and the Redis has none */
async function openStore(
  { prefix, onTrouble }: EngineSettings,
  history: "auto" | "redis" | "time-series",
  { connections, tables }: SeriesParts,
  buckets: Buckets,
): Promise<SeriesStore> {
  const { redis, viewRedis, address } = connections;
  const { url } = address;
  const connector = tables.connectors.find(({ seriesStore }) => seriesStore);
  if (history !== "redis" && connector?.seriesStore && (await hasTimeSeries(redis, url)))
    return connector.seriesStore({ url, prefix, buckets, onTrouble });
  if (history === "time-series")
    throw badInput("serve", "--history", "the Redis has no time series that can be used; choose auto or redis");
  await CompactSeriesStore.load(redis);
  return new CompactSeriesStore({ redis: viewRedis, prefix, buckets, onTrouble });
}

/** Whether every primary has the commands of time series, and they can be used at this address. */
async function hasTimeSeries(redis: RedisClient, url: string): Promise<boolean> {
  if (url.startsWith(SENTINEL_SCHEME)) return false;
  const answers = await Promise.all(
    (await knownPrimaries(redis)).map((node) => node.call("COMMAND", "INFO", "TS.ADD").catch(() => [null])),
  );
  return answers.every((answer) => Array.isArray(answer) && answer[0] !== null && answer[0] !== undefined);
}

function recorderOf(settings: EngineSettings, parts: SeriesParts, store: SeriesStore): SeriesRecorder {
  const { connections, topics, depletionView, storefrontView, clock } = parts;
  const { follower } = topicNamed(topics, "stock");
  const { partitions, shopTime } = settings;
  const panes = {
    get lastRevision() {
      return depletionView.lastRevision;
    },
    changedSince: (revision: number) => depletionView.panesChangedSince(revision),
    of: (sku: string) => depletionView.panes(sku, 0),
  };
  const sellable = {
    get lastRevision() {
      return storefrontView.lastRevision;
    },
    *changedSince(revision: number): Generator<[string, number]> {
      for (const [sku, levels] of storefrontView.all())
        if (levels.revision > revision) yield [sku, levels.total.sellable];
    },
    of: (sku: string) => storefrontView.get(sku)?.total.sellable,
  };
  return new SeriesRecorder({
    ...sharedByWorkers(settings, connections),
    redis: connections.viewRedis,
    partitions,
    store,
    source: (owner) =>
      owner === "figures"
        ? new FigureMinutes({
            completeMs: () => (shopTime ? follower.asOf() : follower.completeAsOf()),
            read: () => readFigures(settings, parts),
          })
        : new SkuMinutes({
            ...{ partition: owner, partitions, panes, sellable, shopClock: clock },
            completeMs: () => (shopTime ? follower.freshAsOf(owner) : follower.completeAsOf(owner)),
          }),
  });
}

async function readFigures(
  { prefix, partitions }: EngineSettings,
  { connections, topics, alertList, orderStore }: SeriesParts,
): Promise<FigureReadings> {
  const { viewRedis } = connections;
  const heads = Array.from({ length: partitions }, (_, each) => partitionKeys(prefix, "stock", each).head);
  const [waiting, memory, events] = await Promise.all([
    orderStore.waiting.count(),
    readMemory(viewRedis),
    Promise.all(heads.map((head) => viewRedis.hget(head, "events"))),
  ]);
  return {
    "accepted-commands": events.reduce((sum, each) => sum + Number(each ?? 0), 0),
    "orders-waiting": waiting,
    "jobs-lag": topicNamed(topics, "stock").follower.oldestAgeMs(),
    "redis-memory": memory?.usedBytes,
    "open-alerts": alertList.open().length,
    divergence: millionthsOf(viewsOf(topics).of(ConsistencyView)),
  };
}

/** The largest share of a pair of the last comparison; undefined before the first. */
function millionthsOf({ last }: ConsistencyView): number | undefined {
  return last && 1e6 * last.pairs.reduce((most, { share }) => Math.max(most, share), 0);
}
