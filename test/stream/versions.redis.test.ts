/**
 * Versions of a job's state on a real Redis: states are upgraded as they are read, a partition that a newer version has
 * written is never an older worker's, no partition stays without an owner for that, and a view without readable states
 * is stale, not wrong.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { acquireTask, loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { Follower } from "../../engine/stream/follower.js";
import type { Job } from "../../engine/stream/job.js";
import { JobIndex } from "../../engine/stream/job-index.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import { Worker } from "../../engine/stream/worker.js";
import { withRedis } from "../redis/with-redis.js";
import { type ToyEvent, type ToyState, toyJob, toyTopic } from "./toy.js";
import { append, deadLettersOf, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const T0 = 1_700_000_000_000;
const PARTITIONS = 2;
const redis = withRedis();
let client: RedisClient;
let prefix = "";
let round = 0;
const running: { stop(): Promise<unknown> }[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `v${round++}`;
});
afterEach(async () => {
  for (const part of running.splice(0).reverse()) await part.stop();
});

/** In version 2 units are counted tenfold. */
const secondPlain: Job<ToyEvent, ToyState> = {
  ...toyJob(),
  version: 2,
  upgrade: (old) => ({ ...(old as ToyState), units: 10 * (old as ToyState).units }),
  onEvent: (state, event, context) => toyJob().onEvent(state, { ...event, units: 10 * (event.units ?? 1) }, context),
};
const index: NonNullable<Job<ToyEvent, ToyState>["index"]> = ({ units }) => [{ name: "units", score: units }];
const first: Job<ToyEvent, ToyState> = { ...toyJob(), index };
const second: Job<ToyEvent, ToyState> = { ...secondPlain, index };

function work(owner: string, job: Job<ToyEvent, ToyState>): { worker: Worker<ToyEvent>; troubles: string[] } {
  const topic = toyTopic({ partitions: PARTITIONS });
  const options = runnerOptions(client, redis.url, prefix, { owner, topic, jobs: [job], leaseMs: 400, tickMs: 20 });
  const worker = new Worker(options);
  running.push(worker);
  worker.start();
  return { worker, troubles: options.troubles };
}

const owned = (worker: Worker<ToyEvent>): boolean[] => worker.stats().map((stats) => stats.owned);

async function add(key: string, units: number, partition: number): Promise<void> {
  const keys = toyKeys(prefix, partition);
  const offset = await append(client, keys, [{ clockMs: T0, events: [{ key, units }] }]);
  await seen(client, keys, offset);
}

const stored = async (partition: number, key: string): Promise<number> =>
  stateOf(second, key, (await client.hgetBuffer(toyKeys(prefix, partition).state("toy.1"), key)) as Buffer).units;

