/**
 * Access to the past in a running engine: balances of instants, histories of SKUs and orders, and the archive where
 * the settings ask for it. With an archive they all read log and archive as one.
 */
import type { ConnectorParts } from "../../connectors/connector.js";
import { Archive } from "../history/archive.js";
import { Archiver } from "../history/archiver.js";
import { OrderHistory } from "../history/order-history.js";
import { SkuHistory } from "../history/sku-history.js";
import { StorefrontAnchors } from "../jobs/storefront/anchors.js";
import { namesBuyer, timeOf as orderEntryTimeMs } from "../orders/log-entry.js";
import type { OrderStore } from "../orders/order-store.js";
import { BalanceHistory } from "../stock/as-of.js";
import { entryTimeMs } from "../stock/log-entry.js";
import type { EngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import { sharedByWorkers } from "./running-topics.js";

export interface Histories {
  readonly balances: BalanceHistory;
  readonly skus: SkuHistory;
  readonly orders: OrderHistory;
}

type Place = Pick<EngineSettings, "prefix" | "partitions"> & Pick<EngineRedis, "redis">;

/** @param store where the archive is, if there is one */
export function makeHistories(
  { redis, prefix, partitions }: Place,
  orderStore: Pick<OrderStore, "find">,
  store: ConnectorParts["objects"] | undefined,
): Histories {
  const place = { redis, prefix, partitions };
  const archive = store && new Archive({ ...place, store });
  const anchors = new StorefrontAnchors(redis);
  const shared = { ...place, logOf: archive?.logOf("stock", entryTimeMs) };
  const balances = new BalanceHistory({ ...shared, anchors: archive?.anchors(anchors) ?? anchors });
  return {
    balances,
    skus: new SkuHistory(balances, shared),
    orders: new OrderHistory({ ...shared, orderStore, orderLogOf: archive?.logOf("orders", orderEntryTimeMs) }),
  };
}

/** From this format on the orders' log has no personal data. */
const WITHOUT_BUYERS = 2;

/** What archives the logs, in a process that runs jobs. */
export function archiverOf(
  settings: EngineSettings,
  connections: EngineRedis,
  store: ConnectorParts["objects"],
): Archiver | undefined {
  if (!settings.archive || !settings.worker) return undefined;
  const format = connections.formats.current;
  return new Archiver({
    ...sharedByWorkers(settings, connections),
    partitions: settings.partitions,
    store,
    retentionMs: settings.archiveRetentionMs ?? 0,
    topics: [
      { name: "stock", timeOf: entryTimeMs, hasClosings: true },
      {
        name: "orders",
        timeOf: orderEntryTimeMs,
        hasClosings: false,
        // Written under format 1; the log keeps them for its retention.
        isPrivate: namesBuyer,
        refusal: () =>
          format() < WITHOUT_BUYERS
            ? 'it has personal data until "shuiwei upgrade --finish" has raised the format'
            : undefined,
      },
    ],
  });
}
