/**
 * A breaker of the whole deployment, with partitions that cannot be reached for a while, or that lose a write: it is
 * open everywhere, or the answer names the missing partitions; these are repaired. The latest change wins, in whatever
 * order partitions receive the changes.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock, MINUTE_MS } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { stockKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const PARTITIONS = 3;
const NOW = Date.UTC(2026, 5, 18);
const SHOP = { kind: "shop" } as const;
const cause = { actor: "lin", reason: "they differ", forMs: 0 };
let client: RedisClient;
let prefix = "";
let rounds = 0;
let ids = 0;
let clock: ManualClock;
let ledger: Ledger;
/** A partition that cannot be reached. */
let cut: number | undefined;
/** Calls to it in the meantime: they may arrive later. */
let late: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
});
beforeEach(() => {
  prefix = `breakers${rounds++}`;
  clock = new ManualClock(NOW);
  cut = undefined;
  late = [];
  ledger = new Ledger({ redis: cutting(client), prefix, partitions: PARTITIONS, clock });
});

/** The client, except that calls to the cut-off partition fail. */
function cutting(real: RedisClient): RedisClient {
  return new Proxy(real, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        const call = () => (value as (...args: unknown[]) => unknown).apply(target, args) as Promise<unknown>;
        if (cut === undefined || !JSON.stringify(args).includes(stockKeys(prefix, cut).head.slice(0, -4)))
          return call();
        late.push(call);
        return Promise.reject(new Error("Connection is closed."));
      };
    },
  });
}

/** A SKU of each partition. */
const skus = (): string[] => {
  const found: string[] = [];
  for (let i = 0; found.filter(Boolean).length < PARTITIONS; i++) found[ledger.partitionOf(`SKU-${i}`)] ??= `SKU-${i}`;
  return found;
};
const order = async (sku: string): Promise<string> =>
  (
    await ledger.apply({
      ...{ kind: "reserve", id: chainIdFromNumber("S1", NOW, ids++), sku, location: "SH", units: 1 },
    })
  ).outcome;
/** The outcome of an order in each partition; without a breaker it is `unknown_sku` here. */
const answers = () => Promise.all(skus().map(order));
const REFUSED = "breaker_open";
const NOT_REFUSED = "unknown_sku";

describe("a breaker", () => {
  it("is open in every partition when no partition is missing", async () => {
    expect(await ledger.breakers.set(SHOP, "open", cause)).toEqual({ changed: true, missing: [] });
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    expect(await ledger.openBreakers()).toEqual([
      { scope: SHOP, actor: "lin", reason: "they differ", sinceMs: NOW, untilMs: 0 },
    ]);
    expect(await ledger.breakers.set(SHOP, "close", cause)).toEqual({ changed: true, missing: [] });
    expect(await ledger.breakers.set(SHOP, "close", cause)).toEqual({ changed: false, missing: [] });
    expect(await answers()).toEqual([NOT_REFUSED, NOT_REFUSED, NOT_REFUSED]);
    expect(await ledger.openBreakers()).toEqual([]);
  });

  it("names the partitions where it is not open, and opens there when they can be reached again", async () => {
    cut = 1;
    expect(await ledger.breakers.set(SHOP, "open", cause)).toEqual({ changed: true, missing: [1] });
    expect(await ledger.openBreakers()).toMatchObject([{ scope: SHOP, missing: [1] }]);
    expect(await ledger.breakers.repair()).toEqual([]);
    cut = undefined;
    expect(await answers()).toEqual([REFUSED, NOT_REFUSED, REFUSED]);
    expect(await ledger.openBreakers()).toMatchObject([{ scope: SHOP, missing: [1] }]);
    expect(await ledger.breakers.repair()).toEqual(["the breaker shop was not open in partition 1: it is now"]);
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    expect((await ledger.openBreakers())[0]).not.toHaveProperty("missing");
    expect(await ledger.breakers.repair()).toEqual([]);
  });

  it("opens again in a partition that has lost it in a failover", async () => {
    await ledger.apply({
      kind: "receive",
      id: chainIdFromNumber("S1", NOW, ids++),
      sku: skus()[2] as string,
      location: "SH",
      units: 1,
    });
    const { head, breakers, log } = stockKeys(prefix, 2);
    const before = await Promise.all([head, log].map((key) => client.dumpBuffer(key)));
    await ledger.breakers.set(SHOP, "open", { ...cause, forMs: 10 * MINUTE_MS });
    clock.moveTo(NOW + MINUTE_MS);
    await client.del(breakers);
    for (const [i, key] of [head, log].entries()) await client.restore(key, 0, before[i] as Buffer, "REPLACE");
    expect(await ledger.openBreakers()).toMatchObject([{ missing: [2] }]);
    expect(await ledger.breakers.repair()).toHaveLength(1);
    expect(await order(skus()[2] as string)).toBe(REFUSED);
    // It closes at the original time.
    const [breaker] = await ledger.openBreakers();
    expect(breaker).toMatchObject({ sinceMs: NOW, untilMs: NOW + 10 * MINUTE_MS });
    clock.moveTo(NOW + 10 * MINUTE_MS);
    for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
    expect(await ledger.breakers.repair()).toEqual([]);
    expect(await ledger.openBreakers()).toEqual([]);
  });

  it("stays as in the latest change, also where an older one arrives later", async () => {
    cut = 0;
    await ledger.breakers.set(SHOP, "open", cause);
    const opening = late.splice(0);
    expect(await ledger.breakers.set(SHOP, "close", cause)).toEqual({ changed: true, missing: [0] });
    cut = undefined;
    expect(await ledger.breakers.repair()).toHaveLength(1);
    expect(opening).toHaveLength(1);
    for (const arrive of opening) expect(await arrive()).toBeNull();
    expect(await answers()).toEqual([NOT_REFUSED, NOT_REFUSED, NOT_REFUSED]);
  });

  it("has a newer version than all before, also when the desired states were lost", async () => {
    await ledger.breakers.set(SHOP, "open", cause);
    await ledger.breakers.set(SHOP, "close", cause);
    await client.del(`${prefix}:breakers`);
    clock.moveTo(NOW + 1_000);
    expect(await ledger.breakers.set(SHOP, "open", cause)).toEqual({ changed: true, missing: [] });
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
  });

  it("of one SKU needs only the partition of the SKU", async () => {
    const [first = "", second = ""] = skus();
    cut = 1;
    expect(await ledger.breakers.set({ kind: "sku", sku: first }, "open", cause)).toEqual({
      changed: true,
      missing: [],
    });
    cut = undefined;
    expect(await order(first)).toBe(REFUSED);
    expect(await order(second)).toBe(NOT_REFUSED);
    expect((await ledger.openBreakers())[0]).not.toHaveProperty("missing");
  });

  it("is repaired by any process in the background", async () => {
    cut = 2;
    await ledger.breakers.set(SHOP, "open", cause);
    cut = undefined;
    const reports: string[] = [];
    const other = new Ledger({ redis: client, prefix, partitions: PARTITIONS, clock });
    await new Promise<void>((resolve) => {
      other.breakers.start((words) => {
        reports.push(words);
        resolve();
      });
    });
    await other.breakers.stop();
    expect(reports).toEqual(["the breaker shop was not open in partition 2: it is now"]);
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
  });
});
