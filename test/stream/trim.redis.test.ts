/**
 * Trimming while a partition is at work, watched from outside all the time: the log shrinks under load, and its first
 * entry is never past what any job has yet to read, a job that was added later and lags behind included. A new owner
 * trims as its predecessor did.
 */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { acceleratedClock, sleep, systemClock } from "../../engine/kernel/clock.js";
import { cursorField, loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import type { PartitionKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner, type RunnerOptions } from "../../engine/stream/runner.js";
import { withRedis } from "../redis/with-redis.js";
import { type ToyEvent, toyJob } from "./toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const redis = withRedis();
const PREFIX = "trim";
const T0 = 1_700_000_000_000;
const EARLY = 3_000;
const MORE = 6_000;
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
  let samples = 0;
  let lagging = 0;
  let isOver = false;
  const watch = async () => {
    while (!isOver) {
      // The log first: cursors only move on, so what is removed by then was seen by the time they are read.
      const [entry] = await client.xrange(keys.log, "-", "+", "COUNT", 1);
      const task = await readTask(client, keys);
      const cursors = jobs.map(({ name }) => task.cursors.get(name) ?? 0);
      expect(Number.parseInt(entry?.[0] ?? "", 10)).toBeLessThanOrEqual(Math.min(...cursors) + 1);
      samples++;
      if (Math.max(...cursors) - Math.min(...cursors) > 100) lagging++;
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
  expect(samples).toBeGreaterThan(50);
  expect(lagging).toBeGreaterThan(5);
});

describe("an owner that has taken over a partition", () => {
  const RETENTION_MS = 10_000;
  const ENTRIES = 1_000;
  /** 25 s of the log's clock: more than the retention, less than the wait for a job that no process runs. */
  const STEP_MS = 25;

  /**
   * Runs one owner to the end of a log, then another that trims; how the log's first entry moves is the caller's to
   * see.
   */
  async function takeOver(prefix: string, meanwhile: (keys: PartitionKeys) => Promise<unknown>) {
    const keys = toyKeys(prefix);
    const entries = Array.from({ length: ENTRIES }, (_, i) => ({
      clockMs: T0 + i * STEP_MS,
      events: [{ key: `k${i % 50}`, word: "emit" as const }],
    }));
    const first = run(runnerOptions(client, redis.url, prefix));
    await append(client, keys, entries.slice(0, ENTRIES / 10));
    await seen(client, keys, ENTRIES / 10);
    await first.stop();
    await meanwhile(keys);
    const clock = { ...acceleratedClock(systemClock.now(), 2_000), sleep };
    run(runnerOptions(client, redis.url, prefix, { clock, retentionMs: RETENTION_MS }));
    await append(client, keys, entries.slice(ENTRIES / 10));
    await seen(client, keys, ENTRIES);
    return async () => Number.parseInt((await client.xrange(keys.log, "-", "+", "COUNT", 1))[0]?.[0] ?? "", 10);
  }

  it("removes what all jobs have processed, also after its own start", async () => {
    const oldest = await takeOver("taken-over", async () => {});
    const kept = RETENTION_MS / STEP_MS;
    await until(async () => (await oldest()) >= ENTRIES - kept, "the trimming");
    expect(await oldest()).toBe(ENTRIES - kept);
  });

  it("keeps what a job of another release has not read yet", async () => {
    const cursor = 30;
    const oldest = await takeOver("unknown-job", (keys) => client.hset(keys.task, cursorField("toy.9"), cursor));
    await until(async () => (await oldest()) > 1, "the trimming");
    await sleep(200);
    expect(await oldest()).toBeLessThanOrEqual(cursor + 1);
  });
});
