/** Bounds on emits that wait for a forwarder which cannot forward: it releases its lease, and the keeper holds them. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { DEFAULT_EMIT_BOUNDS } from "../../engine/outbox/emit-bounds.js";
import { EmitKeeper } from "../../engine/outbox/emit-keeper.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import {
  countDeadLetters,
  DEAD_LETTERS_LIMIT,
  listDeadLetters,
  removeDeadLetters,
  requestReplay,
} from "../../engine/stream/dead-letter.js";
import { newestDeadLetterActions } from "../../engine/stream/dead-letter-actions.js";
import { topicEventsOf } from "../../engine/stream/event-entry.js";
import { eventTopic, loadEventsLibrary } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import { GIVEN_UP_FIELD, GivenUpEntries } from "../../engine/stream/given-up-entries.js";
import { eventKeys, partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { partitionOf } from "../../engine/stream/partition.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import type { Route } from "../../engine/stream/route.js";
import { ENTRY_CURSOR, forwarderSink, registerSink } from "../../engine/stream/sinks.js";
import { readUnwantedKinds } from "../../engine/stream/unwanted-kinds.js";
import { withRedis } from "../redis/with-redis.js";
import { until } from "../stream/toy-log.js";
import { EmitCommits, emitOfKey } from "./emit-commits.js";
import { fillDeadLetters } from "./outbox-bed.js";

const redis = withRedis();
const PREFIX = "t";
const SINK = forwarderSink("dst");
const KEYS = sinkKeys(PREFIX, "toys", 0, SINK);
const BOUNDS = { ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 };
const ENTRIES = 40;
const stops: (() => Promise<unknown>)[] = [];
let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadEventsLibrary(client)]);
});
beforeEach(() => redis.flush());
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const forwarded = async (): Promise<string[]> =>
  (await readLog(client, eventKeys(PREFIX, "dst", 0).log, 0, 1_000)).flatMap((entry) =>
    topicEventsOf(entry).events.map(({ key }) => key),
  );

/** Forwarders from one partition to one or more, by one route. */
function bed(event: Route["event"], targetPartitions = 1) {
  const troubles: string[] = [];
  const shared = {
    prefix: PREFIX,
    partitions: 1,
    redis: client,
    clock: systemClock,
    leaseMs: 1_000,
    onTrouble: (message: string) => troubles.push(message),
  };
  const routes = [{ from: "toys", kinds: ["seen"], event }];
  const target = eventTopic({ ...shared, partitions: targetPartitions, name: "dst", zone: zoneOf("UTC"), routes });
  const openReader = () => connect({ url: redis.url }, true);
  const start = () => {
    const forwarders = new Forwarders({ ...shared, target, openReader, owner: "one" });
    stops.push(() => forwarders.stop());
    forwarders.start();
    return forwarders;
  };
  return { start, shared, troubles };
}

const keysOfDeadLetters = async (): Promise<string[]> =>
  (await listDeadLetters(client, KEYS, "-", 2 * DEAD_LETTERS_LIMIT)).flatMap(({ key }) => key ?? []);

describe("an entry of which no emit can be mapped", () => {
  it("becomes dead letters in parts, and as a whole: then nothing more is forwarded until there is room", async () => {
    const { start } = bed(() => {
      throw new Error("no event");
    });
    const many = Array.from({ length: 2_200 }, (_, i) => `k${i}`);
    await fillDeadLetters(client, KEYS, DEAD_LETTERS_LIMIT - 600);
    const emitter = new EmitCommits(client, PREFIX);
    start();
    await emitter.write([emitOfKey("first")]);
    await emitter.write(many.map((key) => emitOfKey(key)));
    await emitter.write([emitOfKey("last")]);
    const entryCursor = async () => (await readTask(client, KEYS)).cursors.get(ENTRY_CURSOR);
    await until(async () => (await entryCursor()) === 2, "the large entry");
    await stops.pop()?.();
    expect(await entryCursor()).toBe(2);
    expect(await keysOfDeadLetters()).toEqual(["first", ...many]);
    expect((await readTask(client, KEYS)).commit).toBeGreaterThan(4);

    const oldest = await listDeadLetters(client, KEYS, "-", 5_000);
    await removeDeadLetters(
      client,
      KEYS,
      oldest.map(({ id }) => id),
    );
    start();
    await until(async () => (await entryCursor()) === 3, "the last");
    expect(await keysOfDeadLetters()).toEqual(["first", ...many, "last"]);
  });
});

