/**
 * From a payment to the warehouse (R16, R22, R23): a whole engine on a real Redis, and a WMS over real HTTP. The WMS
 * gets every paid order once, whatever fails meanwhile, with the contract's fields only, and the order's steps show it.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Histogram } from "prom-client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { FileStore } from "../../connectors/objects/file-store.js";
import type { ObjectStore } from "../../connectors/objects/index.js";
import { WmsSandbox } from "../../connectors/wms/sandbox.js";
import type { Engine } from "../../engine/app/engine.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { ReceivingServer } from "../outbox/outbox-bed.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines, wmsSettings } from "./engine-builder.js";

const redis = withRedis();
let dir = "";
let stocked = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "shuiwei-dispatch-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));
const engines = withEngines();
// Each test has an engine of its own, and each engine at rest still takes a share of the machine.
afterEach(() => engines.stop());

async function startSandbox(limitPerSecond = 5_000): Promise<WmsSandbox> {
  const wms = new WmsSandbox({ limitPerSecond });
  await wms.start();
  engines.onStop(() => wms.stop());
  return wms;
}

/** A WMS whose answers the test chooses. */
async function answering(): Promise<ReceivingServer> {
  const server = new ReceivingServer();
  await server.open();
  engines.onStop(() => server.close());
  return server;
}

const engineFor = (
  wms: Pick<WmsSandbox, "url">,
  prefix: string,
  objects: ObjectStore = new FileStore(join(dir, prefix)),
): Promise<Engine> =>
  engines.start({
    redisUrl: redis.url,
    prefix,
    leaseMs: 5_000,
    deadlines: { picking: 60_000, labelled: 60_000 },
    ...wmsSettings(wms.url, objects),
  });

const SHIP_TO = {
  name: "李伟",
  phone: "13800000000",
  address: `浙江省杭州市西湖区文三路478号华星时代广场A座${"请放在门口，电话联系。".repeat(50)}`,
};

async function place(engine: Engine): Promise<string> {
  const sku = `SKU-${stocked++ % 20}`;
  const now = systemClock.now();
  await engine.stock.ledger.apply({ kind: "receive", id: chainId("RC", now), sku, location: "SHA", units: 1 });
  const id = chainId("WB", now);
  const { outcome } = await engine.orders.service.place({
    id,
    lines: [{ sku, location: "SHA", units: 1 }],
    shipTo: SHIP_TO,
  });
  expect(outcome).toBe("accepted");
  return id;
}

async function pay(engine: Engine, count: number): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const id = await place(engine);
      expect((await engine.orders.service.pay(id)).outcome).toBe("accepted");
      return id;
    }),
  );
}

const wmsSink = ({ sinks }: Engine) => sinks.find(({ name }) => name === "wms");
/** How many orders the engine has measured from payment to picking. */
async function pickings(engine: Engine): Promise<number | undefined> {
  const histogram = wmsSink(engine)?.metrics[0] as Histogram;
  return (await histogram.get()).values.find(({ metricName }) => metricName?.endsWith("_count"))?.value;
}

const patience = { timeout: 30_000, interval: 50 };
const arrived = (wms: WmsSandbox) =>
  wms
    .report()
    .orders.map(([order]) => order)
    .sort();

