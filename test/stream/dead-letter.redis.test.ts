/**
 * Dead letters in a real Redis: what becomes one, how the task continues, and what a replay does. The job here adds
 * numbers up, so that an event that is processed late leaves the same state as one processed in order: when the fault
 * is repaired and everything has been replayed, the state must be that of a task without failures, byte for byte, and
 * everything must have been emitted once.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import {
  countDeadLetters,
  DEAD_LETTERS_LIMIT,
  listDeadLetters,
  readDeadLetters,
  removeDeadLetters,
  requestedReplays,
  requestReplay,
  type StoredDeadLetter,
  trimDeadLetters,
} from "../../engine/stream/dead-letter.js";
import type { Job } from "../../engine/stream/job.js";
import { decodeState, encodeState } from "../../engine/stream/pack.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { Runner, type RunnerOptions } from "../../engine/stream/runner.js";
import { onCluster, withRedis } from "../redis/with-redis.js";
import { Wire } from "./proxy.js";
import { Store, type ToyEntry, type ToyEvent, type ToyWords, toyEntries, toyTopic } from "./toy.js";
import { append, deadLettersOf, emitsOf, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const T0 = 1_700_000_000_000;
const redis = withRedis();
let client: RedisClient;
let prefix = "";
let round = 0;
const runners: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `d${round++}`;
});
afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.stop()));
});

interface Sum {
  units: number;
  timers: number;
}
type Fault = "onEvent" | "key" | "timer" | "view" | "state" | "emit" | "everything";

/** Adds up. Fails on the words `poison` (an event) and `trap` (the timer it sets) as long as it has the fault. */
function adder(fault: Fault | undefined, name = "adder.1"): Job<ToyEvent, Sum> {
  return {
    name,
    key(event) {
      if (fault === "key" && event.word === "poison") throw new Error("bad key");
      return event.key;
    },
    initial: () => ({ units: 0, timers: 0 }),
    onEvent(state, event, context) {
      state.units += event.units ?? 1;
      if (event.word === "emit" || event.word === "poison")
        context.emit("added", { id: `${event.offset}/${event.index}` });
      if (event.word === "arm" || event.word === "trap") context.setTimer(event.clockMs + (event.inMs ?? 0));
      const isBad = event.word === "poison";
      if (isBad && event.inMs !== undefined) context.setTimer(event.clockMs + event.inMs);
      if (fault === "everything" || (fault === "onEvent" && isBad)) throw new Error("bad toy");
      if (fault === "state" && isBad) (state as unknown as Record<string, unknown>)["self"] = state;
      if (fault === "emit" && isBad) context.emit("bad", 2n ** 70n);
      if (fault === "view" && isBad) state.units = -1e9;
    },
    onTimer(state, atMs, context) {
      state.timers++;
      context.emit("rang", { atMs });
      if (fault === "timer") throw new Error("bad timer");
    },
    view(state) {
      if (fault === "view" && state.units < 0) throw new Error("bad view");
      return { ...state };
    },
  };
}

function run(more: Partial<RunnerOptions<ToyEvent>>, on = client): { runner: Runner<ToyEvent>; troubles: string[] } {
  const options = runnerOptions(on, redis.url, prefix, { tickMs: 20, ...more });
  const runner = new Runner(0, options);
  runners.push(runner);
  runner.start();
  return { runner, troubles: options.troubles };
}

const keys = () => toyKeys(prefix);
const listed = (): Promise<StoredDeadLetter[]> => listDeadLetters(client, keys(), "-", 100_000);
const ids = async (): Promise<string[]> => (await listed()).map(({ id }) => id);

const request = (which: readonly string[]): Promise<void> =>
  requestReplay(
    client,
    keys(),
    which.map((id, offset) => ({ id, offset })),
  );

/** Requests a replay of dead letters, and waits until it is done. */
async function replayed(which: readonly string[]): Promise<void> {
  await request(which);
  await until(async () => (await client.zcard(keys().deadRequests)) === 0, "the replay");
}

