/**
 * A receiver that is dead for a simulated week at 100 orders a second, one commit a minute: Redis' memory stays within
 * the bound that the limits state, a healthy sink and the views go on, and every emit is somewhere. There is one emit
 * for forty orders (1,512,000, some 320 MB): the bound on bytes is reached after 36 hours instead of one, and both
 * bounds, on emits and on dead letters, are passed. Nobody runs the dead sink: the keeper, which each worker has, holds
 * its bounds. The sink is registered again and again, as by a process that starts and never gets to its receiver.
 */
import { afterEach, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { DEFAULT_EMIT_BOUNDS } from "../../engine/outbox/emit-bounds.js";
import { EmitKeeper } from "../../engine/outbox/emit-keeper.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import type { Receiver } from "../../engine/outbox/receiver.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { countDeadLetters, countOverflow, DEAD_LETTERS_LIMIT } from "../../engine/stream/dead-letter.js";
import { EmitReader } from "../../engine/stream/emits.js";
import { Follower } from "../../engine/stream/follower.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import { trimOutputs } from "../../engine/stream/output-trimming.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { registerSink } from "../../engine/stream/sinks.js";
import { EmitCommits, emitOfKey } from "../outbox/emit-commits.js";
import { outboxOptions, SINK, startOutbox } from "../outbox/outbox-bed.js";
import { withRedis } from "../redis/with-redis.js";
import { toyJob } from "../stream/toy.js";
import { toyKeys, until } from "../stream/toy-log.js";

const redis = withRedis();
const PREFIX = "week";
const MINUTE_MS = 60_000;
const EMITS_A_MINUTE = 150;
const MINUTES = 7 * 1_440;
const BOUNDS = DEFAULT_EMIT_BOUNDS;
/** The healthy sink has less than the bound before it. */
const WAIT_EVERY_MINUTES = 120;
/** As the limits state it; what comes between two trimmings is half an hour's here. */
const MEMORY_BOUND_BYTES = 190_000_000;
const CHECK_EVERY_MINUTES = 30;
/** As long as a pick request. */
const PAYLOAD = { text: "x".repeat(170) };

/** Some two minutes on two idle cores. */
const TIMEOUT_MS = 900_000;

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

const usedBytes = async (): Promise<number> =>
  Number(/used_memory:(\d+)/.exec((await redis.onEach((primary) => primary.info("memory"))).join())?.[1]);

it(
  "costs a bounded amount of Redis' memory, and nothing that others need",
  async () => {
    const keys = toyKeys(PREFIX);
    const ofDead = sinkKeys(PREFIX, "toys", 0, SINK);
    // Real time is in the middle: for the healthy sink, which uses it, no commit is a week old.
    let nowMs = systemClock.now() - (MINUTES * MINUTE_MS) / 2;
    const troubles: string[] = [];
    const onTrouble = (message: string): number => troubles.push(message);

    let delivered = 0;
    const healthy: Receiver = {
      name: "healthy",
      wants: () => true,
      batch: { deliveries: 1_000 },
      deliver: async () => ({ outcome: "done" }),
      deliverBatch: async (deliveries) => deliveries.map(() => ({ outcome: "done" })),
      delivered: async (_, done) => {
        delivered += done.length;
      },
    };
    const shared = outboxOptions(client, redis.url, PREFIX, healthy, { limitPerSecond: 100_000, onTrouble });
    const outbox = startOutbox({ ...shared, bounds: BOUNDS });
    stops.push(() => outbox.stop());
    let viewed = 0;
    let resets = 0;
    const view = {
      job: "toy.1",
      onView: (_: string, minute: unknown) => {
        viewed = minute as number;
      },
      onReset: () => {
        resets++;
      },
    };
    const follower = new Follower({
      ...{ topic: "toys", partitions: 1, jobs: [toyJob()], views: [view], prefix: PREFIX, redis: redis.connect() },
      ...{ clock: systemClock, pollMs: 5, onTrouble },
    });
    await follower.start();
    stops.push(() => follower.stop());
    const atStart = resets;
    const serverClock = { now: () => nowMs };
    const keeper = new EmitKeeper({ ...shared, bounds: BOUNDS, serverClock, isOwned: () => true });

    const emitter = new EmitCommits(client, PREFIX);
    const emits = Array.from({ length: EMITS_A_MINUTE }, (_, i) => ({ ...emitOfKey(`order-${i}`), payload: PAYLOAD }));
    const baseBytes = await usedBytes();
    let mostBytes = 0;
    for (let minute = 1; minute <= MINUTES; minute++) {
      nowMs += MINUTE_MS;
      await emitter.write(emits, String(nowMs), minute);
      if (minute % CHECK_EVERY_MINUTES !== 0) continue;
      await registerSink(client, keys, SINK, nowMs);
      await keeper.check(0);
      mostBytes = Math.max(mostBytes, (await usedBytes()) - baseBytes);
      await until(() => viewed === minute, "the view");
      await trimOutputs(client, { prefix: PREFIX, topic: "toys", partition: 0 }, 7 * 1_440 * MINUTE_MS, serverClock);
      if (minute % WAIT_EVERY_MINUTES === 0)
        await until(() => delivered === minute * EMITS_A_MINUTE, "the healthy sink");
      expect(await client.xlen(keys.out)).toBeLessThan(15 + 2 * CHECK_EVERY_MINUTES);
    }

    expect(mostBytes).toBeLessThan(MEMORY_BOUND_BYTES);
    expect(resets).toBe(atStart);
    const [overflowed, dropped] = (await client.hmget(ofDead.task, "overflowed", "dropped")).map(Number);
    const stored = await countOverflow(client, ofDead);
    let kept = 0;
    const reader = new EmitReader(client, keys, true);
    for (let after = Number(await client.hget(ofDead.task, "cursor:entry")); ; ) {
      const entries = await reader.read(after, 16, 0);
      for (const entry of entries) kept += entry.emits.length;
      const last = entries.at(-1);
      if (!last) break;
      after = last.commit;
    }
    const emitted = MINUTES * EMITS_A_MINUTE;
    expect(stored.deliveries + (dropped ?? Number.NaN)).toBe(overflowed);
    expect(kept + (overflowed ?? Number.NaN)).toBe(emitted);
    expect(delivered).toBe(emitted);
    expect(kept * 200).toBeLessThan(BOUNDS.maxBytes + CHECK_EVERY_MINUTES * EMITS_A_MINUTE * 200);
    expect((await countDeadLetters(client, ofDead)).deadLetters).toBeLessThan(DEAD_LETTERS_LIMIT);
    expect(overflowed).toBeGreaterThan(0);
    expect(dropped).toBeGreaterThan(0);
    expect(troubles.filter((message) => !message.startsWith("ALARM"))).toEqual([]);
    console.info(
      `${emitted} emits: ${kept} kept, ${overflowed} overflowed, ${dropped} dropped, most ${mostBytes} bytes`,
    );
  },
  TIMEOUT_MS,
);
