/**
 * A breaker of the whole deployment, with partitions that cannot be reached for a while, or that lose a write: it is
 * open everywhere, or the answer names the missing partitions; these are repaired. The latest change wins, in whatever
 * order partitions receive the changes.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS, ManualClock, MINUTE_MS } from "../../engine/kernel/clock.js";
import { type BreakerDetail, type BreakerEvidence, breakerKey } from "../../engine/stock/breaker.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { until } from "../redis/server.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const PARTITIONS = 3;
const NOW = Date.UTC(2026, 5, 18);
const SHOP = { kind: "shop" } as const;
const SKU = { kind: "sku", sku: "CUP" } as const;
const cause = { actor: "lin", reason: "they differ", forMs: 0 };
let client: RedisClient;
let prefix = "";
let rounds = 0;
let ids = 0;
let clock: ManualClock;
let ledger: Ledger;
/** A partition that cannot be reached. */
let cut: number | undefined;
/** Its calls are not answered, instead of failing. */
let isSilent = false;
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
  isSilent = false;
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
        return isSilent ? new Promise(() => undefined) : Promise.reject(new Error("Connection is closed."));
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
      ...{ kind: "reserve", id: chainIdFromNumber("S1", clock.now(), ids++), sku, location: "SH", units: 1 },
    })
  ).outcome;
/** The outcome of an order in each partition; without a breaker it is `unknown_sku` here. */
const answers = () => Promise.all(skus().map(order));
const eventsOfLog = async (partition: number) =>
  (await readLog(client, stockKeys(prefix, partition).log, 0, 1_000)).flatMap((entry) => eventsOf(entry).events);
const REFUSED = "breaker_open";
const NOT_REFUSED = "unknown_sku";

