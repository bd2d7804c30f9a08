/**
 * The ledger's time when a clock is wrong: a server's or a caller's clock that is hours off. A caller's clock two hours
 * behind the server's is the same as a server's clock that has jumped ahead, so these tests change the caller's clock.
 * The last test sets the clock of a real server, where there is a C compiler. Times in the log never decrease.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Intake } from "../../engine/app/intake.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { type Clock, DAY_MS, HOUR_MS, systemClock } from "../../engine/kernel/clock.js";
import { OrderStore, type OrderStoreOptions } from "../../engine/orders/order-store.js";
import { orderTopic } from "../../engine/orders/topic.js";
import { Ledger, type LedgerOptions } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import type { ReserveStock } from "../../engine/stock/model.js";
import { orderKeys, stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Server, until } from "../redis/server.js";
import { onCluster, withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const JUMP_MS = 2 * HOUR_MS;
let client: RedisClient;
let prefix = "";
let rounds = 0;
let ids = 0;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([Ledger.load(client), OrderStore.load(client)]);
});
beforeEach(() => {
  prefix = `clocks${rounds++}`;
});

const off = (byMs: number): Clock => ({ now: () => systemClock.now() + byMs });
const ledgerOf = (more: Partial<LedgerOptions> = {}) => new Ledger({ redis: client, prefix, partitions: 1, ...more });
const newId = (nowMs = systemClock.now()) => chainIdFromNumber("S1", nowMs, ids++);
const at = { sku: "CUP", location: "SH" };
const reserve = (id = newId(), more: Partial<ReserveStock> = {}): ReserveStock => ({
  ...{ kind: "reserve", ...at, units: 1, id },
  ...more,
});
const receive = () => ({ kind: "receive", ...at, units: 100, id: newId() }) as const;
const entries = () => readLog(client, stockKeys(prefix, 0).log, 0, 1_000);
const times = async () => (await entries()).map((entry) => eventsOf(entry).clockMs);

describe("a server's clock that has jumped two hours ahead", () => {
  /** By the right clock, which is the caller's; the server's is ahead. */
  const wall = off(-JUMP_MS);

  it("ends no hold, refuses new orders, and continues everything else with the right time", async () => {
    const before = ledgerOf({ clock: wall });
    const [paid, cancelled, held] = [newId(), newId(), newId()];
    await before.applyMany([receive(), ...[paid, cancelled, held].map((id) => reserve(id))]);
    const ledger = ledgerOf({ wall });
    const startMs = wall.now();
    expect((await ledger.tick(0)).expired).toBe(0);
    const fresh = newId();
    expect(await ledger.apply(reserve(fresh))).toEqual({ outcome: "clocks_disagree", repeated: false, state: "none" });
    expect(await ledger.apply(reserve(held))).toMatchObject({ outcome: "accepted", repeated: true, state: "held" });
    for (const [kind, id] of [
      ["pay", paid],
      ["outbound", paid],
      ["cancel", cancelled],
    ] as const)
      expect(await ledger.apply({ kind, ...at, units: 1, id })).toMatchObject({ outcome: "accepted", repeated: false });
    expect((await ledger.apply(receive())).outcome).toBe("accepted");
    const { clockMs } = await ledger.tick(0);
    expect(clockMs).toBeGreaterThanOrEqual(startMs);
    expect(clockMs).toBeLessThanOrEqual(wall.now());
    expect((await ledger.balances("CUP"))?.get("SH")).toMatchObject({ reserved: 1 });
    // With the right clock again, the refused order is accepted.
    const after = ledgerOf({ clock: wall });
    expect(await after.apply(reserve(fresh))).toMatchObject({ outcome: "accepted", repeated: false });
  });

  it("moves the orders' log no further than the caller's clock", async () => {
    const orderStore = new OrderStore({ redis: client, prefix, partitions: 1, keepSeconds: 86_400, wall });
    await orderStore.open({ id: newId(), lines: [{ ...at, units: 1 }] }, 1);
    const [entry] = await readLog(client, orderKeys(prefix, 0).log, 0, 10);
    expect(entry && orderTopic(orderStore).decode(entry).clockMs).toBeLessThanOrEqual(wall.now());
  });

  it("is reported in a warning that names both clocks", async () => {
    const follower = { topic: "stock", oldestAgeMs: () => 0, unowned: () => [], stats: () => [] };
    const intake = new Intake({ redis: client, followers: [follower], maxLagMs: 20_000, maxMemoryShare: 0.85, wall });
    intake.start();
    try {
      await until(() => intake.warnings().length > 0, "the warning");
      const day = new Date(systemClock.now()).toISOString().slice(0, 10);
      expect(intake.warnings()[0]).toContain(`Redis' clock shows ${day}`);
      expect(intake.warnings()[0]).toContain("they differ by 7200 s, and 10 s are allowed; new orders are refused");
      expect(intake.serverAheadMs / 1_000).toBeCloseTo(7_200, -1);
      expect(intake.isOpen).toBe(true);
    } finally {
      await intake.stop();
    }
  });

  it("is reported as an open breaker when the log has the format of an older release", async () => {
    const ledger = ledgerOf({ wall, format: () => 1 });
    await ledger.apply(receive());
    expect((await ledger.apply(reserve())).outcome).toBe("breaker_open");
  });
});

