/**
 * What the screens show of the engine, and nothing else: the gateway reads it on every tick and compares. The
 * composition root implements it from the jobs' views. Every call returns the present values; none blocks or throws.
 */

/** Five balances and what customers are shown, in units, over all locations. */
export interface StockLevels {
  sellable: number;
  reserved: number;
  committed: number;
  safety: number;
  presale: number;
  display: number;
}

export interface SkuLive {
  sku: string;
  /** Grows whenever anything below or a pane of the SKU changed. */
  revision: number;
  /** Units that left sellable in the trailing 60 minutes (R9). */
  hourUnits: number;
  /** Units a day (R8); undefined in cold start. */
  dailyAverage: number | undefined;
  levels: StockLevels;
}

export interface AlertLive {
  id: string;
  sku: string;
  state: "fired" | "acknowledged" | "cleared";
  firedAtMs: number;
  clearedAtMs: number | undefined;
  /** As they were when it fired. */
  hourUnits: number;
  dailyAverage: number | undefined;
}

export interface BreakerLive {
  /** `shop`, `location:X` or `sku:X`. */
  scope: string;
  untilMs: number;
  actor: string;
  reason: string;
}

export interface EngineLive {
  /** The shop's time; in the demo it runs faster than real time. */
  nowMs: number;
  /** How many seconds of the shop's time pass in one second. */
  speed: number;
  /** Commands the ledger decided, and events the jobs have committed, per real second (mean of the last 5 s). */
  commandsPerSecond: number;
  eventsPerSecond: number;
  /**
   * Log entries that the jobs have not committed yet, over all partitions, and the age of the oldest (ms of real
   * time).
   */
  lagEntries: number;
  lagMs: number;
  /** What the demo is doing now, for example `rush`; undefined in production. */
  scene: string | undefined;
  breakers: BreakerLive[];
}

export interface LiveSource {
  engine(): EngineLive;
  /** The `limit` SKUs with the most units in the trailing hour, most first; ties by SKU. */
  ranked(limit: number): readonly SkuLive[];
  sku(sku: string): SkuLive | undefined;
  /**
   * Depletion of a SKU by minute: `[minute since the epoch, units]`, from `sinceMinute` on, in ascending order;
   * zeroes left out.
   */
  panes(sku: string, sinceMinute: number): ReadonlyArray<readonly [minute: number, units: number]>;
  /** Open alerts, newest first, then the latest cleared ones; `limit` in all. */
  alerts(limit: number): readonly AlertLive[];
}
