/**
 * Orders that leave long after they were paid (R3), over a real ledger and a clock of the test's own that passes most
 * of two years: they are known until they have left, and for some time after; whatever is over goes, in slices.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS, ManualClock } from "../../engine/kernel/clock.js";
import type { Order } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { orderKeys } from "../../engine/stream/keys.js";
import { withRedis } from "../redis/with-redis.js";

const server = withRedis();
const NOW = Date.UTC(2026, 5, 18);
const TODAY = NOW / DAY_MS;
const KEEP_SECONDS = 90 * 86_400;
/** A day's orders are stripped after 96 days, counted from its end. */
const STRIPPED_AFTER = 98;
const AT = { sku: "CUP", location: "SH" } as const;

let client: ReturnType<typeof server.connect>;
let clock: ManualClock;
let ledger: Ledger;
let orderStore: OrderStore;
let orderService: OrderService;
let format = 2;
let prefix = "";
let beds = 0;
let ids = 0;

beforeAll(async () => {
  client = server.connect();
  await Promise.all([Ledger.load(client), OrderStore.load(client)]);
});

beforeEach(async () => {
  prefix = `long-${beds++}`;
  format = 2;
  clock = new ManualClock(NOW);
  const options = { redis: client, prefix, partitions: 1, clock, format: () => format };
  ledger = new Ledger(options);
  orderStore = new OrderStore({ ...options, keepSeconds: KEEP_SECONDS });
  orderService = new OrderService(ledger, orderStore);
  for (const pool of ["sellable", "presale"] as const)
    await ledger.apply({ kind: "receive", id: newId(), ...AT, units: 1_000, pool });
});

const newId = () => chainIdFromNumber("LO", clock.now(), ids++);
const keys = () => orderKeys(prefix, 0);
const cell = async () => (await ledger.balances(AT.sku))?.get(AT.location);
const known = async (day = TODAY) => (await client.hkeys(keys().orders(day))).sort();

async function placed(pool: "sellable" | "presale" = "sellable", lines = 2): Promise<string> {
  const order: Order = {
    id: newId(),
    lines: Array.from({ length: lines }, () => ({ ...AT, units: 1, ...(pool === "presale" && { pool }) })),
    shipTo: { name: "李伟" },
  };
  expect((await orderService.place(order)).outcome).toBe("accepted");
  return order.id;
}

async function paid(pool?: "sellable" | "presale"): Promise<string> {
  const id = await placed(pool);
  expect((await orderService.pay(id)).outcome).toBe("accepted");
  return id;
}

/** @param ticks of each day; a tick looks at some days only, and removes so many orders at most */
async function pass(days: number, ticks = 2): Promise<void> {
  for (let day = 0; day < days; day++) {
    clock.moveTo(clock.now() + DAY_MS);
    for (let i = 0; i < ticks; i++) await Promise.all([ledger.tick(0), orderStore.tick(0)]);
  }
}

describe("an order that is paid", () => {
  it.each([60, 100, 200])(
    "and leaves after %i days does so as one of today; a repeat gets the same answer",
    async (days) => {
      const orders = [await paid(), await paid("presale")];
      expect(await client.pttl(keys().orders(TODAY))).toBe(-1);
      await pass(days);
      expect(await cell()).toMatchObject({ sellable: 998, committed: 2, presale: 998 });
      for (const id of orders) {
        expect((await orderService.read(id))?.lines.map(({ state }) => state)).toEqual(["paid", "paid"]);
        expect(await orderService.outbound(id)).toMatchObject({ outcome: "accepted", repeated: false });
      }
      expect(await cell()).toMatchObject({ sellable: 996, committed: 0, presale: 998 });
      await pass(40);
      for (const id of orders)
        expect(await orderService.outbound(id)).toMatchObject({ outcome: "accepted", repeated: true });
      expect(await cell()).toMatchObject({ sellable: 996, committed: 0 });
      await pass(60);
      for (const id of orders) expect((await orderService.outbound(id)).outcome).toBe("unknown_order");
      expect(await client.exists(keys().orders(TODAY), keys().buyers(TODAY), keys().lateEnds)).toBe(0);
    },
  );

  it("may be cancelled after 200 days, or go in parts, or wait for its warehouse", async () => {
    const [cancelled, parts, rest, asked] = [await paid(), await paid(), await paid(), await paid()];
    await orderService.record(asked, "picking", { source: "wms" });
    expect((await orderService.cancel(asked)).outcome).toBe("cancelling");
    for (const id of [parts, rest]) expect((await orderService.outbound(id, undefined, [1])).outcome).toBe("accepted");
    await pass(200);
    expect((await orderService.cancel(cancelled)).outcome).toBe("cancelled_paid");
    // Only the order still has the line that left.
    expect((await orderService.outbound(parts, undefined, [2])).outcome).toBe("accepted");
    expect((await orderService.cancel(rest)).outcome).toBe("cancelled_paid");
    expect((await orderService.settleCancellation(asked, "withdrawn", { source: "wms" })).outcome).toBe(
      "cancelled_paid",
    );
    expect(await cell()).toMatchObject({ sellable: 997, committed: 0, reserved: 0 });
    await pass(STRIPPED_AFTER);
    expect(await known()).toEqual([]);
    expect(await client.exists(keys().lateEnds)).toBe(0);
  });
});

