/**
 * A Redis server whose clock jumps: nothing is removed or given up for its age while its clock and the process's
 * differ, and what was committed meanwhile does not hold back anything later. A process whose clock is behind is the
 * same as a server whose clock is ahead, so these tests change the process's.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { DAY_MS, HOUR_MS, MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { DEFAULT_EMIT_BOUNDS, type EmitBounds } from "../../engine/outbox/emit-bounds.js";
import { EmitKeeper } from "../../engine/outbox/emit-keeper.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { countDeadLetters, trimDeadLetters } from "../../engine/stream/dead-letter.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import { trimOutputs } from "../../engine/stream/output-trimming.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { activeSinks, registerSink } from "../../engine/stream/sinks.js";
import { withRedis } from "../redis/with-redis.js";
import { toyKeys, until } from "../stream/toy-log.js";
import { EmitCommits, emitOfKey } from "./emit-commits.js";
import { fillDeadLetters, notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
let client: RedisClient;
let prefix: string;
let prefixes = 0;
let emitter: EmitCommits;
/** By the server's clock. */
let nowMs: number;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadRateLimiterLibrary(client)]);
});
beforeEach(() => {
  prefix = `p${prefixes++}`;
  emitter = new EmitCommits(client, prefix);
  nowMs = systemClock.now();
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  vi.restoreAllMocks();
});

const keys = () => toyKeys(prefix);
const sink = () => sinkKeys(prefix, "toys", 0, SINK);
const trim = () => trimOutputs(client, { prefix, topic: "toys", partition: 0 }, 7 * DAY_MS);
const write = (now = "") => emitter.write([emitOfKey("k")], now, "view");
const waiting = () => client.xlen(keys().emits);

function jumpAhead(byMs: number): void {
  const now = systemClock.now.bind(systemClock);
  vi.spyOn(systemClock, "now").mockImplementation(() => now() - byMs);
}

const keeperOf = (bounds?: EmitBounds) =>
  new EmitKeeper({
    ...outboxOptions(client, redis.url, prefix, notingReceiver()),
    ...(bounds ? { bounds } : {}),
    isOwned: () => true,
    onTrouble: () => {},
  });

describe("a server's clock that has jumped ahead", () => {
  it("retires no sink and removes no emits, before and after it is set back", async () => {
    const realMs = nowMs - 20 * DAY_MS;
    await registerSink(client, keys(), SINK, realMs);
    for (let i = 0; i < 5; i++) await write(String(realMs));
    await write();
    jumpAhead(20 * DAY_MS);
    await trim();
    expect(await waiting()).toBe(6);
    vi.restoreAllMocks();
    // The last commit is of the jumped clock still.
    await registerSink(client, keys(), SINK, nowMs);
    await write(String(nowMs + 20 * DAY_MS));
    await trim();
    expect(await waiting()).toBe(7);
  });

  it("gives up nothing for its age, nor because a sink seems to retire", async () => {
    const realMs = nowMs - 13.5 * DAY_MS;
    await registerSink(client, keys(), SINK, realMs);
    for (let i = 0; i < 5; i++) await write(String(realMs));
    await write();
    jumpAhead(13.5 * DAY_MS);
    const keeper = keeperOf();
    await keeper.check(0);
    const receiver = notingReceiver(() => ({ outcome: "retry", reason: "down", mayHaveArrived: true }));
    const outbox = startOutbox(outboxOptions(client, redis.url, prefix, receiver));
    stops.push(() => outbox.stop());
    await until(() => (outbox.stats().partitions[0]?.behindMs ?? 0) > 13 * DAY_MS, "a check");
    await outbox.stop();
    expect(keeper.figures).toEqual({ overflowed: 0, dropped: 0 });
    expect(await countDeadLetters(client, sink())).toEqual({ deadLetters: 0, bytes: 0 });
  });

  it("still holds the bound of bytes", async () => {
    await registerSink(client, keys(), SINK, nowMs - HOUR_MS);
    for (let i = 0; i < 40; i++) await write(String(nowMs - HOUR_MS));
    jumpAhead(HOUR_MS);
    const keeper = keeperOf({ ...DEFAULT_EMIT_BOUNDS, maxBytes: 1_000 });
    await keeper.check(0);
    expect(keeper.figures.overflowed).toBeGreaterThan(20);
    expect(keeper.figures.overflowed).toBeLessThan(40);
  });

  it("removes no dead letters", async () => {
    await fillDeadLetters(client, sink(), 3);
    jumpAhead(MINUTE_MS);
    expect(await trimDeadLetters(client, sink(), -MINUTE_MS)).toBe(0);
    vi.restoreAllMocks();
    expect(await trimDeadLetters(client, sink(), -MINUTE_MS)).toBe(3);
  });

  it("holds back no views and emits of the time after it was set back", async () => {
    const writeAll = async (...times: number[]) => {
      for (const atMs of times) await write(String(atMs));
    };
    const beforeMs = nowMs - HOUR_MS;
    const jumpedMs = nowMs + 2 * HOUR_MS;
    await writeAll(beforeMs, beforeMs, jumpedMs, jumpedMs + 1, jumpedMs + 2);
    const afterMs = nowMs - 20 * MINUTE_MS;
    await writeAll(afterMs, afterMs, nowMs - MINUTE_MS, nowMs);
    await trim();
    const left = async (key: string) => (await client.xrange(key, "-", "+")).map(([id]) => Number.parseInt(id, 10));
    expect(await left(keys().out)).toEqual([8, 9]);
    expect(await left(keys().emits)).toEqual([8, 9]);
  });
});

describe("clocks that differ", () => {
  it("remove views and emits by the earlier one", async () => {
    for (const agoMs of [2 * HOUR_MS, 2 * HOUR_MS, 40 * MINUTE_MS, 0]) await write(String(nowMs - agoMs));
    jumpAhead(HOUR_MS);
    await trim();
    expect([await waiting(), await client.xlen(keys().out)]).toEqual([2, 2]);
  });
});

describe("a server's clock that is behind", () => {
  it("dates a sink's registration so that it is not retired once the clock is right", async () => {
    jumpAhead(-20 * DAY_MS);
    const outbox = startOutbox(outboxOptions(client, redis.url, prefix, notingReceiver()));
    stops.push(() => outbox.stop());
    await until(async () => (await client.hget(keys().sinks, SINK)) !== null, "the registration");
    expect((await activeSinks(client, keys(), nowMs + 20 * DAY_MS)).map(({ name }) => name)).toEqual([SINK]);
  });
});
