/**
 * A running engine that archives: to a folder and to a bucket, with what trimming leaves alone until it is archived,
 * and histories of SKUs and orders from the archive alone.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FileStore } from "../../connectors/objects/file-store.js";
import type { ObjectStore } from "../../connectors/objects/object-store.js";
import { S3Store } from "../../connectors/objects/s3-store.js";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } from "../../connectors/objects/sandbox.js";
import type { Engine } from "../../engine/app/engine.js";
import { auditArchive } from "../../engine/audit/archive-audit.js";
import { Archiver } from "../../engine/history/archiver.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { monotonicClock, systemClock } from "../../engine/kernel/clock.js";
import { timeOf } from "../../engine/orders/log-entry.js";
import { entryTimeMs } from "../../engine/stock/log-entry.js";
import { ARCHIVE_CURSOR, archivedUpTo } from "../../engine/stream/archive-cursor.js";
import { COMMITTED, cursorField } from "../../engine/stream/commit.js";
import { archiveKeys, partitionKeys } from "../../engine/stream/keys.js";
import { trimEntries } from "../../engine/stream/log-trimming.js";
import { primaries } from "../../engine/stream/redis.js";
import { readMemory } from "../../engine/stream/server-memory.js";
import { withEngines } from "../app/engine-builder.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const engines = withEngines();
const PARTITIONS = 2;
let folder: string;
let sandbox: S3Sandbox;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-archive-"));
  sandbox = await S3Sandbox.start();
});
afterAll(async () => {
  await sandbox.stop();
  await rm(folder, { recursive: true, force: true });
});

const bucket = (): ObjectStore =>
  new S3Store(
    { endpoint: sandbox.endpoint, bucket: BUCKET, prefix: "shop", region: REGION, keyId: KEY_ID, secret: SECRET },
    { clock: systemClock, timeoutMs: 5_000 },
  );

/** Archives until nothing is left, without waiting for a segment to fill. */
async function archiveAll(engine: Engine, prefix: string, store: ObjectStore): Promise<void> {
  const archiver = new Archiver({
    ...{ redis: engine.redis, prefix, partitions: PARTITIONS, store, owner: "test", leaseMs: 10_000 },
    ...{ clock: monotonicClock, retentionMs: 0, onTrouble: () => {}, checkEveryMs: 5, segmentMs: 0 },
    topics: [
      { name: "stock", timeOf: entryTimeMs, hasClosings: true },
      { name: "orders", timeOf, hasClosings: false },
    ],
  });
  archiver.start();
  for (const topic of ["stock", "orders"])
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const place = { prefix, topic, partition };
      const last = Number((await engine.redis.hget(partitionKeys(prefix, topic, partition).head, "offset")) ?? 0);
      await expect.poll(() => archivedUpTo(engine.redis, place)).toBe(last);
    }
  await archiver.stop();
}

