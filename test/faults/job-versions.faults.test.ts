/**
 * Depletion and storefront are brought from one version to a changed one and directly to a third, worker by worker,
 * under load, so that two and three versions run at once; and an older worker starts anew when only the newest has
 * written. What the jobs hold at the end is, to the unit, what the first version makes of the same log without any
 * change; meanwhile no order is refused, nothing becomes a dead letter, views stay fresh, also in a serving process of
 * the first version, and no partition that a newer version has written has an older owner.
 */
import { expect, it } from "vitest";
import { type Engine, startEngine } from "../../engine/app/engine.js";
import type { EngineSettings } from "../../engine/app/engine-settings.js";
import { StorefrontView } from "../../engine/jobs/storefront/view.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { type Clock, monotonicClock, sleep } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import type { OrderLine } from "../../engine/orders/model.js";
import { cellOf, isAccepted, POOLS, type StockEvent } from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { readTask } from "../../engine/stream/commit.js";
import { EmitReader } from "../../engine/stream/emits.js";
import { readFleet } from "../../engine/stream/fleet.js";
import type { AnyJob, Emit } from "../../engine/stream/job.js";
import { orderKeys, stockKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import { refold } from "../jobs/refold.js";
import { withRedis } from "../redis/with-redis.js";
import { planSeed } from "./bed.js";
import { depletionOf, firstOf, storefrontOf, tablesOf, type Version } from "./changed-jobs.js";

const PREFIX = "rolled";
const PARTITIONS = 4;
const LEASE_MS = 2_000;
/** A lease, and what a busy machine adds. */
const OLDEST_MS = LEASE_MS + 8_000;
const SKUS = Array.from({ length: 24 }, (_, i) => `SKU-${i}`);
const AT = "SH";
/** So many orders at once, and a pause between. */
const ORDERS_AT_ONCE = 24;
const PAUSE_MS = 40;
/** Between two changes of the fleet. */
const CALM_MS = 1_200;
/** The shop's time runs faster, over a midnight, so that hours and days pass. */
const SPEED = 300;
const OPENED_MS = Date.UTC(2026, 5, 18) - 3_600_000;
const ZONE = "UTC";

const redis = withRedis();

class Fleet {
  readonly clock: Clock;
  readonly troubles: string[] = [];
  /** The version of each engine that ever ran, by its name in leases. */
  readonly versions = new Map<string, Version>();
  readonly running = new Set<Engine>();
  /** Those whose views are to be fresh. */
  readonly watched = new Set<Engine>();

  constructor() {
    const began = monotonicClock.now();
    this.clock = { now: () => Math.floor(OPENED_MS + SPEED * (monotonicClock.now() - began)) };
  }

  async start(version: Version, { worker = true, isWatched = true, tickMs = 100 } = {}): Promise<Engine> {
    const settings: EngineSettings = {
      redisUrl: redis.url,
      prefix: PREFIX,
      dir: "",
      appendfsync: "everysec",
      partitions: PARTITIONS,
      leaseMs: LEASE_MS,
      tickMs,
      retentionMs: 0,
      pollMs: 20,
      zone: ZONE,
      idRetentionDays: 45,
      batchLimit: 500,
      worker,
      empty: false,
      shopTime: { clock: this.clock, speed: () => SPEED, scene: () => undefined },
      onTrouble: (message) => this.troubles.push(`v${version}: ${message}`),
    };
    const engine = await startEngine(settings, tablesOf(version));
    await expect.poll(async () => (await this.#newNames(engine.redis)).length, { timeout: 30_000 }).toBe(1);
    for (const name of await this.#newNames(engine.redis)) this.versions.set(name, version);
    this.running.add(engine);
    if (!isWatched) return engine;
    // Views are proven to be fresh from the first poll on that finds the log's end.
    const { follower } = engine.topic("stock");
    await expect.poll(() => follower.oldestAgeMs(), { timeout: 30_000 }).toBeLessThan(OLDEST_MS);
    this.watched.add(engine);
    return engine;
  }

  async stop(engine: Engine): Promise<void> {
    this.running.delete(engine);
    this.watched.delete(engine);
    await engine.stop();
  }

  async stopAll(): Promise<void> {
    for (const engine of [...this.running]) await this.stop(engine);
  }

  async #newNames(client: RedisClient): Promise<string[]> {
    return (await readFleet(client, PREFIX)).members.flatMap(({ name }) => (this.versions.has(name) ? [] : [name]));
  }
}

/** Places and pays orders, half of them for one SKU at a time, until it is stopped. */
class Load {
  readonly refused: string[] = [];
  placed = 0;
  #isOver = false;
  #running: Promise<void> | undefined;

  async start(engine: Engine, clock: Clock, seed: number): Promise<void> {
    const random = seededRandom(seed);
    const { ledger } = engine.stock;
    for (const sku of SKUS) {
      const id = chainId("S1", clock.now());
      const { outcome } = await ledger.apply({ kind: "receive", id, sku, location: AT, units: 1_000_000 });
      expect(isAccepted(outcome)).toBe(true);
    }
    this.#running = this.#run(engine, clock, random);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #run(engine: Engine, clock: Clock, random: ReturnType<typeof seededRandom>): Promise<void> {
    while (!this.#isOver) {
      const hot = SKUS[Math.floor(clock.now() / 1_800_000) % SKUS.length] as string;
      const orders = Array.from({ length: ORDERS_AT_ONCE }, () => {
        const line = (sku: string): OrderLine => ({ sku, location: AT, units: 1 + random.below(3) });
        const lines = [line(random.below(2) === 0 ? hot : random.pick(SKUS))];
        if (random.below(3) === 0) lines.push(line(random.pick(SKUS)));
        return { id: chainId("S1", clock.now()), lines, isPaid: random.below(2) === 0 };
      });
      await Promise.all(orders.map((order) => this.#order(engine, order)));
      await sleep(PAUSE_MS);
    }
  }

  async #order(engine: Engine, { id, lines, isPaid }: { id: string; lines: OrderLine[]; isPaid: boolean }) {
    const { service } = engine.orders;
    const { outcome } = await service.place({ id, lines });
    if (outcome === "unknown_order" || !isAccepted(outcome)) this.refused.push(`placed: ${outcome}`);
    this.placed++;
    if (!isPaid) return;
    const paid = await service.pay(id);
    if (paid.outcome === "unknown_order" || !isAccepted(paid.outcome)) this.refused.push(`paid: ${paid.outcome}`);
  }
}

/** Looks at followers and leases all the time. */
class Watch {
  oldestAgeMs = 0;
  readonly violations: string[] = [];
  readonly versionsSeen = new Set<string>();
  readonly #fleet: Fleet;
  readonly #client: RedisClient;
  #isOver = false;
  #running: Promise<void> | undefined;

  constructor(fleet: Fleet, client: RedisClient) {
    this.#fleet = fleet;
    this.#client = client;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      for (const engine of this.#fleet.watched)
        this.oldestAgeMs = Math.max(this.oldestAgeMs, engine.topic("stock").follower.oldestAgeMs());
      const owners = new Set<Version>();
      for (let p = 0; p < PARTITIONS; p++) {
        const { task } = stockKeys(PREFIX, p);
        // Of one moment.
        const [owner, ...written] = await this.#client.hmget(
          task,
          "owner",
          "version:depletion.1",
          "version:storefront.1",
        );
        const version = this.#fleet.versions.get(owner ?? "");
        if (version === undefined) continue;
        owners.add(version);
        if (written.some((newer) => Number(newer ?? 1) > version))
          this.violations.push(
            `partition ${p}, written by version ${written.join("/")}, is owned by version ${version}`,
          );
      }
      this.versionsSeen.add([...owners].sort().join(""));
      await sleep(20);
    }
  }
}

const jobsOf = (version: Version): AnyJob<StockEvent>[] => [depletionOf(version, zoneOf(ZONE)), storefrontOf(version)];

/** Compares what the jobs hold with what the first version makes of the log. @returns alert changes */
async function compare(client: RedisClient, api: Engine): Promise<number> {
  const { ledger } = api.stock;
  let changes = 0;
  for (let p = 0; p < PARTITIONS; p++) {
    const keys = stockKeys(PREFIX, p);
    const { audit, states, timers, emits, offset } = await refold(
      client,
      keys.log,
      stockTopic(ledger),
      jobsOf(1),
      () => {},
    );
    expect((await readTask(client, keys)).cursors.get("storefront.1")).toBe(offset);
    for (const job of jobsOf(3)) {
      const found = await client.hgetallBuffer(keys.state(job.name));
      const expected = states.get(job.name) as Map<string, Buffer>;
      expect(Object.keys(found).sort()).toEqual([...expected.keys()].sort());
      const first = jobsOf(1).find(({ name }) => name === job.name) as AnyJob<StockEvent>;
      for (const [key, bytes] of Object.entries(found)) {
        const state = firstOf[job.name as keyof typeof firstOf](stateOf(job, key, bytes));
        expect(state, `${job.name} of ${key}`).toEqual(stateOf(first, key, expected.get(key) as Buffer));
      }
    }
    for await (const { sku, location, balances } of ledger.cells(p)) {
      expect(balances, sku).toEqual(audit.cells.get(cellOf(sku, location)));
      const shown = api.stock.storefrontView.get(sku)?.total;
      for (const pool of POOLS)
        expect(shown?.[pool], `${pool} of ${sku} as a first version shows it`).toBe(balances[pool]);
    }
    const flat = await client.zrange(keys.timers, "0", "-1", "WITHSCORES");
    const stored = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as string, Number(flat[2 * i + 1])]);
    expect(new Map(stored as [string, number][])).toEqual(timers);
    const published = await emitsIn(client, p);
    expect(published).toEqual(emits);
    changes += published.length;
    for (const each of [keys, orderKeys(PREFIX, p)]) expect(await client.xlen(each.deadLetters)).toBe(0);
  }
  return changes;
}

