/**
 * Whether memory stays flat: a shop at a steady rate through the real order service, ledger, jobs and views, on a
 * Redis with AOF everysec. The shop's days pass in seconds, so that ids and orders expire many times, and the runtime's
 * own clock runs some ten times as fast, so that logs are trimmed as often as in hours. The warm-up lasts until
 * everything that is kept has reached its full size; then one sample a second is taken for as long as asked. It reports
 * figures and does not rate them: a noisy machine is no fault.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, startEngine } from "../engine/app/engine.js";
import type { BenchReport } from "../engine/cli/bench.js";
import { stockJobs } from "../engine/jobs/index.js";
import { chainId } from "../engine/kernel/chain-id.js";
import { acceleratedClock, DAY_MS, sleep, stopwatch, systemClock } from "../engine/kernel/clock.js";
import { seededRandom } from "../engine/kernel/random.js";
import { zoneOf } from "../engine/kernel/zone.js";
import type { Order } from "../engine/orders/model.js";
import { startRedis } from "../engine/redis/embedded.js";
import { HOLD_MARGIN_DAYS, type StockEvent } from "../engine/stock/model.js";
import { stockTopic } from "../engine/stock/topic.js";
import { orderKeys, partitionKeys } from "../engine/stream/keys.js";
import { streamOptions } from "../engine/stream/options.js";
import { connect } from "../engine/stream/redis.js";
import { Worker } from "../engine/stream/worker.js";
import { type SoakSample, trendsOf } from "./soak/trends.js";

export interface SoakSettings {
  partitions: number;
  skus: number;
  /** Orders in one real second, of 1 to 3 lines. */
  ordersPerSecond: number;
  /** How long a day of the shop takes, in real milliseconds. */
  dayMs: number;
  /** How many times as fast as real time the runtime trims logs and outputs, and ticks. */
  runtimeSpeed: number;
  /** How long it measures after the warm-up, in real milliseconds. */
  measureMs: number;
  signal: AbortSignal;
  onProgress(text: string): void;
}

export interface SoakResult {
  warmUpMs: number;
  samples: SoakSample[];
  /** While measured. */
  counts: Record<"shopDays" | "orders" | "refused" | "commands" | "events" | "commits" | "logEntries", number>;
  /** The trouble that the jobs and views have reported. */
  troubles: string[];
}

const LOCATION = "main";
/** The shortest that the options allow; in any case one day is deleted on every day of the shop. */
const RETENTION_DAYS = 7;
/**
 * As the composition root: an order is kept twice as long as its id may be used, plus the order store's own
 * margin.
 */
const ORDER_DAYS = 2 * RETENTION_DAYS + 2 + HOLD_MARGIN_DAYS;
/** Outputs of commits are kept for 15 minutes of the runtime's clock. */
const OUT_MS = 900_000;
const FIRST_UNITS = 1_000_000_000;
const HOLD_MS = 12 * 3_600_000;
/** A payment comes an hour after its order, the parcel an hour after that, in the shop's time. */
const STEP_MS = 3_600_000;
const PACE_MS = 10;
const SAMPLE_MS = 1_000;
/** Orders whose next step is still to come, at most; when the machine cannot keep up, fewer are placed. */
const UNDER_WAY = 20_000;
const CALLS_AT_ONCE = 1_000;

/** The next steps of an order, and when they are due. */
interface Step {
  atMs: number;
  order: string;
  kinds: ("pay" | "cancel" | "outbound")[];
}

