/** Figures of sinks and forwarders whose lease is another process's, and of sinks that no process runs. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { metricTable } from "../../engine/app/metric-table.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { DEFAULT_EMIT_BOUNDS } from "../../engine/outbox/emit-bounds.js";
import { EmitKeeper } from "../../engine/outbox/emit-keeper.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import { acquireTask, loadStreamLibrary } from "../../engine/stream/commit.js";
import { DEAD_LETTERS_LIMIT } from "../../engine/stream/dead-letter.js";
import { eventTopic, loadEventsLibrary } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import { type PartitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { forwarderSink, registerSink } from "../../engine/stream/sinks.js";
import { withRedis } from "../redis/with-redis.js";
import { toyKeys, until } from "../stream/toy-log.js";
import { EmitCommits, emitOfKey } from "./emit-commits.js";
import { fillDeadLetters, notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
const BOUNDS = { ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 };
const ENTRIES = 40;
let client: RedisClient;
let prefix: string;
let prefixes = 0;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadRateLimiterLibrary(client), loadEventsLibrary(client)]);
});
beforeEach(() => {
  prefix = `p${prefixes++}`;
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function writeEmits(): Promise<void> {
  const emitter = new EmitCommits(client, prefix);
  for (let i = 0; i < ENTRIES; i++) await emitter.write([emitOfKey(`k${i}`)]);
}

/** Another process acquires the lease. */
async function takeLease(keys: PartitionKeys): Promise<void> {
  await until(async () => {
    await client.hset(keys.task, "until", 0);
    return "epoch" in (await acquireTask(client, keys, "other", 600_000, ""));
  }, "the lease");
}

describe("a partition that another process has taken", () => {
  it("counts for its sink's new owner alone", async () => {
    const receiver = notingReceiver(() => ({ outcome: "retry", reason: "down", mayHaveArrived: true }));
    const outbox = startOutbox(outboxOptions(client, redis.url, prefix, receiver, { bounds: BOUNDS }));
    stops.push(() => outbox.stop());
    await writeEmits();
    const stats = () => outbox.stats().partitions[0];
    await until(() => {
      const { behindMs = 0, pinnedBytes = 0, overflowStored = 0 } = stats() ?? {};
      return Math.min(behindMs, pinnedBytes, overflowStored) > 0;
    }, "the figures");
    expect(outbox.warnings().join()).toContain("waited too long");
    const keys = sinkKeys(prefix, "toys", 0, SINK);
    await takeLease(keys);
    const nothing = { lagEntries: 0, behindMs: 0, pinnedBytes: 0, overflowStored: 0, waiting: 0 };
    await until(() => stats()?.pinnedBytes === 0 && stats()?.owned === false, "the loss");
    expect(stats()).toMatchObject(nothing);
    expect(outbox.warnings().join()).not.toContain("waited too long");
  });

  it("counts for its forwarder's new owner alone", async () => {
    const keys = sinkKeys(prefix, "toys", 0, forwarderSink("dst"));
    const shared = { prefix, partitions: 1, redis: client, clock: systemClock, leaseMs: 1_000, onTrouble: () => {} };
    const target = eventTopic({
      ...shared,
      name: "dst",
      zone: zoneOf("UTC"),
      routes: [{ from: "toys", kinds: ["seen"], event: ({ key }) => ({ key, kind: "seen", payload: null }) }],
    });
    await fillDeadLetters(client, keys, DEAD_LETTERS_LIMIT);
    const openReader = () => connect({ url: redis.url }, true);
    const forwarders = new Forwarders({ ...shared, target, openReader, owner: "one" });
    stops.push(() => forwarders.stop());
    forwarders.start();
    await writeEmits();
    await until(() => (forwarders.stats()[0]?.behindMs ?? 0) > 0, "the figures");
    await takeLease(keys);
    await until(() => forwarders.stats()[0]?.behindMs === 0, "the loss");
    expect(forwarders.stats()[0]).toMatchObject({ lagEntries: 0, owned: false });
  });
});

describe("a sink that no process runs", () => {
  it("has what was given up and removed in the metrics of the process that holds its bounds", async () => {
    await registerSink(client, toyKeys(prefix), SINK, systemClock.now());
    await fillDeadLetters(client, sinkKeys(prefix, "toys", 0, SINK), DEAD_LETTERS_LIMIT - 10);
    await writeEmits();
    const options = { ...outboxOptions(client, redis.url, prefix, notingReceiver()), bounds: BOUNDS };
    const keeper = new EmitKeeper({ ...options, isOwned: () => true });
    await keeper.check(0);
    const { overflowed, dropped } = keeper.figures;
    expect(dropped).toBe(overflowed - 9);
    const samplesOf = (name: string) =>
      metricTable()
        .find((row) => row.name === name)
        ?.read({ engine: { sinks: [], emitKeepers: [keeper] } } as never);
    expect(await samplesOf("sink_overflowed_total")).toEqual([[overflowed, SINK]]);
    expect(await samplesOf("sink_dropped_total")).toEqual([[dropped, SINK]]);
  });
});
