/**
 * Leases and commits in a real Redis: one owner at a time holds a partition, also after the server's clock has gone
 * back, and a commit is written as a whole, once, by the current owner only.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { HOUR_MS, sleep } from "../../engine/kernel/clock.js";
import {
  acquireTask,
  type CommitBody,
  commitTask,
  loadStreamLibrary,
  readTask,
  releaseTask,
  renewTask,
  type Task,
} from "../../engine/stream/commit.js";
import { callFunction } from "../../engine/stream/functions.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { toyKeys } from "./toy-log.js";

const T0 = 1_700_000_000_000;
const redis = withRedis();
let client: RedisClient;
let prefix = "";
let round = 0;

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `c${round++}`;
});

const body = (more: Partial<CommitBody> = {}): CommitBody => ({
  watermarkMs: 5,
  events: 9,
  cursors: new Map([["toy.1", 1]]),
  states: [{ job: "toy.1", set: [["a", Buffer.from("state")]], tombstones: [] }],
  timersSet: [[7, "toy.1\u001fa"]],
  timersRemoved: [],
  out: Buffer.from("out"),
  deadLetters: [{ offset: 1, reason: "bad", tries: 1, fields: [Buffer.from("e"), Buffer.from("[")] }],
  resolvedDeadLetters: [],
  ...more,
});
const owned = async (owner: string, leaseMs = 10_000): Promise<Task> => {
  const task = await acquireTask(client, toyKeys(prefix), owner, leaseMs);
  if ("heldForMs" in task) throw new Error("held");
  return task;
};
const dump = async (): Promise<string> => {
  const keys = toyKeys(prefix);
  const all = [keys.task, keys.timers, keys.out, keys.deadLetters, keys.state("toy.1")];
  return (await Promise.all(all.map((key) => client.dumpBuffer(key)))).map((bytes) => bytes?.toString("hex")).join("|");
};

describe("a lease", () => {
  it("is refused while another owner has it, and acquired with a higher epoch when it is released or expires", async () => {
    const keys = toyKeys(prefix);
    const first = await owned("one", 60);
    const refused = await acquireTask(client, keys, "two", 60);
    expect(refused).toMatchObject({ heldForMs: expect.any(Number) });
    await sleep(70);
    const second = await owned("two");
    expect(second.epoch).toBe(first.epoch + 1);
    await releaseTask(client, keys, first.epoch);
    expect(await acquireTask(client, keys, "one", 60)).toHaveProperty("heldForMs");
    await releaseTask(client, keys, second.epoch);
    expect((await owned("one")).epoch).toBe(second.epoch + 1);
  });

  it("of a dead owner ends after its length, also when the server's clock has gone back by hours", async () => {
    const keys = toyKeys(prefix);
    const LEASE_MS = 5_000;
    await acquireTask(client, keys, "dead", LEASE_MS, String(T0 + 2 * HOUR_MS));
    expect(await acquireTask(client, keys, "heir", LEASE_MS, String(T0))).toEqual({ heldForMs: LEASE_MS });
    expect(await acquireTask(client, keys, "heir", LEASE_MS, String(T0 + LEASE_MS - 1))).toEqual({ heldForMs: 1 });
    expect(await acquireTask(client, keys, "heir", LEASE_MS, String(T0 + LEASE_MS))).toMatchObject({ epoch: 2 });
  });

  it("is shared among the living only, also when the server's clock has gone back by hours", async () => {
    const join = (owner: string, nowMs: number) =>
      callFunction(client, "workers_join", [`${prefix}:workers`], [owner, 5_000, nowMs]);
    await join("dead", T0 + 2 * HOUR_MS);
    expect(await join("heir", T0)).toEqual(["dead", "heir"]);
    expect(await join("heir", T0 + 5_000)).toEqual(["heir"]);
  });

  it("can be taken again at once by the one who has it", async () => {
    expect((await owned("one")).epoch).toBe(1);
    expect((await owned("one")).epoch).toBe(2);
  });
});

describe("a commit", () => {
  const at = (task: Task, number: number) => ({
    ...task,
    number,
    leaseMs: 1_000,
    lastOut: task.lastOut,
  });

  it("writes everything in one call, and is recognised when it is sent again", async () => {
    const keys = toyKeys(prefix);
    const task = await owned("one");
    await commitTask(client, keys, at(task, 1), body());
    const after = await dump();
    await commitTask(client, keys, at(task, 1), body());
    await commitTask(
      client,
      keys,
      at(task, 1),
      body({ states: [{ job: "toy.1", set: [["a", Buffer.from("other")]], tombstones: [] }] }),
    );
    expect(await dump()).toBe(after);
    expect(await readTask(client, keys)).toMatchObject({
      commit: 1,
      lastOut: 1,
      watermarkMs: 5,
      cursors: new Map([["toy.1", 1]]),
    });
    expect(await client.zscore(keys.timers, "toy.1\u001fa")).toBe("7");
    expect(await client.xlen(keys.deadLetters)).toBe(1);
  });

  it("of an owner that has been replaced is rejected, and nothing of it is written", async () => {
    const keys = toyKeys(prefix);
    const zombie = await owned("one", 30);
    await commitTask(client, keys, { ...at(zombie, 1), leaseMs: 30 }, body());
    await sleep(40);
    const heir = await owned("two");
    const before = await dump();
    const stale = { code: "stale_epoch", retryable: false };
    await expect(commitTask(client, keys, at(zombie, 2), body({ watermarkMs: 99 }))).rejects.toMatchObject(stale);
    // Not even a commit that had been applied is confirmed to it.
    await expect(commitTask(client, keys, at(zombie, 1), body())).rejects.toMatchObject(stale);
    await expect(renewTask(client, keys, zombie, 1_000)).rejects.toMatchObject(stale);
    await releaseTask(client, keys, zombie.epoch);
    expect(await dump()).toBe(before);
    await commitTask(client, keys, at(heir, 2), body());
  });

  it("is rejected by a server that has restarted since the lease was acquired: it may have lost what was read", async () => {
    const keys = toyKeys(prefix);
    const task = await owned("one");
    await commitTask(client, keys, at(task, 1), body());
    const before = await dump();
    const elsewhere = { ...task, run: task.run.replace(/^./, (first) => (first === "0" ? "1" : "0")) };
    const stale = { code: "stale_run", retryable: false };
    await expect(commitTask(client, keys, at(elsewhere, 2), body())).rejects.toMatchObject(stale);
    await expect(commitTask(client, keys, at(elsewhere, 1), body())).rejects.toMatchObject(stale);
    await expect(renewTask(client, keys, elsewhere, 1_000)).rejects.toMatchObject(stale);
    expect(await dump()).toBe(before);
    expect((await readTask(client, keys)).run).toMatch(/^[0-9a-f]{40}:[0-9a-f]{40}:[01]$/);
  });

  it("that skips a number is rejected, and nothing of it is written", async () => {
    const keys = toyKeys(prefix);
    const task = await owned("one");
    await commitTask(client, keys, at(task, 1), body());
    const before = await dump();
    for (const number of [3, 0, 7])
      await expect(commitTask(client, keys, at(task, number), body())).rejects.toMatchObject({
        code: "commit_gap",
        retryable: false,
      });
    expect(await dump()).toBe(before);
  });

  it("of another version is rejected before anything is written", async () => {
    const keys = toyKeys(prefix);
    const task = await owned("one");
    await commitTask(client, keys, at(task, 1), body());
    const before = await dump();
    const hashTagged = [keys.task, keys.timers, keys.out, keys.deadLetters, keys.deadEntries, keys.deadRequests];
    const args = [task.epoch, task.run, 2, 1_000, "", "fields", "out", 0, 0, 0, 0, 0];
    await expect(callFunction(client, "task_commit", hashTagged, args)).rejects.toThrow("of another version");
    expect(await dump()).toBe(before);
  });

  it("may be as large as one batch can make it", async () => {
    const keys = toyKeys(prefix);
    const task = await owned("one");
    const names = Array.from({ length: 64_000 }, (_, i) => `k${i}`);
    const set = names.map((name): [string, Buffer] => [name, Buffer.from(name)]);
    const states = ["toy.1", "other.1"].map((job) => ({ job, set, tombstones: [] as string[] }));
    const timersSet = names.map((name, i): [number, string] => [i, name]);
    await commitTask(
      client,
      keys,
      at(task, 1),
      body({ states, timersSet, timersRemoved: names.slice(0, 9_000).map((name) => `x${name}`) }),
    );
    expect(await client.hlen(keys.state("other.1"))).toBe(64_000);
    expect(await client.zcard(keys.timers)).toBe(64_000);
    expect(await client.hget(keys.state("other.1"), "k63999")).toBe("k63999");
    const tombstones = names.slice(1);
    await commitTask(
      client,
      keys,
      at(task, 2),
      body({
        states: [
          { job: "toy.1", set: [], tombstones },
          { job: "other.1", set: [], tombstones: ["k0"] },
        ],
      }),
    );
    expect(await client.hkeys(keys.state("toy.1"))).toEqual(["k0"]);
    expect(await client.hlen(keys.state("other.1"))).toBe(63_999);
  });
});