describe.each([
  ["a folder", "in-folder", () => new FileStore(folder)],
  ["a bucket", "in-bucket", bucket],
] as const)("an engine that archives to %s", (_, prefix, open) => {
  it("reads histories from the archive when the logs have been trimmed, and its audit passes", async () => {
    const objects = open();
    // The engine's own archiver has nothing to do: it waits for a segment to fill.
    const engine = await engines.start({
      ...{ redisUrl: redis.url, prefix, partitions: PARTITIONS, objects, archive: true },
    });
    const id = chainId("WB", systemClock.now());
    const received = { id: chainId("WB", systemClock.now()), kind: "receive", sku: "TEA", location: "SH" } as const;
    await engine.stock.ledger.apply({ ...received, units: 9, actor: "li.wei", reason: "PO 7" });
    await engine.orders.service.place({ id, lines: [{ sku: "TEA", location: "SH", units: 2 }] }, "web");
    await engine.orders.service.pay(id, "web");
    await engine.stop();

    const serving = await engines.start({
      ...{ redisUrl: redis.url, prefix, partitions: PARTITIONS, objects, archive: true, worker: false },
    });
    await archiveAll(serving, prefix, objects);
    for (const topic of ["stock", "orders"])
      for (let partition = 0; partition < PARTITIONS; partition++)
        await serving.redis.xtrim(partitionKeys(prefix, topic, partition).log, "MAXLEN", 0);
    const span = await serving.stock.skuHistory.read("TEA", { toMs: systemClock.now(), limit: 100 });
    if (span.outcome !== "found") throw new Error(span.outcome);
    expect(span.changes.map(({ event }) => event.type)).toEqual(["StockReceived", "StockReserved", "LinePaid"]);
    expect(span.isComplete).toBe(true);
    const history = await serving.orders.history.read(id, systemClock.now());
    expect(history).toMatchObject({ outcome: "found", isComplete: true });
    if (history.outcome === "found")
      expect(history.steps.map(({ step }) => step)).toEqual(["created", "paid", "locked"]);
    const { signal } = new AbortController();
    const report = await auditArchive({ redis: serving.redis, prefix, partitions: PARTITIONS, store: objects, signal });
    expect(report).toMatchObject({ findings: [] });
    expect(report.entries).toBeGreaterThan(3);
    await serving.stop();
  });
});

describe("trimming", () => {
  it("leaves alone what is not archived, for some retentions, and then removes it", async () => {
    const client = redis.connect();
    const place = { prefix: "trimmed", topic: "stock", partition: 0 };
    const { log } = partitionKeys(place.prefix, place.topic, place.partition);
    for (let offset = 1; offset <= 10; offset++) await client.xadd(log, `${offset}-0`, "t", offset * 1_000);
    const trim = (nowMs: number) =>
      trimEntries(client, place, { readAfter: 10, others: [], timeOf: entryTimeMs, nowMs, retentionMs: 5_000 });
    expect(await archivedUpTo(client, place)).toBeUndefined();
    await trim(7_500);
    expect((await client.xrange(log, "-", "+"))[0]?.[0]).toBe("3-0");
    const { task } = archiveKeys(place.prefix, place.topic, 0);
    await client.hset(task, cursorField(ARCHIVE_CURSOR), 4, COMMITTED, 22_000);
    await trim(12_000);
    expect((await client.xrange(log, "-", "+"))[0]?.[0]).toBe("5-0");
    await trim(22_500);
    expect((await client.xrange(log, "-", "+"))[0]?.[0]).toBe("8-0");
  });

  it("waits for an archive neither when nobody writes it any more nor when Redis is nearly full", async () => {
    const client = redis.connect();
    const place = { prefix: "unheld", topic: "stock", partition: 0 };
    const { log } = partitionKeys(place.prefix, place.topic, place.partition);
    for (let offset = 1; offset <= 10; offset++) await client.xadd(log, `${offset}-0`, "t", offset * 1_000);
    const { task } = archiveKeys(place.prefix, place.topic, 0);
    await client.hset(task, cursorField(ARCHIVE_CURSOR), 1, COMMITTED, 4_000);
    const trim = (nowMs: number) =>
      trimEntries(client, place, { readAfter: 10, others: [], timeOf: entryTimeMs, nowMs, retentionMs: 5_000 });
    const first = async () => (await client.xrange(log, "-", "+", "COUNT", 1))[0]?.[0];
    await trim(8_000);
    expect(await first()).toBe("2-0");
    await trim(9_500);
    expect(await first()).toBe("5-0");
    await client.hset(task, cursorField(ARCHIVE_CURSOR), 5, COMMITTED, 12_000);
    await trim(12_000);
    expect(await first()).toBe("6-0");
    const setLimit = (bytes: number) =>
      Promise.all(primaries(client).map((node) => node.config("SET", "maxmemory", bytes)));
    const { usedBytes = 0, limitBytes = 0 } = (await readMemory(client)) ?? {};
    try {
      await setLimit(Math.round(1.25 * usedBytes));
      await trim(12_000);
      expect(await first()).toBe("7-0");
    } finally {
      await setLimit(limitBytes);
    }
  });
});
