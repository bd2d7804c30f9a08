/**
 * The runner against a real Redis under faults: connections killed while it works, replies to commits lost, owners that
 * freeze and continue, poison events, restarts. What a task leaves must equal, byte for byte, what one run without
 * faults over the same log leaves; `Store` computes that here without Redis.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { acceleratedClock, sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { acquireTask, loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { connect } from "../../engine/stream/redis.js";
import { Runner, type RunnerOptions } from "../../engine/stream/runner.js";
import { Worker } from "../../engine/stream/worker.js";
import { onCluster, withRedis } from "../redis/with-redis.js";
import { Wire } from "./proxy.js";
import { Store, type ToyEntry, type ToyEvent, type ToyWords, toyEntries, toyJob, toyTopic } from "./toy.js";
import { append, deadLettersOf, emitsOf, pictureOf, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const redis = withRedis();
type Client = ReturnType<typeof redis.connect>;
let client: Client;
let prefix = "";
let round = 0;
const runners: { stop(): Promise<void> }[] = [];
const T0 = 1_700_000_000_000;

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `t${round++}`;
});
afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.stop()));
});

function run(options: RunnerOptions<ToyEvent>): Runner<ToyEvent> {
  const runner = new Runner(0, options);
  runners.push(runner);
  runner.start();
  return runner;
}

/** Seeded entries with everything in them; the same for the same seed. */
function history(seed: number, count: number, poisonIn = 100): ToyEntry[] {
  const random = seededRandom(seed);
  let clockMs = T0;
  return Array.from({ length: count }, () => {
    clockMs += random.pick([0, 1, 300, 5_000]);
    const events = Array.from({ length: random.below(5) }, (): ToyWords => {
      const word = random.pick(["", "arm", "arm", "disarm", "emit", "late", "clear"] as const);
      const odd = random.below(poisonIn) === 0 ? random.pick(["poison", "trap"] as const) : word;
      return {
        key: `k${random.below(12)}`,
        units: 1 + random.below(5),
        inMs: random.below(9_000) - 500,
        again: random.below(3),
        ...(odd === "" ? {} : { word: odd }),
      };
    });
    return { clockMs, events };
  });
}

const quiet = async (entries: readonly ToyEntry[], jobs = [toyJob()]) =>
  (await new Store().run(jobs, toyEntries(entries))).picture();

