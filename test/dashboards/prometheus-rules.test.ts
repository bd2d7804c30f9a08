/**
 * The rules for Prometheus, by Prometheus' own tool: they are valid, and each alert fires with series that call for it
 * and stays silent with series that come near. What needs promtool (Debian: package prometheus) is skipped without it.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Alert } from "../../dashboards/grafana/alert-rule.js";
import { GROUPS } from "../../dashboards/grafana/rule-files.js";
import { hasPromtool } from "./promtool.js";
import { RULE_CASES, type Series } from "./rule-cases.js";

const run = promisify(execFile);
const RULES = ["alerts.yml", "recorded.yml"].map((name) =>
  fileURLToPath(new URL(`../../dashboards/grafana/rules/${name}`, import.meta.url)),
);
const ALERTS = GROUPS.flatMap(({ alerts }) => alerts);
/** The 80 values every 15 s end at 20 minutes. */
const AT = "19m";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-rules-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** How often an alert fires with some series, as a test of promtool; JSON is YAML, too. */
const caseOf = ({ name }: Alert, series: readonly Series[], times: number) => ({
  interval: "15s",
  input_series: series.map(([series, values]) => ({ series, values })),
  promql_expr_test: [
    {
      expr: `count(ALERTS{alertname="${name}",alertstate="firing"}) or vector(0)`,
      eval_time: AT,
      exp_samples: [{ labels: "{}", value: times }],
    },
  ],
});

async function passes(name: string, tests: readonly unknown[]): Promise<string> {
  const path = join(folder, `${name}.yml`);
  await writeFile(path, JSON.stringify({ rule_files: RULES, evaluation_interval: "15s", tests }));
  return run("promtool", ["test", "rules", path]).then(
    ({ stdout }) => stdout,
    (failed: { stdout: string; stderr: string }) => `${failed.stdout}${failed.stderr}`,
  );
}

it.skipIf(!hasPromtool)("promtool finds the rules valid", async () => {
  const { stdout } = await run("promtool", ["check", "rules", ...RULES]);
  expect(stdout).toMatch(new RegExp(`SUCCESS: ${ALERTS.length} rules found`));
});

it.skipIf(!hasPromtool)("each alert fires when it has to, and only then", async () => {
  const cases = ALERTS.flatMap((alert) => {
    const { fires, silent } = RULE_CASES[alert.name] ?? { fires: [], silent: [] };
    expect([fires.length, silent.length], alert.name).not.toContain(0);
    return [caseOf(alert, fires, 1), caseOf(alert, silent, 0)];
  });
  // One run for all: each start of promtool takes as long as several cases. What fails is named by its expression.
  expect(await passes("all", cases)).toMatch(/^\s*SUCCESS\s*$/m);
});

it.skipIf(!hasPromtool)("a wrong expectation is found", async () => {
  const alert = ALERTS.find(({ name }) => name === "ShuiweiBreakerOpen") as Alert;
  expect(await passes("wrong", [caseOf(alert, RULE_CASES[alert.name]?.fires ?? [], 0)])).toMatch(/FAILED/);
});

it("every case belongs to an alert", () => {
  expect(Object.keys(RULE_CASES).sort()).toEqual(ALERTS.map(({ name }) => name).sort());
});

it.each(ALERTS)("$name names only labels that its expression keeps, and says what to do", (alert) => {
  const named = [...alert.summary.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label);
  const kept = [...alert.expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, labels]) => labels?.split(", ") ?? []);
  // A recorded series of a deployment keeps its job; `up` keeps job and instance.
  const own = alert.expression.startsWith("up ") ? ["job", "instance"] : ["job"];
  expect([...kept, ...own]).toEqual(expect.arrayContaining(named));
  for (const text of [alert.meaning, ...alert.look, ...alert.act]) expect(text).toMatch(/^[A-Z`/].*[.:]$/);
});
