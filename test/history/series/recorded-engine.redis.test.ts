/**
 * An engine that records: depletion and stock of SKUs by minute, and its own figures, as its HTTP API answers them. The
 * shop's clock stands still until the test moves it.
 */
import { describe, expect, it } from "vitest";
import { alertKeyOf } from "../../../engine/alerting/alert.js";
import { eventTopicNamed } from "../../../engine/app/running-topics.js";
import { servedPartsOf } from "../../../engine/app/serve.js";
import { createServer } from "../../../engine/app/server.js";
import { ALERTS_TOPIC, CONDITION_EVENT, type ConditionEvent } from "../../../engine/jobs/alerts/events.js";
import { chainId } from "../../../engine/kernel/chain-id.js";
import { DAY_MS, ManualClock, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { withEngines } from "../../app/engine-builder.js";
import { withRedis } from "../../redis/with-redis.js";

const redis = withRedis();
const engines = withEngines();
/** In the middle of a minute. */
const START = Date.UTC(2026, 5, 18, 10, 0, 30);

async function shop(prefix: string) {
  const clock = new ManualClock(START);
  const shopTime = { clock, speed: () => 1, scene: () => undefined };
  const engine = await engines.start({ redisUrl: redis.url, prefix, partitions: 2, history: "redis", shopTime });
  const server = await createServer({
    ...servedPartsOf(engine),
    ...{ host: "127.0.0.1", port: 0, channel: "WB", tokens: [], open: true },
    ...{ stopping: () => false, readiness: () => [], metrics: async () => "", onTrouble: () => {} },
  });
  engines.onStop(() => server.close());
  const read = async (path: string) => {
    const answer = await server.inject({ url: path, headers: { host: "localhost" } });
    return { status: answer.statusCode, ...answer.json() };
  };
  const receive = (sku: string, units: number) =>
    engine.stock.ledger.apply({
      ...{ id: chainId("WB", clock.now()), kind: "receive", sku, location: "main", units, actor: "a", reason: "b" },
    });
  const sell = async (sku: string, units: number) => {
    const lines = [{ sku, location: "main", units }];
    const { outcome } = await engine.orders.service.place({ id: chainId("WB", clock.now()), lines });
    expect(outcome).toBe("accepted");
  };
  /** Moves the clock to a minute's end, and waits until the minute is recorded. */
  const endMinute = async (sku: string) => {
    const endMs = Math.ceil((clock.now() + 1) / MINUTE_MS) * MINUTE_MS;
    clock.moveTo(endMs + 100);
    await expect
      .poll(async () => (await read(`/v1/skus/${sku}/history`)).recordedTo)
      .toBe(new Date(endMs).toISOString());
  };
  return { clock, engine, read, receive, sell, endMinute };
}

describe("an engine that records", () => {
  it("answers what left the stock by minute, hour and day", async () => {
    const { read, receive, sell, endMinute } = await shop("minutes");
    await receive("TEA", 100);
    await sell("TEA", 3);
    await sell("TEA", 4);
    await endMinute("TEA");
    await endMinute("TEA");
    await sell("TEA", 1);
    await endMinute("TEA");
    const points = [
      { at: "2026-06-18T10:00:00.000Z", units: 7, stock: 93 },
      { at: "2026-06-18T10:02:00.000Z", units: 1, stock: 92 },
    ];
    const minutes = await read("/v1/skus/TEA/history?from=2026-06-18T10:00:00Z");
    expect(minutes).toMatchObject({ resolution: "minute", unit: "units", complete: true, gaps: [], points });
    const hours = await read("/v1/skus/TEA/history?resolution=hour&from=2026-06-18T10:00:00Z");
    expect(hours.points).toEqual([{ at: "2026-06-18T10:00:00.000Z", units: 8, stock: 92 }]);
    const days = await read("/v1/skus/TEA/history?resolution=day&from=2026-06-18T00:00:00Z");
    expect(days.points).toEqual([{ at: "2026-06-18T00:00:00.000Z", units: 8, stock: 92 }]);
    const later = await read("/v1/skus/TEA/history?from=2026-06-18T10:02:00Z");
    expect(later).toMatchObject({ openingStock: 93, points: points.slice(1) });
  });

  it("counts open alerts of every rule", async () => {
    const { engine, read, receive, endMinute } = await shop("alerts");
    await receive("TEA", 100);
    const rule = "order_exceptions";
    const [subject, reporter] = ["outbound/late", "test"];
    const payload = {
      rule,
      subject,
      reporter,
      isMet: true,
      value: 1,
      limit: 0,
      validMs: DAY_MS,
    } satisfies ConditionEvent;
    const key = alertKeyOf({ rule, subject });
    await eventTopicNamed(engine.topics, ALERTS_TOPIC).append([{ id: "1", key, kind: CONDITION_EVENT, payload }]);
    await expect.poll(() => engine.alerts.alertList.open().length).toBe(1);
    await endMinute("TEA");
    const path = "/v1/figures/open-alerts/history?from=2026-06-18T10:00:00Z";
    await expect.poll(async () => (await read(path)).points).toEqual([{ at: "2026-06-18T10:00:00.000Z", value: 1 }]);
  });

  it("answers figures of the engine, and refuses what it does not have", async () => {
    const { read, receive, endMinute } = await shop("figures");
    await receive("TEA", 100);
    await endMinute("TEA");
    const path = "/v1/figures/open-alerts/history?from=2026-06-18T10:00:00Z";
    await expect.poll(async () => (await read(path)).points).toEqual([{ at: "2026-06-18T10:00:00.000Z", value: 0 }]);
    expect((await read("/v1/figures/weather/history")).status).toBe(400);
    expect((await read("/v1/skus/GHOST/history")).status).toBe(404);
    expect((await read("/v1/skus/TEA/history?resolution=week")).status).toBe(400);
    expect((await read("/v1/skus/TEA/history?from=2026-06-19T00:00:00Z&to=2026-06-18T00:00:00Z")).status).toBe(400);
  });
});
