/**
 * The rate limiter that workers share, in a real Redis and by a clock of the test's own: however workers stall,
 * however long answers of Redis take, and however the network bunches requests together, no second at the receiver
 * brings more than its limit; and when nothing stands in the way, most of it is used.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { inFlightOf, loadRateLimiterLibrary, RateLimiter } from "../../engine/outbox/rate-limiter.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const T0 = 1_700_000_000_000;
let client: RedisClient;
let key = "";
let round = 0;

beforeAll(async () => {
  client = redis.connect();
  await loadRateLimiterLibrary(client);
});
beforeEach(() => {
  key = `pace${round++}`;
});

/** The most of some times that lie within any second. */
function busiest(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < sorted.length; last++) {
    while ((sorted[last] as number) - (sorted[first] as number) >= 1_000) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

interface World {
  workers: number;
  limit: number;
  inFlight: number;
  seconds: number;
  /** How long a request takes to arrive, and its answer to come back. */
  travelMs: () => number;
  answerMs: () => number;
  /** How long a call to Redis takes, there and back. */
  callMs: () => number;
  /** Of each worker in each millisecond: for how long it does nothing from now on. */
  stallMs: () => number;
}

/** Workers that always have something to send, in virtual time. Returns when each request arrived. */
async function simulate({
  workers,
  limit,
  inFlight,
  seconds,
  travelMs,
  answerMs,
  callMs,
  stallMs,
}: World): Promise<number[]> {
  const time = new ManualClock(T0);
  const arrivals: number[] = [];
  const all = Array.from({ length: workers }, (_, number) => {
    // What the worker sees of the time, and the Redis server when the worker's call gets there.
    const state = { aheadMs: 0, serverAheadMs: 0, asleepUntilMs: 0, underWay: [] as number[], askAgainMs: 0 };
    const clock = { now: () => Math.floor(time.now() + state.aheadMs) };
    const serverClock = { now: () => time.now() + state.serverAheadMs };
    return {
      state,
      pace: new RateLimiter({
        redis: client,
        key,
        owner: `w${number}`,
        limitPerSecond: limit,
        inFlight,
        clock,
        serverClock,
      }),
    };
  });
  for (let ms = 0; ms < seconds * 1_000; ms++) {
    time.moveTo(T0 + ms);
    for (const { state, pace } of all) {
      const nowMs = time.now();
      if (nowMs < state.asleepUntilMs) continue;
      const stalledMs = stallMs();
      if (stalledMs > 0) {
        state.asleepUntilMs = nowMs + stalledMs;
        continue;
      }
      state.underWay = state.underWay.filter((landsMs) => landsMs > nowMs);
      while (state.underWay.length < pace.inFlight && pace.take(nowMs)) {
        const arrivesMs = nowMs + travelMs();
        arrivals.push(arrivesMs);
        state.underWay.push(arrivesMs + answerMs());
      }
      if (nowMs < state.askAgainMs) continue;
      const [there, back] = [callMs(), callMs()];
      state.serverAheadMs = there;
      const wanted = Math.max(0, pace.inFlight - state.underWay.length - pace.reserved(nowMs));
      const booking = pace.reserve(wanted, state.underWay.length);
      state.aheadMs = there + back;
      const askAgainMs = await booking;
      state.aheadMs = 0;
      state.asleepUntilMs = nowMs + there + back;
      state.askAgainMs = state.asleepUntilMs + Math.max(10, pace.reserved(state.asleepUntilMs) === 0 ? askAgainMs : 0);
    }
  }
  return arrivals;
}

describe("workers that share a rate limiter", () => {
  const random = seededRandom(5_000);
  const quiet = { travelMs: () => 1, answerMs: () => 5, callMs: () => 1, stallMs: () => 0 };

  it("use nearly all of the rate when nothing is slow", async () => {
    for (const workers of [1, 3]) {
      key = `${key}+`;
      const arrivals = await simulate({ ...quiet, workers, limit: 5_000, inFlight: 256, seconds: 3 });
      expect(busiest(arrivals)).toBeGreaterThan(4_400);
      expect(busiest(arrivals)).toBeLessThanOrEqual(5_000);
    }
  });

  it.each([
    ["workers that stall", { ...quiet, stallMs: () => (random.below(50) === 0 ? random.below(300) : 0) }],
    ["a Redis that answers late", { ...quiet, callMs: () => (random.below(4) === 0 ? random.below(60) : 1) }],
    ["a process that is busy with something else", { ...quiet, callMs: () => 40 + random.below(120) }],
    ["a network that holds requests back", { ...quiet, travelMs: () => random.pick([0, 1, 50, 400]) }],
    [
      "all of it",
      {
        travelMs: () => random.pick([0, 1, 100, 700]),
        answerMs: () => random.below(40),
        callMs: () => random.pick([0, 1, 1, 20]),
        stallMs: () => (random.below(100) === 0 ? random.below(200) : 0),
      },
    ],
  ])("keep the limit in every second with %s", async (_, world) => {
    for (const [workers, limit] of [
      [4, 2_000],
      [2, 60],
    ] as const) {
      key = `${key}+`;
      const arrivals = await simulate({ ...world, workers, limit, inFlight: Math.ceil(limit / 10), seconds: 5 });
      expect(busiest(arrivals)).toBeLessThanOrEqual(limit);
      expect(arrivals.length).toBeGreaterThan(limit * 0.5);
    }
  });

  it("keep it when the network delivers at once what it has delayed for seconds", async () => {
    // Everything that went out before the third second arrives at its beginning.
    const start = T0 + 2_000;
    const held = { ...quiet, answerMs: () => 0 };
    let nowMs = T0;
    const arrivals = await simulate({
      ...held,
      workers: 2,
      limit: 1_000,
      inFlight: 100,
      seconds: 4,
      stallMs: () => {
        nowMs += 0.5;
        return 0;
      },
      travelMs: () => Math.max(1, start - nowMs),
    });
    expect(arrivals.filter((atMs) => Math.abs(atMs - start) < 50).length).toBeGreaterThan(90);
    expect(busiest(arrivals)).toBeLessThanOrEqual(1_000);
  });
});

describe("a receiver that asks for less", () => {
  const clock = new ManualClock(T0);
  const make = (owner: string) =>
    new RateLimiter({ redis: client, key, owner, limitPerSecond: 1_000, inFlight: 50, clock, serverClock: clock });
  const pass = (ms: number) => clock.moveTo(clock.now() + ms);
  /** Slots of a call, by all that may be had. */
  const booked = async (pace: RateLimiter) => {
    await pace.reserve(1_000, 0);
    return pace.reserved(clock.now());
  };

  it("gets less at once, from all workers, then slowly more, and one fault cuts the rate once", async () => {
    const [one, two] = [make("one"), make("two")];
    await one.reserve(0, 0);
    expect(one.ratePerSecond).toBe(900);
    for (let i = 0; i < 5; i++) one.throttled(undefined);
    await one.reserve(0, 0);
    await two.reserve(0, 0);
    expect(two.ratePerSecond).toBeCloseTo(630, 0);
    pass(500);
    two.throttled(undefined);
    await two.reserve(0, 0);
    expect(two.ratePerSecond).toBeCloseTo(630, 0);
    pass(500);
    two.throttled(undefined);
    await two.reserve(0, 0);
    expect(two.ratePerSecond).toBeCloseTo(441, 0);
    for (let second = 0; second < 3; second++) {
      pass(1_000);
      await one.reserve(0, 0);
    }
    expect(one.ratePerSecond).toBeCloseTo(441 + 3 * 45, 0);
    pass(60_000);
    await one.reserve(0, 0);
    expect(one.ratePerSecond).toBe(900);
  });

  it("always gets some requests", async () => {
    const one = make("one");
    for (let i = 0; i < 50; i++) {
      one.throttled(undefined);
      await one.reserve(0, 0);
      pass(1_000);
    }
    expect(one.ratePerSecond).toBeCloseTo(9, 0);
  });

  it("gets no request from any worker for as long as its answer asks", async () => {
    const [one, two] = [make("one"), make("two")];
    await one.reserve(0, 0);
    pass(200);
    one.throttled(2_000);
    await one.reserve(0, 0);
    expect(await two.reserve(100, 0)).toBeCloseTo(2_000 - 25, 0);
    expect(two.reserved(clock.now())).toBe(0);
    pass(1_974);
    expect(await booked(two)).toBe(0);
    pass(26);
    expect(await booked(two)).toBeGreaterThan(0);
  });

  it("gets fewer requests when it becomes slow, and no less than a tenth", async () => {
    const one = make("one");
    for (let i = 0; i < 40; i++) {
      for (let answer = 0; answer < 50; answer++) one.answered(800);
      await one.reserve(0, 0);
      pass(1_000);
    }
    expect(one.ratePerSecond).toBeCloseTo(90, 0);
    for (let answer = 0; answer < 200; answer++) one.answered(5);
    pass(1_000);
    await one.reserve(0, 0);
    expect(one.ratePerSecond).toBeGreaterThan(130);
  });
});

describe("slots", () => {
  it("expire when they are not used in their time", async () => {
    const clock = new ManualClock(T0);
    const pace = new RateLimiter({
      redis: client,
      key,
      owner: "w",
      limitPerSecond: 1_000,
      inFlight: 100,
      clock,
      serverClock: clock,
    });
    await pace.reserve(0, 0);
    clock.moveTo(T0 + 500);
    await pace.reserve(20, 0);
    expect(pace.reserved(clock.now())).toBe(20);
    expect(pace.take(clock.now())).toBe(true);
    expect(pace.take(clock.now())).toBe(false);
    clock.moveTo(T0 + 500 + 50);
    expect(pace.reserved(clock.now())).toBe(11);
    clock.moveTo(T0 + 500 + 100);
    expect(pace.take(clock.now())).toBe(false);
    expect(pace.waitMs(clock.now())).toBe(Number.POSITIVE_INFINITY);
  });

  it("are not reserved at first on a server that may have lost the last ones, nor blocked by a clock that went back", async () => {
    const clock = new ManualClock(T0);
    const make = (serverMs: number) =>
      new RateLimiter({
        redis: client,
        key,
        owner: "w",
        limitPerSecond: 1_000,
        inFlight: 100,
        clock,
        serverClock: { now: () => serverMs },
      });
    await make(T0).reserve(0, 0);
    await make(T0 + 1_000).reserve(10, 0);
    await client.hset(key, "server", "0a:0b:1");
    const pace = make(T0 + 1_000);
    await pace.reserve(10, 0);
    expect(pace.reserved(clock.now())).toBe(0);
    expect(await make(T0 - 3_600_000).reserve(10, 0)).toBeLessThanOrEqual(1_100);
  });
});

describe("the arithmetic of the guarantee", () => {
  it("counts the requests of a dead worker for seconds only, also when the server's clock has gone back by hours", async () => {
    let serverMs = T0 + 2 * 3_600_000;
    const clock = { now: () => T0 };
    const paceOf = (owner: string) =>
      new RateLimiter({
        redis: client,
        key,
        owner,
        limitPerSecond: 100,
        inFlight: 20,
        clock,
        serverClock: { now: () => serverMs },
      });
    const all = paceOf("dead").inFlight;
    await paceOf("dead").reserve(1, all);
    serverMs = T0;
    const heir = paceOf("heir");
    await heir.reserve(1, 0);
    expect(heir.reserved(T0)).toBe(0);
    serverMs = T0 + 2_001;
    await heir.reserve(1, 0);
    expect(heir.reserved(T0)).toBe(1);
  });

  it("leaves room for what is under way, at every limit", async () => {
    for (const limitPerSecond of [10, 50, 100, 1_000, 5_000, 100_000]) {
      for (const wanted of [1, 10, 256, 4_096]) {
        key = `${key}+`;
        const clock = new ManualClock(T0);
        const shared = { redis: client, key, limitPerSecond, inFlight: wanted, clock, serverClock: clock };
        const pace = new RateLimiter({ ...shared, owner: "w" });
        await pace.reserve(0, 0);
        expect(pace.inFlight).toBe(inFlightOf(limitPerSecond, wanted));
        expect(pace.inFlight).toBeGreaterThanOrEqual(1);
        expect(pace.ratePerSecond * 1.04 + 1 + pace.inFlight).toBeLessThanOrEqual(limitPerSecond);
        expect(pace.ratePerSecond).toBeGreaterThanOrEqual(limitPerSecond / 2 - 1);
      }
    }
  });
});
