/**
 * The Grafana dashboards and the rules against a real Prometheus that reads two real runs: the demo's shop with its
 * orders, WMS, sources and alerts, and a small shop that is used over HTTP, sends its alerts to a group, whose WMS then
 * fails and whose breaker opens, watched by `shuiwei edge watch`. Every query of every panel and every rule is
 * evaluated as Grafana and Prometheus would: none fails, and every panel shows data in one of both. Skipped without
 * Prometheus.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generatedFiles } from "../../dashboards/grafana/index.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { CLI, freePort } from "./bed.js";
import { hasPrometheus, Prometheus, type Series, until } from "./prometheus.js";
import { WatchedShop } from "./watched-shop.js";

const START_LIMIT_MS = 120_000;
const RUN_LIMIT_MS = 240_000;
/** Several scrapes of a shop without faults. */
const ORDINARY_MS = 15_000;

interface Target {
  expr: string;
  instant?: boolean;
  range?: boolean;
}
interface Panel {
  title: string;
  type: string;
  targets?: Target[];
}
const BOARDS = [...generatedFiles()]
  .filter(([name]) => name.endsWith(".json"))
  .map(([name, text]) => ({ name, panels: (JSON.parse(text) as { panels: Panel[] }).panels }));

let folder: string;
let demo: ChildProcess;
let prometheus: Prometheus;
let port: number;
let shop: WatchedShop;
const startedS = Math.floor(systemClock.now() / 1_000);

const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) });
const isSeen = async (expression: string): Promise<boolean> => (await prometheus.query(expression)).length > 0;

/** As Grafana replaces them: a job, all its instances, and an interval of five scrapes. */
const resolved = (expression: string, job: string): string =>
  expression
    .replaceAll("$job", job)
    .replaceAll("$instance", ".*")
    .replaceAll("$__rate_interval", "5s")
    .replaceAll("$__range", "5m");

/** What Grafana would get: the values of now, or those of the whole run. */
const seriesOf = (query: string, isInstant: boolean): Promise<Series[]> =>
  isInstant ? prometheus.query(query) : prometheus.queryRange(query, startedS, Math.floor(systemClock.now() / 1_000));

describe.skipIf(!hasPrometheus)("with a real Prometheus and a real run", () => {
  beforeAll(
    async () => {
      folder = await mkdtemp(join(tmpdir(), "shuiwei-grafana-"));
      port = await freePort();
      demo = spawn(
        process.execPath,
        [CLI, "demo", "--port", String(port), "--speed", "600", "--dir", join(folder, "demo")],
        {
          stdio: "ignore",
        },
      );
      const shopPort = await freePort();
      const edgeWatchPort = await freePort();
      shop = new WatchedShop(shopPort, edgeWatchPort);
      await shop.start(folder);
      prometheus = await Prometheus.start({ demo: [port], shop: [shopPort, edgeWatchPort] });
      const isReady = () =>
        get("/readyz").then(
          ({ status }) => status === 200,
          () => false,
        );
      await until(isReady, START_LIMIT_MS, "the demo to be ready");
      await until(() => shop.isReady(), START_LIMIT_MS, "the shop to be ready");
      await shop.open();
      await until(async () => shop.messages > 0, RUN_LIMIT_MS, "an alert in the group");
      await sleep(ORDINARY_MS);
      await shop.closeWms();
      await until(() => isSeen('shuiwei_sink_circuit_open{job="shop",sink="wms"} == 1'), RUN_LIMIT_MS, "the circuit");
      shop.reportWrongly();
      await until(() => isSeen('shuiwei_breaker_openings_total{job="shop"} > 0'), RUN_LIMIT_MS, "the breaker to open");
      for (const metric of ["shuiwei_order_exceptions", "shuiwei_source_failures", "shuiwei_divergence_ratio"])
        await until(() => isSeen(`last_over_time(${metric}{job="demo"}[10m])`), RUN_LIMIT_MS, `${metric} of the demo`);
    },
    2 * START_LIMIT_MS + 2 * RUN_LIMIT_MS,
  );

  afterAll(async () => {
    await shop?.stop();
    await prometheus?.stop();
    if (demo && demo.exitCode === null && demo.kill("SIGINT")) await once(demo, "exit");
    if (folder) await rm(folder, { recursive: true, force: true });
  }, 60_000);

  it.each(BOARDS)("$name: every query is valid, and every panel shows data", async ({ panels }) => {
    const empty: string[] = [];
    for (const { title, type, targets = [] } of panels)
      for (const { expr, instant = false } of targets) {
        // A table of what is late now may be empty now: it has had rows.
        const isAsked = instant && type !== "table";
        const shows = async (job: string) => (await seriesOf(resolved(expr, job), isAsked)).length > 0;
        if (!((await shows("demo")) || (await shows("shop")))) empty.push(`${title}: ${expr}`);
      }
    expect(empty).toEqual([]);
  });

  it("every rule is evaluated without an error, and those fire that have a reason", async () => {
    for (const name of ["ShuiweiReceiverDown", "ShuiweiBreakerOpen"]) {
      const wasFiring = `last_over_time(ALERTS{alertname="${name}",job="shop",alertstate="firing"}[10m])`;
      await until(() => isSeen(wasFiring), RUN_LIMIT_MS, name);
    }
    const rules = await prometheus.rules();
    expect(rules.length).toBeGreaterThan(30);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    for (const name of ["ShuiweiBalancesDiffer", "ShuiweiDeliveriesLost", "ShuiweiAbsent"])
      expect(rules.find((rule) => rule.name === name)).toMatchObject({ state: "inactive" });
  });

  it("the variables of the dashboards have values", async () => {
    expect(await prometheus.labelValues("job", "shuiwei_up_seconds")).toEqual(["demo", "shop"]);
    expect(await prometheus.labelValues("instance", 'shuiwei_up_seconds{job="demo"}')).toEqual([`127.0.0.1:${port}`]);
  });
});
