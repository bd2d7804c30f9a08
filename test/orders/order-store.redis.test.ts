/** The order store on a real Redis: steps are recorded once, and the log has exactly them. */
import { Packr } from "msgpackr";
import { beforeAll, describe, expect, it } from "vitest";
import { chainId, chainIdDay } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import {
  ORDER_STEPS,
  type Order,
  type OrderDetails,
  type OrderEvent,
  type OrderStep,
} from "../../engine/orders/model.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { orderTopic } from "../../engine/orders/topic.js";
import { orderKeys, sinkKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { ReplicationBarrier } from "../../engine/stream/replication-barrier.js";
import { withRedis } from "../redis/with-redis.js";

const server = withRedis();
const NOW = Date.UTC(2026, 5, 18);
const PARTITIONS = 3;
const SHOP = { source: "shop" } as const;

let redis: RedisClient;
let orderStore: OrderStore;
let clock: ManualClock;
let prefix = "";
let beds = 0;

beforeAll(async () => {
  redis = server.connect();
  await OrderStore.load(redis);
});

function newStore(): OrderStore {
  prefix = `store-${++beds}`;
  clock = new ManualClock(NOW);
  return new OrderStore({ redis, prefix, partitions: PARTITIONS, keepSeconds: 86_400, clock });
}

const order = (): Order => ({
  id: chainId("TE", clock.now()),
  lines: [{ sku: "茶-01", location: "SHA", units: 2, pool: "presale" }],
  shipTo: { name: "李伟", address: "西湖区文三路478号" },
});

async function events(): Promise<OrderEvent[]> {
  const topic = orderTopic(orderStore);
  const found: OrderEvent[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    let total = 0;
    for (const [i, entry] of (await readLog(redis, orderKeys(prefix, partition).log, 0, 1_000)).entries()) {
      expect(entry.offset).toBe(i + 1);
      const decoded = topic.decode(entry);
      total += decoded.events.length;
      expect(decoded.total).toBe(total);
      expect(topic.timeOf(entry)).toBe(decoded.clockMs);
      found.push(...decoded.events);
    }
  }
  return found;
}

describe("a step of an order", () => {
  it("that a sink has delivered, and its dead letters, are recorded while no replica is there", async () => {
    orderStore = newStore();
    const placed = order();
    const { id } = placed;
    await orderStore.open(placed, 7);
    await orderStore.record([{ id, step: "paid", ...SHOP }]);
    // On a Cluster each primary has one.
    const replicas = new ReplicationBarrier({ open: () => server.connect(), replicas: 2 });
    const options = { redis, prefix, partitions: PARTITIONS, keepSeconds: 86_400, clock, replicas };
    const waiting = new OrderStore(options);
    await expect(waiting.record([{ id, step: "locked", ...SHOP }])).rejects.toMatchObject({ code: "not_replicated" });
    expect(await waiting.recordDelivered([{ id, step: "picking", source: "wms" }])).toEqual(["recorded"]);
    await waiting.markDeadLetters([id]);
    replicas.close();
    expect((await events()).map(({ step }) => step)).toEqual(["created", "paid", "locked", "picking"]);
  });

  it("is in the log once, with its evidence, and the goods' list with the lock", async () => {
    orderStore = newStore();
    const placed = order();
    expect(await orderStore.open(placed, 7)).toBe(1);
    expect(await orderStore.open(placed, 7)).toBe(2);
    expect(await orderStore.open(placed, 8)).toBeUndefined();
    clock.moveTo(NOW + 5_000);
    const { id } = placed;
    const paid = (["paid", "locked"] as const).map((step) => ({ id, step, ...SHOP }));
    expect(await orderStore.record(paid)).toEqual(["recorded", "recorded"]);
    clock.moveTo(NOW + 6_000);
    expect(await orderStore.record(paid)).toEqual(["repeated", "repeated"]);
    const detail = { waybill: "SF1", weight: 1.5 };
    expect(await orderStore.record([{ id, step: "labelled", source: "printer-3", detail }])).toEqual(["recorded"]);
    expect(await events()).toMatchObject([
      { id, step: "created", atMs: NOW, createdMs: NOW, source: "shop" },
      { id, step: "paid", atMs: NOW + 5_000, createdMs: NOW },
      { id, step: "locked", atMs: NOW + 5_000, body: { lines: placed.lines } },
      { id, step: "labelled", atMs: NOW + 6_000, source: "printer-3", detail },
    ]);
    expect((await events()).filter(({ body }) => body)).toHaveLength(1);
    expect(await orderStore.totals()).toEqual({ created: 1, paid: 1, locked: 1, labelled: 1 });
    const begun = await orderStore.beginAttempt(id);
    expect(begun).toMatchObject({ attempt: 3, lines: placed.lines });
    expect(await orderStore.status(id)).toMatchObject({ shipTo: placed.shipTo });
    expect(ORDER_STEPS.filter((step) => begun?.hasStep(step))).toEqual(["created", "paid", "locked", "labelled"]);
  });

  it("of an unknown order is unknown, and leaves the log as it was", async () => {
    orderStore = newStore();
    expect(await orderStore.record([{ id: chainId("TE", NOW), step: "labelled", ...SHOP }])).toEqual(["unknown"]);
    expect(await orderStore.beginAttempt(chainId("TE", NOW))).toBeUndefined();
    expect(await events()).toEqual([]);
    expect(await orderStore.totals()).toEqual({});
  });

  it("is recorded once, by the first report, and every report gets its own answer", async () => {
    orderStore = newStore();
    const orders = Array.from({ length: 300 }, order);
    await Promise.all(orders.map((each) => orderStore.open(each, 1)));
    const other = new OrderStore({ redis, prefix, partitions: PARTITIONS, keepSeconds: 86_400, clock });
    const stranger = { id: chainId("TE", NOW), step: "paid", ...SHOP } as const;
    const answers = await Promise.all(
      [orderStore, other, orderStore].map((each) =>
        each.record([stranger, ...orders.map(({ id }) => ({ id, step: "paid" as const, ...SHOP }))]),
      ),
    );
    for (const outcomes of answers) expect(outcomes[0]).toBe("unknown");
    for (let i = 1; i <= orders.length; i++)
      expect(answers.map((outcomes) => outcomes[i]).sort()).toEqual(["recorded", "repeated", "repeated"]);
    const paid = (await events()).filter(({ step }) => step === "paid").map(({ id }) => id);
    expect(paid.sort()).toEqual(orders.map(({ id }) => id).sort());
  });

  it("counts as waiting from when the deployment has a warehouse", async () => {
    orderStore = newStore();
    const orders = Array.from({ length: 20 }, order);
    await Promise.all(orders.map((each) => orderStore.open(each, 1)));
    const note = (step: "locked" | "picking", from: number, to: number) =>
      orderStore.record(orders.slice(from, to).map(({ id }) => ({ id, step, ...SHOP })));
    await note("locked", 0, 5);
    await orderStore.waiting.begin();
    expect(await orderStore.waiting.count()).toBe(0);
    await note("locked", 5, 20);
    await orderStore.waiting.begin();
    expect(await orderStore.waiting.count()).toBe(15);
    await note("picking", 5, 12);
    expect(await orderStore.waiting.count()).toBe(8);
  });

  it("never goes back in time, and advances time only where a deadline has come", async () => {
    orderStore = newStore();
    const placed = order();
    await orderStore.open(placed, 1);
    const partition = orderStore.partitionOf(placed.id);
    const { log, timers } = orderKeys(prefix, partition);
    clock.moveTo(NOW + 1_000);
    await orderStore.tick(partition);
    expect(await redis.xlen(log)).toBe(1);
    await redis.zadd(timers, NOW + 2_000, "order-flow.1\0x");
    await orderStore.tick(partition);
    expect(await redis.xlen(log)).toBe(1);
    clock.moveTo(NOW + 2_000);
    await orderStore.tick(partition);
    await orderStore.tick(partition);
    expect(await redis.xlen(log)).toBe(2);
    // Another machine's clock may be behind.
    const late = new OrderStore({
      redis,
      prefix,
      partitions: PARTITIONS,
      keepSeconds: 0,
      clock: new ManualClock(NOW - 60_000),
    });
    await late.record([{ id: placed.id, step: "paid", ...SHOP }]);
    expect((await events()).map(({ atMs }) => atMs)).toEqual([NOW, NOW + 2_000]);
  });
});

describe("orders that wait for the warehouse", () => {
  const SINK = "wms";
  const CURSORS = { job: "cursor:order-flow.1", sink: "cursor:entry" };
  const note = (id: string, ...steps: OrderStep[]) => orderStore.record(steps.map((step) => ({ id, step, ...SHOP })));

  async function placed(): Promise<string> {
    const one = order();
    await orderStore.open(one, 1);
    return one.id;
  }

  it("are those whose stock is locked, until they are there, cancelled, or dead letters, each counted once", async () => {
    orderStore = newStore();
    await orderStore.waiting.begin();
    const ids = [];
    for (let i = 0; i < 8; i++) ids.push(await placed());
    const [picked, cancelled, late, deadLetter, both, removed, waits, unpaid] = ids as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    await note(unpaid, "cancelled");
    for (const id of ids.slice(0, 7)) await note(id, "paid", "locked");
    expect(await orderStore.waiting.count()).toBe(7);
    await note(picked, "picking");
    await note(cancelled, "cancelled");
    // The warehouse had it nevertheless, and returns it.
    await note(late, "cancelled");
    await note(late, "picking");
    await orderStore.markDeadLetters([deadLetter, both, removed]);
    await note(both, "cancelled");
    expect(await orderStore.waiting.count()).toBe(1);
    // Reported again, after a crash, or for a dead letter that fails again.
    await orderStore.markDeadLetters([deadLetter, both, removed]);
    await note(cancelled, "cancelled");
    expect(await orderStore.waiting.count()).toBe(1);
    // The dead letter is replayed.
    await note(deadLetter, "picking");
    await note(waits, "picking");
    expect(await orderStore.waiting.count()).toBe(0);
    expect((await events()).map(({ step }) => step)).not.toContain(undefined);
  });

  it("do not include orders whose goods have left, whether or not the warehouse reports them afterwards", async () => {
    orderStore = newStore();
    await orderStore.waiting.begin();
    const ids = [await placed(), await placed(), await placed()] as const;
    for (const id of ids) await note(id, "paid", "locked");
    await note(ids[0], "outbound");
    await note(ids[1], "outbound", "picking");
    expect(await orderStore.waiting.count()).toBe(1);
    await note(ids[0], "outbound");
    await orderStore.markDeadLetters([ids[0]]);
    expect(await orderStore.waiting.count()).toBe(1);
  });

  it("are corrected when none waits, after a release that counted otherwise, and only then", async () => {
    orderStore = newStore();
    await orderStore.waiting.begin();
    const id = await placed();
    await note(id, "paid", "locked");
    const partition = orderStore.partitionOf(id);
    const { head, task } = orderKeys(prefix, partition);
    const sink = sinkKeys(prefix, "orders", partition, SINK).task;
    // As a cancellation that an older release has recorded: it is not in the count of steps.
    const offset = Number(await redis.hget(head, "offset"));
    await redis.hset(task, CURSORS.job, offset - 1, "lastOut", 4);
    await redis.hset(sink, CURSORS.sink, 4);
    expect(await orderStore.waiting.correct(partition, SINK, CURSORS)).toBe(false);
    await redis.hset(task, CURSORS.job, offset, "lastOut", 5);
    expect(await orderStore.waiting.correct(partition, SINK, CURSORS)).toBe(false);
    expect(await orderStore.waiting.count()).toBe(1);
    await redis.hset(sink, CURSORS.sink, 5);
    expect(await orderStore.waiting.correct(partition, SINK, CURSORS)).toBe(true);
    expect(await orderStore.waiting.count()).toBe(0);
    const next = await placed();
    await note(next, "paid", "locked");
    expect(await orderStore.waiting.count()).toBe(1);
  });
});

describe("the details of an order", () => {
  const DETAILS: OrderDetails = {
    amount: Number.MAX_SAFE_INTEGER,
    currency: "CNY",
    paymentKind: "alipay",
    buyer: "shipTo",
    attributes: JSON.parse('{"constructor":"shipTo","big":1099511627776,"share":-0.15,"first":true,"empty":""}'),
  };

  it("are read back as they came, and are in the log with the lock and with no other step", async () => {
    orderStore = newStore();
    const placed: Order = { ...order(), ...DETAILS };
    const { id, lines } = placed;
    expect(await orderStore.open(placed, 7)).toBe(1);
    expect((await orderStore.find(id))?.order).toEqual({ id, lines, ...DETAILS });
    expect(await orderStore.beginAttempt(id)).toMatchObject({ attempt: 2, lines, ...DETAILS });
    expect(await orderStore.status(id)).toMatchObject({ shipTo: placed.shipTo });
    await orderStore.record((["paid", "locked"] as const).map((step) => ({ id, step, ...SHOP })));
    const bodies = (await events()).map(({ step, body }) => [step, body]);
    expect(bodies).toEqual([
      ["created", undefined],
      ["paid", undefined],
      ["locked", { lines, ...DETAILS }],
    ]);
  });

  it("stay when the personal data is erased, and none of their values is taken for personal data", async () => {
    orderStore = newStore();
    const named: Order = { ...order(), ...DETAILS };
    const { shipTo: _, ...anonymous } = { ...order(), ...DETAILS };
    for (const placed of [named, anonymous]) {
      const { id } = placed;
      await orderStore.open(placed, 7);
      await orderStore.record((["paid", "cancelled"] as const).map((step) => ({ id, step, ...SHOP })));
    }
    const due = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) =>
        redis.zrange(orderKeys(prefix, partition).erasures, "0", "-1"),
      ),
    );
    expect(due.flat()).toEqual([named.id]);
    expect(await orderStore.erasures.erase(orderStore.partitionOf(named.id), [named.id], false)).toEqual(["erased"]);
    expect((await orderStore.status(named.id))?.shipTo).toBeUndefined();
    const { id, lines } = named;
    expect((await orderStore.find(id))?.order).toEqual({ id, lines, ...DETAILS });
  });

  it("cost an order that has none not a byte", async () => {
    orderStore = newStore();
    const { id, lines } = order();
    await orderStore.open({ id, lines, attributes: {} }, 7);
    const key = orderKeys(prefix, orderStore.partitionOf(id)).orders(chainIdDay(id));
    const record = await redis.hgetBuffer(key, id);
    // 22 bytes before the body: attempts, fingerprint, steps, creation time.
    expect(record?.subarray(22)).toEqual(new Packr({ useRecords: false }).pack({ lines }));
  });
});
