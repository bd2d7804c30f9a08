/** The metrics of a running engine, and the documents, dashboards and scrape rules that name metrics. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { FileStore } from "../../connectors/objects/file-store.js";
import { WmsSandbox } from "../../connectors/wms/sandbox.js";
import { withLifecycle } from "../../engine/app/lifecycle.js";
import { serveEngine } from "../../engine/app/serve.js";
import { withRedis } from "../redis/with-redis.js";
import { namedMetricsExist } from "../tidy/documents.js";
import { filesUnder } from "../tidy/source-files.js";
import { withEngines, wmsSettings } from "./engine-builder.js";

const redis = withRedis();
const engines = withEngines();

/** Names of all metrics that an engine with a warehouse serves. */
async function metricNames(): Promise<Set<string>> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-metrics-"));
  const names = new Set<string>();
  await withLifecycle(async (lifecycle) => {
    lifecycle.onStop(() => rm(dir, { recursive: true, force: true }));
    const wms = new WmsSandbox();
    await lifecycle.start(wms);
    const warehouse = wmsSettings(wms.url, new FileStore(dir));
    const engine = await engines.start({ redisUrl: redis.url, prefix: "metrics", ...warehouse });
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
    const text = await (await fetch(`${url}/metrics`)).text();
    for (const [, name = ""] of text.matchAll(/^# TYPE (\S+) /gm)) names.add(name);
  });
  return names;
}

it("every metric that a document, a dashboard or a rule names is served", async () => {
  const metrics = await metricNames();
  expect(metrics.size).toBeGreaterThan(40);
  const rule = namedMetricsExist({ commands: new Set(), options: new Set(), metrics });
  expect(rule(filesUnder(""))).toEqual([]);
  const offender = { path: "README.md", text: "see `shuiwei_lost_total` and `shuiwei_http_request_seconds_bucket`" };
  expect(rule([offender])).toEqual(["README.md: shuiwei_lost_total"]);
});
