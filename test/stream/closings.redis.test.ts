/**
 * Closings in a real Redis: written with the commit of a key's first change in a period, once, and expiring; read back
 * for some periods.
 */
import { afterEach, beforeAll, expect, it } from "vitest";
import { readClosings } from "../../engine/stream/closings.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { withRedis } from "../redis/with-redis.js";
import { toyJob } from "./toy.js";
import { append, runnerOptions, seen, toyKeys } from "./toy-log.js";

const redis = withRedis();
const PREFIX = "closings";
const PERIOD_MS = 10_000;
const KEPT_MS = 3_600_000;
const T0 = 1_700_000_000_000;
const FIRST = T0 / PERIOD_MS;
const job = { ...toyJob(), closings: { periodMs: PERIOD_MS, keptMs: KEPT_MS } };
let client: RedisClient;
let runner: Runner<never> | undefined;

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
afterEach(async () => runner?.stop());

it("are written once with the first change of a key in a period, expire, and are read by period", async () => {
  const keys = toyKeys(PREFIX);
  const start = (): void => {
    runner = new Runner(0, runnerOptions(client, redis.url, PREFIX, { jobs: [job], tickMs: 20 })) as Runner<never>;
    runner.start();
  };
  start();
  const add = async (afterMs: number, units: number): Promise<void> => {
    const offset = await append(client, keys, [{ clockMs: T0 + afterMs, events: [{ key: "a", units }] }]);
    await seen(client, keys, offset);
  };
  await add(0, 1);
  await add(1, 2);
  await runner?.stop();
  start();
  await add(2, 4);
  await add(10_000, 8);
  await add(10_001, 16);
  const periods = [FIRST, FIRST + 1, FIRST + 2];
  expect(await readClosings(client, keys, job, periods, "a")).toMatchObject([
    { offset: 1, index: 0, clockMs: T0, state: undefined },
    { offset: 4, index: 0, clockMs: T0 + 10_000, state: { units: 7, events: 3 } },
    undefined,
  ]);
  for (const period of periods.slice(0, 2)) {
    const leftMs = await client.pttl(keys.closings("toy.1", period));
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(KEPT_MS);
  }
});
