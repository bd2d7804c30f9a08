/** The publication of a whole engine: from a change of stock to what a page reads, in Redis, a folder and a bucket. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } from "../../connectors/objects/sandbox.js";
import type { Engine } from "../../engine/app/engine.js";
import { Lifecycle } from "../../engine/app/lifecycle.js";
import { PublishedDisplays } from "../../engine/app/published-displays.js";
import { serveEngine } from "../../engine/app/serve.js";
import { StorefrontView } from "../../engine/jobs/storefront/view.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { acceleratedClock, systemClock } from "../../engine/kernel/clock.js";
import { freshnessBudget } from "../../engine/publication/freshness.js";
import { leafOf } from "../../engine/publication/leaf-of.js";
import { emptyBalances } from "../../engine/stock/model.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";

const redis = withRedis();
const engines = withEngines();
const lifecycle = new Lifecycle();
let folder: string;
let bucket: S3Sandbox;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "publication-"));
  bucket = await S3Sandbox.start();
});
afterAll(async () => {
  await lifecycle.stop();
  await engines.stop();
  await bucket.stop();
  await rm(folder, { recursive: true });
});

const start = (prefix: string, publication: string, more = {}): Promise<Engine> =>
  engines.start({ redisUrl: redis.url, prefix, publication, publishEveryMs: 1_000, ...more });

async function receive({ stock: { ledger }, clock }: Engine, sku: string, units: number): Promise<void> {
  const id = chainId("TE", clock.now());
  const { outcome } = await ledger.apply({ kind: "receive", id, sku, location: "main", units });
  expect(outcome).toBe("accepted");
}

/** What a page shows of a SKU, read as every page reads it; undefined where there is none. */
async function shown(sku: string, read: (file: string) => Promise<unknown>): Promise<number | null | undefined> {
  const manifest = (await read("manifest.json")) as { leaves: number; index: string[]; asOf: string } | undefined;
  if (manifest === undefined) return undefined;
  expect(Math.abs(systemClock.now() - Date.parse(manifest.asOf))).toBeLessThan(120_000);
  const leaf = leafOf(sku, manifest.leaves);
  const each = manifest.leaves / manifest.index.length;
  const index = (await read(`${manifest.index[Math.floor(leaf / each)]}.json`)) as {
    leaves: string[];
    changes: Record<string, number | null>;
  };
  if (sku in index.changes) return index.changes[sku];
  return ((await read(`${index.leaves[leaf % each]}.json`)) as Record<string, number>)[sku];
}

it("serves what was received a moment ago, from every process that serves", async () => {
  const engine = await start("served", "redis");
  const reading = await start("served", "redis", { worker: false });
  expect([engine.publication?.publisher !== undefined, reading.publication?.publisher]).toEqual([true, undefined]);
  const surface = { host: "127.0.0.1", port: 0, tokens: [], defaultLocation: "main", channel: "WB", open: true };
  const { url } = await serveEngine(reading, { ...surface, maxLagMs: 20_000, maxMemoryShare: 0.85 }, lifecycle);
  const read = async (file: string): Promise<unknown> => {
    const response = await fetch(`${url}/v1/publication/${file}`);
    return response.ok ? response.json() : undefined;
  };
  await receive(engine, "茶-1", 7);
  await expect.poll(() => shown("茶-1", read)).toBe(7);
  await receive(engine, "茶-1", 5);
  await receive(engine, "tea-2", 1);
  await expect.poll(() => shown("茶-1", read)).toBe(12);
  await expect.poll(() => shown("tea-2", read)).toBe(1);
  expect(await shown("tea-3", read)).toBeUndefined();
  await expect.poll(() => reading.publication?.watch.skus).toBe(2);
  expect(reading.publication?.watch.warnings()).toEqual([]);
});

it("publishes with real time where the shop's clock runs fast", async () => {
  const clock = acceleratedClock(Date.UTC(2026, 5, 18), 60);
  const shopTime = { clock, speed: () => 60, scene: () => undefined };
  const engine = await start("fast", pathToFileURL(join(folder, "fast")).href, { shopTime });
  const serving = await start("fast", "file:///no/such/folder", { shopTime, worker: false });
  // It has no use for the folder, and need not reach it.
  expect(serving.publication).toBeUndefined();
  await receive(engine, "a", 3);
  const read = async (file: string): Promise<unknown> =>
    JSON.parse(await readFile(join(folder, "fast", file), "utf8").catch(() => "null")) ?? undefined;
  await expect.poll(() => shown("a", read)).toBe(3);
});

