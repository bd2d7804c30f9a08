/**
 * What an archive must not keep, and what it does without what is gone: segments past the retention, also of a log
 * without closings, after a crash and after a restored backup; entries with buyers' texts; and a lease that a slow
 * object storage must not end.
 */
import { Packr } from "msgpackr";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readArchiveHead } from "../../engine/history/archive-head.js";
import { Archiver, type ArchiverOptions } from "../../engine/history/archiver.js";
import { HOUR_MS, monotonicClock, sleep } from "../../engine/kernel/clock.js";
import { namesBuyer, timeOf } from "../../engine/orders/log-entry.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { archiveKeys, partitionKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { MemoryStore, START_MS } from "./archive-bed.js";

const redis = withRedis();
const place = { prefix: "removal", topic: "orders", partition: 0 } as const;
const keys = partitionKeys(place.prefix, place.topic, place.partition);
const { task } = archiveKeys(place.prefix, place.topic, place.partition);
const packr = new Packr({ useRecords: false });
let client: RedisClient;
let store: MemoryStore;
let offset: number;

beforeAll(() => {
  client = redis.connect();
});
beforeEach(async () => {
  await redis.flush();
  await loadStreamLibrary(client);
  store = new MemoryStore();
  offset = 0;
});

/** Appends entries, an hour apart. */
async function append(entries: number, body: unknown = null): Promise<void> {
  for (let i = 0; i < entries; i++) {
    offset++;
    const timeMs = START_MS + offset * HOUR_MS;
    const events = packr.pack([0, `order ${offset}`, "web", null, timeMs, body]);
    await client.xadd(keys.log, `${offset}-0`, "n", offset, "t", timeMs, "b", events);
    await client.hset(keys.head, "offset", offset, "clock", timeMs);
  }
}

/** Makes each entry a segment. */
const archiverOf = (given: Partial<ArchiverOptions>): Archiver =>
  new Archiver({
    ...{ redis: client, prefix: place.prefix, partitions: 1, store, owner: "test", leaseMs: 10_000 },
    ...{ clock: monotonicClock, retentionMs: 0, checkEveryMs: 5, segmentMs: 0, segmentBytes: 1 },
    topics: [{ name: place.topic, timeOf, hasClosings: false, isPrivate: namesBuyer }],
    onTrouble: () => {},
    ...given,
  });

/** Archives every entry. */
async function archive(given: Partial<ArchiverOptions> = {}): Promise<string[]> {
  const troubles: string[] = [];
  const archiver = archiverOf({ onTrouble: (message) => troubles.push(message), ...given });
  archiver.start();
  const last = async () => (await readArchiveHead(client, place)).last;
  await expect.poll(last, { interval: 5 }).toBe(offset);
  await archiver.stop();
  return troubles;
}

const stored = (kind: string): number => [...store.objects.keys()].filter((key) => key.includes(`/${kind}/`)).length;

describe("an archive with a retention", () => {
  it("removes old segments of a log without closings", async () => {
    await append(10);
    await archive();
    await append(1);
    await archive({ retentionMs: 3 * HOUR_MS });
    expect((await readArchiveHead(client, place)).oldest).toBe(8);
    expect([stored("segments"), stored("manifests")]).toEqual([4, 4]);
  });

  it("removes what an owner had only begun to remove when it ended", async () => {
    await append(10);
    await archive();
    // The first removal ends before it has deleted anything.
    let isDown = true;
    const ending = Object.assign(Object.create(store) as MemoryStore, {
      delete: async (key: string) => {
        if (isDown) throw new Error("the process ended");
        await store.delete(key);
      },
    });
    await append(1);
    await archive({ store: ending, retentionMs: 3 * HOUR_MS });
    isDown = false;
    await append(1);
    await archive({ retentionMs: 3 * HOUR_MS });
    const { oldest, number } = await readArchiveHead(client, place);
    expect([stored("segments"), stored("manifests")]).toEqual([number - oldest + 1, number - oldest + 1]);
  });

  it("goes on after a restored backup that names segments which were removed since", async () => {
    await append(5);
    await archive();
    const backup = await client.hgetall(task);
    await append(15);
    await archive({ retentionMs: 3 * HOUR_MS });
    const later = await readArchiveHead(client, place);
    expect(later.oldest).toBeGreaterThan(6);
    await client.del(task);
    await client.hset(task, backup);
    const troubles = await archive({ retentionMs: 3 * HOUR_MS });
    expect(troubles).toEqual([]);
    expect((await readArchiveHead(client, place)).oldest).toBeGreaterThanOrEqual(6);
  });
});

describe("an archive whose storage refuses to delete", () => {
  it("goes on, and says so", async () => {
    await append(10);
    await archive();
    const refusing = Object.assign(Object.create(store) as MemoryStore, {
      delete: async () => {
        throw new Error("deleting is not allowed");
      },
    });
    await append(4);
    const troubles = await archive({ store: refusing, retentionMs: 3 * HOUR_MS });
    expect(troubles.join()).toContain("deleting is not allowed");
  });
});

describe("entries of the orders' log that have a buyer's text", () => {
  it("are not archived, and those after them are", async () => {
    const buyer = { name: "王芳", street: "南京西路 1 号" };
    await append(3, { lines: [], shipTo: buyer });
    await append(2, { lines: [], attributes: { shipTo: "no address" } });
    await archive();
    const head = await readArchiveHead(client, place);
    expect(head).toMatchObject({ number: 2, last: 5 });
    expect(stored("segments")).toBe(2);
  });
});

describe("an archive that is stopped between a segment and its head", () => {
  it("has stored the head, as the audit requires it", async () => {
    await append(1);
    let stopped: Promise<void> | undefined;
    const stopping = Object.assign(Object.create(store) as MemoryStore, {
      put: async (key: string, bytes: Uint8Array, _type: string, signal?: AbortSignal) => {
        signal?.throwIfAborted();
        await store.put(key, bytes);
        if (key.includes("/manifests/")) stopped = archiver.stop();
      },
    });
    const archiver = archiverOf({ store: stopping });
    archiver.start();
    await expect.poll(() => stopped !== undefined, { interval: 5 }).toBe(true);
    await stopped;
    expect((await readArchiveHead(client, place)).number).toBe(1);
    expect([...store.objects.keys()].filter((key) => key.endsWith("/head"))).toHaveLength(1);
  });
});

describe("the lease of an archive", () => {
  it("is renewed while a slow object storage takes longer than it lasts", async () => {
    await append(1);
    const leaseMs = 300;
    let until = 0;
    const slow = Object.assign(Object.create(store) as MemoryStore, {
      put: async (key: string, bytes: Uint8Array) => {
        if (until === 0) {
          until = Number(await client.hget(task, "until"));
          const isRenewed = async () => Number(await client.hget(task, "until")) > until + leaseMs;
          while (!(await isRenewed())) await sleep(10);
        }
        await store.put(key, bytes);
      },
    });
    await archive({ store: slow, leaseMs });
    expect(until).toBeGreaterThan(0);
  });
});