/** Runs the shop until it has been measured for long enough, or is aborted. */
export async function soak(settings: SoakSettings): Promise<SoakResult> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-soak-"));
  const server = await startRedis({ dir: directory, appendfsync: "everysec" });
  try {
    return await withEngine(server.socketPath, settings);
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function withEngine(redisUrl: string, settings: SoakSettings): Promise<SoakResult> {
  const { partitions, dayMs, runtimeSpeed } = settings;
  const speed = DAY_MS / dayMs;
  const zone = "Asia/Shanghai";
  const troubles: string[] = [];
  const onTrouble = (message: string) => void (troubles.length < 100 && troubles.push(message));
  const engine = await startEngine({
    redisUrl,
    dir: "",
    appendfsync: "everysec",
    partitions,
    prefix: "soak",
    leaseMs: streamOptions.leaseMs.default,
    tickMs: streamOptions.tickMs.default,
    retentionMs: streamOptions.retentionMs.default,
    pollMs: streamOptions.pollMs.default,
    zone,
    idRetentionDays: RETENTION_DAYS,
    batchLimit: 500,
    worker: false,
    empty: false,
    shopTime: {
      clock: acceleratedClock(systemClock.now(), speed),
      speed: () => speed,
      scene: () => undefined,
    },
    onTrouble,
  });
  const fast = { ...acceleratedClock(systemClock.now(), runtimeSpeed), sleep: hurried(runtimeSpeed) };
  const worker = new Worker({
    topic: stockTopic(engine.stock.ledger),
    jobs: stockJobs(zoneOf(zone)),
    prefix: engine.settings.prefix,
    redis: engine.redis,
    openReader: () => connect({ url: redisUrl }, true),
    owner: `${hostname()}/${process.pid}`,
    clock: fast,
    serverClock: fast,
    // Half a minute of real time at most: a busy machine must not lose it.
    leaseMs: 30_000 * runtimeSpeed,
    tickMs: engine.settings.tickMs,
    retentionMs: engine.settings.retentionMs,
    withViews: true,
    onTrouble,
  });
  worker.start();
  try {
    return await runShop(engine, worker, speed, settings, troubles);
  } finally {
    await worker.stop();
    await engine.stop();
  }
}

const hurried = (speed: number) => (ms: number, signal?: AbortSignal) => sleep(ms / speed, signal);

async function runShop(
  engine: Engine,
  worker: Worker<StockEvent>,
  speed: number,
  { skus, ordersPerSecond, dayMs, runtimeSpeed, measureMs, signal, onProgress }: SoakSettings,
  troubles: string[],
): Promise<SoakResult> {
  const shop = new Shop(engine, skus);
  await shop.open();
  const warmUpMs = Math.max((ORDER_DAYS + 2) * dayMs, 1.2 * (OUT_MS / runtimeSpeed));
  const elapsed = stopwatch();
  const samples: SoakSample[] = [];
  let before = countsOf(engine, worker, shop);
  let due = 0;
  let pacedMs = 0;
  let sampledMs = 0;
  let isMeasuring = false;
  while (!signal.aborted && elapsed() < warmUpMs + measureMs) {
    // Orders that a slow machine could not place within a second are left out.
    due = Math.min(due + (ordersPerSecond * (elapsed() - pacedMs)) / 1_000, ordersPerSecond);
    pacedMs = elapsed();
    for (; due >= 1; due--) shop.order();
    shop.steps();
    await sleep(PACE_MS, signal);
    if (elapsed() - sampledMs < SAMPLE_MS) continue;
    sampledMs = elapsed();
    await hurryOrders(engine, speed);
    if (!isMeasuring && sampledMs >= warmUpMs) {
      isMeasuring = true;
      before = countsOf(engine, worker, shop);
    }
    const sample = await takeSample(engine, sampledMs);
    if (isMeasuring) samples.push(sample);
    if (Math.round(sampledMs / SAMPLE_MS) % 10 === 0) onProgress(progressOf(sample, isMeasuring, warmUpMs, measureMs));
  }
  await shop.settled();
  const after = countsOf(engine, worker, shop);
  const counts = Object.fromEntries(
    Object.entries(after).map(([name, n]) => [name, n - before[name as keyof typeof before]]),
  ) as SoakResult["counts"];
  counts.shopDays = Math.round((samples.length * SAMPLE_MS) / dayMs);
  return { warmUpMs, samples, counts, troubles };
}

/**
 * Customers, the till and the warehouse: orders are paid, cancelled, sent or left to expire.
 */
class Shop {
  readonly #engine: Engine;
  readonly #skus: number;
  readonly #random = seededRandom(618);
  readonly #steps: Step[] = [];
  readonly #calls = new Set<Promise<unknown>>();
  orders = 0;
  refused = 0;

  constructor(engine: Engine, skus: number) {
    this.#engine = engine;
    this.#skus = skus;
  }

  async open(): Promise<void> {
    const { stock, clock } = this.#engine;
    const { ledger } = stock;
    await ledger.applyMany(
      Array.from({ length: this.#skus }, (_, i) => ({
        kind: "receive" as const,
        id: chainId("SK", clock.now()),
        sku: `SKU-${i}`,
        location: LOCATION,
        units: FIRST_UNITS,
      })),
    );
  }

  order(): void {
    if (this.#steps.length >= UNDER_WAY || this.#calls.size >= CALLS_AT_ONCE) return;
    const { orders, clock } = this.#engine;
    const random = this.#random;
    const nowMs = clock.now();
    const order: Order = {
      id: chainId("SK", nowMs),
      holdMs: HOLD_MS,
      lines: Array.from({ length: 1 + random.below(3) }, () => ({
        sku: `SKU-${random.below(this.#skus)}`,
        location: LOCATION,
        units: 1 + random.below(3),
      })),
    };
    const draw = random.below(10);
    // Of ten orders six are paid and sent, one is paid and cancelled, one cancelled at once; two get no
    // further step and expire.
    const kinds: Step["kinds"] =
      draw < 6 ? ["pay", "outbound"] : draw < 7 ? ["pay", "cancel"] : draw < 8 ? ["cancel"] : [];
    this.#call(async () => {
      const { outcome } = await orders.service.place(order);
      this.orders++;
      if (outcome !== "accepted") this.refused++;
      else if (kinds.length > 0) this.#steps.push({ atMs: nowMs + STEP_MS, order: order.id, kinds });
    });
  }

  /** Does what is due; steps of one delay come due in the order in which they were added. */
  steps(): void {
    const nowMs = this.#engine.clock.now();
    while (this.#calls.size < CALLS_AT_ONCE && (this.#steps[0]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs) {
      const { order, kinds } = this.#steps.shift() as Step;
      const [kind, ...rest] = kinds;
      this.#call(async () => {
        const { outcome } = await this.#engine.orders.service[kind as "pay"](order);
        if (outcome !== "accepted" && outcome !== "admitted_anew" && outcome !== "cancelled_paid") this.refused++;
        else if (rest.length > 0) this.#steps.push({ atMs: this.#engine.clock.now() + STEP_MS, order, kinds: rest });
      });
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#calls);
  }

  #call(work: () => Promise<void>): void {
    const call = work()
      .catch(() => {
        this.refused++;
      })
      .finally(() => this.#calls.delete(call));
    this.#calls.add(call);
  }
}

