/**
 * The recorder by itself, with views that the test fills: a stop between the points and the cursor, a process that was
 * away, two owners, late corrections, and a shop clock that is set back or ahead.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { Buckets } from "../../../engine/history/series/buckets.js";
import { CompactSeriesStore } from "../../../engine/history/series/compact-series-store.js";
import { SeriesReader } from "../../../engine/history/series/series-reader.js";
import { SeriesRecorder } from "../../../engine/history/series/series-recorder.js";
import type { SeriesStore } from "../../../engine/history/series/series-store.js";
import { SkuMinutes } from "../../../engine/history/series/sku-minutes.js";
import { MINUTE_MS, monotonicClock } from "../../../engine/kernel/clock.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { loadStreamLibrary } from "../../../engine/stream/commit.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { addToPane, dropPanesBefore, minuteOf, type Panes } from "../../../engine/stream/window.js";
import { withRedis } from "../../redis/with-redis.js";

const redis = withRedis();
const START = Date.UTC(2026, 5, 18, 10);
const MINUTE = minuteOf(START);
let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
  await CompactSeriesStore.load(client);
});

/** A view whose changes are numbered. */
class View<Value> {
  lastRevision = 0;
  readonly #values = new Map<string, [value: Value, revision: number]>();

  set(sku: string, value: Value): void {
    this.#values.set(sku, [value, ++this.lastRevision]);
  }

  of(sku: string): Value | undefined {
    return this.#values.get(sku)?.[0];
  }

  *changedSince(revision: number): Generator<[string, Value]> {
    for (const [sku, [value, of]] of this.#values) if (of > revision) yield [sku, value];
  }
}

/** A shop of one partition whose clock the test moves. */
class Shop {
  nowMs = START;
  readonly panes = new View<Panes>();
  readonly sellable = new View<number>();
  readonly buckets = new Buckets(zoneOf("UTC"));
  readonly store: CompactSeriesStore;
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.store = new CompactSeriesStore({ redis: client, prefix, buckets: this.buckets, onTrouble: () => {} });
    this.sellable.set("TEA", 1_000);
  }

  /** Sells in a minute, as the depletion job counts it. */
  sell(units: number, minute = minuteOf(this.nowMs)): void {
    const panes = [...(this.panes.of("TEA") ?? [])];
    addToPane(panes, minute, units);
    dropPanesBefore(panes, minuteOf(this.nowMs) - 59);
    this.panes.set("TEA", panes);
    this.sellable.set("TEA", (this.sellable.of("TEA") ?? 0) - units);
  }

  recorder(owner: string, store: SeriesStore = this.store): SeriesRecorder {
    return new SeriesRecorder({
      ...{ redis: client, prefix: this.prefix, partitions: 1, store, owner, leaseMs: 400, pollMs: 5 },
      ...{ clock: monotonicClock, onTrouble: () => {} },
      source: () =>
        new SkuMinutes({
          ...{ partition: 0, partitions: 1, panes: this.panes, sellable: this.sellable },
          completeMs: () => this.nowMs,
          shopClock: { now: () => this.nowMs },
        }),
    });
  }

  read(fromMs = START) {
    const { prefix, store, buckets } = this;
    const reader = new SeriesReader({ redis: client, prefix, partitions: 1, store, buckets });
    return reader.sku("TEA", { fromMs, toMs: this.nowMs }, this.nowMs);
  }

  async recordedTo(minute: number): Promise<void> {
    await expect.poll(async () => (await this.read()).recordedToMs).toBe(minute * MINUTE_MS);
  }

  async units(): Promise<[minute: number, units: number | undefined][]> {
    const { points } = await this.read();
    return points.map(({ atMs, value }) => [minuteOf(atMs) - MINUTE, value]);
  }
}

