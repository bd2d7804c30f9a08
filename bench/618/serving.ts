/**
 * `shuiwei serve` as an operator runs it, for the time of a replay: one process that takes orders and one that runs
 * the jobs and sends to the warehouse, so that a rush at the door does not hold up what is inside; a private Redis
 * (AOF everysec) in a temporary directory; filled with stock over its own HTTP interface. Nothing is left behind.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chainId } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { startRedis } from "../../engine/redis/embedded.js";
import { ordersOf, skuNames } from "./orders.js";

export interface ServingSettings {
  wmsUrl: string;
  /** Requests a second that the warehouse takes. */
  wmsLimit: number;
  /** The built command. */
  cli: URL;
}

export interface Serving {
  readonly port: number;
  readonly token: string;
  /** What it has said on stderr, the newest lines. */
  readonly complaints: readonly string[];
  /**
   * Trade of the evening before, so that nothing runs for the first time when midnight comes. Returns how many orders
   * the warehouse gets.
   */
  warmUp(orders: number): Promise<number>;
  /** Rejects when the process ends by itself. */
  readonly ended: Promise<never>;
  stop(): Promise<void>;
}

const TOKEN = "a-token-of-the-18-june-replay";
const EVENING_BUYERS = 8;
const EVENING_SEED = 617;
const UNITS = 1_000_000;
const COMPLAINTS_KEPT = 50;
/** On Linux a child ends with its parent, however that one ends; its Redis then ends with it. */
const BOUND =
  spawnSync("setpriv", ["--pdeathsig", "TERM", "true"]).status === 0 ? ["setpriv", "--pdeathsig", "TERM"] : [];

export async function startServing({ wmsUrl, wmsLimit, cli }: ServingSettings): Promise<Serving> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-618-"));
  const redis = await startRedis({ dir, appendfsync: "everysec" });
  const complaints: string[] = [];
  const children: ChildProcess[] = [];
  const start = (...options: string[]) => {
    const child = startServe(cli, ["--redis-url", redis.socketPath, ...options], complaints);
    children.push(child);
    return child;
  };
  const end = async () => {
    await Promise.all(children.map(stopChild));
    await redis.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const wms = ["--wms-url", wmsUrl, "--wms-limit", String(wmsLimit), "--objects-url", `file://${dir}/objects`];
    const api = start("--roles", "api", "--port", "0", ...wms);
    const port = await Promise.race([portOf(api), endOf(api, complaints)]);
    start("--roles", "worker", ...wms);
    const ended = Promise.race(children.map((child) => endOf(child, complaints)));
    ended.catch(() => {});
    await receiveStock(port);
    return { port, token: TOKEN, complaints, ended, warmUp: (orders) => warmUp(port, orders), stop: end };
  } catch (thrown) {
    await end();
    throw thrown;
  }
}

function startServe(cli: URL, options: readonly string[], complaints: string[]): ChildProcess {
  const [program, ...args] = [
    ...BOUND,
    process.execPath,
    fileURLToPath(cli),
    "serve",
    "--drain-delay",
    "0",
    ...options,
  ] as string[];
  // A setting of the caller's own shop has no place here.
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SHUIWEI_")));
  const child = spawn(program as string, args, {
    stdio: ["ignore", "pipe", "pipe"],
    // In a group of its own: Ctrl-C is the replay's to act on.
    detached: true,
    env: { ...environment, SHUIWEI_TOKENS: TOKEN },
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    complaints.push(line);
    if (complaints.length > COMPLAINTS_KEPT) complaints.shift();
  });
  return child;
}

async function endOf(child: ChildProcess, complaints: readonly string[]): Promise<never> {
  const [status] = await once(child, "exit");
  throw new Error(`serve has ended with status ${status}: ${complaints.slice(-5).join("\n")}`);
}

/** The port that it reports. */
function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const url = /serving at (http:\S+?),/.exec(line)?.[1];
      if (url !== undefined) resolve(Number(new URL(url).port));
    });
  });
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

async function warmUp(port: number, orders: number): Promise<number> {
  const evening = ordersOf(Date.now() - DAY_MS, orders, EVENING_SEED);
  const post = async (path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${TOKEN}`, ...(body ? { "content-type": "application/json" } : {}) };
    const sent = body ? { body: JSON.stringify(body) } : {};
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers, ...sent });
    await response.arrayBuffer();
    return response.ok;
  };
  let paid = 0;
  const buy = async () => {
    for (let order = evening.pop(); order; order = evening.pop()) {
      const { id, lines, shipTo } = order;
      await post("/v1/orders", { id, lines, shipTo });
      if (await post(`/v1/orders/${id}/payment`)) paid++;
    }
  };
  await Promise.all(Array.from({ length: EVENING_BUYERS }, buy));
  return paid;
}

/** More of every SKU than the hour can sell: what is measured is the way, not the shelf. */
async function receiveStock(port: number): Promise<void> {
  const nowMs = Date.now();
  const commands = skuNames().map((sku) => ({
    kind: "receive",
    id: chainId("WB", nowMs),
    sku,
    location: "main",
    units: UNITS,
  }));
  const response = await fetch(`http://127.0.0.1:${port}/v1/commands`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/x-ndjson" },
    body: commands.map((command) => `${JSON.stringify(command)}\n`).join(""),
  });
  const text = await response.text();
  if (!response.ok || (text.match(/"outcome":"accepted"/g) ?? []).length !== commands.length)
    throw new Error(`the stock was not received: ${response.status} ${text.slice(0, 300)}`);
}