it("publishes to a bucket, and needs it for nothing else", async () => {
  const options = { objectsKeyId: KEY_ID, objectsSecret: SECRET };
  const url = `s3+${bucket.endpoint}/${BUCKET}/shop?region=${REGION}`;
  const engine = await start("bucket", url, { options });
  await receive(engine, "a", 3);
  const read = async (file: string): Promise<unknown> => {
    const bytes = bucket.objects.get(`shop/${file}`)?.bytes;
    if (bytes === undefined) return undefined;
    const { gunzipSync } = await import("node:zlib");
    return JSON.parse((file === "manifest.json" ? bytes : gunzipSync(bytes)).toString());
  };
  await expect.poll(() => shown("a", read)).toBe(3);
  expect(engine.publication?.reader).toBeUndefined();
});

it("does not start with a bucket that ignores conditions", async () => {
  const options = { objectsKeyId: KEY_ID, objectsSecret: SECRET };
  bucket.ignoresConditions = true;
  const url = `s3+${bucket.endpoint}/${BUCKET}/other?region=${REGION}`;
  await expect(start("refused", url, { options })).rejects.toThrow("ignores if-none-match");
  bucket.ignoresConditions = false;
});

it("starts without its bucket, and says that there is no publication", async () => {
  const gone = await S3Sandbox.start();
  await gone.stop();
  const troubles: string[] = [];
  const engine = await start("gone", `s3+${gone.endpoint}/${BUCKET}?region=${REGION}`, {
    options: { objectsKeyId: KEY_ID, objectsSecret: SECRET },
    onTrouble: (message: string) => troubles.push(message),
  });
  expect(troubles.join("\n")).toContain("cannot be reached");
  await expect
    .poll(() => engine.publication?.watch.warnings())
    .toEqual([
      expect.stringMatching(/^there is no publication in s3\+http:\S+ \d+ s after the start: .*cannot be reached/),
    ]);
});

it("does not start with an interval that leaves caches no time", async () => {
  const freshness = freshnessBudget({ edgeTiers: 2, edgeRevalidateMs: 2_000, browserCacheMs: 0 });
  await expect(start("late", "redis", { publishEveryMs: 8_000, freshness })).rejects.toThrow(
    "--publish-every: is 8 s: a publication would be 12 s old",
  );
});

describe("what the publisher reads of the view", () => {
  const stateOf = (units: number) => ({
    locations: [["main", { ...emptyBalances(), sellable: units }]],
    settings: null,
  });
  const open = (maxChanged = 3) => {
    const view = new StorefrontView();
    const follower = { oldestAgeMs: () => 1_500, provenOffset: (partition: number) => 10 + partition };
    return { view, displays: new PublishedDisplays(view, follower, 2, maxChanged) };
  };

  it("is every SKU that has a location, as of the views' age in real time", () => {
    const { view, displays } = open();
    view.onView("a", stateOf(3));
    view.onView("configured only", { locations: [], settings: null });
    expect([...displays.all()]).toEqual([["a", 3]]);
    expect([displays.displayOf("a"), displays.displayOf("configured only"), displays.displayOf("b")]).toEqual([
      3,
      undefined,
      undefined,
    ]);
    expect(displays.positions()).toEqual([10, 11]);
    expect(Math.abs(systemClock.now() - 1_500 - displays.asOfMs())).toBeLessThan(60_000);
  });

  it("names the SKUs whose display has changed since the last time, and those that a reset removed", () => {
    const { view, displays } = open();
    view.onView("a", stateOf(3));
    const changes = displays.collectChanges();
    view.onView("a", stateOf(3));
    view.onView("b", stateOf(0));
    expect(changes.take()).toEqual(new Set(["b"]));
    view.onReset((sku) => sku === "a");
    expect(changes.take()).toEqual(new Set(["a"]));
    expect(changes.take()).toEqual(new Set());
    changes.end();
    view.onView("a", stateOf(9));
    expect(changes.take()).toEqual(new Set());
  });

  it("says `all` instead of naming more SKUs than it keeps in memory", () => {
    const { view, displays } = open(3);
    const changes = displays.collectChanges();
    for (const sku of "abcdefgh") view.onView(sku, stateOf(1));
    expect(changes.take()).toBe("all");
    view.onView("a", stateOf(2));
    expect(changes.take()).toEqual(new Set(["a"]));
  });
});