describe("paid orders", () => {
  it("reach the WMS once each, also when it stops, returns and accepts fewer requests", async () => {
    const wms = await startSandbox(150);
    const engine = await engineFor(wms, "all");
    const early = await pay(engine, 100);
    await expect.poll(() => wms.accepted, patience).toBeGreaterThan(20);
    await wms.stop();
    const meanwhile = await pay(engine, 200);
    const unpaid = await place(engine);
    await expect.poll(() => wmsSink(engine)?.outbox.stats().circuit, patience).not.toBe("closed");
    expect(await engine.orders.warehouse?.backlog()).toBeGreaterThanOrEqual(200);
    await wms.start();
    // Its limit is below the configured one: the engine sends fewer requests until all are accepted.
    await expect.poll(() => wms.accepted, patience).toBe(300);
    expect(arrived(wms)).toEqual([...early, ...meanwhile].sort());
    expect(arrived(wms)).not.toContain(unpaid);
    expect(wms.report()).toMatchObject({ duplicates: 0 });
    await expect.poll(() => engine.orders.warehouse?.backlog(), patience).toBe(0);
    const [first] = early as [string];
    const steps = async () => (await engine.orders.tracker.track(first)).taken.map(({ step }) => step);
    await expect.poll(steps, patience).toEqual(["created", "paid", "locked", "picking"]);
    expect(await pickings(engine)).toBe(300);
  }, 120_000);

  it("get the deadline of picking once the deployment has a WMS, also in an older process without one", async () => {
    const wms = await startSandbox();
    await wms.stop();
    const deadlines = { picking: 1_000, labelled: 500 };
    const worker = await engines.start({ redisUrl: redis.url, prefix: "without-wms", deadlines });
    const late = async (id: string) =>
      (await worker.orders.exceptions.page(10)).exceptions.filter(({ order }) => order === id).map(({ step }) => step);
    const [before] = (await pay(worker, 1)) as [string];
    await expect.poll(() => late(before), patience).toEqual(["labelled"]);
    await (await engineFor(wms, "without-wms")).stop();
    const [since] = (await pay(worker, 1)) as [string];
    await expect.poll(() => late(since), patience).toEqual(["picking"]);
    expect(await late(before)).toEqual(["labelled"]);
  }, 120_000);

  it("are sent with the contract's fields; the buyer's other text is in the object store", async () => {
    const wms = await startSandbox();
    const engine = await engineFor(wms, "fields");
    const [id] = (await pay(engine, 1)) as [string];
    // The request to the WMS does not wait for the object store, but the step `picking` does.
    await expect.poll(() => engine.orders.warehouse?.backlog(), patience).toBe(0);
    expect(wms.accepted).toBe(1);
    const files = await readdir(join(dir, "fields"), { recursive: true });
    const file = files.find((name) => name.endsWith(`${id}.json`)) as string;
    expect(JSON.parse(await readFile(join(dir, "fields", file), "utf8"))).toEqual({
      order: id,
      shipTo: { address: SHIP_TO.address },
    });
  }, 120_000);

  it("that are cancelled after they were sent are withdrawn from the WMS", async () => {
    const wms = await startSandbox();
    const engine = await engineFor(wms, "cancelled");
    await wms.stop();
    const ids = await pay(engine, 20);
    for (const id of ids) expect((await engine.orders.service.cancel(id)).outcome).toBe("cancelling");
    await wms.start();
    await expect.poll(() => wms.report().cancellations, patience).toBeGreaterThanOrEqual(20);
    await expect.poll(() => ids.every((id) => wms.isWithdrawn(id)), patience).toBe(true);
  }, 120_000);

  it("that are cancelled before they were sent are not sent", async () => {
    const wms = await startSandbox();
    // No request has reached the WMS, so no pick may reach it later.
    await wms.stop();
    const engine = await engineFor(wms, "cancelled-meanwhile");
    const ids = await pay(engine, 5);
    for (const id of ids) await engine.orders.service.cancel(id);
    await wms.start();
    await expect.poll(() => wms.report().cancellations, patience).toBe(5);
    expect(wms.report()).toMatchObject({ orders: [], arrived: 5 });
  }, 120_000);

  it("that are cancelled end when the WMS withdraws them, and continue when it has picked them", async () => {
    const wms = await startSandbox();
    const engine = await engineFor(wms, "settled");
    const [free, taken] = (await pay(engine, 2)) as [string, string];
    await expect.poll(() => engine.orders.warehouse?.backlog(), patience).toBe(0);
    wms.markPicked(taken);
    for (const id of [free, taken]) expect((await engine.orders.service.cancel(id)).outcome).toBe("cancelling");
    const states = async () =>
      Promise.all(
        [free, taken].map(async (id) => (await engine.orders.service.read(id))?.lines.map(({ state }) => state)),
      );
    await expect.poll(states, patience).toEqual([["cancelled_paid"], ["paid"]]);
    const steps = async () => (await engine.orders.tracker.track(taken)).taken.map(({ step }) => step);
    await expect.poll(steps, patience).toContain("cancellation_refused");
    expect(wms.isWithdrawn(free)).toBe(true);
  }, 30_000);

  it("are sent to the WMS when an operator refuses the cancellation that kept them back", async () => {
    const wms = await startSandbox();
    await wms.stop();
    const engine = await engineFor(wms, "refused-by-hand");
    const [id] = (await pay(engine, 1)) as [string];
    expect((await engine.orders.service.cancel(id)).outcome).toBe("cancelling");
    // The WMS answers withdrawals with 503, so the request to pick is skipped before there is an answer.
    wms.setProxy((path) => (path.endsWith("/cancellation") ? { status: 503 } : undefined));
    await wms.start();
    await expect.poll(() => wms.report().arrived, patience).toBeGreaterThan(0);
    expect(arrived(wms)).toEqual([]);
    expect((await engine.orders.service.settleCancellation(id, "refused", { source: "test" })).outcome).toBe(
      "accepted",
    );
    await expect.poll(() => arrived(wms), patience).toEqual([id]);
    await expect.poll(() => engine.orders.warehouse?.backlog(), patience).toBe(0);
    const steps = async () => (await engine.orders.tracker.track(id)).taken.map(({ step }) => step);
    await expect.poll(steps, patience).toContain("picking");
    expect(wms.isWithdrawn(id)).toBe(false);
  }, 120_000);

  it("are sent by the remaining process when one ends, and none twice", async () => {
    const wms = await startSandbox(200);
    const first = await engineFor(wms, "left");
    const second = await engineFor(wms, "left");
    const ids = await pay(first, 150);
    await sleep(300);
    await first.stop();
    ids.push(...(await pay(second, 50)));
    await expect.poll(() => wms.accepted, patience).toBe(200);
    await expect.poll(() => second.orders.warehouse?.backlog(), patience).toBe(0);
    expect(arrived(wms)).toEqual(ids.sort());
    expect(wms.report().duplicates).toBe(0);
  }, 120_000);

  it("that are cancelled during an attempt are withdrawn after the attempt that succeeds", async () => {
    const wms = await answering();
    let isSilent = true;
    wms.answer = (key) => ({ status: 200, inMs: isSilent && !key.includes("/") ? Number.POSITIVE_INFINITY : 0 });
    const engine = await engineFor(wms, "under-way");
    const [id] = (await pay(engine, 1)) as [string];
    await expect.poll(() => wms.arrivals.length, patience).toBe(1);
    expect((await engine.orders.service.cancel(id)).outcome).toBe("cancelling");
    isSilent = false;
    await expect.poll(() => wms.arrivals.at(-1)?.key, patience).toBe(`${id}/withdraw`);
    const keys = wms.arrivals.map(({ key }) => key);
    expect(keys.slice(0, -1).every((key) => key === id)).toBe(true);
    expect(keys.length).toBeGreaterThanOrEqual(3);
  }, 120_000);

  it("are sent to the WMS once also while the object store fails, and are picked when it works again", async () => {
    const wms = await startSandbox();
    const store = new FileStore(join(dir, "storage"));
    let isFull = true;
    const objects: ObjectStore = {
      get: (key) => store.get(key),
      delete: (key) => store.delete(key),
      put: (key, bytes) => (isFull ? Promise.reject(new Error("no space left")) : store.put(key, bytes)),
    };
    const engine = await engineFor(wms, "storage", objects);
    const ids = await pay(engine, 30);
    await expect.poll(() => wms.accepted, patience).toBe(30);
    const retries = () =>
      wmsSink(engine)
        ?.outbox.stats()
        .partitions.reduce((sum, each) => sum + each.retries, 0) ?? 0;
    await expect.poll(retries, patience).toBeGreaterThan(60);
    expect(wmsSink(engine)?.outbox.stats().circuit).toBe("closed");
    isFull = false;
    await expect.poll(() => engine.orders.warehouse?.backlog(), patience).toBe(0);
    expect(arrived(wms)).toEqual(ids.sort());
    // If every retry sent the request again, there would be as many requests as retries; slow answers cause a few.
    expect(wms.report().arrived).toBeLessThan(retries());
    const files = await readdir(join(dir, "storage"), { recursive: true });
    expect(files.filter((name) => name.endsWith(".json"))).toHaveLength(30);
  }, 120_000);

  it.each([
    [401, "denies access (HTTP 401): check its token"],
    [403, "denies access (HTTP 403): check its token"],
    [404, "may be wrong (HTTP 404): check it, and the gateway in front of it"],
    [405, "may be wrong (HTTP 405): check it, and the gateway in front of it"],
    [400, "rejects the request (HTTP 400)"],
  ])(
    "wait while the gateway of the WMS answers %i, with a warning, and none becomes a dead letter",
    async (status, warning) => {
      const wms = await startSandbox();
      wms.setProxy(() => ({ status }));
      const engine = await engineFor(wms, `gateway-${status}`);
      const ids = await pay(engine, 30);
      await expect.poll(() => wmsSink(engine)?.outbox.stats().circuit, patience).not.toBe("closed");
      expect(wms.report().arrived).toBeLessThan(200);
      const warned = () => wmsSink(engine)?.outbox.warnings().join();
      await expect.poll(warned, patience).toMatch(/wms refuses pick: it/);
      expect(warned()).toContain(warning);
      wms.setProxy(undefined);
      await expect.poll(() => engine.orders.warehouse?.backlog(), patience).toBe(0);
      expect(arrived(wms)).toEqual(ids.sort());
      expect(
        wmsSink(engine)
          ?.outbox.stats()
          .partitions.every(({ deadLetters }) => deadLetters === 0),
      ).toBe(true);
      expect(wmsSink(engine)?.outbox.warnings()).toEqual([]);
    },
    120_000,
  );

  it("that the WMS refuses become dead letters with its reason, and are sent by an operator's replay", async () => {
    const wms = await answering();
    const refusal = '{"code":"invalid_order","message":"no such warehouse"}';
    wms.answer = () => ({ status: 422, body: refusal });
    const engine = await engineFor(wms, "refused");
    const [id] = (await pay(engine, 1)) as [string];
    const listed = () => deadLetters("refused", "list");
    await expect.poll(listed, patience).toMatchObject({ status: 0, out: expect.stringContaining("1 dead letters") });
    const { out } = await listed();
    expect(out).toMatch(new RegExp(`order-flow\\.1 +entry \\d+ emit 0 +${id} +1 +HTTP 422: `));
    expect(await engine.orders.warehouse?.backlog()).toBe(0);
    const [deadLetter = ""] = /^\d+\/\d+-\d+/m.exec(out) ?? [];
    expect((await deadLetters("refused", "show", deadLetter)).out).toMatch(new RegExp(`^emit +.*"order":"${id}"`, "m"));
    expect(await deadLetters("refused", "replay", deadLetter)).toMatchObject({
      status: 1,
      out: expect.stringContaining(`failed again: HTTP 422: ${refusal}`),
    });
    wms.answer = () => ({ status: 201 });
    expect(await deadLetters("refused", "replay", "all")).toMatchObject({
      status: 0,
      out: expect.stringMatching(/^\d+\/\d+-\d+ {2}replayed\n$/),
    });
    expect([...wms.taken.keys()]).toEqual([id]);
    const steps = async () => (await engine.orders.tracker.track(id)).taken.map(({ step }) => step);
    await expect.poll(steps, patience).toContain("picking");
    expect((await listed()).out).toBe("no dead letters\n");
  }, 120_000);

  it("that are cancelled as dead letters are not sent by a replay", async () => {
    const wms = await answering();
    wms.answer = (key) =>
      key.includes("/")
        ? { status: 404, body: '{"code":"unknown_order"}' }
        : { status: 422, body: '{"code":"invalid_order"}' };
    const engine = await engineFor(wms, "replayed-late");
    const [id] = (await pay(engine, 1)) as [string];
    const listed = async () => (await deadLetters("replayed-late", "list")).out;
    await expect.poll(listed, patience).toContain("1 dead letters");
    expect((await engine.orders.service.cancel(id)).outcome).toBe("cancelling");
    await expect.poll(() => wms.arrivals.at(-1)?.key, patience).toBe(`${id}/withdraw`);
    const arrivals = wms.arrivals.length;
    expect(await deadLetters("replayed-late", "replay", "all")).toMatchObject({ status: 0 });
    expect(await listed()).toBe("no dead letters\n");
    expect(wms.arrivals).toHaveLength(arrivals);
    expect(await engine.orders.warehouse?.backlog()).toBe(0);
  }, 120_000);
});

/** Runs the built command on the WMS's dead letters. */
function deadLetters(prefix: string, ...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const cli = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
  const from = ["--redis-url", redis.url, "--prefix", prefix, "--from", "orders/wms"];
  // The command rejects variables that are not its own, such as those of the tests.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SHUIWEI_")));
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, "dead-letters", ...args, ...from], { encoding: "utf8", env }, (error, out, err) =>
      resolve({ status: error ? Number(error.code) : 0, out, err }),
    );
  });
}
