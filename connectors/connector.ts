/**
 * The contract of a connector: its options, and what it opens for the engine (sinks, an object store, HTTP routes). It
 * is a table that the engine reads: options are joined into the configuration; sinks get an outbox, metrics, warnings
 * and dead letters; routes, readiness and warnings appear in the server. A connector's entry is loaded at every start
 * of the program, so what is slow to load is imported inside `open`.
 */
import type { FastifyContextConfig, FastifyInstance, onRequestHookHandler } from "fastify";
import type { Metric } from "prom-client";
import type { ChannelTraits } from "../engine/alerting/notification.js";
import type { Device } from "../engine/alerting/people.js";
import type { AlertingStores } from "../engine/alerting/stores.js";
import type { Buckets } from "../engine/history/series/buckets.js";
import type { SeriesStore } from "../engine/history/series/series-store.js";
import type { AlertRequests } from "../engine/jobs/alerts/requests.js";
import type { Clock } from "../engine/kernel/clock.js";
import type { OnTrouble } from "../engine/kernel/logger.js";
import type { OptionTable, OptionValues } from "../engine/kernel/options.js";
import type { OrderService } from "../engine/orders/order-service.js";
import type { OrderStore } from "../engine/orders/order-store.js";
import type { Receiver } from "../engine/outbox/receiver.js";
import type { PublicationStore } from "../engine/publication/publication-store.js";
import type { MovementStore } from "../engine/reconciliation/reports/movement-store.js";
import type { SnapshotStore } from "../engine/reconciliation/reports/snapshot-store.js";
import type { SourceRegistry } from "../engine/reconciliation/source-registry.js";
import type { SourceWatch } from "../engine/reconciliation/source-watch.js";
import type { Ledger } from "../engine/stock/ledger.js";
import type { NewEvent } from "../engine/stream/event-entry.js";
import type { RedisClient } from "../engine/stream/redis.js";
import type { ChannelKind } from "./channel.js";
import type { ChannelsConfiguration } from "./channels/configuration.js";
import type { PurgerKind } from "./purger.js";
import type { CdnConfiguration } from "./purges/configuration.js";
import type { SourceKind } from "./source.js";

