/** Trimming keeps what a sink has not delivered; and how far a sink is behind. */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { acceleratedClock, sleep, systemClock } from "../../engine/kernel/clock.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import { cursorField, loadStreamLibrary } from "../../engine/stream/commit.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { ENTRY_CURSOR, oldestUndelivered, registerSink } from "../../engine/stream/sinks.js";
import { withRedis } from "../redis/with-redis.js";
import { append, runnerOptions, seen, toyKeys, until } from "../stream/toy-log.js";
import { notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
const T0 = 1_700_000_000_000;
const DAY_MS = 86_400_000;
let client: RedisClient;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
  await loadRateLimiterLibrary(client);
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const oldestEmits = async (prefix: string): Promise<number> =>
  Number.parseInt((await client.xrange(toyKeys(prefix).emits, "-", "+", "COUNT", 1))[0]?.[0] ?? "", 10);

/** Runs a task that trims every few milliseconds what is older than one. */
function startTrimmingRunner(prefix: string): void {
  const clock = { ...acceleratedClock(systemClock.now(), 2_000), sleep };
  const runner = new Runner(0, runnerOptions(client, redis.url, prefix, { clock, tickMs: 20, retentionMs: 1 }));
  stops.push(() => runner.stop());
  runner.start();
}

/** Commits one by one, an emit each. */
async function commits(prefix: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const offset = await append(client, toyKeys(prefix), [
      { clockMs: T0 + i, events: [{ key: `k${i}`, word: "emit" }] },
    ]);
    await seen(client, toyKeys(prefix), offset);
  }
}

describe("trimming", () => {
  it("never deletes what a sink has not delivered, and continues when it has", async () => {
    const prefix = "kept";
    await registerSink(client, toyKeys(prefix), SINK, systemClock.now());
    startTrimmingRunner(prefix);
    await commits(prefix, 20);
    await sleep(100);
    expect(await oldestEmits(prefix)).toBe(1);
    const receiver = notingReceiver();
    const outbox = startOutbox(outboxOptions(client, redis.url, prefix, receiver));
    stops.push(() => outbox.stop());
    await until(() => receiver.sent.length === 20, "the deliveries");
    await commits(prefix, 1);
    await until(async () => (await oldestEmits(prefix)) >= 20, "the trimming");
  });

  it("waits for a sink that has stopped half way, and not for one that has not run for two weeks", async () => {
    const prefix = "retired";
    const keys = toyKeys(prefix);
    const nowMs = systemClock.now();
    expect(await oldestUndelivered(client, prefix, "toys", 0, nowMs)).toBe(Number.POSITIVE_INFINITY);
    await registerSink(client, keys, "slow", nowMs - 12 * DAY_MS);
    await client.hset(sinkKeys(prefix, "toys", 0, "slow").task, cursorField(ENTRY_CURSOR), 7);
    await registerSink(client, keys, "retired", nowMs - 15 * DAY_MS);
    expect(await oldestUndelivered(client, prefix, "toys", 0, nowMs)).toBe(8);
    startTrimmingRunner(prefix);
    await commits(prefix, 20);
    await until(async () => (await oldestEmits(prefix)) === 8, "the trimming");
    await sleep(50);
    expect(await oldestEmits(prefix)).toBe(8);
  });
});