async function statesOf(job = "adder.1"): Promise<Map<string, unknown>> {
  const all = (await client.hgetallBuffer(keys().state(job))) as Record<string, Buffer>;
  return new Map(
    Object.entries(all)
      .map(([key, bytes]): [string, unknown] => [key, decodeState(bytes)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** What a job without a fault would have left. */
async function unhurt(entries: readonly ToyEntry[]): Promise<Map<string, unknown>> {
  const store = new Store();
  // The store's jobs are toys; this one asks no more of them.
  await store.run([adder(undefined) as unknown as Job<ToyEvent, never>], toyEntries(entries));
  return new Map(
    [...(store.states.get("adder.1") ?? [])]
      .map(([key, bytes]): [string, unknown] => [key, decodeState(bytes)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

const emittedIds = async (): Promise<string[]> =>
  (await emitsOf(client, keys())).map(({ payload }) => String((payload as { id?: string }).id ?? ""));

/** Seeded events, some of them poison. */
function history(seed: number, count: number): ToyEntry[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i) => ({
    clockMs: T0 + i * 100,
    events: Array.from(
      { length: random.below(5) },
      (): ToyWords => ({
        key: `k${random.below(6)}`,
        units: 1 + random.below(9),
        word: random.pick(["emit", "emit", "emit", "emit", "poison"] as const),
      }),
    ),
  }));
}

describe("a job that throws", () => {
  const words: ToyWords[] = [
    { key: "a", units: 1 },
    { key: "a", units: 10, word: "poison" },
    { key: "a", units: 100, word: "emit" },
    { key: "b", units: 5, word: "poison", inMs: 9_000 },
  ];
  const entries: ToyEntry[] = [
    { clockMs: T0, events: [{ key: "a", units: 1_000 }] },
    { clockMs: T0 + 1, events: words },
    { clockMs: T0 + 2, events: [{ key: "b", units: 7 }] },
  ];

  it.each([
    ["on an event", "onEvent", "bad toy"],
    ["in key()", "key", "bad key"],
    ["in view()", "view", "bad view"],
    ["by a state that cannot be stored", "state", "Maximum call stack"],
    ["by an emit that cannot be sent", "emit", ""],
  ] as const)(
    "%s leaves a letter with the entry's bytes and nothing else, and a replay without the fault makes good for it",
    async (_, fault, reason) => {
      await append(client, keys(), entries);
      const hurt = run({ jobs: [adder(fault)] });
      await seen(client, keys(), 3, ["adder.1"]);
      await hurt.runner.stop();
      const deadLetters = await deadLettersOf(client, keys());
      expect(deadLetters.map(({ offset, index, job, tries }) => [offset, index, job, tries])).toEqual([
        [2, 1, "adder.1", 1],
        [2, 3, "adder.1", 1],
      ]);
      for (const deadLetter of deadLetters) {
        expect(deadLetter.reason).toContain(reason);
        expect(deadLetter.fields.map(String)).toEqual(toyEntries(entries)[1]?.fields.map(String));
      }
      expect(await statesOf()).toEqual(
        new Map([
          ["a", { units: 1_101, timers: 0 }],
          ["b", { units: 7, timers: 0 }],
        ]),
      );
      expect(await emittedIds()).toEqual(["2/2"]);
      expect(await client.zcard(keys().timers)).toBe(0);
      expect(hurt.troubles.filter((trouble) => trouble.includes("starting over"))).toEqual([]);

      run({ jobs: [adder(undefined)] });
      await replayed(await ids());
      expect(await statesOf()).toEqual(await unhurt(entries));
      expect((await emittedIds()).sort()).toEqual(["2/1", "2/2", "2/3"]);
      expect(await client.zrange(keys().timers, "0", "-1", "WITHSCORES")).toEqual([
        "adder.1\u001fb",
        String(T0 + 1 + 9_000),
      ]);
      expect(await countDeadLetters(client, keys())).toEqual({ deadLetters: 0, bytes: 0 });
      expect(await client.exists(keys().deadEntries, keys().deadRequests)).toBe(0);
    },
  );

  it("after it has set a timer leaves no timer either: neither a new one, nor another time for the old", async () => {
    await append(client, keys(), [
      {
        clockMs: T0,
        events: [
          { key: "a", word: "arm", inMs: 500 },
          { key: "a", word: "poison", inMs: 50 },
          { key: "b", word: "poison", inMs: 50 },
        ],
      },
      { clockMs: T0 + 100, events: [{ key: "c" }] },
      { clockMs: T0 + 1_000, events: [{ key: "c" }] },
    ]);
    run({ jobs: [adder("onEvent")] });
    await seen(client, keys(), 3, ["adder.1"]);
    expect((await emitsOf(client, keys())).map(({ kind, key, payload }) => [kind, key, payload])).toEqual([
      ["rang", "a", { atMs: T0 + 500 }],
    ]);
    expect(await client.zcard(keys().timers)).toBe(0);
  });

  it("on its timer leaves a dead letter, and the replay fires the timer", async () => {
    const rings: ToyEntry[] = [
      { clockMs: T0, events: [{ key: "a", word: "trap", inMs: 50 }] },
      { clockMs: T0 + 100, events: [{ key: "b" }] },
    ];
    await append(client, keys(), rings);
    const hurt = run({ jobs: [adder("timer")] });
    await seen(client, keys(), 2, ["adder.1"]);
    await hurt.runner.stop();
    expect(await deadLettersOf(client, keys())).toEqual([
      { offset: 2, job: "adder.1", key: "a", timerMs: T0 + 50, reason: "bad timer", tries: 1, fields: [] },
    ]);
    run({ jobs: [adder(undefined)] });
    await replayed(await ids());
    expect(await statesOf()).toEqual(await unhurt(rings));
    expect((await emitsOf(client, keys())).map(({ kind, payload }) => [kind, payload])).toEqual([
      ["rang", { atMs: T0 + 50 }],
    ]);
    expect(await listed()).toEqual([]);
  });

  it("on its own stored state loses that key's events only; the bytes stay until they are repaired", async () => {
    await append(client, keys(), entries.slice(0, 1));
    const first = run({ jobs: [adder(undefined)] });
    await seen(client, keys(), 1, ["adder.1"]);
    await first.runner.stop();
    const damaged = Buffer.from("81a5756e", "hex");
    await client.hset(keys().state("adder.1"), "a", damaged);
    await append(client, keys(), entries.slice(1));
    const second = run({ jobs: [adder(undefined)] });
    await seen(client, keys(), 3, ["adder.1"]);
    const deadLetters = await deadLettersOf(client, keys());
    expect(deadLetters.map(({ index, key }) => [index, key])).toEqual([
      [0, "a"],
      [1, "a"],
      [2, "a"],
    ]);
    expect(deadLetters[0]?.reason).toContain("its stored state cannot be read");
    expect(await client.hgetBuffer(keys().state("adder.1"), "a")).toEqual(damaged);
    expect(decodeState((await client.hgetBuffer(keys().state("adder.1"), "b")) as Buffer)).toEqual({
      units: 12,
      timers: 0,
    });
    expect(second.troubles.filter((trouble) => trouble.includes("starting over"))).toEqual([]);
    // A replay before the repair changes nothing but the number of tries.
    await replayed(await ids());
    expect((await listed()).map(({ tries }) => tries)).toEqual([2, 2, 2]);
    await client.hset(keys().state("adder.1"), "a", encodeState({ units: 1_000, timers: 0 }));
    await replayed(await ids());
    expect(await statesOf()).toEqual(await unhurt(entries));
    expect(await listed()).toEqual([]);
  });
});

describe("a replay", () => {
  it("that fails again leaves the dead letter under a new id, with one more try and the new reason", async () => {
    await append(client, keys(), [{ clockMs: T0, events: [{ key: "a", word: "poison" }] }]);
    run({ jobs: [adder("onEvent")] });
    await seen(client, keys(), 1, ["adder.1"]);
    const [first] = await listed();
    const bytes = (await countDeadLetters(client, keys())).bytes;
    await replayed([first?.id ?? ""]);
    const [second] = await listed();
    expect(second).toMatchObject({ tries: 2, was: first?.id, first: first?.id, reason: "bad toy" });
    await replayed([second?.id ?? ""]);
    const [third, ...more] = await readDeadLetters(client, keys(), await ids());
    expect(more).toEqual([]);
    expect(third).toMatchObject({ tries: 3, was: second?.id, first: first?.id });
    expect(third?.fields.map(String)).toEqual(["t", String(T0), "e", expect.stringContaining("poison")]);
    expect((await countDeadLetters(client, keys())).bytes).toBe(bytes);
    expect(await statesOf()).toEqual(new Map());
  });

  it("of an entry that could not be decoded passes it to all jobs whose cursor is past it", async () => {
    await append(client, keys(), [{ clockMs: T0, events: [{ key: "a" }] }]);
    await append(client, keys(), [
      {
        clockMs: T0 + 1,
        events: [
          { key: "a", units: 5, word: "poison" },
          { key: "b", units: 6 },
        ],
      },
    ]);
    const blind = toyTopic({
      decode(entry) {
        if (entry.offset === 2) throw new Error("version 2");
        return toyTopic().decode(entry);
      },
    });
    const jobs = [adder("onEvent"), adder(undefined, "other.1")];
    const hurt = run({ topic: blind, jobs });
    await seen(client, keys(), 2, ["adder.1", "other.1"]);
    // Still not decodable: the dead letter stays unchanged.
    await replayed(await ids());
    expect(await listed()).toMatchObject([{ offset: 2, reason: "version 2", tries: 2 }]);
    await hurt.runner.stop();
    run({ jobs });
    await replayed(await ids());
    // One of the jobs fails on one of the events: a dead letter about that remains.
    expect(await listed()).toMatchObject([{ offset: 2, index: 0, job: "adder.1", tries: 3, reason: "bad toy" }]);
    expect(await statesOf()).toEqual(
      new Map([
        ["a", { units: 1, timers: 0 }],
        ["b", { units: 6, timers: 0 }],
      ]),
    );
    expect(await statesOf("other.1")).toEqual(
      new Map([
        ["a", { units: 6, timers: 0 }],
        ["b", { units: 6, timers: 0 }],
      ]),
    );
  });

  it("of a job that this version does not have states that, and of a removed dead letter is dropped", async () => {
    await append(client, keys(), [{ clockMs: T0, events: [{ key: "a", word: "poison" }] }]);
    const old = run({ jobs: [adder("onEvent", "adder.0")] });
    await seen(client, keys(), 1, ["adder.0"]);
    await old.runner.stop();
    run({ jobs: [adder(undefined)] });
    await seen(client, keys(), 1, ["adder.1"]);
    await replayed([...(await ids()), "5-5"]);
    expect(await listed()).toMatchObject([{ job: "adder.0", tries: 2, reason: "this version has no job adder.0" }]);
  });

  it("moves neither cursors nor the watermark, in a quiet partition and in a busy one", async () => {
    const entries = history(11, 40);
    await append(client, keys(), entries);
    const hurt = run({ jobs: [adder("onEvent")] });
    await seen(client, keys(), 40, ["adder.1"]);
    await hurt.runner.stop();
    const before = await readTask(client, keys());
    const quiet = run({ jobs: [adder(undefined)] });
    const all = await ids();
    await replayed(all.slice(0, 1));
    expect(await readTask(client, keys())).toMatchObject({
      watermarkMs: before.watermarkMs,
      cursors: before.cursors,
      commit: before.commit + 1,
    });
    await request(all.slice(1));
    const more = history(12, 200);
    for (let i = 0; i < more.length; i += 10) await append(client, keys(), more.slice(i, i + 10));
    await seen(client, keys(), 240, ["adder.1"]);
    await until(async () => (await client.zcard(keys().deadRequests)) === 0, "the replay");
    expect(await statesOf()).toEqual(await unhurt([...entries, ...more]));
    expect(await listed()).toEqual([]);
    expect(quiet.troubles).toEqual([]);
  });

  it.skipIf(onCluster)(
    "is applied once though answers are lost and owners freeze around its commit, and gives out everything once",
    async () => {
      const entries = history(618, 400);
      await append(client, keys(), entries);
      const hurt = run({ jobs: [adder("onEvent")] });
      await seen(client, keys(), 400, ["adder.1"]);
      await hurt.runner.stop();
      const deadLetters = await ids();
      expect(deadLetters.length).toBeGreaterThan(100);

      const wire = new Wire(() => redis.socketPath);
      let commits = 0;
      wire.loses = (request) => request.includes("task_commit") && commits++ % 2 === 0;
      await wire.open();
      const working = connect({ url: wire.path });
      const jobs = [adder(undefined)];
      const first = run({ jobs, owner: "first", leaseMs: 300 }, working);
      await request(deadLetters.slice(0, 60));
      await until(async () => (await client.zcard(keys().deadRequests)) === 0, "the replay over a bad wire");
      expect(wire.lost).toBeGreaterThan(0);
      // The first freezes during a replay; the second takes over and replays the same dead letters; then the first
      // continues.
      await until(() => first.runner.stats.owned, "the first to own the partition");
      await until(
        () =>
          working.ping().then(
            () => true,
            () => false,
          ),
        "its connection",
      );
      wire.loses = () => false;
      wire.fallSilent();
      await request(deadLetters.slice(60));
      const second = run({ jobs, owner: "second", leaseMs: 300 });
      await until(async () => (await client.zcard(keys().deadRequests)) === 0, "the second's replay");
      wire.speak();
      await sleep(200);
      await Promise.all(runners.splice(0).map((runner) => runner.stop()));
      working.disconnect();
      await wire.close();
      expect(second.runner.stats.commits).toBeGreaterThan(0);
      expect(await statesOf()).toEqual(await unhurt(entries));
      const emitted = await emittedIds();
      expect(new Set(emitted).size).toBe(emitted.length);
      expect(emitted.length).toBe(
        entries.flatMap(({ events }) => events).filter(({ word }) => word === "emit" || word === "poison").length,
      );
      expect(await countDeadLetters(client, keys())).toEqual({ deadLetters: 0, bytes: 0 });
    },
  );
});

describe("a job that throws on everything", () => {
  const crowd = (n: number): ToyWords[] => Array.from({ length: n }, (_, i) => ({ key: `k${i % 10}`, word: "poison" }));

  it("takes a moment for 1,000 events of one entry, whose bytes are stored once", async () => {
    await append(client, keys(), [{ clockMs: T0, events: crowd(1_000) }]);
    const failing = adder("everything");
    let calls = 0;
    const job: Job<ToyEvent, Sum> = {
      ...failing,
      onEvent(...given) {
        calls++;
        failing.onEvent(...given);
      },
    };
    run({ jobs: [job] });
    await seen(client, keys(), 1, ["adder.1"]);
    const kept = await countDeadLetters(client, keys());
    expect(kept.deadLetters).toBe(1_000);
    expect(kept.bytes).toBeLessThan(100_000);
    // Once until the first failure, and once in isolated mode.
    expect(calls).toBeLessThanOrEqual(1_001);
  });

  it("stops its partition when there are too many dead letters, reports it, loses nothing, and continues when they are removed", async () => {
    const entries = Array.from({ length: 14 }, (_, i) => ({ clockMs: T0 + i, events: crowd(1_000) }));
    await append(client, keys(), entries);
    let isBroken = true;
    const mended = adder(undefined);
    const job: Job<ToyEvent, Sum> = {
      ...mended,
      onEvent(state, event, context) {
        if (isBroken) throw new Error("bad deploy");
        mended.onEvent(state, event, context);
      },
    };
    const { troubles, runner } = run({ jobs: [job] });
    await until(() => troubles.some((trouble) => trouble.includes("too many dead letters")), "the stop");
    expect((await countDeadLetters(client, keys())).deadLetters).toBe(DEAD_LETTERS_LIMIT);
    expect((await readTask(client, keys())).cursors.get("adder.1")).toBe(10);
    await sleep(100);
    expect(runner.stats).toMatchObject({ owned: true, offset: 10 });
    isBroken = false;
    // It still replays while it is stopped, and continues by itself.
    const all = await ids();
    const elapsed = stopwatch();
    await replayed(all);
    console.info(`${all.length} letters replayed in ${Math.round(elapsed())} ms`);
    await seen(client, keys(), 14, ["adder.1"]);
    expect(await statesOf()).toEqual(await unhurt(entries));
    expect(await listed()).toEqual([]);
  });
});

describe("dead letters", () => {
  async function three(): Promise<string[]> {
    await append(client, keys(), [
      {
        clockMs: T0,
        events: [
          { key: "a", word: "poison" },
          { key: "b", word: "poison" },
        ],
      },
      { clockMs: T0, events: [{ key: "c", word: "poison" }] },
    ]);
    const { runner } = run({ jobs: [adder("onEvent")] });
    await seen(client, keys(), 2, ["adder.1"]);
    await runner.stop();
    return ids();
  }

  it("are removed with their entry when no other needs it", async () => {
    const [a = "", b = "", c = ""] = await three();
    const whole = (await countDeadLetters(client, keys())).bytes;
    expect(await removeDeadLetters(client, keys(), [a, "7-7"])).toEqual([true, false]);
    expect((await countDeadLetters(client, keys())).bytes).toBe(whole);
    expect((await readDeadLetters(client, keys(), [b]))[0]?.fields).toHaveLength(4);
    expect(await removeDeadLetters(client, keys(), [b])).toEqual([true]);
    const rest = await countDeadLetters(client, keys());
    expect(rest.deadLetters).toBe(1);
    expect(rest.bytes).toBeGreaterThan(0);
    expect(rest.bytes).toBeLessThan(whole);
    await request([c]);
    expect(await removeDeadLetters(client, keys(), [c])).toEqual([true]);
    expect(await countDeadLetters(client, keys())).toEqual({ deadLetters: 0, bytes: 0 });
    expect(await requestedReplays(client, keys(), 9)).toEqual([]);
    expect(await client.exists(keys().deadEntries, keys().deadRequests)).toBe(0);
  });

  it("are deleted at their age limit, and only then", async () => {
    const before = await three();
    expect(await trimDeadLetters(client, keys())).toBe(0);
    await sleep(30);
    const [seconds, micros] = await client.time();
    const nowMs = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    const youngest = Number.parseInt(before[2] ?? "", 10);
    // As old as the youngest: it stays, and what was written in the same millisecond.
    expect(await trimDeadLetters(client, keys(), nowMs - youngest + 5_000)).toBe(0);
    expect(await trimDeadLetters(client, keys(), 0)).toBe(3);
    expect(await countDeadLetters(client, keys())).toEqual({ deadLetters: 0, bytes: 0 });
  });
});
