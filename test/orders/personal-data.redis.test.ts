/**
 * What is known of buyers, in a real Redis: where it is, how long it stays, and that it goes without a trace in
 * orders, steps and stock.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { detailKey } from "../../connectors/wms/index.js";
import { PersonalData } from "../../engine/app/personal-data.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { DAY_MS, HOUR_MS, ManualClock } from "../../engine/kernel/clock.js";
import { orderEventsOf } from "../../engine/orders/log-entry.js";
import type { Order, OrderStep } from "../../engine/orders/model.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { orderKeys, sinkKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { encodeState } from "../../engine/stream/pack.js";
import { knownPrimaries, type RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const server = withRedis();
const NOW = Date.UTC(2026, 5, 18);
const NAME = "planted-buyer";
const SHIP_TO = { name: NAME, address: "planted-street 9", note: "planted-note" };
const PRINT = 618;

let redis: RedisClient;
let beds = 0;

beforeAll(async () => {
  redis = server.connect();
  await Promise.all([OrderStore.load(redis), loadStreamLibrary(redis)]);
});

function bed(format = 2) {
  const prefix = `personal-${++beds}`;
  const clock = new ManualClock(NOW);
  let current = format;
  const orderStore = new OrderStore({
    redis,
    prefix,
    partitions: 1,
    keepSeconds: 90 * 86_400,
    clock,
    format: () => current,
  });
  const objects = new Set<string>();
  let isStorageAway = false;
  const troubles: string[] = [];
  const storage = {
    async delete(key: string) {
      if (isStorageAway) throw new Error("the storage is away");
      objects.delete(key);
    },
  };
  const data = new PersonalData({
    orderStore,
    redis,
    prefix,
    objects: storage,
    onTrouble: (text) => troubles.push(text),
  });
  const blind = new PersonalData({ orderStore, redis, prefix, onTrouble: (text) => troubles.push(text) });
  const order: Order = {
    id: chainId("TE", NOW),
    lines: [{ sku: "tea", location: "SH", units: 2 }],
    shipTo: SHIP_TO,
  };
  return {
    prefix,
    clock,
    orderStore,
    objects,
    troubles,
    data,
    /** Of a process that does not reach the object storage. */
    blind,
    order,
    keys: orderKeys(prefix, 0),
    raise: () => {
      current = 2;
    },
    away: (isAway: boolean) => {
      isStorageAway = isAway;
    },
    place: () => orderStore.open(order, PRINT),
    take: (...steps: OrderStep[]) => orderStore.record(steps.map((step) => ({ id: order.id, step, source: "test" }))),
    /** What the log contains with the lock. */
    async lockedBody() {
      const entries = await readLog(redis, orderKeys(prefix, 0).log, 0, 100);
      return entries.flatMap((entry) => orderEventsOf(entry).events).find(({ step }) => step === "locked")?.body;
    },
    /** As the partition's worker does when time passes. */
    async tick(): Promise<boolean> {
      const isDue = await orderStore.tick(0);
      if (isDue) await data.sweep(0);
      return isDue;
    },
  };
}

/** Everything that a deployment has in Redis, as one text. */
async function everything(prefix: string): Promise<string> {
  let text = "";
  const found = await Promise.all((await knownPrimaries(redis)).map((node) => node.keys(`${prefix}:*`)));
  for (const key of found.flat()) {
    const type = await redis.type(key);
    if (type === "hash") text += JSON.stringify(await redis.hgetall(key));
    else if (type === "zset") text += (await redis.zrange(key, "0", "-1")).join();
    else if (type === "set") text += (await redis.smembers(key)).join();
    else if (type === "stream") text += JSON.stringify(await redis.xrange(key, "-", "+"));
    else throw new Error(`${key} is a ${type}`);
  }
  return text;
}

