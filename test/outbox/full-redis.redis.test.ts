/** Sinks and forwarders at a Redis without free memory: they start, deliver, and hold the bounds of what waits. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { DEFAULT_EMIT_BOUNDS } from "../../engine/outbox/emit-bounds.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import { acquireTask, freeTask, loadStreamLibrary } from "../../engine/stream/commit.js";
import { countOverflow, DEAD_LETTERS_LIMIT } from "../../engine/stream/dead-letter.js";
import { newestDeadLetterActions } from "../../engine/stream/dead-letter-actions.js";
import { topicEventsOf } from "../../engine/stream/event-entry.js";
import { eventTopic, loadEventsLibrary } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import { eventKeys, sinkKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { activeSinks, registerSink } from "../../engine/stream/sinks.js";
import { withRedis } from "../redis/with-redis.js";
import { toyKeys, until } from "../stream/toy-log.js";
import { EmitCommits, emitOfKey } from "./emit-commits.js";
import { fillDeadLetters, notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
const ENTRIES = 40;
let client: RedisClient;
let prefix: string;
let prefixes = 0;
const stops: (() => Promise<unknown>)[] = [];

const limitMemory = (limit: string) => redis.onEach((primary) => primary.call("CONFIG", "SET", "maxmemory", limit));

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadRateLimiterLibrary(client), loadEventsLibrary(client)]);
});
beforeEach(async () => {
  prefix = `p${prefixes++}`;
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  await limitMemory("0");
});

const sink = () => sinkKeys(prefix, "toys", 0, SINK);
async function fill(): Promise<void> {
  await limitMemory("1mb");
  await expect(client.set(`${prefix}:more`, "x")).rejects.toThrow("OOM");
}

describe("a full Redis", () => {
  it("lets a sink start and deliver, and registers it", async () => {
    await fill();
    const receiver = notingReceiver();
    const options = outboxOptions(client, redis.url, prefix, receiver);
    const outbox = startOutbox(options);
    stops.push(() => outbox.stop());
    const emitter = new EmitCommits(client, prefix);
    for (let i = 0; i < 5; i++) await emitter.write([emitOfKey(`k${i}`), emitOfKey("timer", "fired")]);
    await until(() => receiver.sent.length === 5, "the deliveries");
    await until(async () => (await client.hget(sink().task, "unwanted")) !== null, "the kinds");
    await until(async () => Number(await client.hget(sink().task, "cursor:entry")) === 5, "the cursor");
    expect((await activeSinks(client, toyKeys(prefix), systemClock.now())).map(({ name }) => name)).toEqual([SINK]);
    expect(options.troubles).toEqual([]);
  });

  it("lets a lease be ended whose owner is dead, and be taken", async () => {
    await acquireTask(client, sink(), "dead", 600_000, "");
    await fill();
    await freeTask(client, sink());
    expect(await acquireTask(client, sink(), "next", 1_000, "")).toMatchObject({ epoch: 2 });
  });

  it("lets a forwarder start and forward", async () => {
    await fill();
    const troubles: string[] = [];
    const shared = {
      prefix,
      partitions: 1,
      redis: client,
      clock: systemClock,
      leaseMs: 1_000,
      onTrouble: (message: string) => troubles.push(message),
    };
    const target = eventTopic({
      ...shared,
      name: "dst",
      zone: zoneOf("UTC"),
      routes: [{ from: "toys", kinds: ["seen"], event: ({ key }) => ({ key, kind: "seen", payload: null }) }],
    });
    const openReader = () => connect({ url: redis.url }, true);
    const forwarders = new Forwarders({ ...shared, target, openReader, owner: "one" });
    stops.push(() => forwarders.stop());
    forwarders.start();
    const emitter = new EmitCommits(client, prefix);
    for (let i = 0; i < 5; i++) await emitter.write([emitOfKey(`k${i}`)]);
    const forwarded = async () =>
      (await readLog(client, eventKeys(prefix, "dst", 0).log, 0, 100)).flatMap((entry) => topicEventsOf(entry).events);
    await until(async () => (await forwarded()).length === 5, "the events");
    expect(troubles).toEqual([]);
  });

  it("holds the bounds of what waits also where dead letters have to be removed, and records it", async () => {
    await fillDeadLetters(client, sink(), DEAD_LETTERS_LIMIT - 10);
    await registerSink(client, toyKeys(prefix), SINK, systemClock.now());
    await fill();
    const receiver = notingReceiver(() => ({ outcome: "retry", reason: "down", mayHaveArrived: true }));
    const bounds = { ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 };
    const options = outboxOptions(client, redis.url, prefix, receiver, { bounds });
    const outbox = startOutbox(options);
    stops.push(() => outbox.stop());
    const emitter = new EmitCommits(client, prefix);
    for (let i = 0; i < ENTRIES; i++) await emitter.write([emitOfKey(`k${i}`)]);
    await until(() => (outbox.stats().partitions[0]?.dropped ?? 0) > 10, "the bound");
    expect((await countOverflow(client, sink())).deliveries).toBe(9);
    const actions = await newestDeadLetterActions(client, sink(), 10);
    expect(actions.map(({ action, actor }) => [action, actor])).toEqual([["drop", "engine"]]);
  });
});
