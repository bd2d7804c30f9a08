/**
 * The built product from outside: the demo runs as a process of its own, and the page is opened in a real Chromium.
 * Checked are changing cells, a new alert, both languages, a phone, the breaker, and an engine that stands still. At
 * the end the demo gets SIGINT and must leave no process and no socket. Needs a build and a browser; `npm run
 * test:browser` makes the build.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const BROWSER_ARGUMENTS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const SLOW_MS = 90_000;
/** True reports of a machine that stood still for a second, which is no fault of the demo. */
const SLOW_REDIS = /Redis (has not answered within a second|does not answer in time)/;

let demo: ChildProcess;
let url: string;
let folder: string;
let browser: Browser;
const faults: string[] = [];

/** Starts the demo on a free port and waits for the address that it prints. */
async function startDemo(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), "shuiwei-wall-"));
  demo = spawn(process.execPath, [CLI, "demo", "--port", "0", "--dir", folder], { stdio: ["ignore", "pipe", "pipe"] });
  createInterface({ input: demo.stderr as NodeJS.ReadableStream }).on("line", (line) => {
    if (SLOW_REDIS.test(line)) console.log(line);
    else faults.push(line);
  });
  const lines = createInterface({ input: demo.stdout as NodeJS.ReadableStream });
  url = await new Promise<string>((resolve, reject) => {
    lines.on("line", (line) => {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
      if (found) resolve(found);
    });
    demo.once("exit", () => reject(new Error(`the demo ended: ${faults.join("; ")}`)));
  });
}

async function open(width: number, height: number, path = "/"): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height } });
  page.on("pageerror", (error) => faults.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) faults.push(`foreign: ${request.url()}`);
  });
  await page.goto(url + path);
  return page;
}

const heatmap = (page: Page) => page.getByTestId("heatmap");
const revisionOf = async (page: Page) => Number(await heatmap(page).getAttribute("data-revision"));

beforeAll(async () => {
  const executablePath = BROWSERS.find(existsSync);
  if (!executablePath) throw new Error(`no browser: install chromium (looked for ${BROWSERS.join(", ")})`);
  await startDemo();
  browser = await chromium.launch({ executablePath, args: BROWSER_ARGUMENTS });
});

afterAll(async () => {
  await browser?.close();
  if (demo && demo.exitCode === null) demo.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

describe("the wall", () => {
  let wall: Page;

  it("becomes live", async () => {
    wall = await open(1920, 1080, "/?lang=en");
    await wall.locator('[data-testid="connection"]').waitFor({ timeout: SLOW_MS });
    await expect.poll(() => revisionOf(wall), { timeout: SLOW_MS }).toBeGreaterThan(0);
  });

  it("shows changing cells", async () => {
    const rows = async () => Number(await heatmap(wall).getAttribute("data-rows"));
    await expect.poll(rows, { timeout: SLOW_MS }).toBeGreaterThan(10);
    const before = await revisionOf(wall);
    await expect.poll(() => revisionOf(wall), { timeout: SLOW_MS }).toBeGreaterThan(before);
  });

  it("shows a new alert", async () => {
    // Of all that are open: the list shows as many as fit.
    const open = async () => Number(await wall.locator(".alerts").getAttribute("data-open"));
    await expect.poll(() => wall.getByTestId("alert").count(), { timeout: SLOW_MS }).toBeGreaterThan(0);
    await expect.poll(open, { timeout: SLOW_MS }).toBeGreaterThan(0);
    const before = await open();
    await expect.poll(open, { timeout: SLOW_MS }).not.toBe(before);
  });

  it("shows hot SKUs with their balances", async () => {
    await expect.poll(() => wall.getByTestId("sku-row").count()).toBeGreaterThan(3);
    expect(await wall.getByTestId("sku-row").first().innerText()).toMatch(/\d/);
  });

  it("is in Chinese or in English", async () => {
    const english = await wall.locator("body").innerText();
    const chinese = await open(1920, 1080, "/?lang=zh");
    await expect.poll(() => chinese.getByTestId("alert").count(), { timeout: SLOW_MS }).toBeGreaterThan(0);
    expect(await chinese.locator("html").getAttribute("lang")).toMatch(/^zh/);
    expect(await wall.locator("html").getAttribute("lang")).toMatch(/^en/);
    expect(english).not.toMatch(/[\u4e00-\u9fff]{2,} [\u4e00-\u9fff]{2,}/);
    await chinese.close();
  });

  it.each([
    ["a wall", 1920, 1080],
    ["a desktop", 1366, 768],
    ["a phone", 390, 844],
  ])("fits %s without scrolling sideways", async (_name, width, height) => {
    const page = await open(width, height);
    await expect.poll(() => page.getByTestId("alert").count(), { timeout: SLOW_MS }).toBeGreaterThan(0);
    const overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    expect(overflow).toBeLessThanOrEqual(0);
    await page.close();
  });

  it("changes its size on the same connection", async () => {
    const page = await browser.newPage({ viewport: { width: 1920, height: 1080 } });
    let connections = 0;
    page.on("websocket", () => connections++);
    await page.goto(url);
    const rows = async () => Number(await heatmap(page).getAttribute("data-rows"));
    await expect.poll(rows, { timeout: SLOW_MS }).toBeGreaterThan(20);
    await page.setViewportSize({ width: 390, height: 844 });
    await expect.poll(rows, { timeout: SLOW_MS }).toBe(20);
    expect(connections).toBe(1);
    await page.close();
  });

  it("shows a breaker while it is open", async () => {
    const breaker = (action: string, time = {}) =>
      fetch(`${url}/v1/breaker`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ action, scope: { kind: "shop" }, actor: "Lin", reason: "stocktaking", ...time }),
      });
    // Ten minutes of the demo's time are ten seconds.
    expect((await breaker("open", { forMs: 6 * 3_600_000 })).status).toBe(200);
    await wall.getByTestId("breaker").waitFor({ timeout: SLOW_MS });
    expect(await wall.getByTestId("breaker").innerText()).toContain("stocktaking");
    expect((await breaker("close")).status).toBe(200);
    await wall.getByTestId("breaker").waitFor({ state: "hidden", timeout: SLOW_MS });
  });

  it("sends no request to other hosts and reports no error", () => {
    expect(faults, faults.join("; ")).toEqual([]);
  });

  it("shows old figures as old while the engine stands still, and is live again after that", async () => {
    const state = () => wall.getByTestId("connection").getAttribute("data-state");
    await expect.poll(state, { timeout: SLOW_MS }).toBe("live");
    demo.kill("SIGSTOP");
    try {
      await expect.poll(state, { timeout: SLOW_MS }).toBe("stale");
    } finally {
      demo.kill("SIGCONT");
    }
    await expect.poll(state, { timeout: SLOW_MS }).toBe("live");
  });

  it("shows that the engine has stopped, and the engine leaves no process and no socket", async () => {
    const children = execFileSync("ps", ["-o", "pid=", "--ppid", String(demo.pid)], { encoding: "utf8" })
      .split("\n")
      .map(Number)
      .filter((pid) => pid > 0);
    expect(children.length).toBeGreaterThan(0);
    demo.kill("SIGINT");
    const [status] = await once(demo, "exit");
    expect(status).toBe(0);
    for (const pid of children) expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith(".sock"))).toEqual([]);
    await expect
      .poll(() => wall.getByTestId("connection").getAttribute("data-state"), { timeout: SLOW_MS })
      .not.toBe("live");
  });
});
