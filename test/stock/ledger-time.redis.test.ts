/**
 * The ledger and time, against a real Redis: ticks end holds and windows, and ids older than the retention are removed
 * without being applied again.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { chainId, chainIdDay } from "../../engine/kernel/chain-id.js";
import { DAY_MS, ManualClock, systemClock } from "../../engine/kernel/clock.js";
import { HEARTBEAT_MS, Ledger } from "../../engine/stock/ledger.js";
import { DEFAULT_HOLD_MS, SWEEP_LIMIT } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { cell, ledgerBed, outcomes } from "./ledger-bed.js";

const START_MS = Date.UTC(2026, 5, 18);
const PREFIX = "ledger-time";
const redis = withRedis();
let client: RedisClient;
let clock: ManualClock;
let ledger: Ledger;
const { ledgerOn, place, receive, reserve, eventsIn } = ledgerBed(PREFIX, () => ({ client, clock }));

beforeEach(async () => {
  await redis.flush();
  client = redis.connect();
  await Ledger.load(client);
  clock = new ManualClock(START_MS);
  ledger = ledgerOn(client);
});

describe("time", () => {
  it("ends holds by ticks alone, without a command", async () => {
    await ledger.applyMany([receive(10), reserve(4), reserve(3)]);
    clock.moveTo(START_MS + DEFAULT_HOLD_MS - 1);
    expect(await ledger.tick(0)).toMatchObject({ expired: 0 });
    clock.moveTo(START_MS + DEFAULT_HOLD_MS);
    expect(await ledger.tick(0)).toMatchObject({ expired: 2, clockMs: START_MS + DEFAULT_HOLD_MS });
    expect(await ledger.tick(0)).toMatchObject({ expired: 0 });
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 10 }));
    expect(
      (await eventsIn(0)).events
        .filter(({ type }) => type === "LineExpired")
        .map(({ units }) => units)
        .sort(),
    ).toEqual([3, 4]);
  });

  it("ends windows in a partition without commands: one entry a heartbeat, none in between", async () => {
    await ledger.tick(0);
    const { offset } = await ledger.tick(0);
    clock.moveTo(START_MS + HEARTBEAT_MS - 1);
    expect((await ledger.tick(0)).offset).toBe(offset);
    clock.moveTo(START_MS + HEARTBEAT_MS);
    expect((await ledger.tick(0)).offset).toBe(offset + 1);
    expect((await ledger.tick(0)).offset).toBe(offset + 1);
  });

  it("ends windows also while all commands are refused or repeated and leave no entry", async () => {
    const known = reserve(1);
    await ledger.applyMany([receive(5), known]);
    await ledger.breakers.set({ kind: "shop" }, "open", { actor: "lin", reason: "they differ", forMs: 0 });
    for (let minute = 1; minute <= 3; minute++) {
      const { offset } = await ledger.tick(0);
      clock.moveTo(START_MS + minute * HEARTBEAT_MS);
      expect((await ledger.apply(reserve(1))).outcome).toBe("breaker_open");
      expect((await ledger.apply(known)).repeated).toBe(true);
      expect((await ledger.tick(0)).offset).toBe(offset + 1);
    }
  });

  it("is the server's when no clock is given; the event time is the command's", async () => {
    const before = systemClock.now();
    const live = ledgerOn(client, { clock: undefined as never });
    const at = { id: chainId("S1", before), sku: "CUP", location: "SH" };
    await live.apply({ kind: "receive", ...at, units: 1, atMs: before - 5_000 });
    const [event] = (await eventsIn(0)).events;
    expect(event?.atMs).toBe(before - 5_000);
    expect(event?.clockMs).toBeGreaterThanOrEqual(before - 1);
    expect(event?.clockMs).toBeLessThanOrEqual(systemClock.now() + 1);
  });

  it("that jumps by months ends thousands of holds and loses none", async () => {
    const orders = SWEEP_LIMIT * 2 + 5;
    await ledger.applyMany([receive(orders), ...Array.from({ length: orders }, () => reserve(1))]);
    clock.moveTo(START_MS + 200 * DAY_MS);
    const expired = [await ledger.tick(0), await ledger.tick(0), await ledger.tick(0), await ledger.tick(0)].map(
      (each) => each.expired,
    );
    expect(expired).toEqual([SWEEP_LIMIT, SWEEP_LIMIT, 5, 0]);
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: orders }));
    for (let i = 0; i < 12; i++) await ledger.tick(0);
    expect(await client.exists(stockKeys(PREFIX, 0).lines(START_MS / DAY_MS))).toBe(0);
  });
});

describe("ids of retired days", () => {
  it("are not applied again when the retention becomes longer", async () => {
    const receipt = receive(5);
    const short = ledgerOn(client, { idRetentionDays: 1 });
    await short.apply(receipt);
    clock.moveTo(START_MS + 10 * DAY_MS);
    expect((await short.apply(receipt)).outcome).toBe("id_outside_window");
    expect((await ledgerOn(client, { idRetentionDays: 90 }).apply(receipt)).outcome).toBe("id_outside_window");
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 5 }));
  });
});

describe("a retired day", () => {
  it("keeps only lines that hold units, for a year, and is empty after they have left", async () => {
    const keys = stockKeys(PREFIX, 0);
    await ledger.apply(receive(4_000));
    const lines = Array.from({ length: 1_500 }, () => ({ ...place(), units: 1 }));
    await ledger.applyMany(lines.map((line) => ({ kind: "reserve", ...line })));
    const paid = [lines[3], lines[700], lines[1_499]].map((line) => line as (typeof lines)[number]);
    await ledger.applyMany(paid.map((line) => ({ kind: "pay", ...line })));
    const bucket = keys.lines(chainIdDay((paid[0] as (typeof lines)[number]).id));
    const pass = async (days: number) => {
      for (let day = 0; day < days; day++) {
        clock.moveTo(clock.now() + 86_400_000);
        for (let i = 0; i < 4; i++) await ledger.tick(0);
      }
    };
    await pass(365);
    expect((await client.hkeys(bucket)).sort()).toEqual(paid.map(({ id }) => id).sort());
    const sendOut = () => ledger.applyMany(paid.map((line) => ({ kind: "outbound", ...line })));
    for (const repeated of [false, true])
      expect(await sendOut()).toEqual(paid.map(() => ({ outcome: "accepted", repeated, state: "outbound" })));
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 3_997 }));
    await pass(60);
    expect(await client.exists(bucket)).toBe(0);
    expect(outcomes(await sendOut())).toEqual(paid.map(() => "unknown_line"));
  });
});

describe("a cancelled line whose units were missing", () => {
  it("is kept from the time when its outbound explained them, as long as ids are", async () => {
    const short = ledgerOn(client, { idRetentionDays: 2 });
    const pass = async (days: number) => {
      for (let day = 0; day < days; day++) {
        clock.moveTo(clock.now() + DAY_MS);
        for (let i = 0; i < 4; i++) await short.tick(0);
      }
    };
    const line = { ...place(), units: 5 };
    await short.applyMany([receive(5), { kind: "reserve", ...line }, { kind: "pay", ...line }]);
    await short.apply({ kind: "correct", ...place(), units: -3, pool: "committed" });
    expect(await short.apply({ kind: "cancel", ...line })).toMatchObject({ state: "cancelled_paid", missingUnits: 3 });
    await pass(20);
    await short.apply({ ...receive(5), id: chainId("S1", clock.now()) });
    const sendOut = () => short.apply({ kind: "outbound", ...line });
    expect(await sendOut()).toEqual({ outcome: "accepted", repeated: false, state: "outbound" });
    await pass(1);
    expect(await sendOut()).toEqual({ outcome: "accepted", repeated: true, state: "outbound" });
    await pass(20);
    expect(await sendOut()).toMatchObject({ outcome: "unknown_line" });
  });
});

describe("a batch in which days pass", () => {
  it("removes the lines that it wrote itself, and leaves no bucket", async () => {
    const old = receive(5);
    const later = { ...receive(2), id: chainId("S1", START_MS + 60 * DAY_MS), atMs: START_MS + 60 * DAY_MS };
    const replies = await ledger.applyMany([old, later, old]);
    expect(outcomes(replies)).toEqual(["accepted", "accepted", "id_outside_window"]);
    const { lines } = stockKeys(PREFIX, 0);
    for (let i = 0; i < 12; i++) await ledger.tick(0);
    expect(await client.exists(lines(START_MS / DAY_MS))).toBe(0);
    expect(await client.exists(lines(START_MS / DAY_MS + 60))).toBe(1);
    expect((await ledger.balances("CUP"))?.get("SH")).toEqual(cell({ sellable: 7 }));
  });
});
