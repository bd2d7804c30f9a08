/**
 * What the client promises about a single Redis, held to on a Cluster: nothing is sent again when a connection
 * breaks, silence is given up in time, an address without a server is named, waiting reads have connections of
 * their own, and libraries come to every primary.
 */
import type { Cluster } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { checkRedis, connect, primaries, type RedisClient } from "../../engine/stream/redis.js";
import { until } from "../redis/server.js";
import { withRedis } from "../redis/with-redis.js";

/** Ten times as long as the client waits. */
const PAUSE_MS = 3_000;

const redis = withRedis();
const opened: RedisClient[] = [];

afterEach(() => {
  for (const client of opened.splice(0)) client.disconnect();
});

const open = (timeoutMs = 10_000, url = redis.url, blocking = false): RedisClient => {
  const client = connect({ url, timeoutMs }, blocking);
  opened.push(client);
  return client;
};
const connections = async () =>
  ((await redis.onEach((primary) => primary.call("CLIENT", "LIST"))) as string[]).join("").trim().split("\n").length;

describe("a connection to a Cluster", () => {
  it("does not send a command again whose answer was lost", async () => {
    const client = open();
    await client.set("again", 0);
    // The server executes the command and sends no reply, and then the connections break.
    for (const node of primaries(client)) void node.call("CLIENT", "REPLY", "OFF").catch(() => {});
    const lost = client.incr("again");
    lost.catch(() => {});
    await sleep(100);
    await redis.onEach((primary) => primary.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"));
    await expect(lost).rejects.toThrow("Connection is closed");
    await until(
      () =>
        client.get("again").then(
          (found) => found !== null,
          () => false,
        ),
      "a new connection",
    );
    await sleep(500);
    expect(await client.get("again")).toBe("1");
  });

  it("fails calls to a node that no longer answers, and continues when it answers again", async () => {
    const client = open(300);
    await client.set("silent", 1);
    await redis.onEach((primary) => primary.call("CLIENT", "PAUSE", PAUSE_MS, "ALL"));
    const elapsed = stopwatch();
    await expect(client.get("silent")).rejects.toThrow();
    expect(elapsed()).toBeLessThan(PAUSE_MS);
    await until(
      () =>
        client.get("silent").then(
          (found) => found === "1",
          () => false,
        ),
      "the node to answer",
    );
  });

  it("to nodes that cannot be reached fails in time, at the start and later", async () => {
    const client = open(2_000, redis.away);
    const elapsed = stopwatch();
    await expect(checkRedis(client, { url: redis.away }, () => {})).rejects.toMatchObject({
      code: "redis_unreachable",
      message: `the Redis at ${redis.away} cannot be reached`,
    });
    await expect(Ledger.load(client)).rejects.toThrow("None of startup nodes is available");
    await expect(client.get("a")).rejects.toThrow();
    expect(elapsed()).toBeLessThan(5_000);
  });

  it("connects to every node as the user of the first address, also to nodes that the Cluster names itself", async () => {
    const admin = open();
    await admin.ping();
    const nodes = (admin as Cluster).nodes("all");
    for (const node of nodes) await node.call("ACL", "SETUSER", "shop", "on", ">p@ss", "~*", "+@all");
    const [first] = redis.url.split(",") as [string];
    const client = connect({ url: first.replace("//", "//shop:p%40ss@"), cluster: true });
    opened.push(client);
    await client.ping();
    const users = await Promise.all(primaries(client).map((node) => node.call("ACL", "WHOAMI")));
    for (const node of nodes) await node.call("ACL", "DELUSER", "shop");
    expect(users).toEqual(["shop", "shop", "shop"]);
  });

  it("that waits for entries has connections of its own, which are closed with it", async () => {
    const writing = open();
    await writing.del("{wait}");
    const before = await connections();
    const readers = Array.from({ length: 4 }, (_, i) => [open(60_000, redis.url, true), `{wait}${i}`] as const);
    for (const [, key] of readers) await writing.del(key);
    const reads = readers.map(([reader, key]) => reader.xread("BLOCK", 30_000, "STREAMS", key, "0"));
    await sleep(300);
    const elapsed = stopwatch();
    for (const [, key] of readers) await writing.xadd(key, "*", "a", "b");
    expect((await Promise.all(reads)).every((found) => found?.length === 1)).toBe(true);
    // Long before the reads end by themselves.
    expect(elapsed()).toBeLessThan(20_000);
    for (const [reader] of readers) reader.disconnect();
    await until(async () => (await connections()) <= before, "the readers' connections to be closed");
  });

  it("that is new loads a library on every primary, and on no replica", async () => {
    await redis.onEach((primary) => primary.call("FUNCTION", "FLUSH", "SYNC"));
    const client = open();
    await Ledger.load(client);
    expect(primaries(client)).toHaveLength(3);
    const found = await redis.onEach(async (primary) =>
      ((await primary.call("FUNCTION", "LIST")) as unknown[][]).map((fields) => fields[1]),
    );
    const one = [expect.stringMatching(/^shuiwei_stock_[0-9a-f]+$/)];
    expect(found).toEqual([one, one, one]);
  });
});
