/** Bounds on emits that wait for a receiver: dead letters of what is beyond them, their replay, and their own limit. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DAY_MS, systemClock } from "../../engine/kernel/clock.js";
import { DEFAULT_EMIT_BOUNDS, type EmitBounds } from "../../engine/outbox/emit-bounds.js";
import { EmitKeeper } from "../../engine/outbox/emit-keeper.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import type { Delivery, DeliveryOutcome } from "../../engine/outbox/receiver.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import {
  countDeadLetters,
  countOverflow,
  DEAD_LETTERS_LIMIT,
  listDeadLetters,
  newestDeadLetters,
  requestReplay,
} from "../../engine/stream/dead-letter.js";
import { newestDeadLetterActions } from "../../engine/stream/dead-letter-actions.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { registerSink } from "../../engine/stream/sinks.js";
import { withRedis } from "../redis/with-redis.js";
import { toyKeys, until } from "../stream/toy-log.js";
import { EmitCommits, emitOfKey } from "./emit-commits.js";
import { fillDeadLetters, notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
/** An entry with one emit is some 110 bytes. */
const BOUNDS: EmitBounds = { ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 };
const ENTRIES = 40;
let client: RedisClient;
let prefix: string;
let prefixes = 0;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
  await loadRateLimiterLibrary(client);
});
beforeEach(() => {
  prefix = `p${prefixes++}`;
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const keys = () => toyKeys(prefix);
const sink = (name = SINK) => sinkKeys(prefix, "toys", 0, name);
const totals = async (name = SINK) => ({
  kept: await countOverflow(client, sink(name)),
  counts: (await client.hmget(sink(name).task, "overflowed", "dropped")).map(Number),
});
const waitingAfter = async (name = SINK): Promise<number> => {
  const cursor = await client.hget(sink(name).task, "cursor:entry");
  return (await client.xrange(keys().emits, `${Number(cursor ?? 0) + 1}-0`, "+")).length;
};

/** Commits with an emit each, and one that the sink does not want. */
function commits(): (count?: number) => Promise<void> {
  const emitter = new EmitCommits(client, prefix);
  let next = 0;
  return async (count = ENTRIES) => {
    for (let i = 0; i < count; i++) await emitter.write([emitOfKey(`k${next++}`), emitOfKey("timer", "fired")]);
  };
}

/** A receiver that is down until it is set to be up. */
function receiverThat(state: { isUp: boolean }) {
  const given: string[] = [];
  const answer = (): DeliveryOutcome =>
    state.isUp ? { outcome: "done" } : { outcome: "retry", reason: "down", mayHaveArrived: true };
  const receiver = {
    ...notingReceiver(answer),
    deadLettered: async (_: number, deliveries: readonly Delivery[]) => {
      given.push(...deliveries.map(({ key }) => key));
    },
  };
  return { receiver, given };
}

function start(receiver: ReturnType<typeof receiverThat>["receiver"]) {
  const options = outboxOptions(client, redis.url, prefix, receiver, { bounds: BOUNDS });
  const outbox = startOutbox(options);
  stops.push(() => outbox.stop());
  return { outbox, options };
}

describe("a receiver that is down", () => {
  it("holds back a bounded number of bytes; the rest is dead letters, which are replayed as a whole, once", async () => {
    const state = { isUp: false };
    const { receiver, given } = receiverThat(state);
    const { outbox, options } = start(receiver);
    await commits()();
    const stats = () => outbox.stats().partitions[0];
    const isBound = () => given.length + (stats()?.waiting ?? 0) === ENTRIES && stats()?.overflowed === given.length;
    await until(() => isBound() && given.length > 20, "the bound");
    await until(() => (stats()?.pinnedBytes ?? Number.NaN) <= BOUNDS.maxBytes, "the bytes");
    const { kept, counts } = await totals();
    expect(counts).toEqual([given.length, 0]);
    expect(kept).toMatchObject({ deadLetters: given.length, deliveries: given.length });
    expect(kept.deliveries + (stats()?.waiting ?? Number.NaN)).toBe(ENTRIES);
    expect(given).toEqual(Array.from({ length: given.length }, (_, i) => `k${i}`));
    expect(options.troubles.join()).toMatch(/ALARM: \d+ deliveries waited too long and became dead letters/);
    expect(outbox.warnings().join()).toContain(`${given.length} deliveries to ${SINK} waited too long`);
    const [newest] = await newestDeadLetters(client, sink(), 1);
    expect(newest).toMatchObject({ deliveries: 1, reason: "not delivered before 1000 bytes of emits waited" });
    expect(newest).not.toHaveProperty("index");

    state.isUp = true;
    await until(async () => (await waitingAfter()) === 0, "what has waited");
    await requestReplay(client, sink(), await listDeadLetters(client, sink(), "-", 100));
    await until(async () => (await countDeadLetters(client, sink())).deadLetters === 0, "the replay");
    expect(await countOverflow(client, sink())).toEqual({ deadLetters: 0, bytes: 0, deliveries: 0 });
    expect(outbox.stats().partitions[0]?.delivered).toBe(ENTRIES);
    await until(() => !outbox.warnings().join().includes("waited too long"), "the next check");
  });

  it("gives up what is older than the bound, and holds nothing back from other sinks", async () => {
    const { receiver, given } = receiverThat({ isUp: false });
    const late = { now: () => systemClock.now() + DEFAULT_EMIT_BOUNDS.maxAgeMs + 60_000 };
    const healthy = notingReceiver();
    const other = startOutbox(outboxOptions(client, redis.url, prefix, { ...healthy, name: "other" }));
    stops.push(() => other.stop());
    await commits()(5);
    const options = outboxOptions(client, redis.url, prefix, receiver, { serverClock: late });
    const outbox = startOutbox(options);
    stops.push(() => outbox.stop());
    await until(() => given.length === 5, "the age");
    await until(async () => (await totals()).kept.deliveries === 5, "the dead letters");
    expect((await newestDeadLetters(client, sink(), 1))[0]?.reason).toBe("not delivered within 7d");
    await until(() => healthy.sent.length === 5, "the other sink");
  });

  it("gets ordinary dead letters first when room is scarce: the oldest of this kind are removed and recorded", async () => {
    await fillDeadLetters(client, sink(), DEAD_LETTERS_LIMIT - 10);
    const { receiver, given } = receiverThat({ isUp: false });
    const { outbox } = start(receiver);
    await commits()();
    await until(async () => given.length > 20 && (await totals()).counts[0] === given.length, "the bound");
    const { kept, counts } = await totals();
    expect(kept.deliveries).toBe(9);
    expect(counts).toEqual([given.length, given.length - 9]);
    expect((await countDeadLetters(client, sink())).deadLetters).toBe(DEAD_LETTERS_LIMIT - 1);
    expect(outbox.stats().partitions[0]).toMatchObject({ overflowed: given.length, dropped: given.length - 9 });
    const actions = await newestDeadLetterActions(client, sink(), 10);
    expect(actions.map(({ action, actor }) => [action, actor])).toEqual([["drop", "engine"]]);
  });
});

describe("a sink that no process runs", () => {
  it("is held to the bounds by a keeper under its lease, with the emits that it wants", async () => {
    await registerSink(client, keys(), SINK, systemClock.now());
    const { receiver, given } = receiverThat({ isUp: true });
    const { outbox } = start(receiver);
    const write = commits();
    await write(2);
    await until(async () => (await client.hget(sink().task, "unwanted")) !== null, "the kinds");
    await until(async () => (await waitingAfter()) === 0, "the first");
    const troubles: string[] = [];
    const keeper = new EmitKeeper({
      ...outboxOptions(client, redis.url, prefix, receiver),
      bounds: BOUNDS,
      isOwned: () => true,
      onTrouble: (message) => troubles.push(message),
    });
    await write();
    await outbox.stop();
    const before = outbox.stats().partitions[0]?.delivered ?? 0;
    await write();
    await keeper.check(0);
    const { kept, counts } = await totals();
    expect(kept.deliveries + (await waitingAfter()) + before).toBe(2 + 2 * ENTRIES);
    expect(counts).toEqual([kept.deliveries, 0]);
    expect(keeper.figures).toEqual({ overflowed: kept.deliveries, dropped: 0 });
    expect(kept.deliveries).toBeGreaterThan(20);
    expect(troubles.join()).toContain("no process delivers to it");
    await keeper.check(0);
    expect((await totals()).counts).toEqual(counts);
    expect(given).toEqual([]);
    const again = startOutbox(outboxOptions(client, redis.url, prefix, receiver));
    stops.push(() => again.stop());
    await requestReplay(client, sink(), await listDeadLetters(client, sink(), "-", 100));
    await until(async () => (await countDeadLetters(client, sink())).deadLetters === 0, "the replay");
    await until(async () => (await waitingAfter()) === 0, "the rest");
    expect(before + (again.stats().partitions[0]?.delivered ?? 0)).toBe(2 + 2 * ENTRIES);
  });
});

describe("a sink that nobody has run for 13 days", () => {
  it("loses nothing in silence when it retires: what waits becomes dead letters before", async () => {
    await registerSink(client, keys(), SINK, systemClock.now() - 13.5 * DAY_MS);
    const troubles: string[] = [];
    const keeper = new EmitKeeper({
      ...outboxOptions(client, redis.url, prefix, receiverThat({ isUp: true }).receiver),
      isOwned: () => true,
      onTrouble: (message) => troubles.push(message),
    });
    await commits()(3);
    await keeper.check(0);
    // Two an entry: without a process, emits of every kind are kept.
    expect((await totals()).kept.deliveries).toBe(6);
    expect(await waitingAfter()).toBe(0);
    expect(troubles.join()).toContain("no process delivers to it");
  });
});

describe("a sink that cannot record outcomes", () => {
  it("releases its lease, so that a keeper holds it to the bounds", async () => {
    const { receiver } = receiverThat({ isUp: true });
    const delivered = async (): Promise<void> => {
      throw new Error("no replica");
    };
    const { options } = start({ ...receiver, delivered });
    const write = commits();
    await write(1);
    await until(() => options.troubles.join().includes("cannot be recorded: no replica"), "the trouble");
    await write();
    const keeper = new EmitKeeper({ ...options, bounds: BOUNDS, isOwned: () => true });
    await until(async () => {
      await keeper.check(0);
      return keeper.figures.overflowed > 20;
    }, "the bound");
    expect(await waitingAfter()).toBeLessThan(ENTRIES / 2);
  });
});

describe("a sink that reads no further", () => {
  it("is held to the bounds while it has too many ordinary dead letters", async () => {
    await fillDeadLetters(client, sink(), DEAD_LETTERS_LIMIT);
    const state = { isUp: true };
    const refusing = receiverThat(state);
    const deliver = async (): Promise<DeliveryOutcome> => ({ outcome: "refused", reason: "never" });
    const { outbox } = start({ ...refusing.receiver, deliver });
    const write = commits();
    await write(1);
    await until(() => (outbox.stats().partitions[0]?.deadLetters ?? 0) === 1, "the refusal");
    await write();
    await until(() => (outbox.stats().partitions[0]?.overflowed ?? 0) > 20, "the bound");
    expect(refusing.given.slice(0, 3)).toEqual(["k0", "k1", "k2"]);
    expect(refusing.given.length + (await waitingAfter())).toBe(ENTRIES + 1);
  });
});

describe("a replay of all deliveries of a long absence", () => {
  const COMMITS = 10;
  const AT_ONCE = 1_000;

  /** Dead letters of a whole commit each, and a receiver that does not answer before `open` is called. */
  async function replayAll() {
    await registerSink(client, keys(), SINK, systemClock.now());
    const emitter = new EmitCommits(client, prefix);
    const names = Array.from({ length: AT_ONCE }, (_, i) => i);
    for (let c = 0; c < COMMITS; c++) await emitter.write(names.map((i) => emitOfKey(`old${c}-${i}`)));
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const receiver = notingReceiver(async () => {
      await gate;
      return { outcome: "done" };
    });
    const options = outboxOptions(client, redis.url, prefix, receiver, { bounds: BOUNDS });
    await new EmitKeeper({ ...options, isOwned: () => true }).check(0);
    expect((await totals()).kept.deliveries).toBe(COMMITS * AT_ONCE);
    await requestReplay(client, sink(), await listDeadLetters(client, sink(), "-", 2 * DEAD_LETTERS_LIMIT));
    const outbox = startOutbox(options);
    stops.push(async () => {
      open();
      await outbox.stop();
    });
    const stats = () => outbox.stats().partitions[0];
    return { emitter, receiver, open, stats, leases: () => stats()?.leaseChanges };
  }

  it("lets a new delivery be sent after a small part of them", async () => {
    const { emitter, receiver, open, stats, leases } = await replayAll();
    await until(() => receiver.sent.length > 0, "the first of the replay");
    await emitter.write([emitOfKey("new")]);
    await until(() => stats()?.lagEntries === 0 && (stats()?.behindMs ?? 0) > 0, "the new one to be read");
    open();
    await until(() => receiver.sent.some(({ key }) => key === "new"), "the new one");
    expect(receiver.sent.findIndex(({ key }) => key === "new")).toBeLessThan(1_000);
    await until(async () => (await countDeadLetters(client, sink())).deadLetters === 0, "the replay");
    expect(new Set(receiver.sent.map(({ key }) => key)).size).toBe(COMMITS * AT_ONCE + 1);
    // Once each, as long as no lease was lost: a machine that stands still longer than one lasts repeats deliveries.
    if (leases() === 1) expect(receiver.sent).toHaveLength(COMMITS * AT_ONCE + 1);
  });

  it("is not held up by requests for dead letters whose bytes are missing", async () => {
    await fillDeadLetters(client, sink(), 600);
    const { receiver, open } = await replayAll();
    open();
    await until(async () => (await countOverflow(client, sink())).deliveries === 0, "the replay");
    expect(receiver.sent).toHaveLength(COMMITS * AT_ONCE);
    expect(await client.zcard(sink().deadRequests)).toBe(600);
  });
});

describe("kinds that a receiver does not want", () => {
  it("are not stored any more when a newer release of it wants them", async () => {
    await registerSink(client, keys(), SINK, systemClock.now());
    await client.hset(sink().task, "unwanted", JSON.stringify(["seen", "fired"]));
    const { receiver } = receiverThat({ isUp: true });
    const { outbox } = start(receiver);
    const emitter = new EmitCommits(client, prefix);
    await emitter.write([emitOfKey("first")]);
    await until(async () => (await client.hget(sink().task, "unwanted")) === '["fired"]', "the kinds");
    await outbox.stop();
  });

  it("include what is of no use later: it becomes no dead letters while no process runs the sink", async () => {
    await registerSink(client, keys(), SINK, systemClock.now());
    const { receiver } = receiverThat({ isUp: true });
    const shortLived = Object.assign(receiver, { isShortLived: true as const });
    const { outbox } = start(shortLived);
    const write = commits();
    await write(2);
    await until(async () => (await client.hget(sink().task, "unwanted")) !== null, "the kinds");
    await until(async () => (await waitingAfter()) === 0, "the first");
    await outbox.stop();
    await write();
    const options = outboxOptions(client, redis.url, prefix, shortLived);
    const keeper = new EmitKeeper({ ...options, bounds: BOUNDS, isOwned: () => true, onTrouble: () => {} });
    await keeper.check(0);
    expect(await totals()).toMatchObject({ kept: { deliveries: 0 }, counts: [0, 0] });
    expect(await waitingAfter()).toBeLessThan(ENTRIES);
    expect(receiver.sent.length).toBeGreaterThan(0);
  });
});
