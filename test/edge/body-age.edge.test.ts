/**
 * How old bodies are when readers have them (R6): a real engine under writes, read through four arrangements of caches
 * at once, while answers are late between tiers, the engine is killed and started again, Redis stands still, copies are
 * deleted, and the engine does not answer for longer than any copy may be served. EDGE_SECONDS is how long; the
 * faults are spread over that time. What is asserted is the product's promise and holds on a busy machine, too; the
 * requests to the origin are printed only.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { MAX_AGE_MS } from "../../engine/publication/freshness.js";
import { nameOf } from "../../engine/publication/manifest.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { Bed, type Product, planSeed } from "../faults/bed.js";
import { BodyAges, readAges } from "./body-ages.js";
import { type CacheProgram, type CacheServer, HAS, startCacheServer } from "./cache-servers.js";
import { SlowTier, sometimesSlow } from "./slow-tier.js";

const SECONDS = Number(process.env["EDGE_SECONDS"] ?? 40);
/** Of 99.9 % of the bodies; all of them: MAX_AGE_MS. */
const MOST_AGE_MS = 13_000;
const SKUS = Array.from({ length: 40 }, (_, i) => `SKU-${i}`);
/** What is read: single SKUs, pairs of them, and as often as four of these the manifest of the publication. */
const PATHS = [
  ...SKUS.map((sku) => `/v1/stock/${sku}`),
  ...SKUS.slice(1).map((sku) => `/v1/stock?sku=${sku}&sku=SKU-0`),
  ...Array<string>(4).fill("/v1/publication/manifest.json"),
];
const READERS = 8;
const PAUSE_MS = 10;
/** Of the answers on their way from one tier to the next, one in this many is late, by up to this. */
const [LATE_ONE_IN, LATE_MS] = [10, 2_000];
const REDIS_PAUSE_MS = 4_000;
/** Longer than any copy may be served. */
const OUTAGE_MS = MAX_AGE_MS + 2_000;
const WRITES_PER_CALL = 20;
const WRITE_PAUSE_MS = 50;
const PURGE_PAUSE_MS = 1_000;

interface Arrangement {
  readonly name: string;
  /** From the engine to the reader. */
  readonly tiers: readonly CacheProgram[];
}
const ARRANGEMENTS: readonly Arrangement[] = [
  { name: "nginx", tiers: ["nginx"] },
  { name: "Varnish", tiers: ["varnish"] },
  { name: "nginx → nginx", tiers: ["nginx", "nginx"] },
  { name: "nginx → Varnish", tiers: ["nginx", "varnish"] },
].filter(({ tiers }) => tiers.every((program) => HAS[program as CacheProgram])) as Arrangement[];

/** An arrangement that runs. */
interface Edge extends Arrangement {
  readonly ages: BodyAges;
  /** From the innermost to the outermost. */
  readonly servers: CacheServer[];
  /** The slow way in front of each of them. */
  readonly ways: SlowTier[];
}

const seed = planSeed();
let bed: Bed;
let api: Product;
const edges: Edge[] = [];

beforeAll(async () => {
  if (ARRANGEMENTS.length === 0) return;
  bed = await Bed.open({ partitions: 2, leaseMs: 2_000, appendfsync: "everysec" });
  await Ledger.load(bed.redis);
  [api] = (await bed.startAll(["api", "worker"])) as [Product, Product];
  const late = sometimesSlow(seededRandom(seed), LATE_ONE_IN, LATE_MS);
  for (const { name, tiers } of ARRANGEMENTS) {
    const edge: Edge = { name, tiers, ages: new BodyAges(), servers: [], ways: [] };
    edges.push(edge);
    for (const [i, program] of tiers.entries()) {
      const way = await SlowTier.start(edge.servers.at(-1)?.address ?? `127.0.0.1:${api.port}`, late);
      edge.ways.push(way);
      const role = i === tiers.length - 1 ? "edge" : "shield";
      edge.servers.push(await startCacheServer(program, { role, origin: way.address }));
    }
  }
});

afterAll(async () => {
  for (const { servers, ways } of edges) for (const each of [...servers, ...ways]) await each.stop();
  await bed?.close();
});

it.skipIf(ARRANGEMENTS.length === 0)(
  "no body is older than 15 s, and 99.9 % are not older than 13 s",
  async () => {
    process.stdout.write(`body age: ${SECONDS} s, seed ${seed}\n`);
    const ends = new AbortController();
    await write(SKUS.map(receipt));
    await expect.poll(() => answers(`http://127.0.0.1:${api.port}`)).toBe(true);
    const work = [
      writeUntil(ends.signal),
      deleteCopiesUntil(ends.signal),
      ...edges.map(({ servers, ages }, i) => {
        const url = servers.at(-1)?.url as string;
        const random = seededRandom(seed + i);
        return readAges({ url, readers: READERS, pauseMs: PAUSE_MS, random, paths: PATHS }, ages, ends.signal);
      }),
    ];
    await Promise.all([...work, faults().finally(() => ends.abort())]);
    process.stdout.write(table());
    for (const { name, ages } of edges) {
      expect(ages.bodies, name).toBeGreaterThan(0);
      expect(ages.maxMs, `${name}: ${ages.oldest}`).toBeLessThanOrEqual(MAX_AGE_MS);
      expect(ages.percentile(0.999), name).toBeLessThanOrEqual(MOST_AGE_MS);
    }
    bed.expectNoCrash();
  },
  (SECONDS + 120) * 1_000,
);

