/**
 * The settings that an engine is started with: what the commands read from options, and what tests and benchmarks
 * choose. Checked when they are read, not here.
 */
import type { ObjectStore } from "../../connectors/objects/index.js";
import type { HISTORY_CHOICES } from "../history/options.js";
import type { ConsistencySettings } from "../jobs/consistency/options.js";
import type { Clock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { Deadlines } from "../orders/flow.js";
import type { PersonalDataTimes } from "../orders/order-store.js";
import type { FreshnessBudget } from "../publication/freshness.js";
import type { SharedSettings } from "../stream/settings.js";

/** Time in a demo: the shop's own clock, and how fast it runs. */
export interface ShopTime {
  clock: Clock;
  speed(): number;
  scene(): string | undefined;
}

export interface EngineSettings {
  /** Undefined: a private Redis in `dir`. */
  redisUrl: string | undefined;
  /** Replicas that must have a command before it is answered; left out or 0: none. */
  waitReplicas?: number;
  dir: string;
  appendfsync: "everysec" | "always" | "no";
  /** Share of the memory that a private Redis takes at most; left out: half. */
  redisMemoryShare?: number;
  partitions: number;
  prefix: string;
  leaseMs: number;
  tickMs: number;
  /** Pause of the jobs after a small batch; left out: none. */
  paceMs?: number;
  retentionMs: number;
  /** How much of a partition's emits, and how long, a sink may hold back; left out: the options' defaults. */
  emitMaxBytes?: number;
  emitMaxAgeMs?: number;
  /** Whether the logs are archived to the object storage, and read from there, too. */
  archive?: boolean;
  /** How long the archive keeps entries; left out or 0: without end. */
  archiveRetentionMs?: number;
  /** Where figures of SKUs and of the engine are recorded over time; left out: they are not. */
  history?: (typeof HISTORY_CHOICES)[number];
  /** Where what the storefront is shown is published: `redis` or a URL; left out or `off`: nowhere. */
  publication?: string;
  /** Between two publications; left out: the option's default. */
  publishEveryMs?: number;
  /** How long caches may keep what the storefront is shown; left out: that of the options' defaults. */
  freshness?: FreshnessBudget;
  pollMs: number;
  zone: string;
  idRetentionDays: number;
  batchLimit: number;
  /**
   * Values of the connectors' options, by key, such as `wmsUrl`; a key that is missing has its default. Options of
   * others are ignored.
   */
  options?: Readonly<Record<string, unknown>>;
  /** Where texts go that outside systems have no field for; left out: the storage that the options name. */
  objects?: ObjectStore;
  /**
   * How long an order may take from step to step; the same in every process of a deployment. The deadline of
   * `picking` applies once the deployment has a warehouse. Left out: no deadlines.
   */
  deadlines?: Deadlines;
  /** How many orders with the same exception raise an alert; left out: the option's default. */
  exceptionFloor?: number;
  /**
   * When sources are compared, and what a comparison does to breakers; the same in every worker. Left out: the
   * defaults.
   */
  consistency?: ConsistencySettings;
  /** How long a buyer's text is kept; the same in every process. Left out: the defaults. */
  personalData?: PersonalDataTimes;
  /** Complete snapshots that are kept of each source, and how long; left out: the defaults. */
  snapshotsKept?: number;
  snapshotRetentionMs?: number;
  /** How often what is published becomes a snapshot; left out or 0: never. */
  publishedEveryMs?: number;
  /** Settings that must be the same in every process of the deployment; left out: not checked. */
  sharedSettings?: SharedSettings;
  /** Whether they replace the deployment's earlier ones. */
  acceptSettings?: boolean;
  /** A variable of the environment, for secrets that a configuration refers to; left out: none is set. */
  environment?(name: string): string | undefined;
  /** Whether this process runs jobs, beside serving. */
  worker: boolean;
  /** Whether to empty the private Redis first, as a demo does. */
  empty: boolean;
  /** Aborts a start that takes long. */
  signal?: AbortSignal;
  /** Undefined: real time, and the ledger uses the Redis server's clock. */
  shopTime: ShopTime | undefined;
  onTrouble: OnTrouble;
}
