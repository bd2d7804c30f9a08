/**
 * Dead letters in a real Redis: what becomes one, how the task continues, and what a replay does. The job here adds
 * numbers up, so that an event that is processed late leaves the same state as one processed in order: when the fault
 * is repaired and everything has been replayed, the state must be that of a task without failures, byte for byte, and
 * everything must have been emitted once. Replays have a file of their own.
 */
import { describe, expect, it } from "vitest";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { readTask } from "../../engine/stream/commit.js";
import {
  countDeadLetters,
  DEAD_LETTERS_LIMIT,
  readDeadLetters,
  removeDeadLetters,
  requestedReplays,
  trimDeadLetters,
} from "../../engine/stream/dead-letter.js";
import type { Job } from "../../engine/stream/job.js";
import { decodeState, encodeState } from "../../engine/stream/pack.js";
import {
  adder,
  client,
  emittedIds,
  ids,
  keys,
  listed,
  replayed,
  request,
  run,
  type Sum,
  statesOf,
  T0,
  withoutFault,
} from "./dead-letter-bed.js";
import { type ToyEntry, type ToyEvent, type ToyWords, toyEntries } from "./toy.js";
import { append, deadLettersOf, emitsOf, seen, until } from "./toy-log.js";

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
    "%s leaves only a dead letter with the entry's bytes, and a replay without the fault applies the event",
    async (_, fault, reason) => {
      await append(client, keys(), entries);
      const faulty = run({ jobs: [adder(fault)] });
      await seen(client, keys(), 3, ["adder.1"]);
      await faulty.runner.stop();
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
      expect(faulty.troubles.filter((trouble) => trouble.includes("starting over"))).toEqual([]);

      run({ jobs: [adder(undefined)] });
      await replayed(await ids());
      expect(await statesOf()).toEqual(await withoutFault(entries));
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
    const faulty = run({ jobs: [adder("timer")] });
    await seen(client, keys(), 2, ["adder.1"]);
    await faulty.runner.stop();
    expect(await deadLettersOf(client, keys())).toEqual([
      { offset: 2, job: "adder.1", key: "a", timerMs: T0 + 50, reason: "bad timer", tries: 1, fields: [] },
    ]);
    run({ jobs: [adder(undefined)] });
    await replayed(await ids());
    expect(await statesOf()).toEqual(await withoutFault(rings));
    expect((await emitsOf(client, keys())).map(({ kind, payload }) => [kind, payload])).toEqual([
      ["rang", { atMs: T0 + 50 }],
    ]);
    expect(await listed()).toEqual([]);
  });

  it("on its own stored state sets aside that key's events only; the bytes stay until they are repaired", async () => {
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
    expect(await statesOf()).toEqual(await withoutFault(entries));
    expect(await listed()).toEqual([]);
  });
});

describe("a job that throws on everything", () => {
  const crowd = (n: number): ToyWords[] => Array.from({ length: n }, (_, i) => ({ key: `k${i % 10}`, word: "poison" }));

  it("calls the job about once for each of 1,000 events of one entry, and stores its bytes once", async () => {
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
    console.info(`${all.length} dead letters replayed in ${Math.round(elapsed())} ms`);
    await seen(client, keys(), 14, ["adder.1"]);
    expect(await statesOf()).toEqual(await withoutFault(entries));
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