describe("a buyer's personal data", () => {
  it("is in no log, can be read for delivery, and is deleted from Redis once the warehouse has the order", async () => {
    const { prefix, orderStore, order, place, take, lockedBody } = bed();
    expect(await place()).toBe(1);
    await take("paid", "locked");
    expect(await lockedBody()).toEqual({ lines: order.lines });
    expect(await orderStore.status(order.id)).toMatchObject({ shipTo: SHIP_TO });
    expect(await everything(prefix)).toContain(NAME);
    await take("picking");
    expect((await orderStore.status(order.id))?.shipTo).toBeUndefined();
    expect(await everything(prefix)).not.toContain("planted");
    expect((await orderStore.find(order.id))?.order).toEqual({ id: order.id, lines: order.lines });
  });

  it("is where the previous release reads it while the deployment has its format, and is still deleted from Redis", async () => {
    const { prefix, orderStore, order, place, take, lockedBody, keys } = bed(1);
    await place();
    expect(await redis.exists(keys.buyers(Math.floor(NOW / DAY_MS)))).toBe(0);
    expect((await orderStore.find(order.id))?.order).toEqual({ id: order.id, lines: order.lines, shipTo: SHIP_TO });
    await take("paid", "locked");
    expect(await lockedBody()).toEqual({ lines: order.lines, shipTo: SHIP_TO });
    expect(await orderStore.status(order.id)).toMatchObject({ shipTo: SHIP_TO });
    await take("picking");
    expect((await orderStore.find(order.id))?.order).toEqual({ id: order.id, lines: order.lines });
    await redis.del(keys.log);
    expect(await everything(prefix)).not.toContain("planted");
  });

  it("of an order that was placed in the older format is kept out of the log from the newer one on", async () => {
    const { orderStore, order, place, take, lockedBody, raise } = bed(1);
    await place();
    raise();
    await take("paid", "locked");
    expect(await lockedBody()).toEqual({ lines: order.lines });
    expect(await orderStore.status(order.id)).toMatchObject({ shipTo: SHIP_TO });
    expect((await orderStore.find(order.id))?.order).toEqual({ id: order.id, lines: order.lines });
  });

  it.each([1, 2])(
    "of an order never paid goes after a day (format %i), and a repeat does not bring it back",
    async (format) => {
      const { prefix, clock, orderStore, order, place, tick } = bed(format);
      await place();
      clock.moveTo(NOW + DAY_MS - 1);
      expect(await tick()).toBe(false);
      clock.moveTo(NOW + DAY_MS);
      expect(await tick()).toBe(true);
      expect(await everything(prefix)).not.toContain("planted");
      expect(await tick()).toBe(false);
      // The fingerprint is kept: the same body is known again, and another is refused.
      expect(await place()).toBe(2);
      expect(await orderStore.open({ ...order, shipTo: { name: "other" } }, PRINT + 1)).toBeUndefined();
      expect(await everything(prefix)).not.toMatch(/planted|other/);
      expect(await orderStore.beginAttempt(order.id)).toMatchObject({ lines: order.lines, isErased: true });
    },
  );

  it("is erased 30 days after the order's end, from the object storage too, which may be unavailable meanwhile", async () => {
    const { clock, order, place, take, tick, objects, away, troubles, keys } = bed();
    const key = detailKey(order.id);
    await place();
    await take("paid", "locked");
    objects.add(key);
    clock.moveTo(NOW + 2 * DAY_MS);
    expect(await tick()).toBe(false);
    await take("picking", "outbound");
    const endMs = clock.now();
    clock.moveTo(endMs + 30 * DAY_MS - 1);
    expect(await tick()).toBe(false);
    away(true);
    clock.moveTo(endMs + 30 * DAY_MS);
    expect(await tick()).toBe(true);
    expect(troubles.join()).toContain("the storage is away");
    expect(objects.has(key)).toBe(true);
    away(false);
    expect(await tick()).toBe(false);
    clock.moveTo(clock.now() + HOUR_MS);
    expect(await tick()).toBe(true);
    expect(objects.has(key)).toBe(false);
    expect(await redis.exists(keys.erasures)).toBe(0);
  });

  it("is left to a process that reaches the object storage, and its object is deleted even when that process comes late", async () => {
    const { prefix, clock, orderStore, order, place, take, data, blind, objects, troubles, keys } = bed();
    await orderStore.waiting.begin();
    await place();
    await take("paid", "locked", "cancelled");
    objects.add(detailKey(order.id));
    clock.moveTo(NOW + 30 * DAY_MS);
    await blind.sweep(0);
    expect(await everything(prefix)).toContain(NAME);
    clock.moveTo(clock.now() + HOUR_MS);
    await blind.sweep(0);
    expect(await everything(prefix)).not.toContain("planted");
    expect(await redis.exists(keys.erasures)).toBe(1);
    expect(troubles.join()).toContain("--wms-url");
    // It is due again later, and the one that reaches the storage need not work on the partition.
    clock.moveTo(clock.now() + HOUR_MS);
    await blind.sweep(0);
    await data.sweep(0);
    expect(objects.size).toBe(0);
    expect(await redis.exists(keys.erasures)).toBe(0);
  });

  it("is erased in all partitions by a process that reaches the object storage", async () => {
    const { prefix, clock, orderStore, order, place, take, blind, objects, keys } = bed();
    await orderStore.waiting.begin();
    await place();
    await take("paid", "locked", "cancelled");
    objects.add(detailKey(order.id));
    expect(await blind.erase(order.id)).toBe("erased");
    await blind.sweep(0);
    clock.moveTo(NOW + 1);
    let reached = () => {};
    const waiting = new Promise<void>((resolve) => {
      reached = resolve;
    });
    let sleeps = 0;
    const data = new PersonalData({
      orderStore,
      redis,
      prefix,
      objects: { delete: async (key) => void objects.delete(key) },
      onTrouble: () => {},
      clock: {
        now: () => 0,
        async sleep(_ms, signal) {
          if (++sleeps < 2) return;
          reached();
          await new Promise((resolve) => signal?.addEventListener("abort", resolve, { once: true }));
        },
      },
    });
    data.start();
    await waiting;
    await data.stop();
    expect(objects.size).toBe(0);
    expect(await redis.exists(keys.erasures)).toBe(0);
  });

  it("is erased by a process without object storage where there never was a warehouse", async () => {
    const { clock, place, take, blind, keys } = bed();
    await place();
    await take("paid", "locked", "cancelled");
    clock.moveTo(NOW + 30 * DAY_MS);
    await blind.sweep(0);
    expect(await redis.exists(keys.erasures)).toBe(0);
  });

  it("of an order that was paid in time is not erased as that of an unpaid one", async () => {
    const { clock, orderStore, order, place, take, tick } = bed();
    await place();
    await take("paid", "locked");
    clock.moveTo(NOW + 10 * DAY_MS);
    expect(await tick()).toBe(false);
    expect(await orderStore.erasures.erase(0, [order.id], true)).toEqual(["not_due"]);
    expect(await orderStore.status(order.id)).toMatchObject({ shipTo: SHIP_TO });
  });
});