describe("a caller's clock that is wrong", () => {
  it.each([-JUMP_MS, JUMP_MS])("by %i ms stops that caller's new orders only", async (byMs) => {
    const [wrong, right] = [ledgerOf({ wall: off(byMs) }), ledgerOf()];
    await right.apply(receive());
    const id = newId();
    expect((await wrong.apply(reserve(id))).outcome).toBe("clocks_disagree");
    await wrong.tick(0);
    expect(await right.apply(reserve(id))).toMatchObject({ outcome: "accepted", repeated: false });
    expect((await wrong.apply({ kind: "pay", ...at, units: 1, id })).outcome).toBe("accepted");
    const { clockMs } = await right.tick(0);
    expect(Math.abs(clockMs - systemClock.now())).toBeLessThan(60_000);
  });

  it("is accepted within the bound", async () => {
    const ledger = ledgerOf({ wall: off(-HOUR_MS), clockBoundMs: 2 * HOUR_MS });
    await ledger.apply(receive());
    expect((await ledger.apply(reserve())).outcome).toBe("accepted");
  });
});

describe("a ledger whose clock an earlier release has set ahead", () => {
  it("closes no breaker by time while clocks disagree: its log's clock is not the time", async () => {
    const [wrong, right] = [ledgerOf({ wall: off(60_000) }), ledgerOf()];
    await right.apply(receive());
    await client.hset(stockKeys(prefix, 0).head, "clock", systemClock.now() + JUMP_MS);
    await right.breakers.set({ kind: "shop" }, "open", { actor: "test", reason: "test", forMs: HOUR_MS });
    await right.tick(0);
    await wrong.tick(0);
    expect(await right.openBreakers()).toHaveLength(1);
    expect((await right.apply(reserve())).outcome).toBe("breaker_open");
  });

  it("opens a breaker while clocks disagree, and ends it when they agree and its time is over", async () => {
    const [wrong, right] = [ledgerOf({ wall: off(60_000) }), ledgerOf()];
    await right.apply(receive());
    await client.hset(stockKeys(prefix, 0).head, "clock", systemClock.now() + JUMP_MS);
    const cause = { actor: "test", reason: "test" };
    await wrong.breakers.set({ kind: "shop" }, "open", { ...cause, forMs: HOUR_MS });
    expect(await right.openBreakers()).toMatchObject([{ scope: { kind: "shop" }, state: "open" }]);
    expect((await right.apply(reserve())).outcome).toBe("breaker_open");
    await wrong.breakers.set({ kind: "shop" }, "open", { ...cause, forMs: 1 });
    await until(async () => {
      await right.tick(0);
      return (await right.openBreakers()).length === 0;
    }, "the end of the breaker");
    expect((await right.apply(reserve())).outcome).toBe("accepted");
  });

  it.each([
    ["two hours", JUMP_MS],
    ["a hundred days", 100 * DAY_MS],
  ])("by %s accepts orders and ends holds by the present time, and its log times never decrease", async (_, byMs) => {
    await ledgerOf().apply(receive());
    await ledgerOf({ clock: off(byMs) }).tick(0);
    const ledger = ledgerOf();
    const [short, long] = [newId(), newId()];
    expect(await ledger.apply(reserve(short, { holdMs: 1 }))).toMatchObject({ outcome: "accepted", state: "held" });
    expect(await ledger.apply(reserve(long))).toMatchObject({ outcome: "accepted", state: "held" });
    await until(async () => {
      await ledger.tick(0);
      return (await ledger.balances("CUP"))?.get("SH")?.reserved === 1;
    }, "the end of the short hold");
    const logged = await times();
    expect(logged).toEqual([...logged].sort((a, b) => a - b));
  });
});

