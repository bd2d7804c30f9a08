/**
 * What publishing 1,000,000 SKUs takes, to Redis and to a folder: everything for the first time, then again and again
 * with one SKU in a hundred changed, then by another owner that takes over. It reports the first change and the most
 * expensive of the following ones, because leaves are written again only when much of them has changed. The views are a
 * map here: what filling them costs is measured elsewhere. There is no peer.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { PublicationFolder } from "../connectors/objects/publication-folder.js";
import type { BenchReport } from "../engine/cli/bench.js";
import { type Scheduler, sleep, systemClock } from "../engine/kernel/clock.js";
import { messageOf } from "../engine/kernel/errors.js";
import { seededRandom } from "../engine/kernel/random.js";
import type { ChangeCollection, DisplaySource } from "../engine/publication/display-source.js";
import type { PublicationStore } from "../engine/publication/publication-store.js";
import { Publisher } from "../engine/publication/publisher.js";
import { RedisPublicationStore } from "../engine/publication/redis-store.js";
import { startRedis } from "../engine/redis/embedded.js";
import { connect, type RedisClient } from "../engine/stream/redis.js";

const SKUS = 1_000_000;
const CHANGED_SHARE = 0.01;
/** Two minutes at one publication in 5 s: long enough for leaves to be written again and for deletions. */
const CHANGED_TIMES = 30;
const EVERY_MS = 5_000;
const SEED = 14;

/** Displays in a map, which change at random. */
class RandomShop implements DisplaySource {
  readonly #displays = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #random = seededRandom(SEED);
  #changed = new Set<string>();

  constructor() {
    for (let i = 0; i < SKUS; i++) {
      const sku = `SKU-${String(i).padStart(7, "0")}`;
      this.#names.push(sku);
      this.#displays.set(sku, this.#random.below(500));
    }
  }

  change(count: number): void {
    for (let i = 0; i < count; i++) {
      const sku = this.#random.pick(this.#names);
      this.#displays.set(sku, this.#random.below(500));
      this.#changed.add(sku);
    }
  }

  get skus(): number {
    return this.#displays.size;
  }

  all(): Iterable<readonly [string, number]> {
    return this.#displays;
  }

  displayOf(sku: string): number | undefined {
    return this.#displays.get(sku);
  }

  collectChanges(): ChangeCollection {
    this.#changed = new Set();
    return {
      take: () => {
        const taken = this.#changed;
        this.#changed = new Set();
        return taken;
      },
      end: () => {},
    };
  }

  asOfMs = (): number => clock.now();
  ageMs = (): number => 0;
  positions = (): readonly number[] => [1_000_000, 1_000_000, 1_000_000, 1_000_000];
}

let nowMs = systemClock.now();
const clock: Scheduler = { now: () => nowMs, sleep: (_, signal) => sleep(1, signal) };

interface Measured {
  readonly seconds: number;
  /** Of this process, its threads included; the store's server or disk has its own. */
  readonly processorSeconds: number;
  readonly objects: number;
  readonly mebibytes: number;
  readonly loopDelayP99Ms: number;
}

const MIB = 2 ** 20;
const rounded = (value: number): number => Math.round(value * 100) / 100;

/** Lets the next due time come, and waits for its publication. */
async function publication(publisher: Publisher, signal: AbortSignal): Promise<Measured> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const before = publisher.stats().publications;
  delay.enable();
  const processor = process.cpuUsage();
  nowMs += EVERY_MS;
  while (publisher.stats().publications === before) {
    signal.throwIfAborted();
    await sleep(5);
  }
  delay.disable();
  const { user, system } = process.cpuUsage(processor);
  const { tookMs = 0, objects = 0, bytes = 0 } = publisher.stats().newest ?? {};
  return {
    seconds: rounded(tookMs / 1_000),
    processorSeconds: rounded((user + system) / 1e6),
    objects,
    mebibytes: rounded(bytes / MIB),
    loopDelayP99Ms: rounded(delay.percentile(99) / 1e6),
  };
}

interface Side {
  readonly full: Measured;
  readonly firstChange: Measured;
  readonly largestChange: Measured;
  readonly medianChange: Measured;
  readonly takeover: Measured;
  readonly rssMebibytes: number;
}

async function measure(
  shop: RandomShop,
  redis: RedisClient,
  store: PublicationStore,
  prefix: string,
  signal: AbortSignal,
): Promise<Side> {
  const troubles: string[] = [];
  const publisherOf = (owner: string): Publisher =>
    new Publisher({
      ...{ redis, prefix, store, source: shop, owner, clock },
      ...{ everyMs: EVERY_MS, cacheSeconds: 1, leaseMs: 10_000, onTrouble: (message) => troubles.push(message) },
    });
  globalThis.gc?.();
  const rssBefore = process.memoryUsage.rss();
  const one = publisherOf("one");
  one.start();
  const full = await publication(one, signal);
  const changes: Measured[] = [];
  for (let i = 0; i < CHANGED_TIMES; i++) {
    shop.change(SKUS * CHANGED_SHARE);
    changes.push(await publication(one, signal));
  }
  const rssMebibytes = Math.round((process.memoryUsage.rss() - rssBefore) / MIB);
  await one.stop();
  const two = publisherOf("two");
  two.start();
  const takeover = await publication(two, signal);
  await two.stop();
  if (troubles.length > 0) throw new Error(troubles[0]);
  const bySeconds = changes.toSorted((a, b) => a.seconds - b.seconds);
  return {
    full,
    firstChange: changes[0] as Measured,
    largestChange: bySeconds.at(-1) as Measured,
    medianChange: bySeconds[Math.floor(bySeconds.length / 2)] as Measured,
    takeover,
    rssMebibytes,
  };
}

const line = (name: string, { seconds, processorSeconds, objects, mebibytes, loopDelayP99Ms }: Measured): string =>
  `${name.padEnd(34)} ${seconds.toFixed(2).padStart(6)} s (processor ${processorSeconds.toFixed(2)} s) ${String(objects).padStart(6)} objects ${mebibytes.toFixed(1).padStart(7)} MiB   event loop p99 ${loopDelayP99Ms.toFixed(1)} ms`;

/** Measures Redis, then a folder; one run each. */
export async function run({
  signal,
  onProgress,
}: {
  signal: AbortSignal;
  onProgress(text: string): void;
}): Promise<BenchReport> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-bench-"));
  const server = await startRedis({ dir: directory, appendfsync: "everysec" });
  const redis = connect({ url: server.socketPath });
  try {
    const shop = new RandomShop();
    await RedisPublicationStore.load(redis);
    const stores = {
      redis: new RedisPublicationStore(redis, "redis"),
      folder: new PublicationFolder(join(directory, "shop")),
    };
    const sides: Record<string, Side> = {};
    const table: string[] = [];
    for (const [name, store] of Object.entries(stores)) {
      onProgress(`to ${store.place}`);
      const side = await measure(shop, redis, store, name, signal);
      sides[name] = side;
      table.push(
        line(`${name}: all SKUs`, side.full),
        line(`${name}: 1 % changed, the first time`, side.firstChange),
        line(`${name}: 1 % changed, median`, side.medianChange),
        line(`${name}: 1 % changed, the longest`, side.largestChange),
        line(`${name}: another owner takes over`, side.takeover),
        `${name}: ${side.rssMebibytes} MiB more memory after ${CHANGED_TIMES} publications`,
      );
    }
    return { rows: [], facts: { skus: SKUS, publications: CHANGED_TIMES }, details: { sides }, table };
  } catch (thrown) {
    onProgress(messageOf(thrown));
    throw thrown;
  } finally {
    redis.disconnect();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}