/** Bytes under a key, as `connectors/objects/object-store.ts` specifies. */
interface Objects {
  put(key: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<void>;
  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  delete(key: string, signal?: AbortSignal): Promise<void>;
}

/** The parts of the engine that a connector may use. */
export interface ConnectorParts {
  readonly redis: RedisClient;
  /** Of the deployment's keys. */
  readonly prefix: string;
  readonly partitions: number;
  readonly ledger: Ledger;
  readonly orderService: OrderService;
  readonly orderStore: OrderStore;
  readonly objects: Objects;
  /** People, devices and silences. */
  readonly alerting: AlertingStores;
  /** Acknowledges alerts. */
  readonly alertRequests: AlertRequests;
  /** What sources report. */
  readonly snapshots: SnapshotStore;
  readonly movements: MovementStore;
  /** The sources that are pulled, and their newest reports in memory. */
  readonly sources: SourceRegistry;
  readonly sourceWatch: SourceWatch;
  /** The kinds of sources of all connectors. */
  sourceKinds(): Promise<readonly SourceKind[]>;
  /** Alert routes, and the endpoints of channels. */
  readonly channels: ChannelsConfiguration;
  /** CDNs whose copies are purged; undefined: the options name none. */
  readonly cdns: CdnConfiguration | undefined;
  /** Appends events to an event topic of the tables, as `EventTopic.append`. */
  append(topic: string, events: readonly NewEvent[]): Promise<void>;
  /** The shop's time, and its IANA zone. */
  readonly clock: Clock;
  readonly zone: string;
  readonly onTrouble: OnTrouble;
  /** Whether this process runs jobs; one that does not only serves. */
  readonly worker: boolean;
  /** For leases: this process's name, how long they last, and their clock when it is not the Redis server's. */
  readonly lease: { readonly owner: string; readonly leaseMs: number; readonly serverClock?: Clock };
  /** A variable of the environment, for secrets that a configuration refers to. */
  environment(name: string): string | undefined;
}

/** What a store of series is opened with. */
export interface SeriesStoreParts {
  /** Of the Redis, as `--redis-url`, or the path of its socket. */
  readonly url: string;
  readonly prefix: string;
  readonly buckets: Buckets;
  readonly onTrouble: OnTrouble;
}

export interface OpenSink {
  readonly receiver: Receiver;
  /** Metrics of its own, beside those that every sink has; registered nowhere yet. */
  readonly metrics?: readonly Metric[];
  /** What the outside system takes, where only the opened sink shows it; left out: the sink's own. */
  readonly limits?: { readonly perSecond: number; readonly inFlight: number };
  /** What an operator should look into, beside the outbox's own warnings. */
  warnings?(): string[];
  /** Called after the last delivery. */
  close?(): unknown;
}

/** Delivers what the jobs of a topic emit to an outside system. */
export interface Sink<Options extends OptionTable = OptionTable> {
  /** The name of its receiver. */
  readonly name: string;
  /** The topic whose emits it delivers. */
  readonly topic: string;
  /** May be its connector's table. */
  readonly options: Options;
  /** It takes the paid orders: new orders are refused while too many wait for it (R22). One sink at most. */
  readonly takesOrders?: boolean;
  /** Whether the options name the outside system; if not, the sink is not opened. */
  isConfigured(values: OptionValues<Options>): boolean;
  /**
   * Requests that the outside system takes: all workers together stay below `perSecond` in every second, and have
   * `inFlight` under way at most.
   */
  limits(values: OptionValues<Options>): { readonly perSecond: number; readonly inFlight: number };
  /** Opens it, in a process that runs jobs; undefined: what the options name has nothing for it. */
  open(values: OptionValues<Options>, parts: ConnectorParts): Promise<OpenSink | undefined>;
}

/** Registers browsers for pushes. */
export interface PushRegistrations {
  /** Base64url: the `applicationServerKey` with which a browser subscribes. */
  readonly publicKey: string;
  /** When the key was made. */
  readonly createdMs: number;
  /**
   * Registers a browser as a device of a person. Safe to repeat.
   * @param subscription as the browser gives it, unchecked
   * @returns the device; what is wrong with the subscription; `too_many` devices
   */
  register(
    person: string,
    label: string,
    subscription: { readonly endpoint: string; readonly keys: { readonly p256dh: string; readonly auth: string } },
  ): Promise<Device | "too_many" | readonly { readonly field: string; readonly message: string }[]>;
}

/**
 * Options of a route that another system calls without a token. Its requests are counted apart, also for each address,
 * and their bodies have a short time limit, so that nobody uses up the requests for orders with them. Any host name is
 * accepted: a proxy may be called by another name, and what is not signed is refused.
 */
export interface CallbackLimits {
  readonly config: FastifyContextConfig;
  readonly onRequest: onRequestHookHandler[];
}

/** What a connector offers beside its sinks. */
export interface OpenConnector {
  /**
   * Adds routes to the HTTP API, with the API's checks and limits.
   * @param authorize for a route's `onRequest`: accepts only clients with this role
   * @param callbacks of routes that need no token, because the connector verifies a signature
   */
  routes?(
    server: FastifyInstance,
    authorize: (role: "read" | "order" | "operate" | "admin") => onRequestHookHandler,
    callbacks: CallbackLimits,
  ): void;
  /** For the HTTP API; one connector at most has it. */
  readonly pushRegistrations?: PushRegistrations;
  /** Why the process is not ready; empty when it is. */
  readiness?(): string[];
  /** What an operator should look into although the process is ready. */
  warnings?(): string[];
  /** Called before the jobs of this process stop. */
  close?(): unknown;
}

export interface Connector<Options extends OptionTable = OptionTable> {
  /** The name of its folder. */
  readonly name: string;
  readonly options?: Options;
  readonly sinks?: readonly Sink[];
  /** Loads the kinds of sources that the configuration of sources may name (contract: `connectors/source.ts`). */
  sourceKinds?(): Promise<readonly SourceKind[]>;
  /** Loads the channel that endpoints of the configuration of alerts may name (contract: `connectors/channel.ts`). */
  channelKind?(): Promise<ChannelKind>;
  /** Loads the vendor that the configuration of CDNs may name (contract: `connectors/purger.ts`). */
  purgerKind?(): Promise<PurgerKind>;
  /** The traits of its channel, which reaches people without an endpoint; undefined: it is not configured. */
  personChannel?(values: OptionValues<Options>): ChannelTraits | undefined;
  /**
   * The object storage that the options name; the first connector with one is used.
   * @param dir the folder of a private Redis and what belongs to it
   * @throws EngineError `bad_option`
   */
  objectStore?(values: OptionValues<Options>, dir: string): Promise<Objects>;
  /**
   * The store of publications at a URL; the first connector with one is used. Nothing is sent to it yet.
   * @throws EngineError `bad_option`
   */
  publicationStore?(values: OptionValues<Options>, url: string): Promise<PublicationStore>;
  /**
   * Opens the store of series that a Redis with time series is used for; the first connector with one is used.
   * @throws EngineError when it cannot be reached
   */
  seriesStore?(parts: SeriesStoreParts): Promise<SeriesStore>;
  /** Opens what it offers, in every process; undefined: the options do not configure it. */
  open?(values: OptionValues<Options>, parts: ConnectorParts): Promise<OpenConnector | undefined>;
}

/** Infers the type of the options' values. */
export const defineSink = <const Options extends OptionTable>(sink: Sink<Options>): Sink<Options> => sink;
/** The same for a connector. */
export const defineConnector = <const Options extends OptionTable>(connector: Connector<Options>): Connector<Options> =>
  connector;
