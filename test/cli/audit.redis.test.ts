/**
 * `shuiwei audit` as a process, beside a running engine on its private Redis and without one: output, exit status, and
 * that it changes nothing. `npm test` builds before it runs this.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuditReport } from "../../engine/audit/deployment-audit.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { cellOf, type StockCommand } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { onCluster } from "../redis/with-redis.js";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const PREFIX = "shuiwei";
const PARTITIONS = 4;
const LIMIT_MS = 60_000;
/** A cycle over 126 SKUs takes three slices; the machine may be busy. */
const ALARM_MS = 20_000;

let folder: string;
let engine: ChildProcess | undefined;
/** What `serve` has written to stderr. */
let errorOutput = "";
let client: RedisClient | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "shuiwei-audit-"));
});
afterAll(async () => {
  client?.disconnect();
  await stopServing();
  rmSync(folder, { recursive: true, force: true });
});

function audit(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, "audit", ...args], { encoding: "utf8", cwd: folder }, (error, out, err) => {
      resolve({ status: error ? Number(error.code) : 0, out, err });
    });
  });
}

/** Runs `serve` in the folder until its first line. */
async function serve(): Promise<void> {
  const child = spawn(
    process.execPath,
    [CLI, "serve", "--port", "0", "--drain-delay", "0", "--partitions", String(PARTITIONS)],
    {
      cwd: folder,
      env: { ...process.env, SHUIWEI_TOKENS: "a-token-of-the-test" },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  child.stderr?.on("data", (bytes) => {
    errorOutput += String(bytes);
  });
  engine = child;
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (status) => reject(new Error(`serve has ended with ${status}`)));
    child.stdout?.on("data", (bytes) => String(bytes).includes("serving at") && resolve());
  });
}

async function stopServing(): Promise<void> {
  const child = engine;
  engine = undefined;
  if (!child || child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

const receive = (sku: string, units: number): StockCommand => ({
  kind: "receive",
  id: chainId("TE", systemClock.now()),
  sku,
  location: "SH",
  units,
});

describe.skipIf(onCluster)("shuiwei audit", () => {
  it("is rejected where no deployment is, and creates none", async () => {
    const { status, err } = await audit("--dir", "nowhere");
    expect(status).toBe(2);
    expect(err).toContain('there is no deployment "shuiwei" in nowhere');
    expect(existsSync(join(folder, "nowhere"))).toBe(false);
  });

  it("rejects bad options", async () => {
    const { status, err } = await audit("--prefux", "x");
    expect(status).toBe(2);
    expect(err).toContain("--prefux");
  });

  it(
    "agrees beside a running engine under load, names what differs with status 1, and works when the engine is down",
    async () => {
      await serve();
      const redis = connect({ url: join(folder, ".shuiwei", "redis.sock") });
      client = redis;
      // The names of functions are those of this process only once it has read the code.
      await Ledger.load(redis);
      const ledger = new Ledger({ redis, prefix: PREFIX, partitions: PARTITIONS });
      await ledger.applyMany(Array.from({ length: 500 }, (_, i) => receive(`sku-${i}`, 3)));
      let feeding = true;
      const feed = (async () => {
        for (let i = 0; feeding; i++) {
          const orders = Array.from({ length: 20 }, (_, k): StockCommand => {
            const { id, sku, location } = receive(`sku-${(i * 20 + k) % 500}`, 1);
            return { kind: "reserve", id, sku, location, units: 1 };
          });
          await ledger.applyMany(orders);
          await sleep(5);
        }
      })();
      const healthy = await audit();
      feeding = false;
      await feed;
      expect(healthy).toMatchObject({ status: 0, err: "" });
      expect(healthy.out).toContain("4 partitions: 500 SKUs in 500 cells with 1,500 units");
      expect(healthy.out).toContain("all agree");

      const { cells } = stockKeys(PREFIX, ledger.partitionOf("cup"));
      await ledger.apply(receive("cup", 7));
      const good = (await redis.hgetBuffer(cells, cellOf("cup", "SH"))) as Buffer;
      const bad = Buffer.from(good);
      bad.writeDoubleLE(8, 0);
      await redis.hset(cells, cellOf("cup", "SH"), bad);
      const wrong = await audit();
      expect(wrong.status).toBe(1);
      expect(wrong.out).toContain("MISMATCH cup at SH");
      expect(wrong.out).toContain("sellable is 8 in the ledger, 7 in the storefront job, 7 in the log");
      expect(wrong.err).toMatch(/^shuiwei audit: 1 mismatch in 501 cells\n$/);

      // The engine's own shadow fold finds the same by itself.
      for (const elapsed = stopwatch(); !errorOutput.includes("ALARM"); await sleep(50))
        if (elapsed() > ALARM_MS) throw new Error("no alarm");
      expect(errorOutput).toContain("cup at SH (partition ");

      redis.disconnect();
      await stopServing();
      const asJson = await audit("--json");
      expect(asJson.status).toBe(1);
      const report = JSON.parse(asJson.out) as AuditReport;
      expect(report).toMatchObject({ partitions: PARTITIONS, skus: 501, foldedFromFirst: PARTITIONS, notCompared: [] });
      expect(report.mismatches).toMatchObject([{ sku: "cup", fault: "ledger", first: { type: "StockReceived" } }]);
      expect(existsSync(join(folder, ".shuiwei", "redis.sock")), "the Redis of the audit has ended").toBe(false);

      const other = await audit("--prefix", "other");
      expect(other.status).toBe(2);
      expect(other.err).toContain('there is no deployment "other"');
    },
    LIMIT_MS,
  );

  it("reports that a Redis cannot be reached", async () => {
    const { status, err } = await audit("--redis-url", "redis://127.0.0.1:9");
    expect(status).toBe(1);
    expect(err).toContain("cannot be reached");
  });
});
