/**
 * The publisher with a real lease: one of several processes publishes, another continues when it stops, and no due time
 * has two publications. The clock is the test's, so that due times come when it wants.
 */
import { describe, expect, it } from "vitest";
import { type Scheduler, sleep } from "../../engine/kernel/clock.js";
import { Publisher } from "../../engine/publication/publisher.js";
import { RedisPublicationStore } from "../../engine/publication/redis-store.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { withRedis } from "../redis/with-redis.js";
import { MemoryPublicationStore, readAsPage, Shop, ShopView, StoredObjects } from "./bed.js";

const redis = withRedis();
const EVERY_MS = 5_000;
const START_MS = 1_700_000_000_000;
let tests = 0;

function bedOf() {
  const prefix = `publisher-${++tests}`;
  const stored = new StoredObjects();
  const shop = new Shop();
  let nowMs = START_MS;
  const clock: Scheduler = { now: () => nowMs, sleep: (_, signal) => sleep(2, signal) };
  const troubles: string[] = [];
  const publisherOf = (owner: string, view = new ShopView(shop, () => nowMs)) => {
    const store = new MemoryPublicationStore(stored);
    const publisher = new Publisher({
      ...{ redis: redis.connect(), prefix, store, source: view, owner, clock },
      ...{ everyMs: EVERY_MS, cacheSeconds: 1, leaseMs: 5_000, onTrouble: (message) => troubles.push(message) },
    });
    return { publisher, store, view };
  };
  return { shop, stored, clock, troubles, publisherOf, moveTo: (ms: number) => (nowMs = ms) };
}

const asOfOf = (stored: StoredObjects): number => (stored.manifest ? readAsPage(stored).manifest.asOfMs : 0);

