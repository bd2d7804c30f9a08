/**
 * Everything that can be added to the engine, added from one folder and observed from outside: a setting over HTTP
 * reaches a job; its emit becomes an event of another topic; a schedule and two timers a key fire there; orders reach a
 * supplier over HTTP; a screen shows them; metrics, warnings, options and dead letters have their names; a restart
 * keeps the state.
 */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { decodeServerFrame, encodeClientFrame, LIVE_PATH } from "../../dashboards/protocol.js";
import { serveOptionsWith } from "../../engine/app/config.js";
import { Lifecycle } from "../../engine/app/lifecycle.js";
import { serveEngine } from "../../engine/app/serve.js";
import { runDeadLetters } from "../../engine/cli/dead-letter-commands.js";
import { deadLettersOptions } from "../../engine/cli/dead-letter-options.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { readOptions } from "../../engine/kernel/options.js";
import { withEngines } from "../app/engine-builder.js";
import { type Answer, send } from "../connectors/http/http-bed.js";
import { ReceivingServer } from "../outbox/outbox-bed.js";
import { withRedis } from "../redis/with-redis.js";
import { POISON, RESTOCK, type RestockBody } from "./restock.js";
import { EXTENDED_TABLES } from "./tables.js";

const redis = withRedis();
const engines = withEngines();
const supplier = new ReceivingServer();
const lifecycle = new Lifecycle();
const PREFIX = "extended";
/** A SKU that the supplier does not have. */
const UNKNOWN = "UNKNOWN";
const patience = { timeout: 60_000, interval: 20 };

let port = 0;
/** What the screen shows. */
let shown: RestockBody = { skus: {}, reviews: 0 };

beforeAll(async () => {
  supplier.answer = (_key, body) => ({ status: body.includes(UNKNOWN) ? 422 : 200 });
  await supplier.open();
  await start();
});
afterAll(async () => {
  await lifecycle.stop();
  await supplier.close();
});

/** An engine as `serve` starts it with these options, its server, and a screen. */
async function start(): Promise<void> {
  const args = ["--supplier-url", supplier.url, "--supplier-holiday", "closed on Sundays"];
  const { values } = readOptions(serveOptionsWith(EXTENDED_TABLES.connectors), { env: {}, args });
  const own = { redisUrl: redis.url, prefix: PREFIX, options: values };
  const engine = await engines.start(own, EXTENDED_TABLES);
  lifecycle.onStop(() => engines.stop());
  const surface = { ...values, port: 0, open: true, openParts: [], tokens: [] };
  ({ port } = await serveEngine(engine, surface, lifecycle));
  const screen = new WebSocket(`ws://127.0.0.1:${port}${LIVE_PATH}`);
  screen.binaryType = "nodebuffer";
  lifecycle.onStop(() => screen.terminate());
  screen.on("open", () => screen.send(encodeClientFrame({ t: "subscribe", feeds: [{ name: RESTOCK }] })));
  screen.on("message", (bytes: Buffer) => {
    const frame = decodeServerFrame(bytes);
    if (frame.t !== "snapshot" && frame.t !== "delta") return;
    screen.send(encodeClientFrame({ t: "ack", feed: RESTOCK, seq: frame.seq }));
    shown = frame.body as RestockBody;
  });
}

const ask = (method: string, path: string, body?: object): Promise<Answer> =>
  send(port, method, path, { anonymous: true, ...(body ? { body } : {}) });
const metrics = async (): Promise<string> => (await ask("GET", "/metrics")).text;

/** What `shuiwei dead-letters list` prints. */
async function deadLetters(from: string): Promise<string> {
  const { values } = readOptions(deadLettersOptions, {
    env: {},
    args: ["--redis-url", redis.url, "--prefix", PREFIX, "--from", from],
  });
  const written: string[] = [];
  const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
  try {
    await runDeadLetters(["list"], values, new AbortController().signal, EXTENDED_TABLES);
  } finally {
    stdout.mockRestore();
  }
  return written.join("");
}

it("a setting over HTTP makes a SKU low, and its order goes to the supplier by route, topic, timer and sink", async () => {
  const settings = await ask("PUT", "/v1/skus/CUP/settings", { settings: { lowStockUnits: 5 } });
  expect(settings.status).toBe(200);
  const receipt = { kind: "receive", id: chainId("RC", systemClock.now()), sku: "CUP", location: "main", units: 4 };
  const { text } = await send(port, "POST", "/v1/commands", {
    anonymous: true,
    body: `${JSON.stringify(receipt)}\n`,
    headers: { "content-type": "application/x-ndjson" },
  });
  expect(text).toContain('"accepted"');
  await expect.poll(() => [...supplier.taken.values()], patience).toEqual(['{"sku":"CUP","order":1}']);
  await expect.poll(() => shown.skus["CUP"], patience).toMatchObject({ lows: 1, orders: 1, reminders: 1 });
  await expect.poll(() => shown.reviews, patience).toBeGreaterThan(0);
});

it("the connector's route and warning are the server's", async () => {
  expect((await ask("POST", `/v1/restock/${UNKNOWN}`)).status).toBe(202);
  expect((await ask("POST", `/v1/restock/${POISON}`)).status).toBe(202);
  expect((await ask("GET", "/readyz")).json.warnings).toContain("supplier: closed on Sundays");
});

it("dead letters of the job, and of the sink, are listed by name", async () => {
  await expect.poll(() => deadLetters(RESTOCK), patience).toMatch(/restock\.1 .* POISON .*this SKU cannot be ordered/);
  await expect.poll(() => deadLetters(`${RESTOCK}/supplier`), patience).toMatch(/emit 0 .* UNKNOWN .*HTTP 422/);
  expect(await deadLetters("stock/to-restock")).toBe("no dead letters\n");
  await expect(deadLetters("restock/wms")).rejects.toThrow(
    "is not one of stock, orders, consistency, alerts, notifications, restock, orders/wms",
  );
});

it("metrics have the names of topic, sink, route and schedule", async () => {
  const expected = [
    /^shuiwei_partition_events_total\{topic="restock",partition="\d"\} [1-9]/m,
    /^shuiwei_sink_delivered_total\{sink="supplier"\} 1$/m,
    /^shuiwei_sink_dead_letters_total\{sink="supplier"\} 1$/m,
    /^shuiwei_job_dead_letters_total\{topic="restock",job_name="restock.1"\} 1$/m,
    /^shuiwei_forwarder_forwarded_total\{source="stock",target="restock"\} 1$/m,
    /^shuiwei_schedule_last_fired_seconds\{topic="restock",schedule="review"\} [1-9]/m,
  ];
  const text = await metrics();
  for (const line of expected) expect(text).toMatch(line);
});

it("a restart keeps the state", async () => {
  await lifecycle.stop();
  shown = { skus: {}, reviews: 0 };
  await start();
  await expect.poll(() => shown.skus["CUP"], patience).toMatchObject({ lows: 1, orders: 1, reminders: 1 });
  expect((await ask("POST", "/v1/restock/CUP")).status).toBe(202);
  await expect.poll(() => supplier.taken.size, patience).toBe(2);
  expect([...supplier.taken.values()][1]).toBe('{"sku":"CUP","order":2}');
});