describe("the state of a runner", () => {
  it("is exactly-once although every connection is killed repeatedly while it works", async () => {
    const entries = history(618, 600);
    const keys = toyKeys(prefix);
    const working = connect({ url: redis.url }) as Client;
    const options = runnerOptions(working, redis.url, prefix);
    const runner = run(options);
    let kills = 0;
    for (let i = 0; i < entries.length; i += 3) {
      await append(client, keys, entries.slice(i, i + 3));
      if (i % 36 === 0) {
        const killed = await redis.onEach((primary) =>
          primary.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
        );
        kills += (killed as number[]).reduce((sum, count) => sum + count);
      }
      await sleep(4);
    }
    await seen(client, keys, entries.length);
    await runner.stop();
    working.disconnect();
    expect(kills).toBeGreaterThan(10);
    expect(options.troubles.length).toBeGreaterThan(3);
    expect(await pictureOf(client, keys, ["toy.1"])).toEqual(await quiet(entries));
  });

  it.skipIf(onCluster)("is exactly-once although replies to commits are lost", async () => {
    const entries = history(20_260_618, 600);
    const keys = toyKeys(prefix);
    const wire = new Wire(() => redis.socketPath);
    let commits = 0;
    wire.loses = (request) => request.includes("task_commit") && commits++ % 3 === 1;
    await wire.open();
    const working = connect({ url: wire.path }) as Client;
    const options = runnerOptions(working, redis.url, prefix);
    const runner = run(options);
    for (let i = 0; i < entries.length; i += 20) {
      await append(client, keys, entries.slice(i, i + 20));
      await seen(client, keys, i + 20);
    }
    await runner.stop();
    working.disconnect();
    await wire.close();
    expect(wire.lost).toBeGreaterThan(5);
    // The runner repeats the commit; it does not start over.
    expect(options.troubles.filter((trouble) => trouble.includes("starting over"))).toEqual([]);
    expect(await pictureOf(client, keys, ["toy.1"])).toEqual(await quiet(entries));
  });

  it("after restarts from the last commit equals that of a run without", async () => {
    const entries = history(7, 600);
    const keys = toyKeys(prefix);
    for (let i = 0; i < entries.length; i += 100) {
      await append(client, keys, entries.slice(i, i + 100));
      const runner = run(runnerOptions(client, redis.url, prefix, { owner: `owner ${i}` }));
      // Stops before the end of the log.
      await seen(client, keys, i + 1);
      await runner.stop();
    }
    run(runnerOptions(client, redis.url, prefix));
    await seen(client, keys, entries.length);
    expect(await pictureOf(client, keys, ["toy.1"])).toEqual(await quiet(entries));
  });

  it("is the same when a job joins later and catches up beside the others", async () => {
    const entries = history(42, 400);
    const keys = toyKeys(prefix);
    await append(client, keys, entries.slice(0, 300));
    const alone = run(runnerOptions(client, redis.url, prefix));
    await seen(client, keys, 300);
    await alone.stop();
    run(runnerOptions(client, redis.url, prefix, { jobs: [toyJob(), toyJob("later.1")] }));
    await append(client, keys, entries.slice(300));
    await seen(client, keys, entries.length, ["toy.1", "later.1"]);
    const picture = (await pictureOf(client, keys, ["toy.1", "later.1"])) as { states: unknown; timers: unknown };
    const expected = (await quiet(entries, [toyJob(), toyJob("later.1")])) as typeof picture;
    expect(picture.states).toEqual(expected.states);
    expect(picture.timers).toEqual(expected.timers);
  });
});

describe("two workers of one partition", () => {
  it.skipIf(onCluster)(
    "never both commit: one that froze is rejected when it continues, and the state is that of one run",
    async () => {
      // No poison: the first worker must be stopped while it commits, not while it starts over.
      const entries = history(99, 500, 1e9);
      const keys = toyKeys(prefix);
      const wire = new Wire(() => redis.socketPath);
      await wire.open();
      const frozen = connect({ url: wire.path }) as Client;
      const first = runnerOptions(frozen, redis.url, prefix, { owner: "first", leaseMs: 500 });
      const second = runnerOptions(client, redis.url, prefix, { owner: "second", leaseMs: 500 });
      run(first);
      await append(client, keys, entries.slice(0, 100));
      await seen(client, keys, 100);
      run(second);
      wire.fallSilent();
      // The first reads and processes this and sends its commit, which does not arrive.
      await append(client, keys, entries.slice(100, 300));
      await seen(client, keys, 300);
      expect(await client.hget(keys.task, "owner")).toBe("second");
      wire.speak();
      await until(() => first.troubles.some((trouble) => trouble.includes("STALE_EPOCH")), "the refusal");
      await append(client, keys, entries.slice(300));
      await seen(client, keys, entries.length);
      await Promise.all(runners.splice(0).map((runner) => runner.stop()));
      frozen.disconnect();
      await wire.close();
      expect(await pictureOf(client, keys, ["toy.1"])).toEqual(await quiet(entries));
    },
  );

  it("share the partitions of a topic, and one takes over those of the other when it ends", async () => {
    const topic = toyTopic({ partitions: 4 });
    const workers = ["a", "b"].map(
      (owner) => new Worker(runnerOptions(client, redis.url, prefix, { owner, topic, leaseMs: 500 })),
    );
    runners.push(...workers);
    for (const worker of workers) worker.start();
    for (let p = 0; p < 4; p++) await append(client, toyKeys(prefix, p), [{ clockMs: T0, events: [{ key: "a" }] }]);
    for (let p = 0; p < 4; p++) await seen(client, toyKeys(prefix, p), 1);
    const owners = () => workers.map((worker) => worker.stats().filter(({ owned }) => owned).length);
    await until(() => owners().reduce((sum, count) => sum + count) === 4, "every partition owned once");
    await workers[0]?.stop();
    await until(() => owners()[1] === 4, "the other to take over");
    for (let p = 0; p < 4; p++) await append(client, toyKeys(prefix, p), [{ clockMs: T0, events: [{ key: "a" }] }]);
    for (let p = 0; p < 4; p++) await seen(client, toyKeys(prefix, p), 2);
  });
});

