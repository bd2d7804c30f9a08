/** What is kept of comparisons, for how long, and how their differences are read page by page. */
import { beforeAll, describe, expect, it } from "vitest";
import { chainId } from "../../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../../engine/kernel/clock.js";
import { type ComparedPair, ComparisonStore } from "../../../engine/reconciliation/comparison/comparison-store.js";
import { type Comparison, type Difference, LEDGER, NO_DIVERGENCE } from "../../../engine/reconciliation/model.js";
import { comparisonKeys } from "../../../engine/stream/keys.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withRedis } from "../../redis/with-redis.js";

const redis = withRedis();
const START_MS = Date.UTC(2026, 5, 18, 10);
let client: RedisClient;

beforeAll(() => {
  client = redis.connect();
});

describe("what is kept of comparisons", () => {
  const difference = (n: number, location: string): Difference => ({
    ...{ sku: `SKU-${n}`, location, aUnits: 1_000, bUnits: 1_000 - n, explainedUnits: 0 },
  });
  const pairWith = (a: string, b: string, differences: Difference[]): ComparedPair => ({
    pair: {
      ...{ a, b, locations: {}, skus: [], top: [], onlyInA: 0, onlyInB: 0 },
      shop: { ...NO_DIVERGENCE, differingCells: differences.length },
    },
    differences,
  });
  const comparisonAt = (atMs: number, pairs: readonly ComparedPair[]): Comparison => ({
    ...{ id: chainId("CP", atMs), atMs, cause: "demand", snapshots: [], leftOut: {}, durationMs: 1 },
    pairs: pairs.map(({ pair }) => pair),
  });
  const storeFor = (prefix: string) => new ComparisonStore(client, prefix);

  it("is returned as it was made, newest first", async () => {
    const store = storeFor("kept");
    const made = [1, 2, 3].map((n) => comparisonAt(START_MS + n, [pairWith("wms", LEDGER, [])]));
    for (const each of made) await store.put(each, [pairWith("wms", LEDGER, [])]);
    expect(await store.list(2)).toEqual([made[2], made[1]]);
    expect(await store.list(5, START_MS + 2)).toEqual([made[0]]);
    expect(await store.get(made[0]?.id as string)).toEqual(made[0]);
    expect(await store.get(chainId("CP", START_MS))).toBeUndefined();
  });

  it("are its differences page by page, greatest first, of all pairs, one pair or one location", async () => {
    const store = storeFor("kept-differences");
    const pairs = [
      pairWith("wms", LEDGER, [difference(9, "SH"), difference(5, "GZ"), difference(1, "SH")]),
      pairWith("erp", "wms", [difference(7, "GZ")]),
    ];
    const comparison = comparisonAt(START_MS, pairs);
    await store.put(comparison, pairs);
    const page = async (query: Omit<Parameters<ComparisonStore["differences"]>[1], "limit">) => {
      const found = await store.differences(comparison.id, { limit: 2, ...query });
      return [found?.differences.map(({ a, b, sku }) => `${a}:${b} ${sku}`), found?.next, found?.differingCells];
    };
    expect(await page({})).toEqual([["wms:ledger SKU-9", "erp:wms SKU-7"], 2, 4]);
    expect(await page({ after: 2 })).toEqual([["wms:ledger SKU-5", "wms:ledger SKU-1"], undefined, 4]);
    expect(await page({ pair: { a: "erp", b: "wms" } })).toEqual([["erp:wms SKU-7"], undefined, 1]);
    expect(await page({ location: "GZ" })).toEqual([["erp:wms SKU-7", "wms:ledger SKU-5"], undefined, 4]);
    expect(await store.differences(chainId("CP", START_MS), { limit: 1 })).toBeUndefined();
  });

  it("is the newest value of each pair", async () => {
    const store = storeFor("kept-live");
    const first = comparisonAt(START_MS, [pairWith("erp", LEDGER, []), pairWith("wms", LEDGER, [])]);
    await store.put(first, [pairWith("erp", LEDGER, []), pairWith("wms", LEDGER, [])]);
    const second = comparisonAt(START_MS + 1, [pairWith("wms", LEDGER, [difference(1, "SH")])]);
    await store.put(second, [pairWith("wms", LEDGER, [difference(1, "SH")])]);
    expect(
      (await store.live()).map(({ a, comparison, differingCells }) => [a, comparison, differingCells]).sort(),
    ).toEqual([
      ["erp", first.id, 0],
      ["wms", second.id, 1],
    ]);
  });

  it("goes after 30 days, and its differences when 200 newer ones have some", async () => {
    const store = storeFor("kept-for");
    const pairs = [pairWith("wms", LEDGER, [difference(1, "SH")])];
    const made: Comparison[] = [];
    for (let n = 0; n < 203; n++) {
      const comparison = comparisonAt(START_MS + n, pairs);
      made.push(comparison);
      await store.put(comparison, pairs);
    }
    const has = async (n: number) => (await store.differences(made[n]?.id as string, { limit: 1 })) !== undefined;
    expect([await has(0), await has(2), await has(3), await has(202)]).toEqual([false, false, true, true]);
    expect(await store.list(1_000)).toHaveLength(203);
    await store.put(comparisonAt(START_MS + 201 + 30 * DAY_MS, []), []);
    expect(await store.list(1_000)).toHaveLength(3);
    // Of the one that is in time, and of the newest ones.
    expect(Number(await client.hlen(comparisonKeys("kept-for").differenceBytes))).toBe(3);
    expect(await store.live()).toHaveLength(1);
  });
});