async function emitsIn(client: RedisClient, partition: number): Promise<Emit[]> {
  const reader = new EmitReader(client, stockKeys(PREFIX, partition));
  const found: Emit[] = [];
  for (let after = 0; ; ) {
    const entries = await reader.read(after, 256, 0);
    const last = entries.at(-1);
    if (!last) return found;
    after = last.commit;
    for (const { emits } of entries) found.push(...emits);
  }
}

async function caughtUp(client: RedisClient): Promise<boolean> {
  for (let p = 0; p < PARTITIONS; p++) {
    const keys = stockKeys(PREFIX, p);
    const head = Number((await client.hget(keys.head, "offset")) ?? 0);
    const { cursors } = await readTask(client, keys);
    if ([...cursors.values()].some((cursor) => cursor < head)) return false;
  }
  return true;
}

it("jobs are brought to a changed version and to a third under load, and hold what they would have held", async () => {
  const seed = planSeed();
  const client = redis.connect();
  const fleet = new Fleet();
  const load = new Load();
  const watch = new Watch(fleet, client);
  try {
    const api = await fleet.start(1, { worker: false });
    const workers = [await fleet.start(1), await fleet.start(1), await fleet.start(1)];
    await load.start(api, fleet.clock, seed);
    watch.start();
    const replace = async (i: number, version: Version): Promise<void> => {
      await sleep(CALM_MS);
      await fleet.stop(workers[i] as Engine);
      workers[i] = await fleet.start(version);
      process.stdout.write(`versions: worker ${i} has version ${version}; ${load.placed} orders\n`);
    };
    await replace(0, 2);
    await replace(1, 2);
    // Directly on to the third, while one worker still has the first: it is replaced by the third.
    await replace(0, 3);
    await replace(1, 3);
    await replace(2, 3);

    await expect
      .poll(async () => {
        const tasks = await Promise.all(
          SKUS.slice(0, PARTITIONS).map((_, p) => readTask(client, stockKeys(PREFIX, p))),
        );
        return tasks.every(({ versions }) => versions.get("storefront.1") === 3);
      })
      .toBe(true);
    // An older one starts anew: it gets nothing, disturbs nobody, and its views are stale, not wrong.
    const outdated = await fleet.start(1, { isWatched: false });
    await expect.poll(() => outdated.topic("stock").worker?.warnings().length).toBe(1);
    const { follower, views } = outdated.topic("stock");
    expect(follower.warnings()).toHaveLength(PARTITIONS);
    await sleep(2 * CALM_MS);
    expect(follower.asOf()).toBe(0);
    expect(views.find((view) => view instanceof StorefrontView)?.get(SKUS[0] as string)).toBeUndefined();
    expect(
      outdated
        .topic("stock")
        .worker?.stats()
        .some(({ owned }) => owned),
    ).toBe(false);

    // A day ends under load, on a fast machine, too.
    await expect.poll(() => fleet.clock.now(), { timeout: 30_000 }).toBeGreaterThan(Date.UTC(2026, 5, 18));
    await load.stop();
    await expect.poll(() => caughtUp(client), { timeout: 30_000 }).toBe(true);
    await watch.stop();
    for (const engine of [...fleet.running]) if (engine !== api) await fleet.stop(engine);
    // Ticks append holds that expire: the last worker has one at its start and none after it.
    const last = await fleet.start(3, { tickMs: 10_000 });
    await expect.poll(() => caughtUp(client), { timeout: 30_000 }).toBe(true);
    await sleep(CALM_MS);
    await expect.poll(() => caughtUp(client), { timeout: 30_000 }).toBe(true);
    await fleet.stop(last);
    await expect.poll(() => api.topic("stock").follower.lagEntries(), { timeout: 30_000 }).toBe(0);
    await sleep(CALM_MS);
    const changes = await compare(client, api);
    process.stdout.write(
      `versions: seed ${seed}, ${load.placed} orders, ${changes} alert changes, oldest view ${Math.round(watch.oldestAgeMs)} ms, owners at once: ${[...watch.versionsSeen].join(" ")}\n`,
    );
    expect(changes).toBeGreaterThan(0);
    expect(load.refused).toEqual([]);
    expect(watch.violations).toEqual([]);
    expect(watch.oldestAgeMs).toBeLessThan(OLDEST_MS);
    expect(watch.versionsSeen).toContain("123");
    expect(fleet.troubles.filter((text) => text.includes("became a dead letter"))).toEqual([]);
  } finally {
    await load.stop();
    await watch.stop();
    await fleet.stopAll();
  }
}, 300_000);