describe("what cannot be processed", () => {
  it("is stored once, and the partition continues", async () => {
    const keys = toyKeys(prefix);
    await append(client, keys, [
      { clockMs: T0, events: [{ key: "a" }, { key: "a", word: "poison" }, { key: "b", word: "poison" }] },
    ]);
    await client.xadd(keys.log, "2-0", "x", "y");
    await client.hset(keys.head, "offset", 2);
    await append(client, keys, [
      {
        clockMs: T0,
        events: [
          { key: "c", word: "trap" },
          { key: "c", word: "arm", inMs: 10 },
        ],
      },
      { clockMs: T0 + 10, events: [{ key: "a" }] },
    ]);
    const options = runnerOptions(client, redis.url, prefix);
    const runner = run(options);
    await seen(client, keys, 4);
    expect(
      (await deadLettersOf(client, keys)).map(({ offset, index, timerMs, reason }) => [
        offset,
        index ?? timerMs,
        reason,
      ]),
    ).toEqual([
      [1, 1, "bad toy"],
      [1, 2, "bad toy"],
      [2, undefined, "no time"],
      [4, T0 + 10, "bad timer"],
    ]);
    expect(options.troubles).toHaveLength(3);
    expect(runner.stats).toMatchObject({ offset: 4, deadLetters: 4, owned: true });
    await append(client, keys, [{ clockMs: T0 + 20, events: [{ key: "a" }] }]);
    await seen(client, keys, 5);
    expect(await deadLettersOf(client, keys)).toHaveLength(4);
  });
});

describe("trimming", () => {
  it("under load removes what all jobs have processed, and never what a job has not read", async () => {
    const keys = toyKeys(prefix);
    // Half a minute passes in 15 ms.
    const clock = { ...acceleratedClock(systemClock.now(), 2_000), sleep };
    const entries = history(3, 700, 1e9);
    const options = runnerOptions(client, redis.url, prefix, { clock, retentionMs: 1 });
    run(options);
    for (let i = 0; i < entries.length; i += 10) {
      await append(client, keys, entries.slice(i, i + 10));
      if (i % 100 === 0) await sleep(20);
    }
    await seen(client, keys, entries.length);
    await until(async () => (await client.xlen(keys.log)) < 200, "the trimming");
    expect(options.troubles).toEqual([]);
    const { states, timers } = (await pictureOf(client, keys, ["toy.1"])) as Record<string, unknown>;
    const expected = (await quiet(entries)) as Record<string, unknown>;
    expect(states).toEqual(expected["states"]);
    expect(timers).toEqual(expected["timers"]);
    await append(client, keys, [{ clockMs: T0 + 1e9, events: [{ key: "last", word: "emit" }] }]);
    await seen(client, keys, entries.length + 1);
    expect((await emitsOf(client, keys)).at(-1)).toMatchObject({ kind: "seen", key: "last" });
  });

  it("is detected when it has removed unread entries: the runner reports it and commits nothing", async () => {
    const keys = toyKeys(prefix);
    const first = run(runnerOptions(client, redis.url, prefix));
    await append(client, keys, history(5, 10));
    await seen(client, keys, 10);
    await first.stop();
    await append(client, keys, history(5, 10));
    await client.xtrim(keys.log, "MINID", "15-0");
    const options = runnerOptions(client, redis.url, prefix);
    run(options);
    await until(() => options.troubles.some((trouble) => trouble.includes("expected entry 11, found 15")), "the gap");
    expect((await readTask(client, keys)).cursors.get("toy.1")).toBe(10);
  });
});

