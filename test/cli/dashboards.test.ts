/**
 * `shuiwei dashboards`: what it writes is complete and valid for Prometheus, a repetition updates it, and files of
 * others stay.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { generatedFiles } from "../../dashboards/grafana/index.js";
import { command } from "../../engine/cli/dashboards.js";
import { hasPromtool } from "../dashboards/promtool.js";
import { runCommand } from "./run-command.js";

let folder: string;
let printed: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-dashboards-"));
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const DEFAULTS = {
  dashboardsPath: undefined,
  runbookUrl: undefined,
  prometheusUrl: "http://localhost:9090",
  scrapeTargets: ["localhost:8618"],
};
const write = (own: Partial<{ runbookUrl: string; dashboardsPath: string }> = {}) =>
  runCommand(command, { ...DEFAULTS, ...own, out: folder });
const read = (name: string) => readFile(join(folder, name), "utf8");
const names = async () =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();

it("writes every generated file, and what provisions them", async () => {
  await write();
  const generated = [...generatedFiles().keys()].map((name) => (name.endsWith(".json") ? `dashboards/${name}` : name));
  expect(await names()).toEqual(
    [
      ...generated,
      "prometheus.yml",
      "provisioning/dashboards/shuiwei.yml",
      "provisioning/datasources/shuiwei.yml",
      "shuiwei-files.json",
    ].sort(),
  );
  expect(await read("provisioning/dashboards/shuiwei.yml")).toContain(`path: "${folder}/dashboards"`);
  expect(printed).toMatch(/^\d+ files in .*: \d+ files written, 0 files removed\n$/);
});

it("uses the addresses that are given", async () => {
  await write({ runbookUrl: "https://wiki.example/runbook", dashboardsPath: "/var/lib/grafana/shuiwei" });
  const rules = await read("rules/alerts.yml");
  expect(rules).toContain('"https://wiki.example/runbook#shuiweibreakeropen"');
  expect(rules).not.toContain("README.md");
  expect(await read("provisioning/dashboards/shuiwei.yml")).toContain('path: "/var/lib/grafana/shuiwei"');
});

it("updates its own files, and removes those that a release does not have any more", async () => {
  await write();
  const old = JSON.parse(await read("shuiwei-files.json"));
  await writeFile(join(folder, "dashboards/old.json"), "{}");
  // SHA-256 of {}.
  const added = { ...old, "dashboards/old.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" };
  await writeFile(join(folder, "shuiwei-files.json"), JSON.stringify(added));
  printed = "";
  await write({ runbookUrl: "https://wiki.example/runbook" });
  expect(printed).toMatch(/: 1 file written, 1 file removed\n$/);
  expect(await names()).not.toContain("dashboards/old.json");
});

it.each([
  ["of others", ["dashboards/overview.json"]],
  ["that were changed since", ["rules/alerts.yml", "prometheus.yml"]],
])("overwrites no files %s, and then writes nothing", async (which, changed) => {
  await write();
  if (which === "of others") await rm(join(folder, "shuiwei-files.json"));
  for (const name of changed) await writeFile(join(folder, name), "mine");
  await rm(join(folder, "README.md"));
  await expect(write()).rejects.toMatchObject({
    code: "bad_input",
    message: expect.stringContaining([...changed].sort()[0] ?? ""),
  });
  for (const name of changed) expect(await read(name)).toBe("mine");
  expect(await names()).not.toContain("README.md");
});

it("never follows a manifest out of the folder", async () => {
  await writeFile(join(folder, "kept"), "{}");
  const hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
  await writeFile(join(folder, "shuiwei-files.json"), JSON.stringify({ "../kept": hash, "/kept": hash }));
  await runCommand(command, { ...DEFAULTS, out: join(folder, "below") });
  await writeFile(join(folder, "below/shuiwei-files.json"), JSON.stringify({ "../kept": hash }));
  await runCommand(command, { ...DEFAULTS, out: join(folder, "below") });
  expect(await read("kept")).toBe("{}");
});

it("names the option when the folder cannot be made", async () => {
  await writeFile(join(folder, "file"), "");
  await expect(runCommand(command, { ...DEFAULTS, out: join(folder, "file") })).rejects.toMatchObject({
    code: "bad_option",
    input: "--out",
  });
});

it.skipIf(!hasPromtool)("writes a configuration that Prometheus' tool finds valid", async () => {
  await write();
  const checked = execFileSync("promtool", ["check", "config", join(folder, "prometheus.yml")], { encoding: "utf8" });
  expect(checked).toMatch(/2 rule files found[\s\S]*SUCCESS/);
});
