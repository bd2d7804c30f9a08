/**
 * What an outbox does when Redis itself is in trouble: a replica that is away, a server that comes back without its
 * newest writes. Each on a server of its own. And what a long absence of the receiver costs: memory that does not
 * grow with the backlog, and no rush at the end.
 */
import { afterEach, describe, expect, it } from "vitest";
import { SlidingSecond } from "../../connectors/wms/sandbox/sliding-second.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { WINDOW_DELIVERIES } from "../../engine/outbox/backlog.js";
import { DEFAULT_EMIT_BOUNDS } from "../../engine/outbox/emit-bounds.js";
import { EmitKeeper } from "../../engine/outbox/emit-keeper.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import type { Delivery } from "../../engine/outbox/receiver.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { eventTopic, loadEventsLibrary } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { ReplicationBarrier } from "../../engine/stream/replication-barrier.js";
import type { Route } from "../../engine/stream/route.js";
import { Runner } from "../../engine/stream/runner.js";
import { forwarderSink } from "../../engine/stream/sinks.js";
import { lengthOf } from "../length.js";
import { SentinelBed } from "../redis/sentinels.js";
import { Server } from "../redis/server.js";
import { append, runnerOptions, seen, toyKeys, until } from "../stream/toy-log.js";
import { EmitCommits, emitOfKey } from "./emit-commits.js";
import { notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";
import { entriesBehind } from "./sink-lag.js";

const T0 = 1_700_000_000_000;
const PREFIX = "losses";
const stops: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Place {
  client: RedisClient;
  url: string;
}

/** A connection to a server, with what the runtime needs there. */
async function reach(server: Server): Promise<Place> {
  const url = `redis://${server.address}`;
  const client = connect({ url });
  stops.push(() => client.disconnect());
  await loadStreamLibrary(client);
  await loadRateLimiterLibrary(client);
  return { client, url };
}

async function alone(): Promise<Place & { server: Server }> {
  const server = await Server.start({ save: '""', appendonly: "no" });
  stops.push(() => server.stop());
  return { server, ...(await reach(server)) };
}

function startRunner({ client, url }: Place): void {
  const runner = new Runner(0, runnerOptions(client, url, PREFIX, { tickMs: 20 }));
  stops.push(() => runner.stop());
  runner.start();
}

function start({ client, url }: Place, ...[receiver, more]: [Parameters<typeof outboxOptions>[3], object?]) {
  const options = outboxOptions(client, url, PREFIX, receiver, more);
  const outbox = startOutbox(options);
  stops.push(() => outbox.stop());
  return { outbox, troubles: options.troubles };
}

/** Has an emit for each key committed, so many to an entry of the log. */
async function emit({ client }: Place, keys: readonly string[], atOnce = 10): Promise<void> {
  const entries = [];
  for (let i = 0; i < keys.length; i += atOnce) {
    const events = keys.slice(i, i + atOnce).map((key) => ({ key, word: "emit" as const }));
    entries.push({ clockMs: T0 + i, events });
  }
  await seen(client, toyKeys(PREFIX), await append(client, toyKeys(PREFIX), entries));
}

const settled = ({ client }: Place) =>
  until(async () => (await entriesBehind(client, PREFIX, "toys", 0, SINK)) === 0, "the deliveries");

const named = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`);
const keysOf = (sent: readonly Delivery[]): string[] => sent.map(({ key }) => key).sort();

/** A primary with one replica, and the barrier that waits for it. */
async function replicated() {
  const bed = await SentinelBed.start({ replicas: 1, sentinels: 0 });
  stops.push(() => bed.stop());
  const [primary, replica] = bed.servers as [Server, Server];
  const place = await reach(primary);
  const barrier = new ReplicationBarrier({ open: () => connect({ url: place.url }), replicas: 1 });
  stops.push(() => barrier.close());
  return { place, replica, barrier };
}

describe("with a replication barrier", () => {
  it("nothing is sent that no replica has, until one is back", async () => {
    const { place, replica, barrier } = await replicated();
    startRunner(place);
    const receiver = notingReceiver();
    const { troubles } = start(place, receiver, { replicas: barrier, leaseMs: 10_000 });
    await emit(place, named("a", 20));
    await until(() => receiver.sent.length === 20, "the first deliveries");
    replica.freeze();
    try {
      await emit(place, named("b", 20));
      await until(() => troubles.length > 0, "the report of missing replicas");
      expect(receiver.sent).toHaveLength(20);
    } finally {
      replica.thaw();
    }
    await settled(place);
    expect(keysOf(receiver.sent)).toEqual([...named("a", 20), ...named("b", 20)].sort());
    expect(troubles.join()).toContain("nothing is sent until they have");
  });

  it("a sink is held to the bounds while no replica is there", async () => {
    const { place, replica, barrier } = await replicated();
    const receiver = notingReceiver();
    const bounds = { ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 };
    const { outbox } = start(place, receiver, { replicas: barrier, leaseMs: 10_000, bounds });
    const emitter = new EmitCommits(place.client, PREFIX);
    await emitter.write([emitOfKey("first")]);
    await until(() => receiver.sent.length === 1, "the first");
    replica.freeze();
    const overflowed = () => outbox.stats().partitions[0]?.overflowed ?? 0;
    try {
      for (const key of named("k", 40)) await emitter.write([emitOfKey(key)]);
      await until(() => overflowed() > 20, "the bound");
      expect(receiver.sent).toHaveLength(1);
    } finally {
      replica.thaw();
    }
    await settled(place);
    expect(keysOf(receiver.sent)).toEqual(["first", ...named("k", 40).slice(overflowed())].sort());
  });

  it("a forwarder is held to the bounds by a keeper while no replica is there", async () => {
    const { place, replica, barrier } = await replicated();
    const { client: redis, url } = place;
    await loadEventsLibrary(redis);
    const troubles: string[] = [];
    const onTrouble = (message: string) => troubles.push(message);
    const shared = { prefix: PREFIX, partitions: 1, redis, clock: systemClock, leaseMs: 3_000, onTrouble };
    const event: Route["event"] = ({ key }) => ({ key, kind: "seen", payload: null });
    const routes = [{ from: "toys", kinds: ["seen"], event }];
    const target = eventTopic({ ...shared, name: "dst", zone: zoneOf("UTC"), routes });
    const openReader = () => connect({ url }, true);
    const forwarders = new Forwarders({ ...shared, target, openReader, owner: "one", replicas: barrier });
    stops.push(() => forwarders.stop());
    forwarders.start();
    const behind = () => entriesBehind(redis, PREFIX, "toys", 0, forwarderSink("dst"));
    const emitter = new EmitCommits(redis, PREFIX);
    await emitter.write([emitOfKey("first")]);
    await until(async () => (await behind()) === 0, "the first");
    replica.freeze();
    const bounds = { ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 };
    const keeper = new EmitKeeper({ ...shared, topic: "toys", owner: "one", bounds, isOwned: () => true });
    try {
      for (const key of named("k", 40)) await emitter.write([emitOfKey(key)]);
      await until(async () => {
        await keeper.check(0);
        return keeper.figures.overflowed > 20;
      }, "the bound");
      expect(troubles.join()).toContain("nothing is forwarded until they have");
    } finally {
      replica.thaw();
    }
    await until(async () => (await behind()) === 0, "the rest");
    expect(forwarders.stats()[0]?.forwarded).toBe(41 - keeper.figures.overflowed);
  });
});

describe("after Redis has come back without its newest writes", () => {
  it("delivery starts again where the lost writes began, under the same keys", async () => {
    const place = await alone();
    const { client, server } = place;
    startRunner(place);
    const receiver = notingReceiver();
    const { outbox } = start(place, receiver, { leaseMs: 600 });
    await emit(place, named("kept", 30));
    await settled(place);
    await client.save();
    const before = (await readTask(client, sinkKeys(PREFIX, "toys", 0, SINK))).cursors;
    await emit(place, named("lost", 25), 5);
    await settled(place);
    await server.kill();
    await server.restart();
    expect((await readTask(client, sinkKeys(PREFIX, "toys", 0, SINK))).cursors).toEqual(before);
    // The caller sends it again; the commits have the same numbers as before, and other contents.
    const again = [...named("new", 10), ...named("lost", 25).reverse()];
    await emit(place, again, 7);
    await settled(place);
    const sent = keysOf(receiver.sent);
    expect([...new Set(sent)].sort()).toEqual([...named("kept", 30), ...named("lost", 25), ...named("new", 10)].sort());
    expect(receiver.sent).toHaveLength(30 + 25 + again.length);
    expect(outbox.stats().partitions[0]).toMatchObject({ owned: true, waiting: 0, deadLetters: 0 });
  });
});

describe("a receiver that was away for long", () => {
  const ORDERS = lengthOf({ short: 2 * WINDOW_DELIVERIES, long: 20_000 });
  const LIMIT = 12_000;
  /** Emits of one commit at most, and so of one entry that is read. */
  const AT_ONCE = 1_000;

  it("gets a backlog that was never completely in memory, and not above its rate", async () => {
    const place = await alone();
    startRunner(place);
    let isAway = true;
    const second = new SlidingSecond();
    const receiver = notingReceiver(async () => {
      if (isAway) return { outcome: "retry", reason: "away" };
      second.add(performance.now());
      await sleep(1);
      return { outcome: "done" };
    });
    const { outbox } = start(place, receiver, { limitPerSecond: LIMIT, inFlight: 256 });
    let most = 0;
    const sampling = setInterval(() => {
      most = Math.max(most, outbox.stats().partitions[0]?.waiting ?? 0);
    }, 5);
    stops.push(() => clearInterval(sampling));
    const orders = named("k", ORDERS);
    for (let from = 0; from < ORDERS; from += AT_ONCE) await emit(place, orders.slice(from, from + AT_ONCE), 250);
    await until(() => most >= WINDOW_DELIVERIES, "the window to be full");
    await until(() => outbox.stats().circuit !== "closed", "the circuit to open");
    const inVain = receiver.sent.length;
    isAway = false;
    await settled(place);
    const sent = receiver.sent.slice(inVain);
    expect(new Set(keysOf(sent)).size).toBe(ORDERS);
    expect(sent.length).toBe(ORDERS);
    expect(second.most).toBeLessThanOrEqual(LIMIT);
    // However many entries one read brings, the last one that fits is the last one held.
    expect(most).toBeLessThan(WINDOW_DELIVERIES + AT_ONCE);
  });
});
