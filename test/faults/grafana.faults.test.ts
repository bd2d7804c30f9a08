/**
 * The Grafana dashboards and the rules against a real Prometheus that reads a real run: the demo's shop with its
 * orders, WMS, sources, alerts and the breaker of 18:00. Every query of every panel and every rule is evaluated as
 * Grafana and Prometheus would: none fails, and every panel shows data. Skipped without Prometheus.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generatedFiles } from "../../dashboards/grafana/index.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { CLI, freePort } from "./bed.js";
import { hasPrometheus, Prometheus, until } from "./prometheus.js";

const START_LIMIT_MS = 120_000;
const RUN_LIMIT_MS = 240_000;

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
const startedS = Math.floor(systemClock.now() / 1_000);

const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) });
const gauge = async (expression: string): Promise<number> =>
  Number((await prometheus.query(expression))[0]?.value?.[1] ?? 0);

/** As Grafana replaces them: a job, all its instances, and an interval of four scrapes. */
const resolved = (expression: string): string =>
  expression
    .replaceAll("$job", "demo")
    .replaceAll("$instance", ".*")
    .replaceAll("$__rate_interval", "5s")
    .replaceAll("$__range", "5m");

describe.skipIf(!hasPrometheus)("with a real Prometheus and a real run", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "shuiwei-grafana-"));
    port = await freePort();
    demo = spawn(
      process.execPath,
      [CLI, "demo", "--port", String(port), "--speed", "600", "--dir", join(folder, "demo")],
      {
        stdio: "ignore",
      },
    );
    prometheus = await Prometheus.start({ demo: port });
    const isReady = () =>
      get("/readyz").then(
        ({ status }) => status === 200,
        () => false,
      );
    await until(isReady, START_LIMIT_MS, "the demo to be ready");
    // 18:00 of the first day: the sources have reported, and the comparison has opened the breaker.
    await until(async () => (await gauge("shuiwei_breaker_openings_total")) > 0, RUN_LIMIT_MS, "the breaker to open");
  }, START_LIMIT_MS + RUN_LIMIT_MS);

  afterAll(async () => {
    await prometheus?.stop();
    if (demo && demo.exitCode === null && demo.kill("SIGINT")) await once(demo, "exit");
    if (folder) await rm(folder, { recursive: true, force: true });
  }, 60_000);

  it.each(BOARDS)("$name: every query is valid, and every panel shows data", async ({ panels }) => {
    const empty: string[] = [];
    for (const { title, targets = [] } of panels)
      for (const { expr, instant } of targets) {
        const query = resolved(expr);
        const nowS = Math.floor(systemClock.now() / 1_000);
        const found = instant ? await prometheus.query(query) : await prometheus.queryRange(query, startedS, nowS);
        if (found.length === 0) empty.push(`${title}: ${expr}`);
      }
    expect(empty).toEqual([]);
  });

  it("every rule is evaluated without an error", async () => {
    const rules = await prometheus.rules();
    expect(rules.length).toBeGreaterThan(20);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    expect(rules.filter(({ state }) => state === "firing").map(({ name }) => name)).toEqual([]);
  });

  it("the variables of the dashboards have values", async () => {
    expect(await prometheus.labelValues("job", "shuiwei_up_seconds")).toEqual(["demo"]);
    expect(await prometheus.labelValues("instance", 'shuiwei_up_seconds{job="demo"}')).toEqual([`127.0.0.1:${port}`]);
  });
});
