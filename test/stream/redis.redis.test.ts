/**
 * Function libraries: loaded when they are not there or not the same, left alone otherwise. And connections that give
 * up in time.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stopwatch } from "../../engine/kernel/clock.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { callFunction, callFunctionBuffer, loadLibrary } from "../../engine/stream/functions.js";
import { libraryOf, plainNameOf } from "../../engine/stream/library.js";
import { claimDeployment } from "../../engine/stream/partition.js";
import { readFields } from "../../engine/stream/reads.js";
import { checkRedis, connect } from "../../engine/stream/redis.js";
import { explainRedisErrors } from "../../engine/stream/redis-errors.js";
import { onCluster, withRedis } from "../redis/with-redis.js";
import { Wire } from "./proxy.js";

const redis = withRedis();
const directory = mkdtempSync(join(tmpdir(), "shuiwei-library-"));
let client: ReturnType<typeof redis.connect>;
beforeAll(() => {
  client = redis.connect();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const library = (text: string): URL => {
  const file = join(directory, "library.lua");
  writeFileSync(file, text);
  return pathToFileURL(file);
};
const code = (answer: number) =>
  `#!lua name=answering\nredis.register_function('answer', function(keys, args) return { ${answer}, args[1], #args } end)\n`;
/** How often a library was loaded: on the primary where that was most often, on a Cluster. */
const loads = async (): Promise<number> => {
  const stats = await redis.onEach((primary) => primary.info("commandstats"));
  return Math.max(...stats.map((text) => Number(/cmdstat_function\|load:calls=(\d+)/.exec(text)?.[1] ?? 0)));
};

describe("a function library", () => {
  it("is loaded when it is not there, and again only when it has changed", async () => {
    const before = await loads();
    await loadLibrary(client, library(code(1)));
    await loadLibrary(client, library(code(1)));
    expect(await loads()).toBe(before + 1);
    expect(await callFunction(client, "answer", [], ["x"])).toEqual([1, "x", 1]);
    await loadLibrary(client, library(code(2)));
    expect(await loads()).toBe(before + 2);
    expect(await callFunction(client, "answer", [], ["x"])).toEqual([2, "x", 1]);
  });

  it("of another version stays beside it, whichever is loaded later", async () => {
    // As a process of the previous release does, which has no versions, and starts again in the middle of a rollout.
    const previous = `#!lua name=answering\nredis.register_function('answer', function() return 'previous' end)`;
    await loadLibrary(client, library(code(5)));
    await redis.onEach((primary) => primary.call("FUNCTION", "LOAD", "REPLACE", previous));
    expect(await callFunction(client, "answer", [], ["x"])).toEqual([5, "x", 1]);
    expect(await client.call("FCALL", "answer", "0")).toBe("previous");
    // As a process of this release with other code.
    const { code: later, suffix } = libraryOf(code(6), "later");
    await redis.onEach((primary) => primary.call("FUNCTION", "LOAD", "REPLACE", later));
    expect(await callFunction(client, "answer", [], ["x"])).toEqual([5, "x", 1]);
    expect(await client.call("FCALL", `answer${suffix}`, "0")).toEqual([6]);
  });

  it("may register its functions in either form, and keeps its line numbers", async () => {
    await loadLibrary(
      client,
      library(
        "#!lua name=answering\nredis.register_function { function_name = 'answer', callback = function()\n  error('here')\nend, flags = { 'allow-oom' } }\n",
      ),
    );
    await expect(callFunction(client, "answer", [], [])).rejects.toThrow(/:3: here/);
  });

  it("includes parts, which are files beside it, and has another version when a part changes", async () => {
    const whole = (answer: number) => {
      writeFileSync(join(directory, "part.lua"), `-- A part.\nlocal answer = ${answer}\n`);
      return library(
        "#!lua name=answering\n-- include ./part.lua\nredis.register_function('answer', function() return answer end)\n",
      );
    };
    await loadLibrary(client, whole(8));
    expect(await callFunction(client, "answer", [], [])).toBe(8);
    await loadLibrary(client, whole(9));
    expect(await callFunction(client, "answer", [], [])).toBe(9);
  });

  it("that a server has lost is loaded again by the next call", async () => {
    await loadLibrary(client, library(code(7)));
    await redis.onEach((primary) => primary.call("FUNCTION", "FLUSH", "SYNC"));
    expect(await callFunction(client, "answer", [], ["x"])).toEqual([7, "x", 1]);
  });

  it("may be loaded by many at once", async () => {
    await Promise.all(Array.from({ length: 8 }, () => loadLibrary(client, library(code(3)))));
    expect(await callFunction(client, "answer", [], [7])).toEqual([3, "7", 1]);
  });

  it("without a name is rejected", async () => {
    await expect(loadLibrary(client, library("return 1"))).rejects.toMatchObject({
      code: "bad_library",
      retryable: false,
    });
  });

  it("all libraries of the engine can be loaded together", async () => {
    await Promise.all([loadStreamLibrary(client), Ledger.load(client), OrderStore.load(client)]);
    const names = ((await client.call("FUNCTION", "LIST")) as string[][]).map((fields) =>
      plainNameOf(String(fields[1])),
    );
    expect(names).toEqual(expect.arrayContaining(["shuiwei_stream", "shuiwei_stock", "shuiwei_orders"]));
  });

  it("passes bytes unchanged and any number of arguments", async () => {
    await loadLibrary(client, library(code(4)));
    const bytes = Buffer.from([0, 200, 13, 10]);
    expect(await callFunctionBuffer(client, "answer", [], [bytes])).toEqual([4, bytes, 1]);
    const many = new Array<string>(400_000).fill("x");
    expect(await callFunction(client, "answer", [], many)).toEqual([4, "x", 400_000]);
  });
});