describe("the publisher", () => {
  it("publishes at each due time what has changed", async () => {
    const { shop, stored, publisherOf, moveTo } = bedOf();
    shop.change("TEA-01", 3);
    const { publisher, view, store } = publisherOf("one");
    publisher.start();
    await expect.poll(() => publisher.stats().publications).toBe(1);
    expect(readAsPage(stored).displays).toEqual(new Map([["TEA-01", 3]]));
    const [leaf] = store.puts;
    shop.change("TEA-01", 0);
    moveTo(START_MS + EVERY_MS);
    view.follow();
    await expect.poll(() => publisher.stats().publications).toBe(2);
    expect(readAsPage(stored)).toMatchObject({
      displays: new Map([["TEA-01", 0]]),
      manifest: { asOfMs: START_MS + EVERY_MS },
    });
    expect(leaf).toBeDefined();
    expect(view.readings).toBe(1);
    await publisher.stop();
  });

  it("lets another process publish when its own view stays old", async () => {
    const { shop, stored, troubles, publisherOf, moveTo } = bedOf();
    shop.change("TEA-01", 3);
    const one = publisherOf("one");
    one.publisher.start();
    await expect.poll(() => one.publisher.stats().publications).toBe(1);
    const two = publisherOf("two");
    two.publisher.start();
    shop.change("TEA-01", 4);
    let nowMs = START_MS;
    await expect
      .poll(() => {
        nowMs += EVERY_MS;
        moveTo(nowMs);
        two.view.follow();
        return two.publisher.stats().publications;
      })
      .toBeGreaterThan(0);
    expect(readAsPage(stored).displays).toEqual(new Map([["TEA-01", 4]]));
    expect(one.publisher.stats().publications).toBe(1);
    expect(troubles.join()).toMatch("another process may publish");
    await Promise.all([one.publisher.stop(), two.publisher.stop()]);
  });

  it("is one process of several, and another continues without publishing a due time again", async () => {
    const { shop, stored, publisherOf, moveTo } = bedOf();
    shop.change("TEA-01", 3);
    const [one, two] = [publisherOf("one"), publisherOf("two")];
    one.publisher.start();
    await expect.poll(() => one.publisher.stats().publications).toBe(1);
    two.publisher.start();
    await one.publisher.stop();
    await expect.poll(() => two.publisher.isOwned).toBe(true);
    await sleep(50);
    expect(two.publisher.stats().publications).toBe(0);
    moveTo(START_MS + EVERY_MS);
    two.view.follow();
    await expect.poll(() => two.publisher.stats().publications).toBe(1);
    expect(asOfOf(stored)).toBe(START_MS + EVERY_MS);
    expect(one.publisher.stats().publications).toBe(1);
    await two.publisher.stop();
  });

  it("writes nothing but the manifest after a restart without changes", async () => {
    const { shop, publisherOf, moveTo } = bedOf();
    for (let i = 0; i < 2_000; i++) shop.change(`SKU-${i}`, i);
    const one = publisherOf("one");
    one.publisher.start();
    await expect.poll(() => one.publisher.stats().publications).toBe(1);
    expect(one.store.puts).toHaveLength(9);
    await one.publisher.stop();
    moveTo(START_MS + EVERY_MS);
    const two = publisherOf("two");
    two.publisher.start();
    await expect.poll(() => two.publisher.stats().publications).toBe(1);
    expect(two.store.puts).toEqual([]);
    await two.publisher.stop();
  });

  it("publishes no view that is too old, and counts the due times", async () => {
    const { shop, stored, publisherOf, moveTo } = bedOf();
    shop.change("TEA-01", 3);
    const { publisher, view } = publisherOf("one");
    moveTo(START_MS + 2_001);
    publisher.start();
    await expect.poll(() => publisher.stats().skipped.stale).toBe(1);
    moveTo(START_MS + EVERY_MS);
    await expect.poll(() => publisher.stats().skipped.stale).toBe(2);
    expect(stored.manifest).toBeUndefined();
    view.follow();
    await expect.poll(() => publisher.stats().publications).toBe(1);
    expect(asOfOf(stored)).toBe(START_MS + EVERY_MS);
    await publisher.stop();
  });

  it("deletes what no manifest has named for two minutes, also after a restart", async () => {
    const { shop, stored, publisherOf, moveTo } = bedOf();
    const one = publisherOf("one");
    one.publisher.start();
    for (let i = 0; i < 3; i++) {
      shop.change("TEA-01", i);
      moveTo(START_MS + i * EVERY_MS);
      one.view.follow();
      await expect.poll(() => one.publisher.stats().publications).toBe(i + 1);
    }
    await one.publisher.stop();
    expect(stored.objects.size).toBeGreaterThan(4);
    const two = publisherOf("two");
    two.publisher.start();
    for (let i = 1; i <= 2; i++) {
      moveTo(START_MS + i * 200_000);
      two.view.follow();
      await expect.poll(() => two.publisher.stats().publications).toBe(i);
    }
    await expect.poll(() => stored.objects.size).toBe(2);
    expect(readAsPage(stored).displays).toEqual(new Map([["TEA-01", 2]]));
    await two.publisher.stop();
  });

  it("says what is wrong while the store does not work, and publishes when it works again", async () => {
    const { shop, stored, troubles, clock } = bedOf();
    const prefix = `publisher-${++tests}`;
    shop.change("TEA-01", 3);
    let isDown = true;
    const store = new MemoryPublicationStore(stored, async (_, call) => {
      if (isDown) throw new Error("no route to the store");
      return call();
    });
    const publisher = new Publisher({
      ...{ redis: redis.connect(), prefix, store, owner: "one", clock },
      source: new ShopView(shop, () => clock.now()),
      ...{ everyMs: EVERY_MS, cacheSeconds: 1, leaseMs: 5_000, onTrouble: (message) => troubles.push(message) },
    });
    publisher.start();
    await expect.poll(() => troubles[0]).toMatch("no route to the store");
    isDown = false;
    await expect.poll(() => publisher.stats().publications).toBe(1);
    await publisher.stop();
  });

  it("publishes to Redis", async () => {
    const { shop, clock } = bedOf();
    const prefix = `publisher-${++tests}`;
    const client = redis.connect();
    await Promise.all([loadStreamLibrary(client), RedisPublicationStore.load(client)]);
    shop.change("茶-01", 7);
    const store = new RedisPublicationStore(client, prefix);
    const publisher = new Publisher({
      ...{ redis: client, prefix, store, owner: "one", clock },
      source: new ShopView(shop, () => clock.now()),
      ...{ everyMs: EVERY_MS, cacheSeconds: 1, leaseMs: 5_000, onTrouble: () => {} },
    });
    publisher.start();
    await expect.poll(() => publisher.stats().publications).toBe(1);
    const stored = new StoredObjects();
    stored.manifest = await store.readManifest();
    const index = (JSON.parse(Buffer.from(stored.manifest?.json ?? []).toString()) as { index: string[] }).index;
    for (const name of index) {
      const json = (await store.read(name)) as Uint8Array;
      stored.objects.set(name, json);
      for (const leaf of (JSON.parse(Buffer.from(json).toString()) as { leaves: string[] }).leaves)
        stored.objects.set(leaf, (await store.read(leaf)) as Uint8Array);
    }
    expect(readAsPage(stored).displays).toEqual(new Map([["茶-01", 7]]));
    await publisher.stop();
  });
});
