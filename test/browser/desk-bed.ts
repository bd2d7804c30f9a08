/**
 * What the desk's browser test runs on: the built `serve` with a private Redis, a shop of some SKUs, and sources that
 * report over HTTP as outside systems do. Browsers are paired as an operator's or a reader's, with a cookie.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { chainId } from "../../engine/kernel/chain-id.js";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const TOKEN = "a-token-of-the-browser-test";
const LOCATIONS = ["SHA", "CAN", "CTU"] as const;
const SKUS = 60;
const UNITS = 100;

export const skuOf = (i: number): string => `TEA-${String(i).padStart(4, "0")}`;

export interface OpenPage {
  width: number;
  height: number;
  language: "en" | "zh";
  role?: "read" | "operate";
}

export class DeskBed {
  readonly faults: string[] = [];
  url = "";
  #product: ChildProcess | undefined;
  #browser: Browser | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), "shuiwei-desk-"));

  async start(): Promise<void> {
    const executablePath = BROWSERS.find(existsSync);
    if (!executablePath) throw new Error(`no browser: install chromium (looked for ${BROWSERS.join(", ")})`);
    const args = ["serve", "--port", "0", "--dir", this.#folder, "--tokens", `lin:admin:${TOKEN}`];
    // Otherwise what is published would become a third source whenever a test runs past a fifth minute.
    args.push("--published-every", "0s");
    const product = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#product = product;
    // It logs what happens to the breaker.
    product.stderr.on("data", (text: Buffer) => {
      if (!/"the breaker shop /.test(text.toString())) this.faults.push(text.toString());
    });
    const lines = createInterface({ input: product.stdout });
    this.url = await new Promise<string>((resolve, reject) => {
      lines.on("line", (line) => {
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
        if (found) resolve(found);
      });
      product.once("exit", () => reject(new Error(`the product ended: ${this.faults.join("")}`)));
    });
    this.#browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-quic"] });
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
    const product = this.#product;
    if (product && product.exitCode === null) {
      product.kill("SIGINT");
      await once(product, "exit");
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async ask(method: "GET" | "POST", path: string, body?: string | object, type = "application/json") {
    const answer = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, ...(body === undefined ? {} : { "content-type": type }) },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text;
  }

  /** Receives the opening stock: so many units of every SKU everywhere. */
  async openShop(): Promise<void> {
    const nowMs = Date.now();
    const lines = Array.from({ length: SKUS }, (_, i) =>
      LOCATIONS.map((location) => ({
        ...{ kind: "receive", id: chainId("RC", nowMs), sku: skuOf(i), location, units: UNITS },
        ...{ actor: "receiving", reason: "opening stock" },
      })),
    ).flat();
    await this.ask(
      "POST",
      "/v1/commands",
      lines.map((line) => JSON.stringify(line)).join("\n"),
      "application/x-ndjson",
    );
  }

  /** A complete snapshot of what a source has on hand now: the opening stock, less what it lacks. */
  async report(source: string, lacks: Readonly<Record<string, number>> = {}): Promise<void> {
    const rows = Array.from({ length: SKUS }, (_, i) =>
      LOCATIONS.map((location) => ({
        ...{ sku: skuOf(i), location },
        units: UNITS - (lacks[`${skuOf(i)} ${location}`] ?? 0),
      })),
    ).flat();
    const asOf = new Date().toISOString();
    const query = new URLSearchParams({ id: `${source}-${asOf}`, asOf, measure: "on_hand", rows: String(rows.length) });
    const body = rows.map((row) => JSON.stringify(row)).join("\n");
    await this.ask("POST", `/v1/snapshots/${source}?${query}`, body, "application/x-ndjson");
  }

  /** Opens the desk in a browser of its own, paired with a role. */
  async open({ width, height, language, role = "operate" }: OpenPage): Promise<Page> {
    const context = await (this.#browser as Browser).newContext({
      viewport: { width, height },
      colorScheme: "dark",
      locale: language === "zh" ? "zh-CN" : "en-GB",
    });
    const { link } = JSON.parse(await this.ask("POST", "/v1/sessions/pairings", { label: "desk", role })) as {
      link: string;
    };
    const page = await context.newPage();
    page.on("pageerror", (error) => this.faults.push(`page: ${error.message}`));
    await page.goto(link);
    await page.waitForURL(`${this.url}/`);
    page.on("response", async (response) => {
      if (response.status() >= 400)
        this.faults.push(`${response.status()} ${response.url()}: ${await response.text().catch(() => "")}`);
    });
    await page.goto(`${this.url}/desk?lang=${language}`);
    await page.getByTestId("desk-breaker").waitFor();
    return page;
  }
}