describe("an order store whose clock is a hundred days ahead", () => {
  const keepSeconds = 90 * 86_400;
  const storeOf = (more: Partial<OrderStoreOptions> = {}) =>
    new OrderStore({ redis: client, prefix, partitions: 1, keepSeconds, ...more });
  const order = (id: string) => ({ id, lines: [{ ...at, units: 1 }], shipTo: { name: "李伟" } });
  const ahead = 100 * DAY_MS;

  it("keeps personal data for its retention by the present time; its log times never decrease", async () => {
    const [before, between, after] = [newId(), newId(systemClock.now() + ahead), newId()];
    await storeOf().open(order(before), 1);
    await storeOf({ clock: off(ahead) }).open(order(between), 1);
    const orderStore = storeOf({ personalData: { endedMs: 1, unpaidMs: 1 } });
    await orderStore.tick(0);
    expect(await orderStore.erasures.due(0, 10)).toEqual([]);
    expect(await orderStore.erasures.erase(0, [before, between], true)).toEqual(["not_due", "not_due"]);
    await orderStore.open(order(after), 1);
    await until(async () => (await orderStore.erasures.due(0, 10)).includes(after), "the time of the new order's text");
    expect(await orderStore.erasures.due(0, 10)).toEqual([after]);
    expect(await orderStore.erasures.erase(0, [after], true)).toEqual(["erased"]);
    // When clocks disagree, nothing is erased early.
    expect(await storeOf({ wall: off(JUMP_MS) }).erasures.erase(0, [before], true)).toEqual(["not_due"]);
    const log = await readLog(client, orderKeys(prefix, 0).log, 0, 10);
    const logged = log.map((entry) => orderTopic(orderStore).decode(entry).clockMs);
    expect(logged).toEqual([...logged].sort((a, b) => a - b));
  });

  it("removes the days that become due from then on", async () => {
    const ahead100Days = storeOf({ clock: off(ahead) });
    for (let ticks = 0; ticks < 10; ticks++) await ahead100Days.tick(0);
    const old = newId(systemClock.now() - 120 * DAY_MS);
    await storeOf({ clock: off(-120 * DAY_MS) }).open(order(old), 1);
    await ahead100Days.open(order(newId(systemClock.now() + ahead)), 1);
    const orderStore = storeOf();
    expect(await orderStore.find(old)).toBeDefined();
    for (let ticks = 0; ticks < 10; ticks++) await orderStore.tick(0);
    expect(await orderStore.find(old)).toBeUndefined();
    // Its head is unchanged when there is nothing to do.
    const head = await client.hgetall(orderKeys(prefix, 0).head);
    await orderStore.tick(0);
    expect(await client.hgetall(orderKeys(prefix, 0).head)).toEqual(head);
  });
});

const folder = mkdtempSync(join(tmpdir(), "shuiwei-clock-"));
const library = join(folder, "set-clock.so");
const source = fileURLToPath(new URL("../redis/set-clock.c", import.meta.url));
const canSetClock =
  !onCluster &&
  process.platform === "linux" &&
  ["cc", "gcc", "clang"].some(
    (compiler) => spawnSync(compiler, ["-shared", "-fPIC", "-O1", "-o", library, source]).status === 0,
  );
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!canSetClock)("a server whose clock is set two hours ahead and back", () => {
  it("loses no hold, and accepts orders again by itself", async () => {
    const file = join(folder, "ahead");
    // Renamed into place, so that the server never reads a partial file.
    const set = (seconds: number) => {
      writeFileSync(`${file}.new`, String(seconds));
      renameSync(`${file}.new`, file);
    };
    set(0);
    const server = await Server.start({ save: '""' }, [], { LD_PRELOAD: library, SET_CLOCK_FILE: file });
    try {
      await Ledger.load(server.client);
      const ledger = new Ledger({ redis: server.client, prefix: "set", partitions: 1 });
      const id = newId();
      await ledger.applyMany([receive(), reserve(id)]);
      const aheadMs = async () => Number((await server.client.time())[0]) * 1_000 - systemClock.now();
      set(JUMP_MS / 1_000);
      await until(async () => (await aheadMs()) > HOUR_MS, "the clock to be ahead");
      await ledger.tick(0);
      const fresh = newId();
      expect((await ledger.apply(reserve(fresh))).outcome).toBe("clocks_disagree");
      set(0);
      await until(async () => Math.abs(await aheadMs()) < HOUR_MS, "the clock to be right");
      expect(await ledger.apply(reserve(fresh))).toMatchObject({ outcome: "accepted", repeated: false });
      expect(await ledger.apply({ kind: "pay", ...at, units: 1, id })).toMatchObject({ outcome: "accepted" });
      const { clockMs } = await ledger.tick(0);
      expect(clockMs).toBeLessThan(systemClock.now() + HOUR_MS);
    } finally {
      await server.stop();
    }
  });
});
