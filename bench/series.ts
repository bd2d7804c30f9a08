/**
 * What recording figures costs. The trade of `pipeline` goes through a whole engine, ledger and all jobs, with the
 * recorder and without it, in turn, each on an empty Redis. The shop's clock runs sixty times as fast, so a recording
 * of all SKUs falls into every second: the ratio overstates the cost sixty times. Then the memory of a SKU in
 * the compact form, by Redis' own `MEMORY USAGE`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEngine } from "../engine/app/engine.js";
import type { BenchReport } from "../engine/cli/bench.js";
import { Buckets } from "../engine/history/series/buckets.js";
import { CompactSeriesStore } from "../engine/history/series/compact-series-store.js";
import { acceleratedClock, DAY_MS, HOUR_MS, MINUTE_MS, stopwatch, systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { zoneOf } from "../engine/kernel/zone.js";
import { startRedis } from "../engine/redis/embedded.js";
import { isAccepted, type StockCommand } from "../engine/stock/model.js";
import { acquireTask, loadStreamLibrary } from "../engine/stream/commit.js";
import { seriesKeys } from "../engine/stream/keys.js";
import { connect, type RedisClient } from "../engine/stream/redis.js";
import { openings, trade } from "./pipeline/trade.js";

const SPEED = 60;
/** A few seconds of each side: with five runs about two minutes in all. */
const COMMANDS = 80_000;
const BULK = 5_000;
const ZONE = "Asia/Shanghai";
const BUSY_SKUS = 1_000;
const BUSY_STOCK = 50_000;
/** As many as take seconds to write, 2 years of days included. */
const FULL_SKUS = 50;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** Events a second through ledger and jobs, and how many points were recorded meanwhile. */
async function throughput(
  url: string,
  redis: RedisClient,
  history: "redis" | "off",
  bulks: readonly StockCommand[][],
): Promise<{ perSecond: number; points: number }> {
  await redis.flushall();
  const clock = acceleratedClock(systemClock.now(), SPEED);
  const engine = await startEngine({
    ...{ redisUrl: url, dir: "", appendfsync: "everysec", partitions: 4, prefix: "bench", leaseMs: 10_000 },
    ...{ tickMs: 200, retentionMs: DAY_MS, pollMs: 50, zone: ZONE, idRetentionDays: 45, batchLimit: 5_000 },
    ...{ worker: true, empty: false, onTrouble: () => {}, history },
    shopTime: { clock, speed: () => SPEED, scene: () => undefined },
  });
  try {
    const { ledger } = engine.stock;
    const { follower } = engine.topic("stock");
    const elapsed = stopwatch();
    for (const bulk of bulks)
      for (const { outcome } of await ledger.applyMany(bulk)) assert(isAccepted(outcome), `refused: ${outcome}`);
    while (follower.lagEntries() > 0) await systemClock.sleep(2);
    const seconds = elapsed() / 1_000;
    const points = engine.series?.recorder?.figures.reduce((sum, each) => sum + each.points, 0) ?? 0;
    return { perSecond: COMMANDS / seconds, points };
  } finally {
    await engine.stop();
  }
}

/** Mean bytes of a SKU: its key and the value. */
async function meanBytes(redis: RedisClient, names: readonly string[]): Promise<number> {
  const keys = seriesKeys("bench", 0);
  const sizes = await Promise.all(
    names.map((name) => redis.call("MEMORY", "USAGE", keys.series(name), "SAMPLES", "0")),
  );
  return Math.round(sizes.reduce<number>((sum, size) => sum + Number(size), 0) / names.length);
}

