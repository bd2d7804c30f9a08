/**
 * The whole product as its first user meets it: the demo is started as a process of its own, the page is opened in a
 * real Chromium, and what a person would look for is looked for: cells that change, an alert that arrives, both
 * languages, a phone. At the end the demo is told to stop and must leave no process and no socket. Needs a build and
 * a browser; `npm run test:browser` sees to the former.
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

let demo: ChildProcess;
let url: string;
let folder: string;
let browser: Browser;
const troubles: string[] = [];

/** Starts the demo on a free port and waits for the address that it prints. */
async function startDemo(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), "shuiwei-wall-"));
  demo = spawn(process.execPath, [CLI, "demo", "--port", "0", "--dir", folder], { stdio: ["ignore", "pipe", "pipe"] });
  demo.stderr?.on("data", (text: Buffer) => troubles.push(text.toString()));
  const lines = createInterface({ input: demo.stdout as NodeJS.ReadableStream });
  url = await new Promise<string>((resolve, reject) => {
    lines.on("line", (line) => {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
      if (found) resolve(found);
    });
    demo.once("exit", () => reject(new Error(`the demo ended: ${troubles.join("")}`)));
  });
}

async function open(width: number, height: number, path = "/"): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height } });
  page.on("pageerror", (error) => troubles.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") troubles.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:"))
      troubles.push(`foreign: ${request.url()}`);
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

  it("goes live", async () => {
    wall = await open(1920, 1080, "/?lang=en");
    await wall.locator('[data-testid="connection"]').waitFor({ timeout: SLOW_MS });
    await expect.poll(() => revisionOf(wall), { timeout: SLOW_MS }).toBeGreaterThan(0);
  });

  it("sees cells change", async () => {
    const rows = async () => Number(await heatmap(wall).getAttribute("data-rows"));
    await expect.poll(rows, { timeout: SLOW_MS }).toBeGreaterThan(10);
    const before = await revisionOf(wall);
    await expect.poll(() => revisionOf(wall), { timeout: SLOW_MS }).toBeGreaterThan(before);
  });

  it("sees an alert arrive", async () => {
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

  it("speaks Chinese and English", async () => {
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
    ["a desk", 1366, 768],
    ["a phone", 390, 844],
  ])("fits %s without scrolling sideways", async (_name, width, height) => {
    const page = await open(width, height);
    await expect.poll(() => page.getByTestId("alert").count(), { timeout: SLOW_MS }).toBeGreaterThan(0);
    const overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    expect(overflow).toBeLessThanOrEqual(0);
    await page.close();
  });

  it("shows a breaker that an operator opens, and that it has closed", async () => {
    const say = (action: string) =>
      fetch(`${url}/v1/breaker`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ action, scope: { kind: "shop" }, actor: "Lin", reason: "stocktaking" }),
      });
    expect((await say("open")).status).toBe(200);
    await wall.getByTestId("breaker").waitFor({ timeout: SLOW_MS });
    expect(await wall.getByTestId("breaker").innerText()).toContain("stocktaking");
    expect((await say("close")).status).toBe(200);
    await wall.getByTestId("breaker").waitFor({ state: "hidden", timeout: SLOW_MS });
  });

  it("asks nothing of other hosts and reports no error", () => {
    expect(troubles).toEqual([]);
  });

  it("says when the engine is gone, and the engine leaves nothing behind", async () => {
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
