/**
 * The whole way of a purge: from the command that sells a SKU out to what a CDN has been asked to delete, over HTTP,
 * and what operators see of it. A CDN that is down holds up neither another one nor the engine.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CLOUDFLARE_SANDBOX } from "../../connectors/cloudflare/sandbox.js";
import { FASTLY_SANDBOX, FastlySandbox } from "../../connectors/fastly/sandbox.js";
import { tagOf } from "../../connectors/purges/tag.js";
import type { Engine } from "../../engine/app/engine.js";
import { withLifecycle } from "../../engine/app/lifecycle.js";
import { serveEngine } from "../../engine/app/serve.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { countDeadLetters } from "../../engine/stream/dead-letter.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";

const redis = withRedis();
const engines = withEngines();
const PREFIX = "purges";
const patience = { timeout: 60_000, interval: 50 };
const surface = {
  ...{ host: "127.0.0.1", port: 0, tokens: [], defaultLocation: "main", channel: "WB", open: true },
  ...{ maxLagMs: 20_000, maxMemoryShare: 0.85 },
};

const fastly = new FastlySandbox();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-purges-"));
  await fastly.start();
});
afterEach(async () => {
  await engines.stop();
  await fastly.stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(troubles: string[]): Promise<Engine> {
  const cdn = join(folder, "cdn.json");
  const token = { env: "TOKEN" };
  const { zone } = CLOUDFLARE_SANDBOX;
  const file = {
    publicUrl: "https://stock.shop.example",
    cdns: [
      { name: "world", vendor: "fastly", connection: { url: fastly.url, service: FASTLY_SANDBOX.service, token } },
      { name: "down", vendor: "cloudflare", connection: { url: "http://127.0.0.1:1", zone, token, plan: "pro" } },
    ],
  };
  await writeFile(cdn, JSON.stringify(file));
  return engines.start({
    ...{ redisUrl: redis.url, prefix: PREFIX, options: { cdn } },
    environment: () => FASTLY_SANDBOX.token,
    onTrouble: (message) => troubles.push(message),
  });
}

it("a SKU that sells out and one that is back are purged twice, whatever another CDN does", async () => {
  const troubles: string[] = [];
  const engine = await start(troubles);
  const { ledger } = engine.stock;
  const correct = async (sku: string, units: number) => {
    const id = chainId("WB", systemClock.now());
    expect((await ledger.apply({ id, kind: "correct", sku, location: "main", units })).outcome).toBe("accepted");
  };
  const timesPurged = (sku: string) => fastly.purged.filter(({ value }) => value === tagOf(sku)).length;
  for (const sku of ["CUP", "MUG", "PEN"]) await correct(sku, 3);
  await correct("PEN", -1);
  for (const sku of ["CUP", "MUG"]) await correct(sku, -3);
  await expect.poll(() => timesPurged("CUP"), patience).toBe(1);
  await correct("CUP", 1);
  // The return replaces the second purge of the sell-out, unless the machine is slow.
  await expect.poll(() => timesPurged("CUP") >= 3 && timesPurged("MUG") === 2, patience).toBe(true);
  expect(timesPurged("PEN")).toBe(0);

  await withLifecycle(async (lifecycle) => {
    const { url } = await serveEngine(engine, surface, lifecycle);
    const tagged = await fetch(`${url}/v1/stock/CUP`);
    expect([tagged.headers.get("cache-tag"), tagged.headers.get("surrogate-key")]).toEqual([
      tagOf("CUP"),
      tagOf("CUP"),
    ]);
    const warnings = () => engine.sinks.flatMap((sink) => sink.warnings()).join();
    expect(warnings()).toMatch(/down \(cloudflare\) does not purge: cannot be reached/);
    const metrics = async () => (await fetch(`${url}/metrics`)).text();
    expect(await metrics()).toContain('shuiwei_purges_total{vendor="fastly",outcome="purged"} 3');
    expect(await metrics()).toMatch(/shuiwei_purges_total\{vendor="fastly",outcome="repeated"\} [23]\n/);
    expect(await metrics()).toContain('shuiwei_purge_acceptance_seconds_count{vendor="fastly"} 3');
    // What becomes of its purges is tested in virtual time: they are of use for ten seconds.
    expect(await metrics()).toContain('shuiwei_purges_total{vendor="cloudflare",outcome="purged"} 0');
  });
  const client = redis.connect();
  for (const sink of ["cloudflare", "fastly"])
    for (let partition = 0; partition < 4; partition++)
      expect((await countDeadLetters(client, sinkKeys(PREFIX, "stock", partition, sink))).deadLetters).toBe(0);
  expect(troubles.filter((text) => text.includes("does not purge"))).toHaveLength(1);
  for (const text of troubles) expect(text).not.toContain(FASTLY_SANDBOX.token);
});
