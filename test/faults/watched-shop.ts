/**
 * A small shop for Prometheus to read: one `serve` process with a `shuiwei edge watch` beside it, a WMS, a group of
 * DingTalk and a source that reports by HTTP, and a client that receives, orders, pays and reports again and again. A
 * SKU sells fast enough for an alert. When the WMS is closed, its deliveries wait; a wrong report opens the breaker.
 * Everything ends with `stop`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DINGTALK_SANDBOX, DingTalkSandbox } from "../../connectors/dingtalk/sandbox.js";
import { WmsSandbox } from "../../connectors/wms/sandbox.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { CLI } from "./bed.js";

const TOKEN = "a-token-of-the-watched-shop";
const PAUSE_MS = 500;
const STOCK_UNITS = 1_000_000;
/** More than the 100 units in an hour above which a SKU without history raises an alert. */
const RUSH_UNITS = 120;

export class WatchedShop {
  readonly #wms = new WmsSandbox();
  readonly #group = new DingTalkSandbox();
  readonly #port: number;
  readonly #edgeWatchPort: number;
  readonly #children: ChildProcess[] = [];
  #isOver = false;
  /** What the source reports. */
  #reportedUnits = STOCK_UNITS;
  #client: Promise<void> | undefined;

  /** @param edgeWatchPort where the process that watches its stock answers serves metrics */
  constructor(port: number, edgeWatchPort: number) {
    this.#port = port;
    this.#edgeWatchPort = edgeWatchPort;
  }

  async start(folder: string): Promise<void> {
    await Promise.all([this.#wms.start(), this.#group.start()]);
    const alerts = join(folder, "alerts.json");
    const connection = {
      url: `${this.#group.url}/robot/send`,
      accessToken: { env: "GROUP_TOKEN" },
      secret: { env: "GROUP_SECRET" },
    };
    await writeFile(alerts, JSON.stringify({ endpoints: [{ name: "group", channel: "dingtalk", connection }] }));
    const args = ["--port", String(this.#port), "--dir", join(folder, "shop"), "--open", "metrics", "--alerts", alerts];
    const serve = [CLI, "serve", ...args, "--wms-url", this.#wms.url, "--wms-limit", "100"];
    const env = {
      ...process.env,
      SHUIWEI_TOKENS: `test:admin:${TOKEN}`,
      GROUP_TOKEN: DINGTALK_SANDBOX.token,
      GROUP_SECRET: DINGTALK_SANDBOX.secret,
    };
    const stock = `shop=http://127.0.0.1:${this.#port}/v1/stock/TEA`;
    const watch = [CLI, "edge", "watch", stock, "--every", "1s", "--port", String(this.#edgeWatchPort)];
    this.#children.push(
      spawn(process.execPath, serve, { stdio: "ignore", env }),
      spawn(process.execPath, watch, { stdio: "ignore" }),
    );
  }

  /** Messages that a person in the group would see. */
  get messages(): number {
    return this.#group.messages.length;
  }

  async isReady(): Promise<boolean> {
    return this.#send("GET", "/readyz").then(
      ({ status }) => status === 200,
      () => false,
    );
  }

  /** Starts the client. */
  async open(): Promise<void> {
    const units = STOCK_UNITS;
    await this.#send(
      "POST",
      "/v1/commands",
      JSON.stringify({ kind: "receive", id: chainId("WB", systemClock.now()), sku: "TEA", location: "main", units }),
    );
    await this.#order(RUSH_UNITS);
    this.#client = this.#drive();
  }

  /** From now on the WMS takes nothing. */
  closeWms(): Promise<void> {
    return this.#wms.stop();
  }

  /** From now on the source reports half of the units: the next comparison opens the breaker. */
  reportWrongly(): void {
    this.#reportedUnits = STOCK_UNITS / 2;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#client;
    for (const child of this.#children) if (child.exitCode === null && child.kill("SIGINT")) await once(child, "exit");
    await Promise.all([this.#wms.stop(), this.#group.stop()]);
  }

  async #drive(): Promise<void> {
    for (let turn = 0; !this.#isOver; turn++) {
      // An answer that fails shows in the figures; the client goes on.
      await this.#turn(turn).catch(() => {});
      await sleep(PAUSE_MS);
    }
  }

  async #turn(turn: number): Promise<void> {
    // Refused while the breaker is open.
    await this.#order(1).catch(() => {});
    await this.#send("GET", "/v1/stock/TEA", undefined, "a-wrong-token-of-nobody");
    if (turn % 10 !== 0) return;
    const sentAt = new Date(systemClock.now()).toISOString();
    const query = new URLSearchParams({ id: `count-${turn}`, rows: "1", asOf: sentAt, sentAt, measure: "on_hand" });
    await this.#send(
      "POST",
      `/v1/snapshots/store?${query}`,
      `{"sku":"TEA","location":"main","units":${this.#reportedUnits}}`,
    );
    await this.#send("POST", "/v1/comparisons");
  }

  async #order(units: number): Promise<void> {
    const answer = await this.#send("POST", "/v1/orders", { lines: [{ sku: "TEA", units }] });
    const { id } = (await answer.json()) as { id: string };
    await this.#send("POST", `/v1/orders/${id}/payment`);
  }

  #send(method: string, path: string, body?: unknown, token = TOKEN): Promise<Response> {
    const isText = typeof body === "string";
    return fetch(`http://127.0.0.1:${this.#port}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": isText ? "application/x-ndjson" : "application/json" }),
      },
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
  }
}