const inEachForm = it.skipIf(ARRANGEMENTS.length === 0).each(["identity", "gzip", "br"]);
inEachForm("every arrangement keeps what is published, and it is whole: %s", async (form) => {
  for (const { name, servers } of edges) {
    const url = `${servers.at(-1)?.url}/v1/publication`;
    // Caches have the manifest of before the last fault until its end.
    await expect.poll(async () => (await fetch(`${url}/manifest.json`)).status).toBe(200);
    const manifest = (await (await fetch(`${url}/manifest.json`)).json()) as { index: string[] };
    const object = `${url}/${manifest.index[0]}.json`;
    for (let i = 0; i < 2; i++) {
      const response = await fetch(object, { headers: { "accept-encoding": form } });
      const { leaves } = JSON.parse(await wholeText(response, manifest.index[0] as string)) as { leaves: string[] };
      if (i === 1) expect(response.headers.get("cache-status"), name).toMatch(/shuiwei-edge; hit/);
      const leaf = await fetch(`${url}/${leaves[0]}.json`, { headers: { "accept-encoding": form } });
      expect(JSON.parse(await wholeText(leaf, leaves[0] as string))).toHaveProperty("SKU-0");
    }
  }
});

/** The text of an object, which its name is made from. */
async function wholeText(response: Response, name: string): Promise<string> {
  const text = await response.text();
  expect([response.status, nameOf(text)]).toEqual([200, name]);
  return text;
}

/** Spread over the time, each once; how long the last two last does not depend on it. */
async function faults(): Promise<void> {
  const calmMs = (SECONDS * 1_000 - REDIS_PAUSE_MS - OUTAGE_MS) / 4;
  await sleep(calmMs);
  await api.restart();
  await sleep(calmMs);
  bed.freezeRedis();
  await sleep(REDIS_PAUSE_MS);
  bed.wakeRedis();
  await sleep(calmMs);
  const bodies = edges.map(({ ages }) => ages.bodies);
  api.freeze();
  await sleep(OUTAGE_MS - 1_000);
  // Every copy has ended, and nothing is shown any more.
  const last = edges.map(({ ages }) => ages.bodies);
  await sleep(1_000);
  expect(edges.map(({ ages }) => ages.bodies)).toEqual(last);
  expect(last).not.toEqual(bodies);
  api.wake();
  await sleep(calmMs);
  // The engine answers again.
  for (const [i, { name, ages }] of edges.entries())
    await expect.poll(() => ages.bodies, { message: name }).toBeGreaterThan(last[i] as number);
}

let written = 0;
const id = (): string => chainIdFromNumber("KT", systemClock.now(), written++);
const receipt = (sku: string): StockCommand => ({ kind: "receive", id: id(), sku, location: "SHA", units: 10 });
const reservation = (sku: string): StockCommand => ({ kind: "reserve", id: id(), sku, location: "SHA", units: 1 });

async function write(commands: readonly StockCommand[]): Promise<void> {
  await bed.ledger().applyMany(commands);
}

async function writeUntil(signal: AbortSignal): Promise<void> {
  const random = seededRandom(seed);
  while (!signal.aborted) {
    const skus = Array.from({ length: WRITES_PER_CALL }, () => random.pick(SKUS));
    await write(skus.map((sku) => (random.below(10) === 0 ? receipt(sku) : reservation(sku))));
    await sleep(WRITE_PAUSE_MS, signal);
  }
}

/** From the innermost tier to the outermost, or an outer one would get the old copy again. */
async function deleteCopiesUntil(signal: AbortSignal): Promise<void> {
  const random = seededRandom(seed);
  for (; !signal.aborted; await sleep(PURGE_PAUSE_MS, signal)) {
    const { tiers, servers } = random.pick(edges);
    const sku = random.pick(SKUS);
    for (const [i, { operatorsUrl }] of servers.entries()) {
      const deletes = tiers[i] === "nginx" ? renew(operatorsUrl, sku, signal) : ban(operatorsUrl, sku, signal);
      // The engine may be away.
      await deletes.catch(() => {});
    }
  }
}

const renew = async (url: string, sku: string, signal: AbortSignal): Promise<void> => {
  await (await fetch(`${url}/v1/stock/${sku}`, { signal })).body?.cancel();
};

const ban = async (url: string, sku: string, signal: AbortSignal): Promise<void> => {
  const { headers, body } = await fetch(`http://127.0.0.1:${api.port}/v1/stock/${sku}`, { signal });
  await body?.cancel();
  const tag = headers.get("surrogate-key") ?? "";
  const { status } = await fetch(url, { method: "BAN", headers: { "surrogate-key": tag }, signal });
  if (status !== 200 && tag !== "") throw new Error(`BAN ${tag}: ${status}`);
};

const answers = async (url: string): Promise<boolean> => {
  for (const path of PATHS) if ((await fetch(url + path)).status !== 200) return false;
  return true;
};

function table(): string {
  const rows = edges.map(({ name, ages, ways }) => {
    const figures = [0.5, 0.99, 0.999].map((share) => inSeconds(ages.percentile(share)));
    const asked = ways[0]?.requests ?? 0;
    const perRequest = (asked / (ages.bodies + ages.refusals)).toFixed(4);
    return [name, ages.bodies, ...figures, inSeconds(ages.maxMs), ages.refusals, asked, perRequest];
  });
  const head = ["caches", "bodies", "p50 s", "p99 s", "p99.9 s", "max s", "refusals", "at the origin", "per request"];
  return [head, ...rows].map((row) => `${row.map((cell) => String(cell).padEnd(15)).join(" ")}\n`).join("");
}

const inSeconds = (ms: number): string => (ms / 1_000).toFixed(2);
