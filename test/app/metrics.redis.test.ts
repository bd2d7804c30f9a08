/**
 * The metrics of a running engine and of a watch of edges, and the documents, dashboards and scrape rules that name
 * metrics.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { WatchMetrics } from "../../connectors/cdn/probe/watch-metrics.js";
import { FileStore } from "../../connectors/objects/file-store.js";
import { WmsSandbox } from "../../connectors/wms/sandbox.js";
import { withLifecycle } from "../../engine/app/lifecycle.js";
import { serveEngine } from "../../engine/app/serve.js";
import { hasPromtool } from "../dashboards/promtool.js";
import { withRedis } from "../redis/with-redis.js";
import { namedMetricsExist } from "../tidy/documents.js";
import { filesUnder } from "../tidy/source-files.js";
import { withEngines, wmsSettings } from "./engine-builder.js";

const redis = withRedis();
const engines = withEngines();

/** A group of DingTalk; nothing is sent to it. */
const GROUP = {
  name: "group",
  channel: "dingtalk",
  connection: { accessToken: { env: "GROUP_TOKEN" }, secret: { env: "GROUP_SECRET" } },
};

/** A CDN; nothing is purged there. */
const CDN = {
  publicUrl: "https://stock.shop.example",
  cdns: [{ name: "main", vendor: "fastly", connection: { service: "SU1Z0isxPaozGVKXdv0eY", token: { env: "TOKEN" } } }],
};

/** The text of all metrics that an engine with a warehouse, a channel and a CDN serves. */
async function metricsText(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-metrics-"));
  let text = "";
  await withLifecycle(async (lifecycle) => {
    lifecycle.onStop(() => rm(dir, { recursive: true, force: true }));
    const wms = new WmsSandbox();
    await lifecycle.start(wms);
    const warehouse = wmsSettings(wms.url, new FileStore(dir));
    const [alerts, cdn] = [join(dir, "alerts.json"), join(dir, "cdn.json")];
    await writeFile(alerts, JSON.stringify({ endpoints: [GROUP] }));
    await writeFile(cdn, JSON.stringify(CDN));
    const options = { ...warehouse.options, alerts, cdn };
    const engine = await engines.start({
      redisUrl: redis.url,
      prefix: "metrics",
      publication: "redis",
      ...warehouse,
      options,
      environment: () => "SECret-of-a-test",
    });
    lifecycle.onStop(() => engines.stop());
    const { url } = await serveEngine(
      engine,
      {
        host: "127.0.0.1",
        port: 0,
        tokens: [],
        defaultLocation: "main",
        channel: "WB",
        open: true,
        maxLagMs: 20_000,
        maxMemoryShare: 0.85,
      },
      lifecycle,
    );
    text = await (await fetch(`${url}/metrics`)).text();
  });
  return text;
}

let text: string;
/** Of another process: `shuiwei edge watch`. */
let edgeText: string;
beforeAll(async () => {
  text = await metricsText();
  const metrics = new WatchMetrics(["shop"]);
  metrics.aged("shop", 7);
  metrics.clockDiffers("shop", 0);
  edgeText = await metrics.registry.metrics();
});

it("every metric that a document, a dashboard or a rule names is served", () => {
  const metrics = new Set([...(text + edgeText).matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name));
  expect(metrics.size).toBeGreaterThan(40);
  const rule = namedMetricsExist({ commands: new Set(), options: new Set(), metrics });
  expect(rule(filesUnder(""))).toEqual([]);
  const offender = { path: "README.md", text: "see `shuiwei_lost_total` and `shuiwei_http_request_seconds_bucket`" };
  expect(rule([offender])).toEqual(["README.md: shuiwei_lost_total"]);
});

/** Each has a limited number of values. A new one needs a reason why that is so. */
const LABELS = new Set([
  ...["topic", "partition", "job_name", "sink", "schedule", "source", "target", "a", "b"],
  // Of a watch: at most 16 edges, which the operator names, and four windows.
  ...["edge", "window"],
  ...["step", "kind", "outcome", "rule", "state", "channel", "reason", "with", "route", "method", "status", "le"],
  "vendor",
]);

it("no label has values that grow with SKUs, orders, people or messages", () => {
  const labels = new Set([...(text + edgeText).matchAll(/[{,](\w+)="/g)].map(([, label = ""]) => label));
  expect([...labels].filter((label) => !LABELS.has(label))).toEqual([]);
});

it.skipIf(!hasPromtool)("Prometheus' tool finds nothing wrong with names, types and help texts", () => {
  for (const input of [text, edgeText]) {
    const checked = spawnSync("promtool", ["check", "metrics"], { input, encoding: "utf8" });
    expect([checked.status, checked.stdout, checked.stderr]).toEqual([0, "", ""]);
  }
});
