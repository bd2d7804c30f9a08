/**
 * What the storefront's browser tests run on: the built `serve` with a private Redis, nginx in front of it where the
 * machine has one, and a shop's page from another origin that uses `shuiwei-stock.js`. The page reports every change
 * that the module makes, at the time at which it makes it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { chainId } from "../../engine/kernel/chain-id.js";
import { type CacheServer, HAS, startCacheServer } from "../edge/cache-servers.js";
import { BROWSER_ARGUMENTS, browserPath } from "./phone-bed.js";
import type { StockChange, StockPageOptions } from "./storefront-page.js";
import { stockPage } from "./storefront-page.js";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const TOKEN = "a-token-of-the-storefront-tests";

export class StorefrontBed {
  /** Of the engine itself, and of the cache in front of it; the same without nginx. */
  engineUrl = "";
  edgeUrl = "";
  readonly faults: string[] = [];
  #engine: ChildProcess | undefined;
  #edge: CacheServer | undefined;
  #shop: Server | undefined;
  #browser: Browser | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), "shuiwei-storefront-"));

  async start(): Promise<void> {
    const args = ["serve", "--port", "0", "--dir", this.#folder, "--tokens", `lin:admin:${TOKEN}`];
    const engine = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#engine = engine;
    const output: string[] = [];
    engine.stderr.on("data", (text: Buffer) => output.push(text.toString()));
    this.engineUrl = await new Promise<string>((resolve, reject) => {
      createInterface({ input: engine.stdout }).on("line", (line) => {
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
        if (found) resolve(found);
      });
      engine.once("exit", () => reject(new Error(`the engine ended: ${output.join("")}`)));
    });
    if (HAS.nginx) this.#edge = await startCacheServer("nginx", { role: "edge", origin: this.engineUrl.slice(7) });
    this.edgeUrl = this.#edge?.url ?? this.engineUrl;
    this.#shop = createServer((request, response) => {
      const options = new URL(request.url ?? "", "http://shop").searchParams.get("options");
      // Browsers ask for an icon, too.
      response.writeHead(options === null ? 404 : 200, { "content-type": "text/html; charset=utf-8" });
      response.end(options === null ? "" : stockPage(JSON.parse(options)));
    });
    this.#shop.listen(0, "127.0.0.1");
    await once(this.#shop, "listening");
    this.#browser = await chromium.launch({ executablePath: browserPath(), args: BROWSER_ARGUMENTS });
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
    this.#shop?.close();
    await this.#edge?.stop();
    this.resume();
    if (this.#engine?.exitCode === null) {
      this.#engine.kill("SIGINT");
      await once(this.#engine, "exit");
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Opens the shop's page and calls `onChange` with what it shows. */
  async open(options: StockPageOptions, onChange: (change: StockChange) => void = () => {}): Promise<Page> {
    const page = await (this.#browser as Browser).newPage();
    page.on("pageerror", (error) => this.faults.push(error.message));
    await page.exposeFunction("reportStock", onChange);
    const { port } = (this.#shop as Server).address() as AddressInfo;
    await page.goto(`http://localhost:${port}/?options=${encodeURIComponent(JSON.stringify(options))}`);
    return page;
  }

  /** The engine stands still: it neither answers nor refuses. */
  pause(): void {
    this.#engine?.kill("SIGSTOP");
  }

  resume(): void {
    this.#engine?.kill("SIGCONT");
  }

  async receive(units: number, ...skus: readonly string[]): Promise<void> {
    const lines = skus.map((sku) =>
      JSON.stringify({ id: chainId("TE", Date.now()), kind: "receive", sku, location: "main", units }),
    );
    await this.#post("/v1/commands", "application/x-ndjson", lines.join("\n"));
  }

  /** Sells units. They are paid for: of units that are only reserved a share is displayed. */
  async sell(sku: string, units: number): Promise<void> {
    const id = chainId("TE", Date.now());
    await this.#post("/v1/orders", "application/json", JSON.stringify({ id, lines: [{ sku, units }] }));
    await this.#post(`/v1/orders/${id}/payment`, "application/json", "{}");
  }

  async #post(path: string, type: string, body: string): Promise<void> {
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": type };
    const answer = await fetch(this.engineUrl + path, { method: "POST", headers, body });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    await answer.text();
  }
}