describe("a breaker", () => {
  it("is open in every partition when no partition is missing", async () => {
    expect(await ledger.breakers.set(SHOP, "open", cause)).toMatchObject({ changed: true, missing: [] });
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    expect(await ledger.openBreakers()).toEqual([
      { scope: SHOP, state: "open", actor: "lin", reason: "they differ", sinceMs: NOW, untilMs: 0, version: NOW },
    ]);
    expect(await ledger.breakers.set(SHOP, "close", cause)).toMatchObject({ changed: true, missing: [] });
    expect(await ledger.breakers.set(SHOP, "close", cause)).toMatchObject({ changed: false, missing: [] });
    expect(await answers()).toEqual([NOT_REFUSED, NOT_REFUSED, NOT_REFUSED]);
    expect(await ledger.openBreakers()).toEqual([]);
  });

  it("names the partitions where it is not open, and opens there when they can be reached again", async () => {
    cut = 1;
    expect(await ledger.breakers.set(SHOP, "open", cause)).toMatchObject({ changed: true, missing: [1] });
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
    expect(await ledger.breakers.set(SHOP, "close", cause)).toMatchObject({ changed: true, missing: [0] });
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
    expect(await ledger.breakers.set(SHOP, "open", cause)).toMatchObject({ changed: true, missing: [] });
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
  });

  it("opened to be half-open at its end becomes so in every partition, and refuses until it is changed by hand", async () => {
    const opening = { ...cause, forMs: MINUTE_MS, atEnd: "half_open" } as const;
    await ledger.breakers.set(SHOP, "open", opening);
    clock.moveTo(NOW + MINUTE_MS);
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
    const half = { scope: SHOP, state: "half_open", sinceMs: NOW + MINUTE_MS, untilMs: 0, actor: "lin" };
    expect(await ledger.openBreakers()).toEqual([{ ...half, reason: "they differ", version: NOW }]);
    clock.moveTo(NOW + 60 * DAY_MS);
    await ledger.breakers.set({ kind: "sku", sku: "other" }, "open", cause);
    expect(await ledger.breakers.repair()).toEqual([]);
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    expect(await ledger.breakers.set(SHOP, "close", cause)).toMatchObject({ changed: true, missing: [] });
    expect(await answers()).toEqual([NOT_REFUSED, NOT_REFUSED, NOT_REFUSED]);
    const changes = (await eventsOfLog(1))
      .filter(({ id }) => id === "shop")
      .map(({ type, detail }) => ({ type, detail }));
    const [opened, halfOpened, closed] = changes.map(({ detail }) => detail as BreakerDetail | undefined);
    expect(changes.map(({ type }) => type)).toEqual(["BreakerOpened", "BreakerHalfOpened", "BreakerClosed"]);
    expect(opened).toEqual({
      ...{ scope: SHOP, actor: "lin", reason: "they differ", atEnd: "half_open" },
      ...{ untilMs: NOW + MINUTE_MS, version: NOW },
    });
    expect(halfOpened).toEqual({ scope: SHOP, actor: "engine", reason: "its time is over", version: NOW });
    expect(closed?.version).toBeGreaterThan(NOW);
  });

  it("is listed as it is now when its time is over, before a partition has ended it", async () => {
    await ledger.breakers.set(SHOP, "open", { ...cause, forMs: MINUTE_MS });
    await ledger.breakers.set(SKU, "open", { ...cause, forMs: MINUTE_MS, atEnd: "half_open" });
    expect(await ledger.openBreakers()).toHaveLength(2);
    clock.moveTo(NOW + MINUTE_MS);
    const half = { scope: SKU, state: "half_open", sinceMs: NOW + MINUTE_MS, untilMs: 0 };
    expect(await ledger.openBreakers()).toMatchObject([{ ...half, actor: "lin", reason: "they differ" }]);
  });

  it("half-opened by hand, or after its time, reaches a partition that was away, and is missing there until then", async () => {
    await ledger.breakers.set(SHOP, "open", cause);
    cut = 1;
    expect(await ledger.breakers.set(SHOP, "half_open", cause)).toMatchObject({ changed: true, missing: [1] });
    cut = undefined;
    expect(await ledger.openBreakers()).toMatchObject([{ state: "half_open", missing: [1] }]);
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    expect(await ledger.breakers.repair()).toEqual(["the breaker shop was not half-open in partition 1: it is now"]);
    expect((await ledger.openBreakers())[0]).not.toHaveProperty("missing");

    const sku = { kind: "sku", sku: skus()[2] as string } as const;
    cut = 2;
    await ledger.breakers.set(sku, "open", { ...cause, forMs: MINUTE_MS, atEnd: "half_open" });
    clock.moveTo(NOW + 2 * MINUTE_MS);
    cut = undefined;
    await ledger.breakers.set(SHOP, "close", cause);
    expect(await answers()).toEqual([NOT_REFUSED, NOT_REFUSED, NOT_REFUSED]);
    await ledger.breakers.repair();
    expect(await ledger.openBreakers()).toMatchObject([{ scope: sku, state: "half_open", sinceMs: NOW + MINUTE_MS }]);
    expect((await eventsOfLog(2)).at(-1)).toMatchObject({ type: "BreakerHalfOpened", sku: sku.sku, location: "" });
  });

  it("is not half-open, and its entries are as the previous release wrote them, until the upgrade is finished", async () => {
    const old = new Ledger({ redis: client, prefix, partitions: PARTITIONS, clock, format: () => 2 });
    await expect(old.breakers.set(SHOP, "half_open", cause)).rejects.toThrow("upgrade --finish");
    const ending = { ...cause, forMs: 1_000, atEnd: "half_open" } as const;
    await expect(old.breakers.set(SHOP, "open", ending)).rejects.toThrow("upgrade --finish");
    expect(await old.openBreakers()).toEqual([]);
    await old.breakers.set(SHOP, "open", { ...cause, onBehalfOf: "li", forMs: 1_000 });
    const { breakers, log } = stockKeys(prefix, 0);
    expect(await client.hgetall(breakers)).toEqual({
      shop: `{"untilMs":${NOW + 1_000},"sinceMs":${NOW},"actor":"lin","reason":"they differ","onBehalfOf":"li","version":${NOW}}`,
    });
    expect(await client.hgetall(`${prefix}:breakers`)).toEqual({
      shop: `{"action":"open","version":${NOW},"sinceMs":${NOW},"untilMs":${NOW + 1_000},"actor":"lin","reason":"they differ","onBehalfOf":"li"}`,
    });
    const [[, [...fields]] = ["", []]] = await client.xrange(log, "-", "+");
    expect(fields.slice(0, 7)).toEqual(["n", "0", "t", String(NOW), "c", "shop", "j"]);
    expect(JSON.parse(fields[7] ?? "")).toEqual({
      action: "open",
      actor: "lin",
      onBehalfOf: "li",
      reason: "they differ",
    });
    expect(await eventsOfLog(0)).toMatchObject([{ type: "BreakerOpened", detail: { scope: SHOP, actor: "lin" } }]);
  });

  it("changes only from the version that its maker has read: a change that depends on an earlier one is refused", async () => {
    const own = { ...cause, actor: "engine", changeId: "c-1" };
    const first = await ledger.breakers.setIf(SHOP, "open", own, 0);
    expect(first).toEqual({ changed: true, missing: [], version: NOW });
    // The same change again, as after a lost answer.
    expect(await ledger.breakers.setIf(SHOP, "open", own, 0)).toEqual({ changed: false, missing: [], version: NOW });
    const { version } = await ledger.breakers.set(SHOP, "close", cause);
    expect(version).toBe(NOW + 1);
    const refused = { outcome: "version_differs" };
    expect(await ledger.breakers.setIf(SHOP, "open", own, 0)).toEqual(refused);
    expect(await ledger.breakers.setIf(SHOP, "open", { ...own, changeId: "c-2" }, NOW)).toEqual(refused);
    expect(await ledger.openBreakers()).toEqual([]);
    expect(await ledger.breakers.setIf(SHOP, "open", { ...own, changeId: "c-3" }, version)).toMatchObject({
      version: NOW + 2,
    });
    // A version that the server has lost: the next one is later all the same.
    await client.del(`${prefix}:breakers`);
    expect(await ledger.breakers.setIf(SHOP, "close", { ...own, changeId: "c-4" }, NOW + 2)).toEqual({
      changed: true,
      missing: [],
      version: NOW + 3,
    });
  });

  it("is listed with its newest change, also when it is closed or its time is over", async () => {
    // In no particular order.
    const statuses = async () =>
      (await ledger.breakerStatuses()).sort((a, b) => (breakerKey(a.scope) < breakerKey(b.scope) ? -1 : 1));
    expect(await statuses()).toEqual([]);
    await ledger.breakers.set(SHOP, "open", { ...cause, changeId: "c-1", forMs: MINUTE_MS, atEnd: "half_open" });
    await ledger.breakers.set(SKU, "open", { ...cause, forMs: MINUTE_MS });
    const [shop, sku] = await statuses();
    expect(shop).toMatchObject({ scope: SHOP, state: "open", changeId: "c-1", version: NOW });
    expect(sku).toMatchObject({ scope: SKU, state: "open", version: NOW + 1 });
    clock.moveTo(NOW + MINUTE_MS);
    const later = [
      { scope: SHOP, state: "half_open", sinceMs: NOW + MINUTE_MS, version: NOW },
      { scope: SKU, state: "closed", version: NOW + 1 },
    ];
    expect(await statuses()).toMatchObject(later);
    for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
    expect(await statuses()).toMatchObject([{ ...later[0], changeId: "c-1" }, later[1]]);
    await ledger.breakers.set(SHOP, "close", { actor: "li", reason: "counted" });
    expect(await statuses()).toMatchObject([
      { scope: SHOP, state: "closed", actor: "li", reason: "counted" },
      { scope: SKU, state: "closed" },
    ]);
  });

  it("keeps its evidence until it is closed, and its events have the evidence and an extension", async () => {
    const evidence: BreakerEvidence = {
      comparison: "0000019ED8B4C000-1",
      pair: ["wms", "ledger"],
      share: 0.012345,
      threshold: 0.005,
      skus: ["CUP", "杯"],
    };
    await ledger.breakers.set(SHOP, "open", { ...cause, forMs: MINUTE_MS, atEnd: "half_open", evidence });
    expect(await ledger.openBreakers()).toMatchObject([{ evidence }]);
    clock.moveTo(NOW + MINUTE_MS);
    await ledger.tick(1);
    await ledger.breakers.set(SHOP, "open", { ...cause, forMs: MINUTE_MS });
    await ledger.breakers.set(SHOP, "open", { ...cause, reason: "longer", forMs: 10 * MINUTE_MS });
    expect(await ledger.openBreakers()).toMatchObject([{ reason: "longer", untilMs: NOW + 11 * MINUTE_MS }]);
    const events = await eventsOfLog(1);
    expect(events.map(({ type, detail }) => [type, detail?.["evidence"], detail?.["extended"]])).toEqual([
      ["BreakerOpened", evidence, undefined],
      ["BreakerHalfOpened", undefined, undefined],
      ["BreakerOpened", undefined, undefined],
      ["BreakerOpened", undefined, true],
    ]);
  });

  it("refuses its own orders alone, with more breakers open than an order has lines", async () => {
    const [sku = "", other = ""] = skus();
    for (let i = 0; i < 40; i++)
      await ledger.breakers.set({ kind: "location", location: `L${i}` }, "open", { ...cause, forMs: MINUTE_MS });
    expect(await answers()).toEqual([NOT_REFUSED, NOT_REFUSED, NOT_REFUSED]);
    await ledger.breakers.set({ kind: "sku", sku }, "open", cause);
    expect([await order(sku), await order(other)]).toEqual([REFUSED, NOT_REFUSED]);
    await ledger.breakers.set({ kind: "location", location: "SH" }, "open", cause);
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
  });

  it("rejects a time or an end that does not fit the action", async () => {
    const ending = { ...cause, atEnd: "half_open" } as const;
    await expect(ledger.breakers.set(SHOP, "close", { ...cause, forMs: 1 })).rejects.toThrow("forMs: is allowed only");
    await expect(ledger.breakers.set(SHOP, "half_open", { ...cause, forMs: 1 })).rejects.toThrow("forMs: is allowed");
    await expect(ledger.breakers.set(SHOP, "open", ending)).rejects.toThrow("atEnd: is allowed only with open and");
  });

  it("of one SKU needs only the partition of the SKU", async () => {
    const [first = "", second = ""] = skus();
    cut = 1;
    expect(await ledger.breakers.set({ kind: "sku", sku: first }, "open", cause)).toMatchObject({
      changed: true,
      missing: [],
    });
    cut = undefined;
    expect(await order(first)).toBe(REFUSED);
    expect(await order(second)).toBe(NOT_REFUSED);
    expect((await ledger.openBreakers())[0]).not.toHaveProperty("missing");
  });

  it("is opened, listed and repaired while a partition does not answer, and applied there when it does", async () => {
    [cut, isSilent] = [1, true];
    expect(await ledger.breakers.set(SHOP, "open", cause)).toMatchObject({ changed: true, missing: [1] });
    const { head, breakers } = stockKeys(prefix, 2);
    await Promise.all([client.del(breakers), client.hdel(head, "gate:shop")]);
    expect(await ledger.openBreakers()).toMatchObject([{ scope: SHOP, missing: [1, 2] }]);
    expect(await ledger.breakers.repair()).toEqual(["the breaker shop was not open in partition 2: it is now"]);
    cut = undefined;
    expect(await ledger.breakers.repair()).toEqual(["the breaker shop was not open in partition 1: it is now"]);
    for (const arrive of late.splice(0)) await arrive();
    expect(await answers()).toEqual([REFUSED, REFUSED, REFUSED]);
    expect((await ledger.openBreakers())[0]).not.toHaveProperty("missing");
  });

  it("does not delay the stop of a process while a partition does not answer", async () => {
    [cut, isSilent] = [0, true];
    ledger.breakers.start(() => undefined);
    await until(() => late.length > 0, "a call to the partition");
    await ledger.breakers.stop();
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