describe("a forwarder with too many dead letters", () => {
  it("holds back a bounded number of bytes, counts what was given up, and forwards again when there is room", async () => {
    const { start, shared, troubles } = bed(({ key }) => ({ key, kind: "seen", payload: null }));
    const emitter = new EmitCommits(client, PREFIX);
    const before = start();
    await emitter.write([emitOfKey("first")]);
    await until(async () => (await forwarded()).length === 1, "the first");
    await before.stop();

    await fillDeadLetters(client, KEYS, DEAD_LETTERS_LIMIT);
    const forwarders = start();
    for (let i = 0; i < ENTRIES; i++) await emitter.write([emitOfKey(`k${i}`)]);
    await until(() => (forwarders.stats()[0]?.lagEntries ?? 0) === ENTRIES, "the lag");
    await until(() => troubles.join().includes("too many dead letters: nothing more is forwarded"), "the message");

    const keeper = new EmitKeeper({ ...shared, topic: "toys", owner: "one", bounds: BOUNDS, isOwned: () => true });
    await until(async () => {
      await keeper.check(0);
      return keeper.figures.overflowed > 0;
    }, "the bound");
    const { overflowed } = keeper.figures;
    expect(overflowed).toBeGreaterThan(20);
    expect(overflowed).toBeLessThan(ENTRIES);
    // Ordinary dead letters leave no room for others.
    expect(keeper.figures.dropped).toBe(overflowed);
    const actions = await newestDeadLetterActions(client, KEYS, 10);
    expect(actions.map(({ action, actor }) => [action, actor])).toEqual([["drop", "engine"]]);
    expect(await forwarded()).toEqual(["first"]);

    const oldest = await listDeadLetters(client, KEYS, "-", 500);
    await removeDeadLetters(
      client,
      KEYS,
      oldest.map(({ id }) => id),
    );
    await until(async () => (await forwarded()).length === 1 + ENTRIES - overflowed, "what was not given up");
    for (let i = 0; i < ENTRIES; i++) await emitter.write([emitOfKey(`m${i}`)]);
    await until(async () => (await forwarded()).length === 1 + 2 * ENTRIES - overflowed, "the next");
    expect((await countDeadLetters(client, KEYS)).deadLetters).toBe(DEAD_LETTERS_LIMIT - 500);
  });
});

describe("emits that no route takes", () => {
  it("become no dead letters while their forwarder cannot forward", async () => {
    const { start, shared } = bed(({ key }) => ({ key, kind: "seen", payload: null }));
    const emitter = new EmitCommits(client, PREFIX);
    start();
    await emitter.write([emitOfKey("a"), emitOfKey("b", "other")]);
    await until(async () => (await readUnwantedKinds(client, KEYS)).has("other"), "the kinds");
    await stops.pop()?.();
    for (let i = 0; i < ENTRIES; i++) await emitter.write([emitOfKey(`k${i}`, i === 0 ? "seen" : "other")]);
    const keeper = new EmitKeeper({ ...shared, topic: "toys", owner: "one", bounds: BOUNDS, isOwned: () => true });
    await keeper.check(0);
    expect(keeper.figures.overflowed).toBe(1);
    expect((await countDeadLetters(client, KEYS)).deadLetters).toBe(1);
  });

  it("are wanted again as soon as a route takes them, also while nothing is forwarded", async () => {
    await client.hset(KEYS.task, "unwanted", JSON.stringify(["other", "seen"]));
    await fillDeadLetters(client, KEYS, DEAD_LETTERS_LIMIT);
    bed(({ key }) => ({ key, kind: "seen", payload: null })).start();
    await until(async () => !(await readUnwantedKinds(client, KEYS)).has("seen"), "the kinds");
    expect([...(await readUnwantedKinds(client, KEYS))]).toEqual(["other"]);
  });
});

