/**
 * The golden test of series: the same writes into every store give the same answers, and both are a plain fold of what
 * was written. Writes are those of shops in three zones, across changes of the clocks, with late corrections, gaps,
 * repetitions and restarts in between. The store in time series runs against a look-alike; against a real Redis with
 * time series when SHUIWEI_TEST_TS_REDIS names one, which is skipped and counted otherwise.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTimeSeries } from "../../../connectors/time-series/client.js";
import { TimeSeriesStore } from "../../../connectors/time-series/time-series-store.js";
import { Buckets } from "../../../engine/history/series/buckets.js";
import { CompactSeriesStore } from "../../../engine/history/series/compact-series-store.js";
import {
  KEPT_MS,
  type Point,
  RESOLUTIONS,
  type SeriesFence,
  type SeriesStore,
} from "../../../engine/history/series/series-store.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, monotonicClock } from "../../../engine/kernel/clock.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { acquireTask, loadStreamLibrary } from "../../../engine/stream/commit.js";
import { seriesKeys } from "../../../engine/stream/keys.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { TimeSeriesServer } from "../../connectors/time-series/time-series-server.js";
import { withRedis } from "../../redis/with-redis.js";

const redis = withRedis();
const realUrl = process.env["SHUIWEI_TEST_TS_REDIS"];
let server: TimeSeriesServer;
let client: RedisClient;
let runs = 0;

beforeAll(async () => {
  server = await TimeSeriesServer.start();
  client = redis.connect();
  await loadStreamLibrary(client);
  await CompactSeriesStore.load(client);
});
afterAll(() => server.stop());

const OWNER = 1;
const SKUS = ["TEA", "茶 {x}", "IDLE"];

/** Opens a store anew, as after a restart. */
type Open = (prefix: string, zone: string) => Promise<SeriesStore>;

const compact: Open = async (prefix, zone) =>
  new CompactSeriesStore({ redis: client, prefix, buckets: new Buckets(zoneOf(zone)), onTrouble: fail });
const timeSeriesAt =
  (url: () => string): Open =>
  async (prefix, zone) =>
    new TimeSeriesStore(await openTimeSeries({ url: url(), onTrouble: fail }), {
      ...{ prefix, buckets: new Buckets(zoneOf(zone)) },
    });

function fail(message: string): never {
  throw new Error(message);
}

async function leased(prefix: string): Promise<SeriesFence> {
  const task = await acquireTask(client, seriesKeys(prefix, OWNER), "golden", 60_000, "");
  if ("heldForMs" in task) throw new Error("the lease is held");
  return task;
}

/** What was written, and what the answers have to be. */
class Fold {
  readonly minutes = new Map<string, Map<number, Point>>();

  write(sku: string, points: readonly Point[]): void {
    const of = this.minutes.get(sku) ?? new Map<number, Point>();
    this.minutes.set(sku, of);
    for (const point of points) of.set(point.atMs, { ...of.get(point.atMs), ...point });
  }

  points(sku: string, beginOf: (ms: number) => number): Point[] {
    const found = new Map<number, { atMs: number; value?: number; stock?: number }>();
    for (const { atMs, value, stock } of [...(this.minutes.get(sku)?.values() ?? [])].sort((a, b) => a.atMs - b.atMs)) {
      const begin = beginOf(atMs);
      const point = found.get(begin) ?? { atMs: begin };
      found.set(begin, point);
      if (value !== undefined) point.value = (point.value ?? 0) + value;
      if (stock !== undefined) point.stock = stock;
    }
    return [...found.values()];
  }
}

interface Shop {
  readonly zone: string;
  readonly startMs: number;
  /** When the days of this test begin, from the zone's rules. */
  readonly days: readonly string[];
}

