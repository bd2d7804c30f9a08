/**
 * An engine that cannot keep up: a Redis that fills up, first to the intake's limit and then to its own, jobs that no
 * process runs, a WMS or a Redis that does not answer. New orders are refused in time and with a reason, steps of
 * earlier orders continue, nothing is applied in part, and service returns by itself when the cause has ended.
 */
import { type AddressInfo, createServer } from "node:net";
import { beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../engine/app/engine.js";
import { Intake } from "../../engine/app/intake.js";
import { Lifecycle } from "../../engine/app/lifecycle.js";
import { serveEngine } from "../../engine/app/serve.js";
import type { RunningServer } from "../../engine/app/server.js";
import { sleep } from "../../engine/kernel/clock.js";
import { lineId } from "../../engine/orders/model.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { cellOf } from "../../engine/stock/model.js";
import { partitionKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { connect } from "../../engine/stream/redis.js";
import { type Answer, freshId, type Sending, send, TOKEN } from "../connectors/http/http-bed.js";
import { withRedis } from "../redis/with-redis.js";
import { Audit } from "../sim/audit.js";
import { type TestEngines, withEngines, wmsSettings } from "./engine-builder.js";

const PARTITIONS = 4;
const SKUS = 40;
const UNITS = 1_000_000;
const LOCATION = "main";

async function serverOf(
  engines: TestEngines,
  engine: Engine,
  more: { maxLagMs?: number } = {},
): Promise<RunningServer> {
  const lifecycle = new Lifecycle();
  const surface = {
    host: "127.0.0.1",
    port: 0,
    tokens: [TOKEN],
    defaultLocation: LOCATION,
    channel: "TE",
    open: false,
    maxLagMs: 20_000,
    maxMemoryShare: 0.85,
    ...more,
  };
  const server = await serveEngine(engine, surface, lifecycle);
  engines.onStop(() => lifecycle.stop());
  return server;
}

type Ask = (method: string, path: string, sending?: Sending) => Promise<Answer>;
const asking =
  (server: RunningServer): Ask =>
  (method, path, sending) =>
    send(server.port, method, path, sending);

const sku = (i: number) => `SKU-${i % SKUS}`;
const orderOf = (i: number, units = 1) => ({
  id: freshId(),
  lines: [0, 7].map((step) => ({ sku: sku(i + step), location: LOCATION, units })),
});
const stock = (engine: Engine) =>
  engine.stock.ledger.applyMany(
    Array.from({ length: SKUS }, (_, i) => ({
      kind: "receive" as const,
      id: freshId(),
      sku: sku(i),
      location: LOCATION,
      units: UNITS,
    })),
  );
const figure = async (ask: Ask, name: string) =>
  Number(new RegExp(`^shuiwei_${name} (\\S+)$`, "m").exec((await ask("GET", "/metrics")).text)?.[1]);
const place = (ask: Ask, order = orderOf(0)) => ask("POST", "/v1/orders", { body: order });
const bulk = (ask: Ask, commands: object[]) =>
  ask("POST", "/v1/commands", {
    body: commands.map((command) => `${JSON.stringify(command)}\n`).join(""),
    headers: { "content-type": "application/x-ndjson" },
  });

describe("a Redis that fills up", () => {
  const LIMIT_MIB = 24;
  const redis = withRedis({ extraArgs: ["--maxmemory", `${LIMIT_MIB}mb`] });
  const engines = withEngines();
  let engine: Engine;
  let ask: Ask;

  const memory = async () => {
    const text = await engine.redis.info("memory");
    return Number(/^used_memory:(\d+)/m.exec(text)?.[1]) / 2 ** 20;
  };
  const commits = () =>
    engine
      .topic("stock")
      .worker?.stats()
      .reduce((sum, stats) => sum + stats.commits, 0) ?? 0;
  const soon = { timeout: 30_000, interval: 100 };

  beforeAll(async () => {
    engine = await engines.start({ redisUrl: redis.url, prefix: "full" });
    ask = asking(await serverOf(engines, engine));
    await stock(engine);
  });

  it("refuses new orders at the intake's limit and accepts payments, cancellations and outbound", async () => {
    const [kept, cancelled] = [orderOf(1), orderOf(2)];
    for (const order of [kept, cancelled]) expect((await place(ask, order)).status).toBe(201);
    await expect
      .poll(async () => (await ask("GET", "/readyz")).json, soon)
      .toEqual({ status: "ready", freshness: expect.any(String) });
    await engine.redis.setrange("before", (LIMIT_MIB / 4) * 2 ** 20, "x");
    // As many orders as fit; a quarter of a second of them at a time, because the intake reads the memory once a
    // second.
    let orders = 0;
    while ((await memory()) < LIMIT_MIB * 0.87) {
      await Promise.all(Array.from({ length: 1_000 }, () => engine.orders.service.place(orderOf(orders++))));
    }
    expect(orders).toBeGreaterThan(2_000);
    await expect.poll(async () => (await place(ask)).status, soon).toBe(503);

    const refused = await place(ask);
    expect(refused.json).toMatchObject({ code: "store_full", detail: expect.stringContaining("nearly full") });
    expect(refused.headers["retry-after"]).toBe("30");
    const line = { ...kept.lines[0], id: lineId(kept.id, 0) };
    expect((await bulk(ask, [{ kind: "pay", ...line }])).status).toBe(200);
    expect(
      (
        await bulk(ask, [
          { kind: "pay", ...line },
          { kind: "reserve", ...line, id: freshId() },
        ])
      ).status,
    ).toBe(503);
    expect((await ask("POST", `/v1/orders/${kept.id}/payment`)).json.outcome).toBe("accepted");
    expect((await ask("POST", `/v1/orders/${kept.id}/outbound`)).json.outcome).toBe("accepted");
    expect((await ask("POST", `/v1/orders/${cancelled.id}/cancellation`)).json.outcome).toBe("accepted");
    expect((await ask("GET", `/v1/stock/${sku(0)}`)).status).toBe(200);

    const ready = await ask("GET", "/readyz");
    expect(ready.status).toBe(200);
    expect(ready.json.warnings).toEqual([expect.stringMatching(/^Redis is nearly full: .* of 24\.0 MiB .* refused$/)]);
    expect(await figure(ask, "intake_open")).toBe(0);
    expect(await figure(ask, "intake_refused_total")).toBeGreaterThanOrEqual(3);
    expect(await figure(ask, "redis_memory_limit_bytes")).toBe(LIMIT_MIB * 2 ** 20);
    expect(await figure(ask, "redis_memory_bytes")).toBeGreaterThan(LIMIT_MIB * 2 ** 20 * 0.8);
  }, 120_000);

  it("above its own limit refuses what is new; payments, cancellations and outbound are accepted, jobs commit, holds expire", async () => {
    const [paying, leaving, cancelled, mixed] = [orderOf(3), orderOf(5), orderOf(6), orderOf(8)];
    for (const order of [paying, leaving, cancelled, mixed]) await engine.orders.service.place(order);
    expect((await ask("POST", `/v1/orders/${leaving.id}/payment`)).json.outcome).toBe("accepted");
    const brief = { ...orderOf(4, 5), holdMs: 3_000 };
    await engine.orders.service.place(brief);
    const held = async () => (await engine.stock.ledger.recall([{ id: lineId(brief.id, 0), sku: sku(4) }]))[0]?.state;
    expect(await held()).toBe("held");
    // The first write exceeds the limit; the next one is refused.
    await engine.redis.setrange("filler", (LIMIT_MIB / 4) * 2 ** 20, "x");
    await expect(engine.redis.set("more", "x")).rejects.toThrow("OOM");

    for (const [order, step] of [
      [paying, "payment"],
      [leaving, "outbound"],
      [cancelled, "cancellation"],
    ] as const) {
      const answer = await ask("POST", `/v1/orders/${order.id}/${step}`);
      expect([answer.status, answer.json.outcome], step).toEqual([200, "accepted"]);
    }
    expect((await place(ask)).status).toBe(503);
    await expect(engine.orders.service.place(orderOf(5))).rejects.toMatchObject({ retryable: true });
    // Commands of one call: only those that begin something are refused.
    const line = { ...(mixed.lines[0] as { sku: string; location: string; units: number }), id: lineId(mixed.id, 0) };
    const [received, paid, reserved] = await Promise.allSettled([
      engine.stock.ledger.apply({ kind: "receive", ...line, id: freshId() }),
      engine.stock.ledger.apply({ kind: "pay", ...line, ofOrder: true }),
      engine.stock.ledger.apply({ kind: "reserve", ...line, id: freshId() }),
    ]);
    expect(received).toMatchObject({ status: "rejected", reason: { retryable: true } });
    expect(paid).toMatchObject({ status: "fulfilled", value: { outcome: "accepted", state: "paid" } });
    expect(reserved).toMatchObject({ status: "rejected", reason: { retryable: true } });
    await expect
      .poll(async () => (await ask("GET", "/readyz")).json.detail, soon)
      .toContain("Redis has no memory left");
    expect((await ask("GET", "/readyz")).status).toBe(503);

    const before = commits();
    await expect.poll(held, soon).toBe("expired");
    await expect.poll(commits, soon).toBeGreaterThan(before);
    await expect.poll(() => engine.topic("stock").follower.lagEntries(), soon).toBe(0);
    // Ledger, jobs and log still agree.
    await expectAgreement(engine);

    await engine.redis.del("filler");
    await engine.redis.config("SET", "maxmemory", `${2 * LIMIT_MIB}mb`);
    await expect.poll(async () => (await place(ask)).status, soon).toBe(201);
    expect((await ask("GET", "/readyz")).json).toEqual({ status: "ready", freshness: expect.any(String) });
    expect(await figure(ask, "intake_open")).toBe(1);
    await expectAgreement(engine);
  }, 120_000);
});

/** Balances equal the sums of the log, and the views show them. */
async function expectAgreement(engine: Engine): Promise<void> {
  await expect.poll(() => engine.topic("stock").follower.lagEntries(), { timeout: 30_000 }).toBe(0);
  const audit = new Audit();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const { log, head } = partitionKeys(engine.settings.prefix, "stock", partition);
    audit.clockMs = 0;
    let events = 0;
    for (let after = 0; ; ) {
      const entries = await readLog(engine.redis, log, after, 1_000);
      if (entries.length === 0) break;
      for (const entry of entries) {
        const decoded = eventsOf(entry);
        events += decoded.events.length;
        expect(decoded.total).toBe(events);
        for (const event of decoded.events) audit.fold(event);
        after = entry.offset;
      }
    }
    expect(Number(await engine.redis.hget(head, "events"))).toBe(events);
    for await (const cell of engine.stock.ledger.cells(partition)) {
      expect(cell.balances).toEqual(audit.cells.get(cellOf(cell.sku, cell.location)));
      const { display: _, ...shown } = engine.stock.storefrontView.get(cell.sku)?.total ?? {};
      expect(shown).toEqual(cell.balances);
    }
  }
  expect(audit.cells.size).toBe(SKUS);
}

describe("jobs that no process runs", () => {
  const redis = withRedis();
  const engines = withEngines();

  it("are reported, new orders are refused, and are accepted again when a process runs the jobs", async () => {
    const engine = await engines.start({ redisUrl: redis.url, prefix: "behind", worker: false });
    const ask = asking(await serverOf(engines, engine, { maxLagMs: 2_000 }));
    await stock(engine);
    const order = orderOf(1);
    expect((await place(ask, order)).status).toBe(201);
    expect(engine.topic("stock").follower.unowned()).toEqual([0, 1, 2, 3]);
    await expect.poll(async () => (await place(ask)).status, { timeout: 30_000, interval: 200 }).toBe(429);
    const refused = await place(ask);
    expect(refused.json).toMatchObject({ code: "overloaded" });
    expect(refused.json.detail).toMatch(
      /\d+ s behind the ledger: \d+ log entries with \d+ events wait for the jobs; no process runs the stock jobs of partitions 0-3; no process runs the orders jobs of partitions 0-3/,
    );
    expect(refused.headers["retry-after"]).toBe("5");
    expect((await ask("POST", `/v1/orders/${order.id}/payment`)).json.outcome).toBe("accepted");
    const events = engine
      .topic("stock")
      .follower.stats()
      .reduce((sum, { lagEvents }) => sum + lagEvents, 0);
    expect(events).toBeGreaterThanOrEqual(42);
    const text = (await ask("GET", "/metrics")).text;
    expect(text).toMatch(/^shuiwei_partition_lag_events\{topic="stock",partition="2"\} [1-9]/m);
    expect(text).toMatch(/^shuiwei_partition_lag_seconds\{topic="stock",partition="2"\} [1-9]/m);
    expect(text).not.toContain('shuiwei_partition_commit_age_seconds{topic="stock"');

    const worker = await engines.start({ redisUrl: redis.url, prefix: "behind" });
    await expect.poll(async () => (await place(ask)).status, { timeout: 30_000, interval: 200 }).toBe(201);
    await expect.poll(() => worker.topic("stock").follower.lagEntries(), { timeout: 30_000 }).toBe(0);
    // Leases are read once a second.
    await expect.poll(() => engine.topic("stock").follower.unowned(), { timeout: 30_000 }).toEqual([]);
    const figures = async () => (await ask("GET", "/metrics")).text;
    await expect
      .poll(figures, { timeout: 30_000 })
      .toContain('shuiwei_partition_lag_events{topic="stock",partition="2"} 0');
    await expect
      .poll(figures, { timeout: 30_000 })
      .toContain('shuiwei_partition_lease_changes_total{topic="stock",partition="2"} 1');
    const after = await figures();
    expect(after).toContain('shuiwei_partition_dead_letters{topic="stock",partition="2"} 0');
    expect(Number(/commit_age_seconds\{topic="stock",partition="2"\} (\S+)/.exec(after)?.[1])).toBeLessThan(120);
    await expect
      .poll(async () => (await ask("GET", "/readyz")).json, { timeout: 30_000 })
      .toEqual({ status: "ready", freshness: expect.any(String) });
  }, 120_000);
});

describe("a WMS that does not answer", () => {
  const redis = withRedis();
  const engines = withEngines();

  it("is reported and counted, and orders are accepted all the same", async () => {
    const refusing = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => refusing.listen(0, "127.0.0.1", resolve));
    engines.onStop(() => new Promise((resolve) => refusing.close(resolve)));
    // No order gets so far that it would store anything.
    const objects = { put: async () => {}, get: async () => undefined, delete: async () => {} };
    const wms = wmsSettings(`http://127.0.0.1:${(refusing.address() as AddressInfo).port}`, objects);
    const engine = await engines.start({ redisUrl: redis.url, prefix: "wms", ...wms });
    const ask = asking(await serverOf(engines, engine));
    await stock(engine);
    const orders = Array.from({ length: 16 }, (_, i) => orderOf(i));
    for (const order of orders) {
      expect((await place(ask, order)).status).toBe(201);
      expect((await ask("POST", `/v1/orders/${order.id}/payment`)).status).toBe(200);
    }
    const warnings = async () => (await ask("GET", "/readyz")).json.warnings;
    await expect
      .poll(warnings, { timeout: 30_000, interval: 100 })
      .toEqual(["wms takes no deliveries: they wait until it does"]);
    expect(await figure(ask, 'sink_circuit_open{sink="wms"}')).toBe(1);
    expect(await figure(ask, 'sink_retries_total{sink="wms"}')).toBeGreaterThan(0);
    expect(await figure(ask, 'sink_delivered_total{sink="wms"}')).toBe(0);
    expect(await figure(ask, 'sink_rate_limit{sink="wms"}')).toBeGreaterThan(0);
    expect((await place(ask)).status).toBe(201);
  });
});

