/**
 * From a payment to the warehouse (R16, R22, R23), the whole engine on a real Redis and a WMS over real HTTP: every paid order is there once, whatever the
 * WMS is at meanwhile, with the contract's fields only, and the order knows it.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FileStore } from "../connectors/objects/file-store.js";
import { chainId } from "../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../engine/kernel/clock.js";
import { type Engine, type EngineSettings, startEngine } from "../engine/main.js";
import { withRedis } from "./redis/with-redis.js";
import { WmsStandIn } from "./wms/stand-in.js";

const redis = withRedis();
const ends: (() => Promise<unknown>)[] = [];
let dir = "";
let stocked = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "shuiwei-dispatch-"));
});
afterAll(async () => {
  for (const end of ends.reverse()) await end();
  await rm(dir, { recursive: true, force: true });
});

async function standIn(limitPerSecond = 5_000): Promise<WmsStandIn> {
  const wms = new WmsStandIn({ limitPerSecond });
  await wms.start();
  ends.push(() => wms.die());
  return wms;
}

async function engineFor(wms: WmsStandIn, prefix: string, more: Partial<EngineSettings> = {}): Promise<Engine> {
  const engine = await startEngine({
    redisUrl: redis.url,
    dir: "",
    appendfsync: "everysec",
    partitions: 4,
    prefix,
    leaseMs: 1_500,
    tickMs: 200,
    retentionMs: 86_400_000,
    pollMs: 20,
    zone: "UTC",
    idRetentionDays: 45,
    batchLimit: 500,
    worker: true,
    empty: false,
    shopTime: undefined,
    onTrouble: () => {},
    deadlines: { picking: 60_000, labelled: 60_000 },
    wms: {
      url: wms.url,
      token: undefined,
      limitPerSecond: 1_000,
      inFlight: 64,
      timeoutMs: 500,
      maxBacklog: 100_000,
      objects: new FileStore(join(dir, prefix)),
    },
    ...more,
  });
  ends.push(() => engine.stop());
  return engine;
}

const SHIP_TO = {
  name: "李伟",
  phone: "13800000000",
  address: `浙江省杭州市西湖区文三路478号华星时代广场A座${"请放在门口，电话联系。".repeat(50)}`,
};

async function place(engine: Engine): Promise<string> {
  const sku = `SKU-${stocked++ % 20}`;
  const now = systemClock.now();
  await engine.ledger.apply({ kind: "receive", id: chainId("RC", now), sku, location: "SHA", units: 1 });
  const id = chainId("WB", now);
  const { outcome } = await engine.desk.place({ id, lines: [{ sku, location: "SHA", units: 1 }], shipTo: SHIP_TO });
  expect(outcome).toBe("accepted");
  return id;
}

async function pay(engine: Engine, count: number): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const id = await place(engine);
      expect((await engine.desk.pay(id)).outcome).toBe("accepted");
      return id;
    }),
  );
}

const patience = { timeout: 20_000, interval: 50 };
const arrived = (wms: WmsStandIn) =>
  wms
    .report()
    .orders.map(([order]) => order)
    .sort();

describe("paid orders", () => {
  it("are at the warehouse once each, whether it is dead, comes back, or asks for less", async () => {
    const wms = await standIn(150);
    const engine = await engineFor(wms, "all");
    const early = await pay(engine, 100);
    await expect.poll(() => wms.picked, patience).toBeGreaterThan(20);
    await wms.die();
    const meanwhile = await pay(engine, 200);
    const unpaid = await place(engine);
    await expect.poll(() => engine.outbox?.stats().circuit, patience).not.toBe("closed");
    expect(await engine.warehouse?.backlog()).toBeGreaterThanOrEqual(200);
    await wms.start();
    // Its limit is below what the engine was told: it is asked for less until it takes everything.
    await expect.poll(() => wms.picked, patience).toBe(300);
    expect(arrived(wms)).toEqual([...early, ...meanwhile].sort());
    expect(arrived(wms)).not.toContain(unpaid);
    expect(wms.report()).toMatchObject({ duplicates: 0 });
    await expect.poll(() => engine.warehouse?.backlog(), patience).toBe(0);
    const [first] = early as [string];
    const steps = async () => (await engine.tracker.track(first)).taken.map(({ step }) => step);
    await expect.poll(steps, patience).toEqual(["created", "paid", "locked", "picking"]);
    expect(
      (await engine.pickingSeconds.get()).values.find(({ metricName }) => metricName?.endsWith("_count"))?.value,
    ).toBe(300);
  }, 60_000);

  it("go with the contract's fields, and what the buyer wrote beyond them lies in the storage", async () => {
    const wms = await standIn();
    const engine = await engineFor(wms, "fields");
    const [id] = (await pay(engine, 1)) as [string];
    await expect.poll(() => wms.picked, patience).toBe(1);
    const files = await readdir(join(dir, "fields"), { recursive: true });
    const file = files.find((name) => name.endsWith(`${id}.json`)) as string;
    expect(JSON.parse(await readFile(join(dir, "fields", file), "utf8"))).toEqual({
      order: id,
      shipTo: { address: SHIP_TO.address },
    });
  }, 30_000);

  it("that are cancelled are taken back from the warehouse, after it has them", async () => {
    const wms = await standIn();
    const engine = await engineFor(wms, "cancelled");
    await wms.die();
    const ids = await pay(engine, 20);
    for (const id of ids) expect((await engine.desk.cancel(id)).outcome).toBe("cancelled_paid");
    await wms.start();
    await expect.poll(() => wms.report().cancellations, patience).toBe(20);
    expect(arrived(wms)).toEqual(ids.sort());
  }, 30_000);

  it("are sent by whoever is left when a process ends, and none twice for it", async () => {
    const wms = await standIn(200);
    const first = await engineFor(wms, "left");
    const second = await engineFor(wms, "left");
    const ids = await pay(first, 150);
    await sleep(300);
    await first.stop();
    ids.push(...(await pay(second, 50)));
    await expect.poll(() => wms.picked, patience).toBe(200);
    await expect.poll(() => second.warehouse?.backlog(), patience).toBe(0);
    expect(arrived(wms)).toEqual(ids.sort());
    expect(wms.report().duplicates).toBe(0);
  }, 60_000);
});