const SHOPS: readonly Shop[] = [
  // The clocks go back: the day has 25 hours.
  {
    zone: "Europe/Berlin",
    startMs: Date.UTC(2026, 9, 24, 18),
    days: ["2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"],
  },
  // The clocks go forward by half an hour: the day has 23.5 hours.
  {
    zone: "Australia/Lord_Howe",
    startMs: Date.UTC(2026, 9, 2, 10),
    days: ["2026-10-01T13:30:00Z", "2026-10-02T13:30:00Z", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"],
  },
  { zone: "Asia/Kathmandu", startMs: Date.UTC(2026, 11, 30, 9), days: [] },
];

/** Two and a half days of minutes, hours without any, corrections of the hour before, and every batch twice. */
async function run(open: Open, { zone, startMs }: Shop, fold: Fold, prefix: string): Promise<SeriesStore> {
  const { next } = seededRandom(618);
  const fence = await leased(prefix);
  let store = await open(prefix, zone);
  for (let step = 0; step < 60; step++) {
    // The recorder was away: a gap.
    if (step === 20 || step === 21) continue;
    if (step % 25 === 24) {
      await store.close();
      store = await open(prefix, zone);
    }
    const endMs = startMs + (step + 1) * HOUR_MS;
    const updates = SKUS.slice(0, step % 7 === 0 ? 3 : 2).map((name) => {
      const minutes = new Map<number, Point>();
      for (let i = 0; i < 1 + Math.floor(next() * 30); i++) {
        const atMs = endMs - Math.ceil(next() * (i === 0 ? 110 : 60)) * MINUTE_MS;
        minutes.set(atMs, {
          atMs,
          ...(next() < 0.8 ? { value: Math.floor(next() * 400) } : { stock: 7 }),
          ...(next() < 0.5 || i === 0 ? { stock: Math.floor(next() * 1e6) } : {}),
        });
      }
      return { name, combination: "sum" as const, minutes: [...minutes.values()].sort((a, b) => a.atMs - b.atMs) };
    });
    await store.write(OWNER, fence, updates, endMs);
    if (step % 3 === 0) await store.write(OWNER, fence, updates, endMs);
    for (const { name, minutes } of updates) fold.write(name, minutes);
  }
  return store;
}

async function answersOf(store: SeriesStore, nowMs: number) {
  const answers: Record<string, Point[]> = {};
  const stocks: Record<string, (Point | undefined)[]> = {};
  for (const sku of SKUS)
    for (const resolution of RESOLUTIONS) {
      const fromMs = nowMs - KEPT_MS[resolution];
      answers[`${sku} ${resolution}`] = await store.read(OWNER, sku, resolution, fromMs, nowMs);
      stocks[`${sku} ${resolution}`] = await Promise.all(
        [0, 3, 19, 40].map((hours) => store.lastStock(OWNER, sku, resolution, fromMs, nowMs - hours * HOUR_MS)),
      );
    }
  return { answers, stocks };
}

describe.each(SHOPS)("series of a shop in $zone", (shop) => {
  const nowMs = shop.startMs + 60 * HOUR_MS;
  const buckets = new Buckets(zoneOf(shop.zone));
  const stores: [name: string, open: Open, isThere: boolean][] = [
    ["a look-alike of a Redis with time series", timeSeriesAt(() => server.url), true],
    ["the Redis of SHUIWEI_TEST_TS_REDIS", timeSeriesAt(() => realUrl ?? ""), realUrl !== undefined],
  ];

  it("are a plain fold of what was written, in the compact form", async () => {
    const fold = new Fold();
    const prefix = `fold-${++runs}`;
    const store = await run(compact, shop, fold, prefix);
    for (const sku of SKUS)
      for (const resolution of RESOLUTIONS) {
        const expected = fold.points(sku, (ms) => buckets.beginMs(resolution, ms));
        const kept = expected.filter(({ atMs }) => atMs >= nowMs - KEPT_MS[resolution]);
        expect(await store.read(OWNER, sku, resolution, nowMs - KEPT_MS[resolution], nowMs)).toEqual(kept);
        expect(kept.length).toBeGreaterThan(resolution === "day" ? 2 : 1);
      }
    const days = await store.read(OWNER, "TEA", "day", 0, nowMs);
    for (const [i, begin] of shop.days.entries()) expect(days[i]?.atMs).toBe(Date.parse(begin));
  });

  for (const [name, open, isThere] of stores)
    it.skipIf(!isThere)(`are the same in ${name}: 0 differences`, async () => {
      const prefix = `golden-${++runs}-${process.pid}`;
      const here = await run(compact, shop, new Fold(), prefix);
      const there = await run(open, shop, new Fold(), prefix);
      expect(await answersOf(there, nowMs)).toEqual(await answersOf(here, nowMs));
      const fence = await leased(prefix);
      for (const store of [here, there]) await store.sweep(OWNER, fence, SKUS, nowMs + 3 * DAY_MS);
      expect(await there.read(OWNER, "IDLE", "minute", 0, nowMs)).toEqual([]);
      expect(await here.read(OWNER, "IDLE", "minute", 0, nowMs)).toEqual([]);
      await there.close();
    });
});

it("a frozen recorder whose lease another has taken over writes nothing", async () => {
  const prefix = "zombie";
  const keys = seriesKeys(prefix, OWNER);
  const store = await compact(prefix, "UTC");
  const first = await acquireTask(client, keys, "first", 1, "");
  const minutes = [{ atMs: 0, value: 5 }];
  await expect.poll(() => acquireTask(client, keys, "second", 60_000, "")).not.toHaveProperty("heldForMs");
  await expect(
    store.write(OWNER, first as never, [{ name: "TEA", combination: "sum", minutes }], monotonicClock.now()),
  ).rejects.toMatchObject({ code: "stale_epoch" });
  expect(await store.read(OWNER, "TEA", "minute", 0, DAY_MS)).toEqual([]);
});
