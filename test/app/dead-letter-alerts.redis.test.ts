/** When stored dead letters are a condition that an alert is about. */
import { beforeAll, describe, expect, it } from "vitest";
import { deadLetters } from "../../engine/app/conditions.js";
import { HOUR_MS, systemClock } from "../../engine/kernel/clock.js";
import { partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
let client: RedisClient;
beforeAll(() => {
  client = redis.connect();
});
const PARTITIONS = 2;
let rounds = 0;

function parts(aheadMs = 0) {
  const prefix = `dead${rounds++}`;
  return {
    prefix,
    reader: (ahead = aheadMs) =>
      deadLetters({
        redis: client,
        prefix,
        partitions: PARTITIONS,
        topics: [{ name: "stock" }],
        readers: [{ name: "wms", topic: "orders" }],
        serverNowMs: () => systemClock.now() + ahead,
      }),
  };
}

describe("dead letters", () => {
  it("are a condition of their topic or sink, with how many are stored in all partitions", async () => {
    const { prefix, reader } = parts();
    const none = [
      { subject: "stock", isMet: false, value: 0, limit: 0 },
      { subject: "orders/wms", isMet: false, value: 0, limit: 0 },
    ];
    expect(await reader().read(() => false)).toEqual(none);
    for (const partition of [0, 1, 1])
      await client.xadd(sinkKeys(prefix, "orders", partition, "wms").deadLetters, "*", "d", "x");
    expect(await reader().read(() => false)).toEqual([
      none[0],
      { subject: "orders/wms", isMet: true, value: 3, limit: 0 },
    ]);
  });

  it("are none any more when the newest is an hour old, or when they are removed", async () => {
    const { prefix, reader } = parts();
    const key = partitionKeys(prefix, "stock", 1).deadLetters;
    await client.xadd(key, `${systemClock.now() - 2 * HOUR_MS}-0`, "d", "x");
    const isMet = async (aheadMs = 0) => (await reader(aheadMs).read(() => false))?.[0]?.isMet;
    expect(await isMet()).toBe(false);
    await client.xadd(key, "*", "d", "x");
    expect([await isMet(), await isMet(HOUR_MS + 60_000)]).toEqual([true, false]);
    await client.del(key);
    expect(await isMet()).toBe(false);
  });

  it("are read every ten seconds, however often the condition is", async () => {
    const { prefix, reader } = parts();
    const one = reader();
    const before = await one.read(() => false);
    await client.xadd(partitionKeys(prefix, "stock", 0).deadLetters, "*", "d", "x");
    expect(await one.read(() => false)).toEqual(before);
  });
});