describe("a new version of a job", () => {
  it("upgrades a state when an event changes it, and rebuilds the index of all states", async () => {
    const { worker } = work("old", first);
    for (let p = 0; p < PARTITIONS; p++) await add("a", 1, p);
    for (let p = 0; p < PARTITIONS; p++) await add("b", 2, p);
    await worker.stop();
    work("new", second);
    for (let p = 0; p < PARTITIONS; p++) await add("a", 5, p);
    const entriesIn = new JobIndex(client, prefix, "toys", PARTITIONS, "toy.1");
    await until(async () => (await entriesIn.counts()).complete, "the index");
    for (let p = 0; p < PARTITIONS; p++) {
      expect(await stored(p, "a")).toBe(60);
      expect(await stored(p, "b")).toBe(20);
      expect((await readTask(client, toyKeys(prefix, p))).versions).toEqual(new Map([["toy.1", 2]]));
      expect(await deadLettersOf(client, toyKeys(prefix, p))).toEqual([]);
    }
    const { entries } = await entriesIn.page(10);
    expect(entries.map(({ key, score }) => `${key} ${score}`)).toEqual(["b 20", "b 20", "a 60", "a 60"]);
  });

  it("keeps its partitions from older workers, which keep theirs and leave the rest to the others", async () => {
    const old = work("a-old", first);
    await until(() => owned(old.worker).every(Boolean), "the old worker to own all");
    const fresh = work("b-new", second);
    await until(() => owned(fresh.worker).includes(true) && owned(old.worker).includes(true), "one partition each");
    const newer = owned(fresh.worker).indexOf(true);
    await add("a", 1, newer);
    await fresh.worker.stop();
    await until(() => old.worker.warnings().length > 0, "the refusal");
    expect(old.troubles.filter((text) => text.includes("too old"))).toHaveLength(1);
    expect(old.worker.warnings()[0]).toContain("toy.1 is of version 2; this release reads up to 1");
    await add("a", 1, 1 - newer);
    expect(owned(old.worker)[newer]).toBe(false);
    const again = work("b-new", second);
    await add("a", 1, newer);
    expect(owned(old.worker)[1 - newer]).toBe(true);
    await old.worker.stop();
    await add("a", 1, 1 - newer);
    expect(owned(again.worker)).toEqual([true, true]);
    expect(await stored(1 - newer, "a")).toBe(20);
  });

  it("is not disturbed by an older worker that starts anew: it never registers", async () => {
    const { worker } = work("new", second);
    for (let p = 0; p < PARTITIONS; p++) await add("a", 1, p);
    const changes = worker.stats().map(({ leaseChanges }) => leaseChanges);
    const old = work("old", first);
    await until(() => old.worker.warnings().length > 0, "the warning");
    for (let p = 0; p < PARTITIONS; p++) await add("a", 1, p);
    expect(worker.stats().map(({ leaseChanges }) => leaseChanges)).toEqual(changes);
    expect(owned(old.worker)).toEqual([false, false]);
    expect(old.troubles.filter((text) => text.includes("too old"))).toHaveLength(1);
  });

  it("does not start where the deployment's format does not allow its states", () => {
    const worker = new Worker(runnerOptions(client, redis.url, prefix, { jobs: [second], format: () => 2 }));
    expect(() => worker.start()).toThrow("needs format 3");
  });

  it("is refused by code when the lease is free", async () => {
    const { worker } = work("new", second);
    await add("a", 1, 0);
    await worker.stop();
    const versions = new Map([["toy.1", 1]]);
    await expect(acquireTask(client, toyKeys(prefix), "old", 400, "", versions)).rejects.toMatchObject({
      code: "newer_version",
      retryable: false,
    });
    const same = new Map([["toy.1", 2]]);
    expect(await acquireTask(client, toyKeys(prefix), "new", 400, "", same)).toHaveProperty("epoch");
  });
});

describe("views of an older version", () => {
  function follow(): { follower: Follower<ToyEvent>; units: Map<string, number>; troubles: string[] } {
    const units = new Map<string, number>();
    const troubles: string[] = [];
    const follower = new Follower<ToyEvent>({
      topic: "toys",
      partitions: PARTITIONS,
      jobs: [toyJob()],
      views: [{ job: "toy.1", onView: (key, view) => void units.set(key, (view as { units: number }).units) }],
      prefix,
      redis: client,
      clock: systemClock,
      pollMs: 5,
      onTrouble: (message) => troubles.push(message),
    });
    running.push(follower);
    return { follower, units, troubles };
  }

  it("follow the commits of a newer version, and are stale when they must start from its states", async () => {
    const { worker } = work("old", toyJob());
    const before = follow();
    await before.follower.start();
    await add("a", 1, 0);
    await worker.stop();
    work("new", secondPlain);
    await add("a", 5, 0);
    await until(() => before.units.get("a") === 60, "the view");
    expect(before.follower.warnings()).toEqual([]);

    const after = follow();
    await after.follower.start();
    expect(after.units.size).toBe(0);
    expect(after.follower.freshAsOf(0)).toBe(0);
    expect(after.follower.warnings()).toEqual([expect.stringContaining("toys/0")]);
    expect(after.troubles).toEqual([expect.stringContaining("reads up to 1")]);
    // Its figures are those of the task all the same.
    await until(() => after.follower.stats()[0]?.offset === 2, "the figures");
    await until(() => after.follower.freshAsOf(1) > 0, "the other partition");
  });
});