describe("on request", () => {
  it.each([1, 2])(
    "it goes at once (format %i); lines and steps stay, and asking again changes nothing",
    async (format) => {
      const { prefix, orderStore, order, place, take, data, objects, keys } = bed(format);
      await place();
      await take("paid", "locked", "cancelled");
      objects.add(detailKey(order.id));
      expect(await data.erase(order.id)).toBe("erased");
      expect(await data.erase(order.id)).toBe("erased");
      if (format === 1) await redis.del(keys.log);
      expect(await everything(prefix)).not.toContain("planted");
      expect(objects.size).toBe(0);
      expect((await orderStore.find(order.id))?.order).toEqual({ id: order.id, lines: order.lines });
      expect((await orderStore.status(order.id))?.hasStep("locked")).toBe(true);
    },
  );

  it("it is refused while the order is on its way to the warehouse, and granted once it is there", async () => {
    const { orderStore, order, place, take, data } = bed();
    await orderStore.waiting.begin();
    await place();
    await take("paid", "locked");
    expect(await data.erase(order.id)).toBe("on_its_way");
    expect(await orderStore.status(order.id)).toMatchObject({ shipTo: SHIP_TO });
    await take("picking");
    expect(await data.erase(order.id)).toBe("erased");
    expect(await data.erase(chainId("TE", NOW))).toBe("unknown");
  });

  it("it is erased from dead letters that name the buyer; a dead letter of the same order without the buyer stays", async () => {
    const { prefix, order, place, take, data } = bed(1);
    await place();
    await take("paid", "locked", "cancelled");
    const sink = sinkKeys(prefix, "orders", 0, "wms");
    for (const [offset, kind] of ["pick", "withdraw"].entries()) {
      const emits = [
        { job: "order-flow.1", kind, key: order.id, atMs: NOW, payload: { ...(kind === "pick" && order) } },
      ];
      const entry = [
        Buffer.from("m"),
        Buffer.from("1"),
        Buffer.from("r"),
        encodeState({ previous: 0, watermarkMs: 0, views: [], emits }),
      ];
      const deadLetter = { offset, index: 0, key: order.id, reason: kind, tries: 1 };
      await redis.xadd(sink.deadLetters, "*", "d", encodeState(deadLetter), "o", String(offset));
      await redis.hset(sink.deadEntries, `r:${offset}`, encodeState(entry), `n:${offset}`, 1);
    }
    expect(await everything(`${prefix}:{orders:00}:sink`)).toContain(NAME);
    expect(await data.erase(order.id)).toBe("erased");
    expect(await everything(`${prefix}:{orders:00}:sink`)).not.toContain(NAME);
    expect(await redis.xlen(sink.deadLetters)).toBe(1);
  });
});
