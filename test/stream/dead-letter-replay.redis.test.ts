/**
 * Replays of dead letters in a real Redis: what a replay changes, what it leaves unchanged, and that it is applied once
 * although replies are lost and owners are paused.
 */
import { describe, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { readClosings } from "../../engine/stream/closings.js";
import { readTask } from "../../engine/stream/commit.js";
import { countDeadLetters, readDeadLetters } from "../../engine/stream/dead-letter.js";
import { connect } from "../../engine/stream/redis.js";
import { onCluster } from "../redis/with-redis.js";
import {
  adder,
  client,
  emittedIds,
  history,
  ids,
  keys,
  listed,
  redis,
  replayed,
  request,
  run,
  runners,
  statesOf,
  T0,
  withoutFault,
} from "./dead-letter-bed.js";
import { Wire } from "./proxy.js";
import { toyTopic } from "./toy.js";
import { append, seen, until } from "./toy-log.js";

describe("a replay", () => {
  it("removes the key's closings since the event, which lack it, and no others", async () => {
    const PERIOD_MS = 10_000;
    const closings = { periodMs: PERIOD_MS, keptMs: 3_600_000 };
    const at = (period: number, key: string, word?: "poison") => ({
      clockMs: T0 + period * PERIOD_MS,
      events: [{ key, ...(word && { word }) }],
    });
    for (const each of [at(0, "a"), at(1, "a", "poison"), at(2, "a"), at(2, "b"), at(3, "a")])
      await append(client, keys(), [each]);
    const failing = run({ jobs: [{ ...adder("onEvent"), closings }] });
    await seen(client, keys(), 5, ["adder.1"]);
    const job = { ...adder(undefined), closings };
    const stored = async (key: string) => {
      const periods = [0, 1, 2, 3].map((period) => T0 / PERIOD_MS + period);
      return (await readClosings(client, keys(), job, periods, key)).map((closing) => closing !== undefined);
    };
    expect(await stored("a")).toEqual([true, false, true, true]);
    await failing.runner.stop();
    run({ jobs: [job] });
    await replayed(await ids());
    expect(await listed()).toEqual([]);
    expect(await stored("a")).toEqual([true, false, false, false]);
    expect(await stored("b")).toEqual([false, false, true, false]);
  });

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
    const faulty = run({ topic: blind, jobs });
    await seen(client, keys(), 2, ["adder.1", "other.1"]);
    // Still not decodable: the dead letter stays unchanged.
    await replayed(await ids());
    expect(await listed()).toMatchObject([{ offset: 2, reason: "version 2", tries: 2 }]);
    await faulty.runner.stop();
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
    const faulty = run({ jobs: [adder("onEvent")] });
    await seen(client, keys(), 40, ["adder.1"]);
    await faulty.runner.stop();
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
    expect(await statesOf()).toEqual(await withoutFault([...entries, ...more]));
    expect(await listed()).toEqual([]);
    expect(quiet.troubles).toEqual([]);
  });

  it.skipIf(onCluster)(
    "is applied once and emits everything once, although replies are lost and owners freeze around its commit",
    async () => {
      const entries = history(618, 400);
      await append(client, keys(), entries);
      const faulty = run({ jobs: [adder("onEvent")] });
      await seen(client, keys(), 400, ["adder.1"]);
      await faulty.runner.stop();
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
      await until(async () => (await client.zcard(keys().deadRequests)) === 0, "the replay over a faulty connection");
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
      expect(await statesOf()).toEqual(await withoutFault(entries));
      const emitted = await emittedIds();
      expect(new Set(emitted).size).toBe(emitted.length);
      expect(emitted.length).toBe(
        entries.flatMap(({ events }) => events).filter(({ word }) => word === "emit" || word === "poison").length,
      );
      expect(await countDeadLetters(client, keys())).toEqual({ deadLetters: 0, bytes: 0 });
    },
  );
});