describe("orders that have ended", () => {
  it("are deleted with their buyers when their day's time is over, in slices; the others stay", async () => {
    const late = await paid();
    for (const end of ["outbound", "cancel"] as const) await orderService[end](await paid());
    await orderService.cancel(await placed());
    const unpaid = Array.from({ length: 1_500 }, () => ({ id: newId(), lines: [{ ...AT, units: 1 }], shipTo: {} }));
    await Promise.all(unpaid.map((order) => orderStore.open(order, 1)));
    await pass(STRIPPED_AFTER - 2);
    expect(await known()).toHaveLength(1_504);
    clock.moveTo(clock.now() + DAY_MS);
    const left = [1_504];
    while (left.length < 30 && left.at(-1) !== 1) {
      await orderStore.tick(0);
      const { length } = await known();
      expect((left.at(-1) as number) - length).toBeLessThan(750);
      left.push(length);
    }
    expect(await known()).toEqual([late]);
    expect(await client.hkeys(keys().buyers(TODAY))).toEqual([late]);
    await pass(2, 8);
    // A tick with nothing to do leaves its record of its work as it is.
    const head = await client.hgetall(keys().head);
    await orderStore.tick(0);
    expect(await client.hgetall(keys().head)).toEqual(head);
    expect(await client.smembers(keys().orderDays)).toEqual([String(TODAY)]);
  });

  it("are deleted in smaller slices when they are large, so that no tick blocks Redis for long", async () => {
    const [count, bytes] = [300, 40_000];
    const lines = [{ ...AT, location: "x".repeat(bytes), units: 1 }];
    await Promise.all(Array.from({ length: count }, () => orderStore.open({ id: newId(), lines }, 1)));
    await pass(STRIPPED_AFTER - 2);
    expect(await known()).toHaveLength(count);
    clock.moveTo(clock.now() + DAY_MS);
    let left = count;
    for (let ticks = 0; ticks < count && left > 0; ticks++) {
      await orderStore.tick(0);
      const { length } = await known();
      expect((left - length) * bytes).toBeLessThanOrEqual(2 * 1_048_576);
      left = length;
    }
    expect(left).toBe(0);
  });

  it("are deleted day by day through a year of trade, until no day is left", async () => {
    let most = 0;
    for (let day = 0; day < 250; day += 5) {
      await orderService.outbound(await paid());
      await placed();
      await pass(5);
      most = Math.max(most, await client.scard(keys().orderDays));
    }
    expect(most).toBeLessThanOrEqual(STRIPPED_AFTER / 5 + 1);
    await pass(STRIPPED_AFTER);
    expect(await client.keys(`${prefix}:{orders:00}:*:2*`)).toEqual([]);
    expect(await client.exists(keys().orderDays)).toBe(0);
  });
});

describe("a day's orders", () => {
  it("expire as a whole while the previous release runs, and stay from the next tick on when it has ended", async () => {
    format = 1;
    const id = await paid();
    await pass(1);
    const yesterday = keys().orders(TODAY);
    expect(await client.pttl(yesterday)).toBeGreaterThan(95 * DAY_MS);
    format = 2;
    const other = await placed();
    await pass(1, 8);
    for (const key of [yesterday, keys().orders(TODAY + 1)]) expect(await client.pttl(key)).toBe(-1);
    // A process that has not heard of it yet.
    format = 1;
    await client.pexpire(yesterday, DAY_MS);
    format = 2;
    await pass(STRIPPED_AFTER);
    expect(await client.pttl(yesterday)).toBe(-1);
    expect(await known()).toEqual([id]);
    expect(await orderService.read(other)).toBeUndefined();
  });

  it.each([-400, 30])("that accept no orders (%i days from today) expire by themselves", async (days) => {
    const at = TODAY + days;
    const id = chainIdFromNumber("LO", at * DAY_MS, ids++);
    await orderStore.open({ id, lines: [{ ...AT, units: 1 }], shipTo: { name: "x" } }, 1);
    await pass(1);
    for (const key of [keys().orders(at), keys().buyers(at)]) expect(await client.pttl(key)).toBeGreaterThan(0);
    expect(await client.exists(keys().orderDays)).toBe(0);
  });
});
