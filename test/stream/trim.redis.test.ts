/**
 * Trimming while a partition is at work, watched from outside all the time: the log shrinks under load, and its first entry is never past what any
 * job has yet to read, a job that was added later and lags behind included.
 */
import { afterEach, beforeAll, expect, it } from "vitest";
import { acceleratedClock, sleep, systemClock } from "../../engine/kernel/clock.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner, type RunnerOptions } from "../../engine/stream/runner.js";
import { withRedis } from "../redis/with-redis.js";
import { type ToyEvent, toyJob } from "./toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const redis = withRedis();
const PREFIX = "trim";
const T0 = 1_700_000_000_000;
const EARLY = 3_000;
const MORE = 3_000;
let client: RedisClient;
const runners: Runner<ToyEvent>[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.stop()));
});

function run(options: RunnerOptions<ToyEvent>): Runner<ToyEvent> {
  const runner = new Runner(0, options);
  runners.push(runner);
  runner.start();
  return runner;
}

it("shrinks the log under load and never passes the cursor of a job that lags", async () => {
  const keys = toyKeys(PREFIX);
  const write = async (first: number, count: number) => {
    for (let i = first; i < first + count; i += 50) {
      const entries = Array.from({ length: 50 }, (_, k) => ({
        clockMs: T0 + i + k,
        events: [{ key: `k${k}`, word: "emit" as const }],
      }));
      await append(client, keys, entries);
    }
  };
  // Without trimming at first, so that a job that comes later has a long way to go.
  const first = run(runnerOptions(client, redis.url, PREFIX));
  await write(0, EARLY);
  await seen(client, keys, EARLY);
  await first.stop();
  expect(await client.xlen(keys.log)).toBe(EARLY);

  // Half a minute, and with it a trimming, passes in 15 ms.
  const clock = { ...acceleratedClock(systemClock.now(), 2_000), sleep };
  const jobs = [toyJob(), toyJob("toy.2")];
  const options = runnerOptions(client, redis.url, PREFIX, { clock, jobs, retentionMs: 1 });
  let looks = 0;
  let lagging = 0;
  let shortest = EARLY;
  let isOver = false;
  const watch = async () => {
    while (!isOver) {
      // The log first: cursors only move on, so what is gone by then was seen by the time they are read.
      const [entry] = await client.xrange(keys.log, "-", "+", "COUNT", 1);
      const length = await client.xlen(keys.log);
      const task = await readTask(client, keys);
      const cursors = jobs.map(({ name }) => task.cursors.get(name) ?? 0);
      expect(Number.parseInt(entry?.[0] ?? "", 10)).toBeLessThanOrEqual(Math.min(...cursors) + 1);
      looks++;
      if (Math.max(...cursors) - Math.min(...cursors) > 100) lagging++;
      shortest = Math.min(shortest, length);
      await sleep(1);
    }
  };
  const watching = watch();
  run(options);
  await write(EARLY, MORE);
  await seen(client, keys, EARLY + MORE, ["toy.1", "toy.2"]);
  await until(async () => (await client.xlen(keys.log)) < 200, "the trimming");
  isOver = true;
  await watching;
  expect(options.troubles).toEqual([]);
  expect(looks).toBeGreaterThan(50);
  expect(lagging).toBeGreaterThan(5);
  expect(shortest).toBeLessThan(200);
});
