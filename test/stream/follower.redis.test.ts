/**
 * The follower beside a runner at work: views are filled from the states, follow the commits, start again when they
 * have missed some, and `asOf` is held to its word against a clock that never shows the same time twice.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type Clock, HOUR_MS, sleep, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { Follower, type FollowerOptions } from "../../engine/stream/follower.js";
import type { Emit } from "../../engine/stream/job.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { withRedis } from "../redis/with-redis.js";
import { type ToyEvent, type ToyWords, toyJob, toyTopic } from "./toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const redis = withRedis();
let client: ReturnType<typeof redis.connect>;
let prefix = "";
let round = 0;
const running: { stop(): Promise<void> }[] = [];
const T0 = 1_700_000_000_000;

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `f${round++}`;
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((part) => part.stop()));
});

/** Records its calls. */
class RecordingView {
  readonly job = "toy.1";
  readonly units = new Map<string, number>();
  readonly updates: [key: string, sinceMs: number][] = [];
  readonly emits: Emit[] = [];

  onView(key: string, view: unknown): void {
    const { units, sinceMs } = view as { units: number; sinceMs: number };
    this.units.set(key, units);
    this.updates.push([key, sinceMs]);
  }

  onClear(key: string): void {
    this.units.delete(key);
  }

  onReset(isOf: (key: string) => boolean): void {
    for (const key of this.units.keys()) if (isOf(key)) this.units.delete(key);
  }

  onEmit(emit: Emit): void {
    this.emits.push(emit);
  }
}

function run(partition = 0): Runner<ToyEvent> {
  const topic = toyTopic({ partitions: 4 });
  const runner = new Runner(partition, runnerOptions(client, redis.url, prefix, { topic, owner: `r${partition}` }));
  running.push(runner);
  runner.start();
  return runner;
}

function follow(more: Partial<FollowerOptions<ToyEvent>> = {}): {
  follower: Follower<ToyEvent>;
  recordingView: RecordingView;
  troubles: string[];
} {
  const recordingView = new RecordingView();
  const troubles: string[] = [];
  const follower = new Follower<ToyEvent>({
    topic: "toys",
    partitions: 1,
    jobs: [toyJob()],
    views: [recordingView],
    prefix,
    redis: redis.connect(),
    clock: systemClock,
    pollMs: 5,
    onTrouble: (message) => troubles.push(message),
    ...more,
  });
  running.push(follower);
  return { follower, recordingView, troubles };
}

/** A clock that never shows the same time twice. */
function strictClock(): Clock {
  let reading = 0;
  return { now: () => ++reading };
}