describe("a hash", () => {
  it("returns any number of fields at once", async () => {
    await client.hset("many", "f7", Buffer.from([7, 0xff]));
    const fields = Array.from({ length: 300_000 }, (_, i) => `f${i}`);
    const found = await readFields(client, "many", fields);
    expect(found).toHaveLength(fields.length);
    expect(found.flatMap((value, i) => (value ? [[i, [...value]]] : []))).toEqual([[7, [7, 0xff]]]);
  });
});

describe("a deployment", () => {
  it("keeps the number of partitions it was created with", async () => {
    await claimDeployment(client, "mine", 16);
    await claimDeployment(client, "mine", 16);
    await claimDeployment(client, "yours", 4);
    await expect(claimDeployment(client, "mine", 8)).rejects.toMatchObject({
      code: "partitions_differ",
      retryable: false,
    });
  });

  it("created by two at once with different numbers has one of them, and the other is rejected", async () => {
    const claims = await Promise.allSettled([2, 3].map((partitions) => claimDeployment(client, "race", partitions)));
    expect(claims.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });
});

describe("a Redis that is to hold stock", () => {
  it("must not evict, and a Redis without persistence is reported", async () => {
    const address = { url: redis.url };
    const client = connect(address);
    const warnings: string[] = [];
    const check = () => checkRedis(client, address, (message) => warnings.push(message));
    try {
      await check();
      expect(warnings).toEqual([expect.stringContaining("appendonly no")]);
      await redis.onEach((primary) => primary.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"));
      await expect(check()).rejects.toMatchObject({
        code: "redis_evicts",
        message: expect.stringContaining("noeviction"),
      });
    } finally {
      await redis.onEach((primary) => primary.call("CONFIG", "SET", "maxmemory-policy", "noeviction"));
      client.disconnect();
    }
  });

  it("that cannot be reached is named, but not its password", async () => {
    const address = { url: "redis://shop:secret@127.0.0.1:9" };
    const client = connect(address);
    const fault = await checkRedis(client, address, () => {}).catch((thrown: unknown) => thrown);
    client.disconnect();
    expect(fault).toMatchObject({
      code: "redis_unreachable",
      message: "the Redis at redis://127.0.0.1:9 cannot be reached",
    });
  });
});

describe("a connection", () => {
  // A Cluster's client connects to a node with its first command, so nothing would be under way during the pause.
  it.skipIf(onCluster)("does not reject an answer that came while this process did not run", async () => {
    const reading = connect({ url: redis.url, timeoutMs: 200 }, true);
    try {
      await reading.ping();
      const answers = [reading.ping(), reading.xread("BLOCK", 20, "STREAMS", "none", "0")];
      // Sent by the next turn; then nothing is read for longer than the timeout.
      await new Promise((resolve) => setImmediate(resolve));
      for (const elapsed = stopwatch(); elapsed() < 400; );
      expect(await Promise.all(answers)).toEqual(["PONG", null]);
    } finally {
      reading.disconnect();
    }
  });

  it.skipIf(onCluster)("whose network loses everything times out and connects again", async () => {
    const wire = new Wire(() => redis.socketPath);
    await wire.open();
    const writing = connect({ url: wire.path, timeoutMs: 300 });
    const reading = connect({ url: wire.path, timeoutMs: 300 }, true);
    try {
      await Promise.all([writing.ping(), reading.ping()]);
      wire.fallSilent();
      const elapsed = stopwatch();
      await expect(writing.set("a", 1)).rejects.toThrow();
      await expect(reading.xread("BLOCK", 50, "STREAMS", "none", "0")).rejects.toThrow();
      // Without a limit of their own they would wait for 10 s each.
      expect(elapsed()).toBeLessThan(10_000);
      // What comes next goes over a new connection.
      await expect.poll(() => writing.ping().catch(String), { timeout: 30_000 }).toBe("PONG");
    } finally {
      writing.disconnect();
      reading.disconnect();
      await wire.close();
    }
  });
});

describe("the message that an operator reads", () => {
  const explanations: [message: string, words: string][] = [
    [
      "a:task: Connection is closed.; starting over in 50 ms",
      "a:task: Redis cannot be reached; starting over in 50 ms",
    ],
    ["None of startup nodes is available", "no node of the Redis Cluster can be reached"],
    ["Failed to refresh slots cache.", "no node of the Redis Cluster can be reached"],
    ["All sentinels are unreachable. Retrying from scratch after 10ms.", "no Sentinel can be reached"],
    [
      "a: Too many Cluster redirections. Last error: ReplyError: CLUSTERDOWN Hash slot not served; starting over in 50 ms",
      "a: the Redis Cluster has no primary for this partition at the moment; starting over in 50 ms",
    ],
    [
      "Too many Cluster redirections. Last error: ReplyError: TRYAGAIN Multiple keys request during rehashing of slot",
      "the partition is moving to another node of the Redis Cluster",
    ],
    ["MOVED 866 127.0.0.1:6379", "the partition has moved to another node of the Redis Cluster"],
    ["LOADING Redis is loading the dataset in memory", "Redis is still reading its data from the disk"],
    ["MASTERDOWN Link with MASTER is down", "this Redis is a replica without its primary"],
    ["READONLY You can't write against a read only replica.", "this Redis has become a replica"],
    [
      "NOREPLICAS Not enough good replicas to write.",
      "Redis has too few replicas to take writes (min-replicas-to-write)",
    ],
  ];

  it.each(explanations)("for %s", (message, words) => expect(explainRedisErrors(message)).toBe(words));
});
