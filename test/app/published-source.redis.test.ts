/** What the storefront is shown, as a snapshot: one process of all makes it, and only from fresh views. */
import { describe, expect, it } from "vitest";
import type { Engine } from "../../engine/app/engine.js";
import { PublishedSource, type PublishedSourceOptions } from "../../engine/app/published-source.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import type { Snapshot } from "../../engine/reconciliation/model.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";

const server = withRedis();
const engines = withEngines();
const EVERY_MS = 300_000;

async function engineWithStock(prefix: string, more = {}): Promise<Engine> {
  const engine = await engines.start({ redisUrl: server.url, prefix, ...more });
  const { ledger, storefrontView } = engine.stock;
  const receive = (sku: string, location: string, units: number) =>
    ledger.apply({ kind: "receive", id: chainId("TE", systemClock.now()), sku, location, units });
  await receive("TEA", "main", 7);
  await receive("TEA", "W-1", 2);
  await receive("CUP", "main", 5);
  while (storefrontView.cells < 3) await sleep(10);
  return engine;
}

const sourceOf = (engine: Engine, changes: Partial<PublishedSourceOptions> = {}): PublishedSource => {
  const { follower } = engine.topic("stock");
  return new PublishedSource({
    store: engine.reconciliation.snapshots,
    view: engine.stock.storefrontView,
    clock: systemClock,
    everyMs: EVERY_MS,
    asOfMs: () => follower.asOf(),
    ageMs: () => follower.oldestAgeMs(),
    onTrouble: () => {},
    ...changes,
  });
};

describe("the source published", () => {
  it("reports what each location shows, as of the views' instant, once for all processes", async () => {
    const engine = await engineWithStock("p1");
    const { snapshots } = engine.reconciliation;
    const dueMs = systemClock.now();
    const outcomes = await Promise.all([sourceOf(engine).publish(dueMs), sourceOf(engine).publish(dueMs)]);
    expect(outcomes.sort()).toEqual(["complete", "not_mine"]);
    const snapshot = (await snapshots.newest()).get("published") as Snapshot;
    expect(snapshot).toMatchObject({ measure: "display", rows: 3, id: new Date(dueMs).toISOString() });
    expect(Math.abs(snapshot.asOfMs - dueMs)).toBeLessThan(5_000);
    const rows: unknown[] = [];
    for (let partition = 0; partition < engine.settings.partitions; partition++)
      for await (const { skus, locations, units } of snapshots.rows(snapshot, partition))
        for (let i = 0; i < skus.length; i++) rows.push([skus[i], locations[i], units[i]].join(" "));
    expect(rows.sort()).toEqual(["CUP main 5", "TEA W-1 2", "TEA main 7"]);
  });

  it("reports nothing while the views are not fresh, and leaves the instant to others", async () => {
    const engine = await engineWithStock("p2");
    const dueMs = systemClock.now();
    expect(await sourceOf(engine, { ageMs: () => 1_001 }).publish(dueMs)).toBe("not_fresh");
    expect(await sourceOf(engine).publish(dueMs)).toBe("complete");
    // Redis has not answered for a while when it is claimed.
    const ages = [0, 1_001];
    expect(await sourceOf(engine, { ageMs: () => ages.shift() ?? 0 }).publish(dueMs + 1)).toBe("not_fresh");
  });

  it("reports by itself at each multiple of its interval", async () => {
    const engine = await engineWithStock("p3", { publishedEveryMs: 500 });
    const { snapshots } = engine.reconciliation;
    while ((await snapshots.list()).filter(({ state }) => state === "complete").length < 2) await sleep(50);
    for (const { id } of await snapshots.list()) expect(Date.parse(id) % 500).toBe(0);
  });
});