describe("a follower", () => {
  it("is filled from the states, then follows the commits", async () => {
    const keys = toyKeys(prefix);
    const runner = run();
    const many = Array.from({ length: 1_500 }, (_, i) => ({ key: `k${i}`, units: i }));
    await append(client, keys, [{ clockMs: T0, events: [...many, { key: "a", units: 5, word: "emit" }] }]);
    await seen(client, keys, 1);
    await runner.stop();
    const { follower, recordingView } = follow();
    await follower.start();
    expect(recordingView.units.size).toBe(1_501);
    expect(recordingView.units.get("k1499")).toBe(1_499);
    expect(recordingView.updates.every(([, sinceMs]) => sinceMs === 0)).toBe(true);
    expect(follower.lagEntries()).toBe(0);
    run();
    await append(client, keys, [
      {
        clockMs: T0 + 9,
        events: [
          { key: "a", units: 2 },
          { key: "new", units: 1 },
        ],
      },
    ]);
    await until(() => recordingView.units.get("new") === 1, "the news");
    expect(recordingView.units.get("a")).toBe(7);
    expect(recordingView.updates.slice(1_501)).toEqual([
      ["a", T0 + 9],
      ["new", T0 + 9],
    ]);
    // Emits from before its start are not published.
    expect(recordingView.emits).toEqual([]);
  });

  it("removes the keys that a job clears", async () => {
    const keys = toyKeys(prefix);
    const { follower, recordingView } = follow();
    await follower.start();
    run();
    await append(client, keys, [{ clockMs: T0, events: [{ key: "a" }, { key: "b" }, { key: "c" }] }]);
    await until(() => recordingView.units.size === 3, "all keys");
    await append(client, keys, [{ clockMs: T0, events: [{ key: "a", word: "clear" }] }]);
    await until(() => !recordingView.units.has("a"), "the end of a");
    expect([...recordingView.units.keys()]).toEqual(["b", "c"]);
  });

  it("publishes each emit once, however the commits are cut", async () => {
    const keys = toyKeys(prefix);
    const { follower, recordingView } = follow();
    await follower.start();
    run();
    for (let i = 0; i < 300; i++) {
      await append(client, keys, [{ clockMs: T0 + i, events: [{ key: i % 3 ? "a" : "", word: "emit" }] }]);
      if (i % 50 === 0) await sleep(10);
    }
    await until(() => recordingView.emits.length >= 200, "all emits");
    await sleep(30);
    const offsets = recordingView.emits.map(({ payload }) => (payload as { at: number }).at);
    expect(offsets).toEqual([...Array(300).keys()].filter((i) => i % 3).map((i) => i + 1));
  });

  it("reports how far the log is ahead, and is not fresh while no job runs", async () => {
    const keys = toyKeys(prefix);
    await append(
      client,
      keys,
      Array.from({ length: 7 }, () => ({ clockMs: T0, events: [{ key: "a" }] })),
    );
    const { follower, recordingView } = follow();
    await follower.start();
    expect(follower.lagEntries()).toBe(7);
    expect(follower.asOf()).toBe(0);
    run();
    await until(() => follower.asOf() > 0, "freshness");
    expect(recordingView.units.get("a")).toBe(7);
    expect(follower.lagEntries()).toBe(0);
  });

  it("has the age of its least fresh partition", async () => {
    run(0);
    await append(client, toyKeys(prefix, 1), [{ clockMs: T0, events: [{ key: "a" }] }]);
    const { follower } = follow({ partitions: 2 });
    await follower.start();
    await until(() => follower.freshAsOf(0) > 0, "partition 0");
    expect(follower.freshAsOf(1)).toBe(0);
    expect(follower.asOf()).toBe(0);
    expect(follower.freshAsOf(7)).toBe(0);
    run(1);
    await until(() => follower.asOf() > 0, "both");
  });

  it("never reports a time at which the log held more than its views include", async () => {
    const keys = toyKeys(prefix);
    const clock = strictClock();
    const random = seededRandom(11);
    const { follower, recordingView } = follow({ clock, pollMs: 5 });
    await follower.start();
    run();
    const written: [doneMs: number, units: number][] = [];
    let units = 0;
    let checks = 0;
    for (let i = 0; i < 400; i++) {
      units++;
      await append(client, keys, [{ clockMs: T0 + i, events: [{ key: "a", units: 1 }] }]);
      written.push([clock.now(), units]);
      if (random.below(4) === 0) await sleep(random.below(8));
      const asOf = follower.asOf();
      const shownUnits = recordingView.units.get("a") ?? 0;
      const expectedUnits = written.findLast(([doneMs]) => doneMs < asOf)?.[1] ?? 0;
      expect(shownUnits).toBeGreaterThanOrEqual(expectedUnits);
      if (expectedUnits > 0) checks++;
    }
    expect(checks).toBeGreaterThan(100);
    const nowMs = clock.now();
    await until(() => follower.asOf() > nowMs, "the end");
    expect(recordingView.units.get("a")).toBe(400);
  });

  it("uses the monotonic clock: a wall clock that is set forward and back makes its views neither fresh nor of the future", async () => {
    const keys = toyKeys(prefix);
    const runner = run();
    const { follower } = follow({ pollMs: 5 });
    await follower.start();
    await until(() => follower.asOf() > 0, "the first read");
    const wall = vi.spyOn(Date, "now");
    const trueNow = () => Math.floor(performance.timeOrigin + performance.now());
    try {
      wall.mockImplementation(() => trueNow() + 2 * HOUR_MS);
      await until(() => follower.asOf() > trueNow() + HOUR_MS, "a read by the clock set forward");
      await runner.stop();
      await append(client, keys, [{ clockMs: T0, events: [{ key: "late" }] }]);
      await until(() => follower.lagEntries() === 1, "the entry that no owner commits");
      wall.mockImplementation(trueNow);
      const setBackMs = trueNow();
      expect(follower.asOf()).toBeLessThanOrEqual(trueNow());
      wall.mockImplementation(() => trueNow() - 2 * HOUR_MS);
      const agedMs = follower.ageMs(0);
      expect(agedMs).toBeGreaterThanOrEqual(0);
      await until(() => follower.oldestAgeMs() > agedMs, "the views still grow older");
      expect(follower.asOf()).toBeLessThanOrEqual(setBackMs - 2 * HOUR_MS);
      run();
      await until(() => follower.lagEntries() === 0 && follower.ageMs(0) < agedMs, "the jobs go on");
      expect(follower.asOf()).toBeLessThanOrEqual(Date.now());
    } finally {
      wall.mockRestore();
    }
  });

  it("states by the server's clock how far its views are complete, however this machine's clock is set", async () => {
    let aheadMs = 0;
    const { follower } = follow({ clock: { now: () => systemClock.now() + aheadMs }, pollMs: 5 });
    expect(follower.completeAsOf(0)).toBe(0);
    run();
    const serverMs = async () => {
      const [seconds, micros] = await client.time();
      return Number(seconds) * 1_000 + Number(micros) / 1_000;
    };
    await follower.start();
    for (aheadMs of [0, -2 * HOUR_MS, 2 * HOUR_MS]) {
      const beginMs = await serverMs();
      await until(() => follower.completeAsOf(0) > beginMs, "the views go on");
      expect(follower.completeAsOf()).toBeLessThanOrEqual(await serverMs());
    }
  });

  it.each([0, 1])(
    "that has fallen behind the trimming starts from the states again (%i commits left)",
    async (left) => {
      const keys = toyKeys(prefix);
      run();
      await append(client, keys, [{ clockMs: T0, events: [{ key: "a", word: "emit" }, { key: "removed" }] }]);
      await seen(client, keys, 1);
      const { follower, recordingView, troubles } = follow({ pollMs: 400 });
      await follower.start();
      expect([...recordingView.units.keys()].sort()).toEqual(["a", "removed"]);
      await sleep(20);
      for (let i = 0; i < 5; i++) {
        const events: ToyWords[] = [{ key: "a" }, { key: `b${i}`, word: "emit" }];
        if (i === 0) events.push({ key: "removed", word: "clear" });
        await append(client, keys, [{ clockMs: T0, events }]);
        await seen(client, keys, i + 2);
      }
      await client.xtrim(keys.out, "MAXLEN", left);
      await until(() => recordingView.units.get("a") === 6, "the states");
      expect([...recordingView.units.keys()].sort()).toEqual(["a", "b0", "b1", "b2", "b3", "b4"]);
      await append(client, keys, [{ clockMs: T0, events: [{ key: "b9", word: "emit" }] }]);
      await until(() => recordingView.units.has("b9"), "what follows");
      // Emits that were trimmed unseen are lost to it; none comes twice.
      expect(recordingView.emits.map(({ key }) => key)).toEqual(["b9"]);
      expect(troubles).toEqual([]);
    },
  );

  it("agrees with the states when it is filled while jobs commit", async () => {
    const keys = toyKeys(prefix);
    run();
    const random = seededRandom(5);
    const totals = new Map<string, number>();
    const write = async () => {
      const events = Array.from({ length: 20 }, () => ({ key: `k${random.below(2_000)}`, units: 1 + random.below(3) }));
      for (const { key, units } of events) totals.set(key, (totals.get(key) ?? 0) + units);
      await append(client, keys, [{ clockMs: T0, events }]);
    };
    for (let i = 0; i < 100; i++) await write();
    const late = [1, 2, 3, 4].map(() => follow());
    for (let i = 0; i < 100; i++) {
      await write();
      if (i % 20 === 10) await Promise.race([late[(i - 10) / 20]?.follower.start(), sleep(0)]);
    }
    const nowMs = systemClock.now();
    for (const { follower, recordingView } of late) {
      await until(() => follower.asOf() > nowMs, "freshness");
      expect(new Map([...recordingView.units].sort())).toEqual(new Map([...totals].sort()));
    }
  });

  it("publishes no emit twice when one partition fails and another is slow", async () => {
    for (const p of [0, 1]) run(p);
    let trouble = false;
    const real = redis.connect();
    // Partition 0 fails at once, partition 1 answers late.
    const bad = new Proxy(real, {
      get(target, name) {
        const found = Reflect.get(target, name);
        if (typeof found !== "function" || !["hmget", "fcall", "xreadBuffer"].includes(String(name))) return found;
        return async (...args: unknown[]) => {
          const isFirst = args.some((arg) => typeof arg === "string" && arg.includes(":00}"));
          if (trouble && isFirst) throw new Error("away");
          const reply = await found.apply(target, args);
          if (trouble) await sleep(1_300);
          return reply;
        };
      },
    });
    const { follower, recordingView, troubles } = follow({ partitions: 2, redis: bad as RedisClient });
    await follower.start();
    trouble = true;
    await sleep(50);
    await append(client, toyKeys(prefix, 1), [{ clockMs: T0, events: [{ key: "a", word: "emit" }] }]);
    await until(() => recordingView.emits.length > 0, "the emit");
    await sleep(1_500);
    expect(recordingView.emits).toHaveLength(1);
    expect(troubles[0]).toContain("away");
    trouble = false;
  });

  it("publishes the others when one state cannot be read, and reports which", async () => {
    const keys = toyKeys(prefix);
    await append(client, keys, [{ clockMs: T0, events: [{ key: "bad" }, { key: "good", units: 4 }] }]);
    const runner = run();
    await seen(client, keys, 1);
    await runner.stop();
    await client.hset(keys.state("toy.1"), "bad", "");
    const { follower, recordingView, troubles } = follow();
    await follower.start();
    expect([...recordingView.units]).toEqual([["good", 4]]);
    expect(troubles[0]).toContain("bad");
    await follower.stop();
  });

  it("stops at once, and may be stopped before it was started", async () => {
    const { follower } = follow({ pollMs: 60_000 });
    await follower.start();
    await follower.stop();
    await follow().follower.stop();
  });
});
