/** The demo's outside systems, pulled by the product's own runner: what comes into the snapshot store, and when. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type BookedCell, DemoSystems } from "../../engine/app/demo-systems.js";
import { acceleratedClock, type Clock } from "../../engine/kernel/clock.js";
import type { RowChunk } from "../../engine/reconciliation/model.js";
import { MovementStore } from "../../engine/reconciliation/reports/movement-store.js";
import { SnapshotStore } from "../../engine/reconciliation/reports/snapshot-store.js";
import { SourceRegistry } from "../../engine/reconciliation/source-registry.js";
import { SourceWatch } from "../../engine/reconciliation/source-watch.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { withRedis } from "../redis/with-redis.js";

const PREFIX = "test";
const PARTITIONS = 4;
/** Midnight of 18 June in China. */
const MIDNIGHT_MS = Date.parse("2026-06-17T16:00:00Z");
const redisOf = withRedis();

let dir: string;
let systems: DemoSystems;
let snapshots: SnapshotStore;
let parts: Parameters<DemoSystems["pull"]>[0];
let troubles: string[];

beforeEach(async () => {
  await redisOf.flush();
  const redis = redisOf.connect();
  await loadStreamLibrary(redis);
  dir = await mkdtemp(join(tmpdir(), "demo-systems-"));
  // As fast as the demo's clock ever is.
  const clock: Clock = acceleratedClock(MIDNIGHT_MS, 600);
  troubles = [];
  const onTrouble = (text: string) => void troubles.push(text);
  const shared = { redis, prefix: PREFIX, partitions: PARTITIONS, clock, onTrouble };
  snapshots = new SnapshotStore({ ...shared, locations: () => new Set(["SHA", "CAN", "CTU"]) });
  const sources = new SourceRegistry(redis, PREFIX);
  parts = {
    redis,
    clock,
    settings: { dir, prefix: PREFIX, zone: "Asia/Shanghai", leaseMs: 5_000, onTrouble },
    reconciliation: {
      snapshots,
      movements: new MovementStore(shared),
      sources,
      sourceWatch: new SourceWatch(sources, clock),
    },
  };
  systems = new DemoSystems();
  await systems.start();
});
afterEach(async () => {
  await systems.stopPulling();
  await systems.stop();
  await rm(dir, { recursive: true });
});

/** More than a page. */
const cells = (units: number): BookedCell[] =>
  Array.from({ length: 5_001 }, (_, i) => ({ sku: `S${i}`, location: i % 2 ? "SHA" : "CTU", units: units + (i % 7) }));

async function unitsOf(source: string, sku: string): Promise<number | undefined> {
  const snapshot = (await snapshots.newest()).get(source);
  for (let partition = 0; snapshot && partition < PARTITIONS; partition++)
    for await (const { skus, units } of snapshots.rows(snapshot, partition) as AsyncIterable<RowChunk>) {
      const i = skus.indexOf(sku);
      if (i >= 0) return units[i];
    }
  return undefined;
}

it("reports the booked instant of the shop's time, at each pull that is asked for", async () => {
  const firstMs = MIDNIGHT_MS - 60_000;
  systems.book(firstMs, { erp: cells(10), wms: cells(20), storefront: cells(30) });
  await systems.pull(parts, "its time has come");
  const newest = async () =>
    Object.fromEntries([...(await snapshots.newest())].map(([source, { asOfMs, rows }]) => [source, [asOfMs, rows]]));
  const all = (atMs: number) => ({ erp: [atMs, 5_001], wms: [atMs, 5_001], storefront: [atMs, 5_001] });
  await vi.waitFor(async () => expect(await newest()).toEqual(all(firstMs)), 60_000);
  expect([await unitsOf("erp", "S1"), await unitsOf("wms", "S1"), await unitsOf("storefront", "S1")]).toEqual([
    11, 21, 31,
  ]);

  const secondMs = MIDNIGHT_MS;
  systems.book(secondMs, { erp: cells(10), wms: [{ sku: "S1", location: "SHA", units: 5 }], storefront: cells(30) });
  await systems.pull(parts, "differences were settled");
  await vi.waitFor(async () => expect(await newest()).toEqual(all(secondMs)), 60_000);
  expect([await unitsOf("erp", "S1"), await unitsOf("wms", "S1"), await unitsOf("wms", "S2")]).toEqual([11, 5, 22]);
  expect(troubles).toEqual([]);
});