/**
 * Redis expires the order store's days by real seconds; the shop's seconds are shorter, so each day's time to live is
 * shortened.
 */
async function hurryOrders({ redis, settings, clock }: Engine, speed: number): Promise<void> {
  const today = Math.floor(clock.now() / DAY_MS);
  const longestMs = (ORDER_DAYS * DAY_MS) / speed;
  const keys = Array.from({ length: settings.partitions }, (_, partition) =>
    [today - 2, today - 1, today, today + 1].map((day) => orderKeys(settings.prefix, partition).orders(day)),
  ).flat();
  const left = await Promise.all(keys.map((key) => redis.pttl(key)));
  const hurry = keys.filter((_, i) => (left[i] as number) > longestMs);
  await Promise.all(hurry.map((key) => redis.pexpire(key, Math.ceil(longestMs))));
}

async function takeSample({ redis, settings }: Engine, atMs: number): Promise<SoakSample> {
  const keys = Array.from({ length: settings.partitions }, (_, i) => partitionKeys(settings.prefix, "stock", i));
  const [info, redisKeys, logs, outs] = await Promise.all([
    redis.info("memory"),
    redis.dbsize(),
    Promise.all(keys.map(({ log }) => redis.xlen(log))),
    Promise.all(keys.map(({ out }) => redis.xlen(out))),
  ]);
  const sum = (lengths: number[]) => lengths.reduce((total, length) => total + length, 0);
  const { rss, heapUsed } = process.memoryUsage();
  return {
    atMs,
    redisMiB: Number(/^used_memory:(\d+)/m.exec(info)?.[1]) / 2 ** 20,
    redisKeys,
    logEntries: sum(logs),
    outEntries: sum(outs),
    rssMiB: rss / 2 ** 20,
    heapMiB: heapUsed / 2 ** 20,
  };
}

function countsOf(engine: Engine, worker: Worker<StockEvent>, { orders, refused }: Shop): SoakResult["counts"] {
  const stats = worker.stats();
  const sum = (of: "events" | "commits" | "offset") => stats.reduce((total, partition) => total + partition[of], 0);
  return {
    shopDays: 0,
    orders,
    refused,
    commands: engine.stock.ledger.commands,
    events: sum("events"),
    commits: sum("commits"),
    logEntries: sum("offset"),
  };
}

const progressOf = (sample: SoakSample, isMeasuring: boolean, warmUpMs: number, measureMs: number): string => {
  const seconds = Math.round((isMeasuring ? sample.atMs - warmUpMs : sample.atMs) / 1_000);
  const of = Math.round((isMeasuring ? measureMs : warmUpMs) / 1_000);
  return `${isMeasuring ? "measuring" : "warm-up"} ${seconds} of ${of} s: Redis ${sample.redisMiB.toFixed(1)} MiB, log ${sample.logEntries}, out ${sample.outEntries} entries, process ${sample.rssMiB.toFixed(0)} MiB`;
};

/** As `shuiwei bench soak`: 16 partitions, 300 orders a second, a day of the shop in 8 seconds. */
export async function run({
  minutes,
  signal,
  onProgress,
}: {
  minutes: number;
  signal: AbortSignal;
  onProgress(text: string): void;
}): Promise<BenchReport> {
  const { warmUpMs, samples, counts, troubles } = await soak({
    partitions: 16,
    skus: 500,
    ordersPerSecond: 300,
    dayMs: 8_000,
    runtimeSpeed: 10,
    measureMs: minutes * 60_000,
    signal,
    onProgress,
  });
  for (const trouble of troubles) onProgress(`trouble: ${trouble}`);
  return {
    rows: trendsOf(samples),
    facts: { minutes, warmUpSeconds: Math.round(warmUpMs / 1_000), ...counts, troubles: troubles.length },
  };
}
