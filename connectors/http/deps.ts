/**
 * What the HTTP connector needs from the engine and from the configuration.
 */
import type { ReplenishmentList } from "../../engine/alerting/replenishment-list.js";
import type { AlertingStores } from "../../engine/alerting/stores.js";
import type { OrderHistory } from "../../engine/history/order-history.js";
import type { SeriesReader } from "../../engine/history/series/series-reader.js";
import type { SkuHistory } from "../../engine/history/sku-history.js";
import type { AlertList } from "../../engine/jobs/alerts/alert-list.js";
import type { AlertRequests } from "../../engine/jobs/alerts/requests.js";
import type { ConsistencyView } from "../../engine/jobs/consistency/view.js";
import type { DepletionView } from "../../engine/jobs/depletion/view.js";
import type { NotificationsView } from "../../engine/jobs/notifications/view.js";
import type { ExceptionList } from "../../engine/jobs/order-flow/exceptions.js";
import type { OrderTracker } from "../../engine/jobs/order-flow/track.js";
import type { StorefrontView } from "../../engine/jobs/storefront/view.js";
import type { Clock } from "../../engine/kernel/clock.js";
import type { TemporaryRefusal } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import type { EraseOutcome } from "../../engine/orders/erasures.js";
import type { OrderService } from "../../engine/orders/order-service.js";
import type { FreshnessBudget } from "../../engine/publication/freshness.js";
import type { PublicationReader } from "../../engine/publication/publication-reader.js";
import type { Comparer } from "../../engine/reconciliation/comparison/comparer.js";
import type { ComparisonStore } from "../../engine/reconciliation/comparison/comparison-store.js";
import type { Localiser } from "../../engine/reconciliation/localisation/localisation.js";
import type { MovementStore } from "../../engine/reconciliation/reports/movement-store.js";
import type { SnapshotStore } from "../../engine/reconciliation/reports/snapshot-store.js";
import type { Settlement } from "../../engine/reconciliation/settlement/settlement.js";
import type { SourceRegistry } from "../../engine/reconciliation/source-registry.js";
import type { BalanceHistory } from "../../engine/stock/as-of.js";
import type { Categories } from "../../engine/stock/categories.js";
import type { InboundReceipts } from "../../engine/stock/inbound.js";
import type { Ledger } from "../../engine/stock/ledger.js";
import type { SkuSetting } from "../../engine/stock/settings.js";
import type { NewEvent } from "../../engine/stream/event-entry.js";
import type { PushRegistrations } from "../connector.js";
import type { TokenLookup } from "./identity.js";
import type { RouteGroup } from "./route-context.js";
import type { Sessions } from "./sessions.js";

export interface HttpDeps {
  ledger: Ledger;
  orderService: OrderService;
  tracker: OrderTracker;
  exceptions: ExceptionList;
  storefrontView: StorefrontView;
  depletionView: DepletionView;
  categories: Categories;
  /** People, devices and silences. */
  alerting: AlertingStores;
  /** Registers browsers for Web Push; left out: it is not configured. */
  push?: PushRegistrations;
  /** Alerts of all rules. */
  alertList: AlertList;
  /** Acknowledges and silences alerts. */
  alertRequests: AlertRequests;
  /** Receipts on their way. */
  inbound: InboundReceipts;
  /** What is to be reordered. */
  replenishment: ReplenishmentList;
  /** What became of each message to people. */
  notificationsView: NotificationsView;
  /** Appends to the topic `notifications`. */
  appendNotifications(events: readonly NewEvent[]): Promise<void>;
  /** Balances of instants in the past. */
  history: BalanceHistory;
  /** Changes of a SKU's stock in the past. */
  skuHistory: SkuHistory;
  orderHistory: OrderHistory;
  /** Figures of SKUs and of the engine over time, and what stores them; left out: they are not recorded. */
  series?:
    | { readonly kind: "redis" | "time-series"; readonly reader: Pick<SeriesReader, "sku" | "figure"> }
    | undefined;
  /** The shop's time zone: an IANA name. */
  zone: string;
  /** What sources report. */
  snapshots: SnapshotStore;
  movements: MovementStore;
  /** Makes comparisons of what sources report, and what is kept of them. */
  comparer: Pick<Comparer, "compare">;
  comparisons: ComparisonStore;
  /** The last comparison, and what comparisons have done to breakers. */
  consistencyView: ConsistencyView;
  /** Asks the workers for a comparison; left out: no worker makes any. @param actor who asks */
  requestComparison?(actor: string): Promise<void>;
  /** Finds where a source and the ledger part in a SKU. */
  localiser: Localiser;
  /** The sources that are pulled, and how their pulls went. */
  sources: Pick<SourceRegistry, "list" | "requestPull">;
  /** What settles differences between the ledger and a source. */
  settlement: Settlement;
  /** Settings that a SKU or a category may have. */
  skuSettings: readonly SkuSetting[];
  /** Deletes the personal data of an order's buyer. */
  eraseBuyer(id: string): Promise<EraseOutcome>;
  /** How long ago, in real milliseconds, the storefront view of this SKU's partition was complete. */
  ageMs(sku: string): number;
  /** The same of the least fresh partition. */
  oldestAgeMs(): number;
  /** How long caches may keep stock answers; left out: that of the options' defaults. */
  freshness?: FreshnessBudget;
  /** The tag by which CDNs find their copies of answers with a SKU; left out: no CDN is purged by this deployment. */
  tagOf?(sku: string): string;
  /** What is published, to be served; left out: it is published elsewhere or not at all. */
  publication?: Pick<PublicationReader, "manifest" | "object">;
  /** The shop's clock: ids are made and times are judged by it. */
  clock: Clock;
  /** Seconds of the shop's time in one real second; 1 when left out. */
  speed?(): number;
  /** Channel code of ids made here, 2 characters of 0-9 A-Z. */
  channel: string;
  /** Location of a request that names none; `main` when left out. */
  defaultLocation?: string;
  /**
   * Bearer tokens: `name:role:secret`, or a bare secret (name `default`, role `admin`). Empty: only allowed when
   * `open`.
   */
  tokens: readonly string[];
  /** Further tokens, which may change at any time. */
  tokenFile?: TokenLookup;
  /** A demo on loopback: no token is needed, and only loopback host names are served. */
  open: boolean;
  /** Parts that need neither token nor session; none when left out. */
  openParts?: readonly ("screens" | "metrics")[];
  /** Sessions of browsers; left out: there are none. */
  sessions?: Sessions;
  /** Whether a Host header names this server; when left out, every one does. */
  isAllowedHost?(host: string | undefined): boolean;
  /** Whether a proxy in front sets the client's address (X-Forwarded-For). */
  trustProxy?: boolean;
  stopping(): boolean;
  /** Why the process is not ready; empty when it is. */
  readiness(): string[];
  /** What an operator should look into although the process is ready. */
  warnings?(): string[];
  /**
   * Refuses new work while the engine is behind or its store nearly full, and counts refusals; undefined when new work
   * is accepted. When left out, new work is always accepted.
   */
  refuseNew?(): TemporaryRefusal | undefined;
  /** Concurrent requests at most; 4,096 when left out. */
  maxUnderWay?: number;
  /** New orders are refused while an earlier one has waited this long, in real ms; never when left out. */
  maxWaitMs?: number;
  /** Further groups of routes; none when left out. */
  routes?: readonly RouteGroup[];
  /** Further metrics in Prometheus' text format. */
  metrics(): Promise<string>;
  /** Called for every unexpected error, with its instance id, and for trouble with the store. */
  onTrouble: OnTrouble;
}