describe("time in a quiet partition", () => {
  it("advances about once a tick", async () => {
    let ticks = 0;
    const topic = toyTopic({
      async tick() {
        ticks++;
      },
    });
    const elapsed = stopwatch();
    run(runnerOptions(client, redis.url, prefix, { topic, tickMs: 50 }));
    await until(() => ticks >= 6, "ticks");
    // The first at once; later than their time on a busy machine, and never sooner.
    expect(ticks).toBeLessThanOrEqual(1 + elapsed() / 50);
  });

  it("does not cost the lease", async () => {
    const options = runnerOptions(client, redis.url, prefix, { leaseMs: 1_500, tickMs: 20 });
    const runner = run(options);
    await until(() => runner.stats.owned, "the lease");
    const ends = new Set<unknown>();
    await until(async () => {
      ends.add(await client.hget(toyKeys(prefix).task, "until"));
      return ends.size === 4;
    }, "three renewals");
    expect(await acquireTask(client, toyKeys(prefix), "rival", 100)).toHaveProperty("heldForMs");
    expect(runner.stats.leaseChanges).toBe(1);
    expect(options.troubles).toEqual([]);
  });
});

describe("stopping", () => {
  /** A clock whose pauses end with the signal only. */
  const pausing = () => ({
    pauses: 0,
    now: () => systemClock.now(),
    sleep(_ms: number, signal?: AbortSignal): Promise<void> {
      this.pauses++;
      return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
    },
  });

  const connections = async () =>
    ((await redis.onEach((primary) => primary.call("CLIENT", "LIST"))) as string[]).join("").trim().split("\n").length;

  it("releases the lease at once, while it waits for entries", async () => {
    const before = await connections();
    let reading: Promise<unknown> | undefined;
    let committed = 0;
    const options = runnerOptions(client, redis.url, prefix, { leaseMs: 60_000, tickMs: 10_000 });
    const runner = run({
      ...options,
      async openReader(log) {
        const reader = await options.openReader(log);
        const read = reader.xreadBuffer.bind(reader) as (...given: unknown[]) => Promise<unknown>;
        // Waits without a limit: only closing the connection ends the read.
        const wait = (...given: unknown[]) =>
          read(...given.map((each, i) => (given[i - 1] === "BLOCK" ? 0 : each))) as Promise<never>;
        reader.xreadBuffer = ((...given: unknown[]) => {
          committed = runner.stats.commits;
          reading = wait(...given);
          return reading;
        }) as unknown as typeof reader.xreadBuffer;
        return reader;
      },
    });
    await append(client, toyKeys(prefix), [{ clockMs: T0, events: [{ key: "a" }] }]);
    await until(() => committed === 1, "the read after the commit");
    await runner.stop();
    await expect(reading).rejects.toThrow("Connection is closed");
    expect(runner.stats.owned).toBe(false);
    expect(await acquireTask(client, toyKeys(prefix), "two", 100)).toMatchObject({ epoch: 2, commit: 1 });
    await until(async () => (await connections()) === before, "the reader's connection to be closed");
  });

  it("is prompt while another owner has the lease", async () => {
    await acquireTask(client, toyKeys(prefix), "another", 60_000);
    const clock = pausing();
    const runner = run(runnerOptions(client, redis.url, prefix, { leaseMs: 60_000, clock }));
    await until(() => clock.pauses > 0, "the pause");
    await runner.stop();
    expect(await client.hget(toyKeys(prefix).task, "owner")).toBe("another");
  });

  it("is prompt in the pause after an error", async () => {
    const topic = toyTopic({ tick: () => Promise.reject(new Error("tick failed")) });
    const clock = pausing();
    const options = runnerOptions(client, redis.url, prefix, { topic, clock });
    const runner = run(options);
    await until(() => clock.pauses > 0, "the pause");
    expect(options.troubles.at(-1)).toContain("tick failed");
    await runner.stop();
  });

  it("may be called twice, before the start, and when Redis cannot be reached", async () => {
    const never = new Runner(0, runnerOptions(client, redis.url, prefix));
    await never.stop();
    const away = connect({ url: redis.away }) as Client;
    const options = runnerOptions(away, redis.away, prefix);
    const runner = run(options);
    await until(() => options.troubles.length > 0, "trouble");
    await Promise.all([runner.stop(), runner.stop()]);
    away.disconnect();
  });
});
