/** When a leased loop releases its lease: after its work, for a wait that the work asks for, after lasting errors. */
import { beforeAll, describe, expect, it } from "vitest";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { acquireTask, loadStreamLibrary } from "../../engine/stream/commit.js";
import { type Lease, LeasedLoop } from "../../engine/stream/leased-loop.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { toyKeys, until } from "./toy-log.js";

const redis = withRedis();
const LEASE_MS = 60_000;
let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});

/** A loop whose pauses last as long as the test lets them. */
function loopOf(prefix: string, work: (lease: Lease) => Promise<void>) {
  const pauses: number[] = [];
  let resume: () => void = () => {};
  let isHeld = false;
  const clock = {
    now: () => systemClock.now(),
    sleep: async (ms: number, signal?: AbortSignal) => {
      pauses.push(ms);
      if (!isHeld) return sleep(1);
      await new Promise<void>((resolve) => {
        resume = resolve;
        signal?.addEventListener("abort", () => resolve());
      });
    },
  };
  const keys = toyKeys(prefix);
  const loop = new LeasedLoop({
    redis: client,
    keys,
    partition: 0,
    owner: "one",
    leaseMs: LEASE_MS,
    clock,
    work,
    place: {},
    onTrouble: () => {},
  });
  const another = async () => "epoch" in (await acquireTask(client, keys, "two", LEASE_MS, ""));
  const hold = (held: boolean) => {
    isHeld = held;
    if (!held) resume();
  };
  return { loop, pauses, another, hold };
}

describe("the lease of a loop", () => {
  it("is free while the work waits, if it asks for that", async () => {
    let runs = 0;
    const { loop, pauses, another, hold } = loopOf("wait", async (lease) => {
      runs++;
      lease.waitAfter(7_000);
    });
    hold(true);
    loop.start();
    await until(() => pauses.length === 1, "the pause");
    expect(pauses).toEqual([7_000]);
    expect(runs).toBe(1);
    expect(await another()).toBe(true);
    await loop.stop();
  });

  it("stays with the process after an error, and is free once errors do not cease", async () => {
    let pausesNow: readonly number[] = [];
    const { loop, pauses, another, hold } = loopOf("errors", async () => {
      hold([0, 6].includes(pausesNow.length));
      throw new Error("fails always");
    });
    pausesNow = pauses;
    loop.start();
    await until(() => pauses.length === 1, "the first error");
    expect(await another()).toBe(false);
    hold(false);
    await until(() => pauses.length === 7, "errors that last");
    expect(pauses).toEqual([50, 100, 200, 400, 800, 1_600, 2_000]);
    expect(await another()).toBe(true);
    await loop.stop();
  });
});
