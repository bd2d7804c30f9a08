/**
 * How soon an alert is at the push service of a phone: from the HTTP answer of the order that makes it fire, to the
 * arrival of its push over TLS. `shuiwei serve` with everything on, a sandbox of the push service that verifies and
 * decrypts, orders at a fixed rate that do not wait for answers, and a Redis that begins empty. Each person is notified
 * of one category, so that few alerts are joined into summaries; those that are count, too. The warm-up is in no
 * figure. It judges nothing: on a busy machine the figures are that machine's.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { httpOptions } from "../connectors/http/options.js";
import { PushSandbox } from "../connectors/web-push/sandbox.js";
import { DeviceStore, deviceIdOf } from "../engine/alerting/device-store.js";
import { PeopleStore } from "../engine/alerting/people-store.js";
import type { BenchReport, BenchSettings } from "../engine/cli/bench.js";
import { chainIdFromNumber } from "../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { secureBytes } from "../engine/kernel/random.js";
import { Ledger } from "../engine/stock/ledger.js";
import type { StockCommand } from "../engine/stock/model.js";
import { streamOptions } from "../engine/stream/options.js";
import type { RedisClient } from "../engine/stream/redis.js";
import type { AlertLoad, AlertLoadReport } from "./load/alert-orders.js";
import { alertSkuNamed, SKUS, skuNamed, UNITS } from "./load/assortment.js";
import { onFreshRedis } from "./load/fresh-redis.js";
import { runLoad } from "./load/load-process.js";
import { Latencies, monotonicMs } from "./load/open-loop.js";
import { startServing } from "./load/serving.js";
import { linesOf } from "./load/side.js";

export type AlertBenchSettings = Pick<BenchSettings, "seconds" | "rate" | "signal" | "onProgress">;

const HOST = "127.0.0.1";
const PREFIX = streamOptions.prefix.default;
const PARTITIONS = streamOptions.partitions.default;
const LOCATION = httpOptions.defaultLocation.default;
const GENERATOR = new URL("./load/alert-orders.js", import.meta.url);
const WARM_UP_SECONDS = 10;
/** Of cold start (R10). */
const THRESHOLD_UNITS = 100;
const ALERTS_PER_SECOND = 4;
/** Each gets an alert every 10 s: far below what makes a summary. */
const PEOPLE = 40;
const BULK = 1_000;
/** For pushes after the last order. */
const GRACE_MS = 30_000;
const LOOK_EVERY_MS = 100;

const personOf = (n: number): string => `person-${n % PEOPLE}`;
const categoryOf = (n: number): string => `category-${n % PEOPLE}`;

/** Stock of all SKUs, and the categories of those whose alerts fire. */
async function fill(redis: RedisClient, alerts: number): Promise<void> {
  await Ledger.load(redis);
  const ledger = new Ledger({ redis, prefix: PREFIX, partitions: PARTITIONS });
  const nowMs = systemClock.now();
  const skus = [
    ...Array.from({ length: SKUS }, (_, n) => skuNamed(n)),
    ...Array.from({ length: alerts }, (_, n) => alertSkuNamed(n)),
  ];
  const receipts = skus.map(
    (sku, i): StockCommand => ({
      ...{ kind: "receive", id: chainIdFromNumber("LR", nowMs, i), sku, location: LOCATION, units: UNITS },
    }),
  );
  const categories = Array.from(
    { length: alerts },
    (_, n): StockCommand => ({
      ...{ kind: "configure", id: chainIdFromNumber("LC", nowMs, n), sku: alertSkuNamed(n), location: LOCATION },
      ...{ settings: {}, category: categoryOf(n) },
    }),
  );
  for (const commands of [receipts, categories])
    for (let first = 0; first < commands.length; first += BULK)
      for (const { outcome } of await ledger.applyMany(commands.slice(first, first + BULK)))
        assert(outcome === "accepted", `a command was answered ${outcome}`);
}

