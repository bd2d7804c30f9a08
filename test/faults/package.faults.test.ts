/**
 * The product as a package: what `npm pack` makes is installed into an empty folder, and its demo runs there. Every
 * file that is needed at run time must be in the package, data must go to the user's folder, and a stop must leave no
 * process. It needs the packages' registry, or npm's cache of it.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stopwatch } from "../../engine/kernel/clock.js";
import { runningSocket } from "../../engine/redis/embedded.js";
import { freePort } from "./bed.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const INSTALL_LIMIT_MS = 240_000;
const START_LIMIT_MS = 60_000;
const DEMO_LIMIT_MS = 120_000;

let folder: string;
let demo: ChildProcess | undefined;
const path = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-package-"));
  await mkdir(path("shop"));
  await run("npm", ["pack", "--pack-destination", folder], { cwd: ROOT });
  const [tarball = ""] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", path(tarball), ...quiet], { cwd: path("shop") });
}, INSTALL_LIMIT_MS);
afterAll(async () => {
  if (demo?.pid !== undefined && isGroupAlive(demo.pid)) process.kill(-demo.pid, "SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

const filesOfPackage = async (): Promise<string[]> =>
  (await readdir(path("shop/node_modules/shuiwei"), { recursive: true })).sort();

function isGroupAlive(leader: number): boolean {
  try {
    return process.kill(-leader, 0);
  } catch {
    return false;
  }
}

it("has the types of the module for pages, no other TypeScript and no packages of developers", async () => {
  const sources = (await filesOfPackage()).filter((name) => /\.tsx?$/.test(name));
  expect(sources).toEqual(["dashboards/stock-module/shuiwei-stock.d.ts"]);
  expect(existsSync(path("shop/node_modules/typescript"))).toBe(false);
});

it("prints its version without setting anything up", async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const { stdout, stderr } = await run("npx", ["--no-install", "shuiwei", "version"], { cwd: path("shop") });
  expect([stdout, stderr]).toEqual([`${version}\n`, ""]);
});

it("writes dashboards, rules and the runbook", async () => {
  await run("npx", ["--no-install", "shuiwei", "dashboards", "--out", "grafana"], { cwd: path("shop") });
  const written = (await readdir(path("shop/grafana"), { recursive: true })).sort();
  expect(written).toEqual(expect.arrayContaining(["README.md", "dashboards/overview.json", "rules/alerts.yml"]));
});

it(
  "runs the demo within a minute, stores data in the user's folder only, and stops cleanly on Ctrl-C",
  async () => {
    const before = await filesOfPackage();
    const port = await freePort();
    const elapsed = stopwatch();
    const args = ["--no-install", "shuiwei", "demo", "--port", String(port)];
    // Ctrl-C reaches every process of a terminal's group: so the demo gets a group of its own.
    demo = spawn("npx", args, { cwd: path("shop"), detached: true, stdio: "ignore" });
    const ended = once(demo, "exit");
    const url = `http://127.0.0.1:${port}`;
    const get = (place: string) => fetch(url + place, { signal: AbortSignal.timeout(5_000) });
    const statusOf = (place: string) =>
      get(place)
        .then(({ status }) => status)
        .catch(() => 0);
    await expect.poll(() => statusOf("/readyz"), { timeout: START_LIMIT_MS, interval: 200 }).toBe(200);
    expect(elapsed()).toBeLessThan(START_LIMIT_MS);
    expect(await (await get("/")).text()).toContain("<html");
    expect(await statusOf("/docs/json")).toBe(200);
    expect(await runningSocket(path("shop/.shuiwei/demo"))).toBeDefined();

    process.kill(-(demo.pid as number), "SIGINT");
    // npx ends by the signal, too; a clean end of the demo shows in what it leaves.
    await ended;
    await expect.poll(() => isGroupAlive(demo?.pid as number)).toBe(false);
    expect(await runningSocket(path("shop/.shuiwei/demo"))).toBeUndefined();
    expect(existsSync(path("shop/.shuiwei/demo"))).toBe(false);
    expect(await filesOfPackage()).toEqual(before);
  },
  DEMO_LIMIT_MS,
);
