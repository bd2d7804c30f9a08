/**
 * Publications while the process that makes them is killed by force, again and again: in Redis and in a folder. A
 * reader reads as a page does all the time: it always finds everything that the manifest names, never an older
 * publication than before, and every change that was answered before the instant that the manifest states.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { PublicationFolder } from "../../connectors/objects/publication-folder.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { parseIndexNames, parseManifest } from "../../engine/publication/manifest.js";
import type { PublicationStore } from "../../engine/publication/publication-store.js";
import { RedisPublicationStore } from "../../engine/publication/redis-store.js";
import { publicationKeys } from "../../engine/stream/keys.js";
import { readAsPage, StoredObjects } from "../publication/bed.js";
import { Bed, type Product, planSeed, TOKEN } from "./bed.js";

const SKUS = 20_000;
const BULK = 5_000;
/** Changed every CHANGE_EVERY_MS. */
const CHANGED = 400;
const CHANGE_EVERY_MS = 200;
const TRY_AGAIN_MS = 500;
const MAX_TRIES = 120;
const KILLS = 6;
/** A takeover writes most leaves again, which takes longer than the shortest of these. */
const KILL_AFTER_MS = [20, 80, 200, 500, 900] as const;
const seed = planSeed();
let bed: Bed;

afterEach(() => bed.close());

/** Receives units of SKUs, and knows what was answered when. */
class Receipts {
  readonly #answered = new Map<string, { atMs: number; units: number }[]>();
  readonly #sent = new Map<string, number>();
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  async receive(skus: readonly string[]): Promise<void> {
    const nowMs = systemClock.now();
    const lines = skus.map((sku) =>
      JSON.stringify({ id: chainId("TE", nowMs), kind: "receive", sku, location: "main", units: 1 }),
    );
    for (const sku of skus) this.#sent.set(sku, (this.#sent.get(sku) ?? 0) + 1);
    const send = async (): Promise<number> => {
      const answer = await fetch(`${this.#address}/v1/commands`, {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/x-ndjson" },
        body: `${lines.join("\n")}\n`,
      });
      await answer.text();
      return answer.status;
    };
    let status = await send();
    // While no worker runs, the engine may have no room for more.
    for (let tries = 1; status === 429 && tries < MAX_TRIES; tries++) {
      await sleep(TRY_AGAIN_MS);
      status = await send();
    }
    expect(status).toBe(200);
    const atMs = systemClock.now();
    for (const sku of skus) {
      const history = this.#answered.get(sku) ?? [];
      history.push({ atMs, units: (history.at(-1)?.units ?? 0) + 1 });
      this.#answered.set(sku, history);
    }
  }

  /** Throws when a display lacks what was answered before the instant, or has what nobody has sent. */
  check(displays: ReadonlyMap<string, number>, asOfMs: number): void {
    for (const [sku, history] of this.#answered) {
      const least = history.findLast(({ atMs }) => atMs < asOfMs)?.units ?? 0;
      const units = displays.get(sku) ?? 0;
      if (units < least || units > (this.#sent.get(sku) ?? 0))
        throw new Error(`${sku}: ${units} published, ${least} answered before ${asOfMs}, ${this.#sent.get(sku)} sent`);
    }
  }
}

async function readAll(store: PublicationStore): Promise<StoredObjects> {
  const stored = new StoredObjects();
  stored.manifest = await store.readManifest();
  if (!stored.manifest) return stored;
  const keep = async (name: string): Promise<Uint8Array> => {
    const json = await store.read(name);
    if (!json) throw new Error(`${name} is named and does not exist`);
    stored.objects.set(name, json);
    return json;
  };
  for (const name of parseManifest(stored.manifest.json, "manifest.json").index)
    await Promise.all(parseIndexNames(await keep(name), name).leaves.map(keep));
  return stored;
}

/** Reads until the signal aborts. @param progress counts the publications that it has seen */
async function readAsPages(
  store: PublicationStore,
  receipts: Receipts,
  progress: { seen: number },
  signal: AbortSignal,
): Promise<void> {
  let newestMs = 0;
  while (!signal.aborted) {
    const stored = await readAll(store);
    if (stored.manifest) {
      const { manifest, displays } = readAsPage(stored);
      expect(manifest.asOfMs).toBeGreaterThanOrEqual(newestMs);
      receipts.check(displays, manifest.asOfMs);
      if (manifest.asOfMs > newestMs) progress.seen++;
      newestMs = manifest.asOfMs;
    }
    await sleep(30);
  }
}

/** The process that publishes now; undefined when none does. */
async function publishing(): Promise<Product | undefined> {
  const [owner, until] = await bed.redis.hmget(publicationKeys("shuiwei").task, "owner", "until");
  const pid = Number(until ?? 0) > (await bed.redisNow()) ? Number(owner?.split("/").at(-2)) : undefined;
  return bed.of("worker").find((worker) => worker.isReady && worker.pid === pid);
}

async function killOwners(random: Random): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    await expect.poll(publishing, { interval: 20 }).toBeDefined();
    await sleep(random.pick(KILL_AFTER_MS));
    (await publishing())?.kill();
  }
}

async function changeUntil(receipts: Receipts, random: Random, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await receipts.receive(Array.from({ length: CHANGED }, () => `SKU-${random.below(SKUS)}`));
    await sleep(CHANGE_EVERY_MS, signal);
  }
}

describe.each(["redis", "folder"] as const)("a publication in a %s", (kind) => {
  it("is complete at every moment while the process that makes it is killed", async () => {
    const random = seededRandom(seed);
    const folderOf = (dir: string): string => join(dir, "published");
    bed = await Bed.open({
      ...{ partitions: 2, leaseMs: 1_000, appendfsync: "everysec" },
      productArguments: async (dir) => ({
        arguments: [
          ...["--publication", kind === "redis" ? kind : pathToFileURL(folderOf(dir)).href],
          ...["--publish-every", "1s"],
        ],
        environment: {},
      }),
    });
    const [server] = await bed.startAll(["api", "worker", "worker"]);
    const receipts = new Receipts(`http://127.0.0.1:${server?.port}`);
    const all = Array.from({ length: SKUS }, (_, i) => `SKU-${i}`);
    for (let from = 0; from < SKUS; from += BULK) await receipts.receive(all.slice(from, from + BULK));
    const folder = folderOf(bed.dir);
    const store = kind === "redis" ? new RedisPublicationStore(bed.redis, "shuiwei") : new PublicationFolder(folder);
    const end = new AbortController();
    const progress = { seen: 0 };
    const reading = readAsPages(store, receipts, progress, end.signal);
    const changing = changeUntil(receipts, random, end.signal);
    const ended = Promise.all([reading, changing]);
    await Promise.race([killOwners(random), ended]);
    // What the last one that was killed had begun is done by another.
    const killedMs = systemClock.now();
    const asOf = async () => parseManifest((await store.readManifest())?.json ?? Buffer.from("{}"), "m").asOfMs;
    await Promise.race([expect.poll(asOf).toBeGreaterThan(killedMs), ended]);
    // On a busy machine owners are killed before they have published anything.
    await Promise.race([expect.poll(() => progress.seen).toBeGreaterThan(1), ended]);
    end.abort();
    await ended;
    const waiting = await bed.redis.zcard(publicationKeys("shuiwei").timers);
    const files = kind === "folder" ? (await readdir(folder)).length : 0;
    console.log(
      `seed ${seed}: ${KILLS} kills, ${progress.seen} publications seen, ${waiting} objects wait for deletion, ${files} files`,
    );
    bed.expectNoCrash();
  });
});