describe("the recorder", () => {
  it("loses nothing and counts nothing twice when it stops between the points and the cursor", async () => {
    const shop = new Shop("between");
    shop.sell(3);
    shop.nowMs += MINUTE_MS;
    let writes = 0;
    const failing: SeriesStore = {
      kind: "redis",
      read: () => Promise.reject(new Error("not used")),
      lastStock: () => Promise.reject(new Error("not used")),
      close: () => {},
      sweep: async () => {},
      async write(...args) {
        await shop.store.write(...args);
        writes++;
        throw new Error("the process ends here");
      },
    };
    const dying = shop.recorder("dying", failing);
    dying.start();
    await expect.poll(() => writes).toBeGreaterThan(1);
    await dying.stop();
    expect((await shop.read()).recordedToMs).toBe(0);
    shop.sell(4);
    const next = shop.recorder("next");
    next.start();
    await shop.recordedTo(MINUTE + 1);
    shop.nowMs += MINUTE_MS;
    await shop.recordedTo(MINUTE + 2);
    await next.stop();
    expect(await shop.units()).toEqual([
      [0, 3],
      [1, 4],
    ]);
  });

  it("records the depletion of the minutes in which nobody recorded, and states what is missing", async () => {
    const shop = new Shop("away");
    const first = shop.recorder("first");
    first.start();
    shop.nowMs += MINUTE_MS;
    await shop.recordedTo(MINUTE + 1);
    await first.stop();
    for (let minute = 1; minute < 40; minute++) {
      if (minute % 10 === 0) shop.sell(minute);
      shop.nowMs += MINUTE_MS;
    }
    const second = shop.recorder("second");
    second.start();
    await shop.recordedTo(MINUTE + 40);
    expect(await shop.units()).toEqual([
      [0, undefined],
      [10, 10],
      [20, 20],
      [30, 30],
      [39, undefined],
    ]);
    expect((await shop.read()).gaps).toEqual([
      { fromMs: START + MINUTE_MS, toMs: START + 39 * MINUTE_MS, missing: "stock" },
    ]);
    const openingAt = async (minute: number) => (await shop.read(START + minute * MINUTE_MS)).openingStock;
    expect(await openingAt(1)).toBe(1_000);
    // 10 units were sold before, at a time when nobody recorded the stock.
    expect(await openingAt(20)).toBeUndefined();
    expect(await openingAt(39)).toBeUndefined();
    expect(await openingAt(40)).toBe(940);
    await second.stop();
    shop.nowMs += 200 * MINUTE_MS;
    expect(await openingAt(200)).toBeUndefined();
    const third = shop.recorder("third");
    third.start();
    await shop.recordedTo(MINUTE + 240);
    await third.stop();
    const { gaps, isComplete } = await shop.read();
    expect(gaps.map(({ missing }) => missing)).toEqual(["stock", "all", "stock"]);
    expect(isComplete).toBe(false);
  });

  it("corrects recorded minutes when events come late, also while two processes record", async () => {
    const shop = new Shop("late");
    const both = [shop.recorder("one"), shop.recorder("two")];
    for (const each of both) each.start();
    shop.sell(5);
    shop.nowMs += 2 * MINUTE_MS;
    await shop.recordedTo(MINUTE + 2);
    shop.sell(7, MINUTE);
    shop.nowMs += MINUTE_MS;
    await shop.recordedTo(MINUTE + 3);
    expect((await shop.units())[0]).toEqual([0, 12]);
    await both[0]?.stop();
    shop.sell(1);
    shop.nowMs += MINUTE_MS;
    await shop.recordedTo(MINUTE + 4);
    expect((await shop.units()).at(-1)).toEqual([3, 1]);
    await both[1]?.stop();
  });

  it("waits while the shop's clock is set back, and records what came meanwhile", async () => {
    const shop = new Shop("back");
    const recorder = shop.recorder("one");
    recorder.start();
    shop.sell(2);
    shop.nowMs += 5 * MINUTE_MS;
    await shop.recordedTo(MINUTE + 5);
    shop.nowMs -= 4 * MINUTE_MS;
    // The log's clock does not go back: this counts in the minute that it has reached.
    shop.sell(6, MINUTE + 5);
    shop.nowMs += 5 * MINUTE_MS;
    await shop.recordedTo(MINUTE + 6);
    await recorder.stop();
    expect(await shop.units()).toContainEqual([5, 6]);
  });

  it("states as missing what a clock set ahead has passed over, and counts nothing twice when it is set back", async () => {
    const shop = new Shop("ahead");
    const recorder = shop.recorder("one");
    recorder.start();
    shop.sell(2);
    shop.nowMs += MINUTE_MS;
    await shop.recordedTo(MINUTE + 1);
    shop.nowMs += 180 * MINUTE_MS;
    await shop.recordedTo(MINUTE + 181);
    // The log's clock stays where it is: this counts in the minute that it has reached.
    shop.nowMs -= 180 * MINUTE_MS;
    shop.sell(3, MINUTE + 181);
    shop.nowMs += 182 * MINUTE_MS;
    await shop.recordedTo(MINUTE + 183);
    await recorder.stop();
    expect((await shop.units()).filter(([, units]) => units !== undefined)).toEqual([
      [0, 2],
      [181, 3],
    ]);
    const { gaps } = await shop.read();
    expect(gaps[0]).toEqual({ fromMs: START + MINUTE_MS, toMs: START + 122 * MINUTE_MS, missing: "all" });
    expect(gaps.slice(1).every(({ missing }) => missing === "stock")).toBe(true);
  });
});