describe("a Redis that is killed", () => {
  const redis = withRedis();
  const engines = withEngines();

  it("is reported, and orders are refused because of it, not by the intake", async () => {
    const engine = await engines.start({ redisUrl: redis.url, prefix: "killed" });
    const ask = asking(await serverOf(engines, engine, { maxLagMs: 1_000 }));
    await stock(engine);
    expect((await place(ask)).status).toBe(201);
    process.kill(redis.pid, "SIGKILL");
    const detail = async () => (await ask("GET", "/readyz")).json.detail;
    await expect.poll(detail, { timeout: 30_000, interval: 100 }).toBe("Redis cannot be reached");
    await sleep(3_000);
    expect((await ask("GET", "/readyz")).status).toBe(503);
    expect((await place(ask)).json).toMatchObject({ status: 503, code: "unavailable" });
  });

  it("is reported also when it is a Cluster without any node", async () => {
    const cluster = connect({ url: "redis://127.0.0.1:1,redis://127.0.0.1:2" });
    const follower = { topic: "stock", oldestAgeMs: () => 0, unowned: () => [], stats: () => [] };
    const intake = new Intake({ redis: cluster, followers: [follower], maxLagMs: 20_000, maxMemoryShare: 0.85 });
    intake.start();
    try {
      await expect.poll(() => intake.wrong(), { timeout: 30_000 }).not.toEqual([]);
      await sleep(3_000);
      expect(intake.wrong()).toEqual(["no node of the Redis Cluster can be reached"]);
    } finally {
      await intake.stop();
      cluster.disconnect();
    }
  });
});