async function memory(redis: RedisClient): Promise<Record<string, number>> {
  await redis.flushall();
  const keys = seriesKeys("bench", 0);
  const fence = await acquireTask(redis, keys, "bench", 600_000, "");
  assert(!("heldForMs" in fence), "the lease is held");
  const buckets = new Buckets(zoneOf(ZONE));
  const store = new CompactSeriesStore({ redis, prefix: "bench", buckets, onTrouble: () => {} });
  const endMs = Date.UTC(2026, 5, 18, 16);
  const write = (names: readonly string[], atMs: number, minutes: number, everyMinutes: number): Promise<void> => {
    const updates = names.map((name, sku) => ({
      name,
      combination: "sum" as const,
      minutes: Array.from({ length: Math.ceil(minutes / everyMinutes) }, (_, i) => {
        const minute = i * everyMinutes;
        return {
          atMs: atMs + minute * MINUTE_MS,
          value: 1 + ((minute * 7 + sku) % 40),
          stock: BUSY_STOCK - minute * 9,
        };
      }),
    }));
    return store.write(0, fence, updates, atMs);
  };
  const named = (kind: string, count: number) => Array.from({ length: count }, (_, i) => `SKU-${kind}-${i}`);
  const [busy, few, full] = [named("busy", BUSY_SKUS), named("few", BUSY_SKUS), named("full", FULL_SKUS)];
  for (let hour = 0; hour < 24; hour++) await write(busy, endMs - DAY_MS + hour * HOUR_MS, 60, 1);
  // Five sales in a day.
  for (const hour of [2, 3, 11, 12, 20]) await write(few, endMs - DAY_MS + hour * HOUR_MS, 1, 1);
  for (let day = 730; day > 30; day--) await write(full, endMs - day * DAY_MS, 1, 1);
  for (let day = 30; day > 1; day--)
    for (let hour = 0; hour < 24; hour++) await write(full, endMs - day * DAY_MS + hour * HOUR_MS, 1, 1);
  for (let hour = 0; hour < 24; hour++) await write(full, endMs - DAY_MS + hour * HOUR_MS, 60, 1);
  await store.sweep(0, fence, full, endMs);
  const elapsed = stopwatch();
  await write(busy, endMs, 1, 1);
  const writeMs = elapsed();
  return {
    bytesOfBusyDay: await meanBytes(redis, busy),
    bytesOfFiveSales: await meanBytes(redis, few),
    bytesOfTwoBusyYears: await meanBytes(redis, full),
    msToWriteAMinuteOf1000Skus: Math.round(writeMs),
  };
}

/** Measures both sides in turn, then the memory; the first round warms up and does not count. */
export async function run({
  runs,
  signal,
  onProgress,
}: {
  runs: number;
  signal: AbortSignal;
  onProgress(text: string): void;
}): Promise<BenchReport> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-bench-"));
  const server = await startRedis({ dir: directory, appendfsync: "everysec" });
  const redis = connect({ url: server.socketPath });
  try {
    const sides: Record<"redis" | "off", number[]> = { redis: [], off: [] };
    const ratios: number[] = [];
    let recorded = 0;
    // Before an engine runs: it takes seconds, in which no connection would be served.
    const nowMs = systemClock.now();
    const commands = trade(COMMANDS, () => nowMs);
    const bulks: StockCommand[][] = [openings(nowMs)];
    for (let first = 0; first < COMMANDS; first += BULK) bulks.push(commands.slice(first, first + BULK));
    for (let round = 0; round <= runs; round++) {
      signal.throwIfAborted();
      const order = round % 2 === 0 ? (["redis", "off"] as const) : (["off", "redis"] as const);
      const pair = { redis: 0, off: 0 };
      for (const side of order) {
        const { perSecond, points } = await throughput(server.socketPath, redis, side, bulks);
        pair[side] = perSecond;
        if (side === "redis") recorded = points;
      }
      if (round === 0) continue;
      sides.redis.push(pair.redis);
      sides.off.push(pair.off);
      ratios.push(pair.redis / pair.off);
      onProgress(`run ${round} of ${runs}: with ${Math.round(pair.redis)}, without ${Math.round(pair.off)} commands/s`);
    }
    await Promise.all([loadStreamLibrary(redis), CompactSeriesStore.load(redis)]);
    const ratio = Math.round(median(ratios) * 1_000) / 1_000;
    const costAtRealSpeedPercent = Math.round((1_000 * (1 - ratio) * 100) / SPEED) / 1_000;
    const [ours, theirs] = [Math.round(median(sides.redis)), Math.round(median(sides.off))];
    const row = {
      case: "recorded every second instead of every minute",
      unit: "commands/s",
      ours,
      peer: "not recorded",
      theirs,
      ratio,
    };
    return { rows: [row], facts: { costAtRealSpeedPercent, pointsOfARun: recorded, ...(await memory(redis)) } };
  } finally {
    redis.disconnect();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}