describe("entries that a forwarder which has gone back reads again", () => {
  it("do not become dead letters a second time", async () => {
    const { shared } = bed(({ key }) => ({ key, kind: "seen", payload: null }));
    await registerSink(client, partitionKeys(PREFIX, "toys", 0), SINK, systemClock.now());
    const emitter = new EmitCommits(client, PREFIX);
    for (let i = 0; i < 5; i++) await emitter.write([emitOfKey(`k${i}`)]);
    await client.hset(KEYS.task, GIVEN_UP_FIELD, new GivenUpEntries().with(0, 3).text);
    const bounds = { ...BOUNDS, maxBytes: 0 };
    const keeper = new EmitKeeper({ ...shared, topic: "toys", owner: "one", bounds, isOwned: () => true });
    await keeper.check(0);
    expect((await listDeadLetters(client, KEYS, "-", 100)).map(({ offset }) => offset)).toEqual([4, 5]);
  });
});

describe("entries that were given up while one of two partitions of the target could not be reached", () => {
  const [A, B] = [eventKeys(PREFIX, "dst", 0), eventKeys(PREFIX, "dst", 1)];
  /** Keys of either partition. */
  const ofA = Array.from({ length: 40 }, (_, i) => `k${i}`).filter((key) => partitionOf(key, 2) === 0);
  const ofB = Array.from({ length: 40 }, (_, i) => `k${i}`).filter((key) => partitionOf(key, 2) === 1);
  const keysIn = async ({ log }: { log: string }): Promise<string[]> =>
    (await readLog(client, log, 0, 1_000)).flatMap((entry) => topicEventsOf(entry).events.map(({ key }) => key));
  const emitPair = (emitter: EmitCommits, i: number) =>
    emitter.write([emitOfKey(ofA[i] as string), emitOfKey(ofB[i] as string)]);
  const giveUpAll = async (shared: ReturnType<typeof bed>["shared"]): Promise<void> => {
    const bounds = { ...BOUNDS, maxBytes: 0 };
    const keeper = new EmitKeeper({ ...shared, topic: "toys", owner: "one", bounds, isOwned: () => true });
    await until(async () => {
      await keeper.check(0);
      return keeper.figures.overflowed > 0;
    }, "the bound");
  };
  const replayAll = async (): Promise<void> => {
    await requestReplay(client, KEYS, await listDeadLetters(client, KEYS, "-", 100));
    await until(async () => (await countDeadLetters(client, KEYS)).deadLetters === 0, "the replay");
  };

  it("are forwarded by a replay only where they are lacking", async () => {
    const { start, shared } = bed(({ key }) => ({ key, kind: "seen", payload: null }), 2);
    const emitter = new EmitCommits(client, PREFIX);
    start();
    await emitPair(emitter, 0);
    await until(async () => (await keysIn(B)).length === 1, "the first");
    await client.rename(B.log, `${B.log}:away`);
    await client.set(B.log, "no log");
    await emitPair(emitter, 1);
    await emitPair(emitter, 2);
    await until(async () => (await keysIn(A)).length >= 2, "the other partition");
    await stops.pop()?.();
    await giveUpAll(shared);
    await client.rename(`${B.log}:away`, B.log);
    start();
    await emitPair(emitter, 3);
    await until(async () => (await keysIn(B)).includes(ofB[3] as string), "the next");
    await replayAll();
    expect((await keysIn(A)).sort()).toEqual(ofA.slice(0, 4).sort());
    expect((await keysIn(B)).sort()).toEqual(ofB.slice(0, 4).sort());
  });

  it("are not forwarded beside their dead letters when a partition has lost its events", async () => {
    const { start, shared } = bed(({ key }) => ({ key, kind: "seen", payload: null }), 2);
    const emitter = new EmitCommits(client, PREFIX);
    start();
    await emitPair(emitter, 0);
    await until(async () => (await keysIn(B)).length === 1, "the first");
    await stops.pop()?.();
    await emitPair(emitter, 1);
    await giveUpAll(shared);
    await client.del(B.log, B.head, B.producers);
    start();
    await emitPair(emitter, 2);
    await until(async () => (await keysIn(B)).includes(ofB[2] as string), "the next");
    await replayAll();
    expect((await keysIn(A)).sort()).toEqual(ofA.slice(0, 3).sort());
    expect((await keysIn(B)).sort()).toEqual(ofB.slice(0, 3).sort());
  });
});