/** People with one phone each, and the file that routes each category to one of them. */
async function subscribe(redis: RedisClient, sandbox: PushSandbox, file: string): Promise<void> {
  const people = new PeopleStore(redis, PREFIX);
  const onTrouble = () => {};
  const devices = new DeviceStore({ redis, prefix: PREFIX, clock: systemClock, onTrouble });
  for (let n = 0; n < PEOPLE; n++) {
    const id = personOf(n);
    await people.put({ id, name: id, roles: ["purchasing"], language: "zh", ladder: [["web-push"]] });
    const address = sandbox.subscribe();
    const device = { id: deviceIdOf(address.endpoint), person: id, label: "phone", address };
    const registered = await devices.register({ ...device, channel: "web-push" });
    assert(registered !== "too_many", "there are too many devices");
  }
  const routes = Array.from({ length: PEOPLE }, (_, n) => ({
    name: categoryOf(n),
    match: { categories: [categoryOf(n)] },
    levels: [{ afterMinutes: 0, to: [`person:${personOf(n)}`] }],
  }));
  await writeFile(file, JSON.stringify({ routes }));
}

/** When the first push with each alert arrived, by its SKU. */
function watch(sandbox: PushSandbox): { arrivedMs: Map<string, number>; summaries(): number } {
  const arrivedMs = new Map<string, number>();
  let summaries = 0;
  sandbox.onPush = ({ text }) => {
    const nowMs = monotonicMs();
    const { alertIds, type } = (JSON.parse(text) as { shuiwei: { alertIds: string[]; type: string } }).shuiwei;
    if (type === "summary") summaries++;
    for (const id of alertIds) {
      const sku = id.slice(0, id.lastIndexOf("#"));
      if (!arrivedMs.has(sku)) arrivedMs.set(sku, nowMs);
    }
  };
  return { arrivedMs, summaries: () => summaries };
}

export async function run({ seconds, rate, signal, onProgress }: AlertBenchSettings): Promise<BenchReport> {
  return onFreshRedis(async ({ directory, server, redis, ends }) => {
    const every = Math.max(1, Math.round(rate / ALERTS_PER_SECOND));
    const uncounted = Math.ceil((rate * Math.min(WARM_UP_SECONDS, seconds)) / every) * every;
    const arrivals = uncounted + Math.round(rate * seconds);
    const sandbox = new PushSandbox();
    await sandbox.start();
    ends.push(() => sandbox.stop());
    const certificate = join(directory, "certificate.pem");
    await writeFile(certificate, sandbox.certificate);
    await fill(redis, Math.ceil(arrivals / every));
    const file = join(directory, "alerts.json");
    await subscribe(redis, sandbox, file);
    const { arrivedMs, summaries } = watch(sandbox);
    const token = secureBytes(16).toString("hex");
    const serving = await startServing({
      ...{ redisPath: server.socketPath, roles: "api,worker", token },
      args: ["--alerts", file, "--vapid-subject", "mailto:ops@shop.com", "--push-hosts", sandbox.host],
      env: { NODE_EXTRA_CA_CERTS: certificate },
    });
    ends.push(() => serving.stop());
    const load: AlertLoad = {
      ...{ host: HOST, port: serving.port as number, token, rate, arrivals, uncounted, every },
      units: THRESHOLD_UNITS,
    };
    const report = await runLoad<AlertLoad, AlertLoadReport>(GENERATOR, load, signal);
    const accepted = Object.entries(report.acceptedMs);
    const untilMs = monotonicMs() + GRACE_MS;
    while (accepted.some(([sku]) => !arrivedMs.has(sku)) && monotonicMs() < untilMs) await sleep(LOOK_EVERY_MS, signal);
    const toPush = new Latencies();
    for (const [sku, atMs] of accepted) {
      const pushedMs = arrivedMs.get(sku);
      if (pushedMs !== undefined) toPush.record(pushedMs - atMs);
    }
    const push = toPush.summary();
    const facts = {
      ...{ rate, seconds, alerts: accepted.length, withoutPush: accepted.length - push.count },
      ...{ summaries: summaries(), refusedPushes: sandbox.refusals.length },
    };
    onProgress(`order's answer to push: p50 ${push.p50Ms} ms, p99 ${push.p99Ms} ms, max ${push.maxMs} ms`);
    const { acceptedMs: _, cpuSeconds: __, ...orders } = report;
    return {
      rows: [],
      facts,
      details: { push, orders },
      table: [
        `order's answer to push: p50 ${push.p50Ms} ms, p90 ${push.p90Ms} ms, p99 ${push.p99Ms} ms, max ${push.maxMs} ms`,
        ...linesOf("orders", { ...orders, cores: {} }),
      ],
    };
  });
}
