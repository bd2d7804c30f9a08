/** The limits of a purge that all workers share in Redis: distances, bursts, the day, pauses, a clock that leaps. */
import { beforeAll, beforeEach, expect, it } from "vitest";
import type { PurgeLimits } from "../../../connectors/purger.js";
import { loadPurgesLibrary, SharedPurgeLimits } from "../../../connectors/purges/limits.js";
import { DAY_MS, HOUR_MS } from "../../../engine/kernel/clock.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withRedis } from "../../redis/with-redis.js";

const START_MS = Date.UTC(2026, 5, 18, 12);
const redis = withRedis();
let client: RedisClient;
let nowMs: number;
beforeAll(async () => {
  client = redis.connect();
  await loadPurgesLibrary(client);
});
beforeEach(async () => {
  await redis.flush();
  nowMs = START_MS;
});

const open = (limits: Partial<PurgeLimits>, name = "main") =>
  new SharedPurgeLimits({
    ...{ redis: client, prefix: "limits", name, serverClock: { now: () => nowMs } },
    limits: { batch: 100, perSecond: 10, ...limits },
  });
/** When requests are allowed to workers that ask every few milliseconds, for so long. */
async function allowed(workers: readonly SharedPurgeLimits[], forMs: number, stepMs = 5): Promise<number[]> {
  const times: number[] = [];
  const beginMs = nowMs;
  for (; nowMs < beginMs + forMs; nowMs += stepMs)
    for (const worker of workers) if ((await worker.take(1)).skus > 0) times.push(nowMs - beginMs);
  return times;
}
const mostWithin = (times: readonly number[], ms: number) =>
  Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + ms).length));

it("allows fewer requests in any second than the limit, also when each is sent half a second late", async () => {
  const times = await allowed([open({}), open({})], 5_000);
  expect(times.length).toBeGreaterThan(30);
  // The first late by 500 ms and the others at once.
  expect(mostWithin(times, 1_500)).toBeLessThanOrEqual(10);
});

it("keeps requests of less than one a second apart", async () => {
  const times = await allowed([open({ perSecond: 5 / 60 })], 60_000, 100);
  expect(times).toEqual([0, 12_500, 25_000, 37_500, 50_000]);
});

it("lets a burst follow a pause, ever more slowly, and never more than the bucket holds", async () => {
  const times = await allowed([open({ perSecond: 1, burst: 10 }), open({ perSecond: 1, burst: 10 })], 20_000, 50);
  const distances = times.slice(1).map((at, i) => at - (times[i] as number));
  expect(distances.slice(0, 6)).toEqual([...distances.slice(0, 6)].sort((one, other) => one - other));
  expect(distances[0]).toBeLessThan(300);
  expect(distances.at(-1)).toBeGreaterThan(1_000);
  for (const [i, at] of times.entries()) expect(i + 1).toBeLessThanOrEqual(10 + at / 1_000);
});

it("gives as many SKUs as one request has, and no more in any 24 hours than the day has", async () => {
  const limits = open({ perSecond: 1_000, batch: 40, perDay: 100 });
  const skus: number[] = [];
  for (const wanted of [25, 400, 400, 400]) {
    skus.push((await limits.take(wanted)).skus);
    nowMs += 20;
  }
  expect(skus).toEqual([25, 40, 35, 0]);
  nowMs += 10 * HOUR_MS;
  expect(await limits.take(1)).toMatchObject({ skus: 0, isDayOver: true });
  // At the end of the hour in which the last of them were purged, a day later.
  nowMs = START_MS + DAY_MS + HOUR_MS;
  expect(await limits.take(400)).toEqual({ skus: 40, waitMs: 0, isDayOver: false });
});

it("allows nothing until a pause ends that any worker has reported, and nothing else is concerned", async () => {
  const [one, other] = [open({}), open({})];
  await one.hold(7_000);
  await other.hold(2_000);
  expect(await other.take(1)).toEqual({ skus: 0, waitMs: 7_000, isDayOver: false });
  expect((await open({}, "elsewhere").take(1)).skus).toBe(1);
  nowMs += 7_000;
  expect((await other.take(1)).skus).toBe(1);
  await one.hold(DAY_MS);
  expect((await one.take(1)).waitMs).toBe(300_000);
});

it("does not stand still when the server's clock goes back", async () => {
  const limits = open({ perSecond: 1 });
  expect((await limits.take(1)).skus).toBe(1);
  nowMs -= DAY_MS;
  expect((await limits.take(1)).waitMs).toBeLessThanOrEqual(1_500);
  nowMs += 1_500;
  expect((await limits.take(1)).skus).toBe(1);
});
