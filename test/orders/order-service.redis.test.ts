/**
 * Orders with several lines over a real ledger: all of an order or nothing of it, whatever dies, races or closes in
 * between. The desk's ledger can be held up or cut off between two lines; the units are counted at the end.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chainId, chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import type { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { newFlow, takeStep } from "../../engine/orders/flow.js";
import { orderEventsOf } from "../../engine/orders/log-entry.js";
import { lineId, type Order, type OrderLine, type OrderReply } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { BreakerScope, Reply, StockCommand } from "../../engine/stock/model.js";
import { orderKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const PARTITIONS = 4;
const NOW = Date.UTC(2026, 5, 18);
const HOLD_MS = 30 * 60_000;
const AT = "SH";
let client: ReturnType<typeof redis.connect>;
let clock: ManualClock;
let ledger: Ledger;
let orderStore: OrderStore;
let orderService: OrderService;
let prefix = "";
let round = 0;
let ids = 0;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([Ledger.load(client), OrderStore.load(client)]);
});
beforeEach(() => {
  prefix = `o${round++}`;
  clock = new ManualClock(NOW);
  ledger = newLedger();
  orderStore = new OrderStore({ redis: client, prefix, partitions: PARTITIONS, keepSeconds: 86_400 });
  orderService = new OrderService(ledger, orderStore);
});

const newLedger = () => new Ledger({ redis: client, prefix, partitions: PARTITIONS, clock });
const newId = () => chainIdFromNumber("S1", NOW, ids++);
const line = (sku: string, units = 1, more: Partial<OrderLine> = {}): OrderLine => ({
  sku,
  location: AT,
  units,
  ...more,
});
const order = (...lines: OrderLine[]): Order => ({ id: newId(), lines });
const receive = (sku: string, units: number, location = AT, pool: "sellable" | "presale" = "sellable") =>
  ledger.apply({ kind: "receive", id: newId(), sku, location, units, pool });
const held = async (sku: string, location = AT) => (await ledger.balances(sku))?.get(location);
const statesOf = async (id: string) => (await orderService.read(id))?.map(({ state }) => state);
async function pass(ms: number): Promise<void> {
  clock.moveTo(clock.now() + ms);
  for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
}

/** A ledger that does one command after the other, with something in between. */
function stepwise(between: (command: StockCommand, position: number) => Promise<void> | void): Ledger {
  const stub = {
    recall: (lines: { id: string; sku: string }[]) => ledger.recall(lines),
    async applyMany(commands: readonly StockCommand[]): Promise<Reply[]> {
      const replies: Reply[] = [];
      for (const [i, command] of commands.entries()) {
        await between(command, i);
        replies.push(await ledger.apply(command));
      }
      return replies;
    },
  };
  return stub as unknown as Ledger;
}
/** A ledger whose process dies after so many commands. */
const mortal = (commands: number): Ledger => {
  let left = commands;
  return stepwise(() => {
    if (left-- <= 0) throw new Error("the process is gone");
  });
};

describe("an order", () => {
  it("is held as a whole when every line can be had", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 5)]);
    const placed = order(line("cup", 2), line("pot", 3));
    expect(await orderService.place(placed)).toMatchObject({
      outcome: "accepted",
      repeated: false,
      lines: [
        { id: `${placed.id}-1`, sku: "cup", units: 2, outcome: "accepted", state: "held" },
        { id: `${placed.id}-2`, sku: "pot", units: 3, outcome: "accepted", state: "held" },
      ],
    });
    expect(await held("cup")).toMatchObject({ sellable: 3, reserved: 2 });
  });

  it("is refused as a whole when one line cannot, and tells no line as held", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 2)]);
    const reply = await orderService.place(order(line("cup", 2), line("pot", 3)));
    expect(reply).toMatchObject({ outcome: "insufficient_sellable", repeated: false });
    expect(reply.lines.map(({ outcome, state }) => [outcome, state])).toEqual([
      ["accepted", "none"],
      ["insufficient_sellable", "none"],
    ]);
    expect(await held("cup")).toMatchObject({ sellable: 5, reserved: 0 });
    expect(await held("pot")).toMatchObject({ sellable: 2, reserved: 0 });
  });

  it("refused before and sent again takes nothing: the other line is closed to older tries, and no more", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 2)]);
    const placed = order(line("cup", 2), line("pot", 3));
    const first = await orderService.place(placed);
    const before = ledger.commands;
    expect(await orderService.place(placed)).toEqual({ ...first, repeated: true });
    expect(ledger.commands).toBe(before + 1);
    expect(
      await ledger.apply({
        kind: "reserve",
        id: lineId(placed.id, 0),
        sku: "cup",
        location: AT,
        units: 2,
        ofOrder: true,
      }),
    ).toEqual({ outcome: "superseded", repeated: false, state: "none" });
    expect(await held("cup")).toMatchObject({ sellable: 5, reserved: 0 });
  });

  it("is refused as a whole also when the hold of a line ends before it is given up", async () => {
    await receive("cup", 5);
    const slow = stepwise(async ({ kind }) => {
      if (kind === "abort") await pass(HOLD_MS);
    });
    const placed: Order = { ...order(line("cup", 2), line("nothing")), holdMs: 1_000 };
    expect((await new OrderService(slow, orderStore).place(placed)).outcome).toBe("unknown_sku");
    expect(await held("cup")).toMatchObject({ sellable: 5, reserved: 0 });
  });

  it("sent again while it is under way waits for the first answer and costs nothing more", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 5)]);
    const placed = order(line("cup", 2), line("pot", 3));
    const before = ledger.commands;
    const replies = await Promise.all(Array.from({ length: 20 }, () => orderService.place(placed)));
    expect(replies.map(({ outcome, repeated }) => [outcome, repeated])).toEqual([
      ["accepted", false],
      ...Array(19).fill(["accepted", true]),
    ]);
    // A reservation a line, and that it counts as demand.
    expect(ledger.commands).toBe(before + 2 * placed.lines.length);
  });

  it("counts the same SKU on two lines together", async () => {
    await receive("cup", 3);
    expect((await orderService.place(order(line("cup", 2), line("cup", 2)))).outcome).toBe("insufficient_sellable");
    expect(await held("cup")).toMatchObject({ sellable: 3, reserved: 0 });
    expect((await orderService.place(order(line("cup", 2), line("cup", 1)))).outcome).toBe("accepted");
  });

  it("names the refusal that comes first, whichever line it is on", async () => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    await ledger.breakers.set({ kind: "sku", sku: "pot" }, "open", { actor: "lin", reason: "count", forMs: 0 });
    expect((await orderService.place(order(line("cup", 9), line("unknown"), line("pot")))).outcome).toBe(
      "breaker_open",
    );
    expect((await orderService.place(order(line("cup", 9), line("unknown")))).outcome).toBe("unknown_sku");
  });

  it("sent again gets its first answer again", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 1)]);
    const good = order(line("cup", 2), line("pot"));
    const bad = order(line("cup", 2), line("pot"));
    await orderService.place(good);
    await orderService.place(bad);
    expect(await orderService.place(good)).toMatchObject({ outcome: "accepted", repeated: true });
    await receive("pot", 10);
    expect(await orderService.place(bad)).toMatchObject({ outcome: "insufficient_sellable", repeated: true });
    expect(await held("cup")).toMatchObject({ sellable: 3, reserved: 2 });
    expect(await held("pot")).toMatchObject({ sellable: 10, reserved: 1 });
  });

  it("that comes with another body under its id is refused, and the first stays as it is", async () => {
    await Promise.all([receive("cup", 50), receive("pot", 50)]);
    const first = order(line("cup", 2), line("pot", 3));
    await orderService.place(first);
    const others: Partial<Order>[] = [
      { lines: [line("cup", 2), line("pot", 4)] },
      { lines: [line("cup", 2), line("pan", 3)] },
      { lines: [line("cup", 2, { location: "GZ" }), line("pot", 3)] },
      { lines: [line("cup", 2, { pool: "presale" }), line("pot", 3)] },
      { lines: [line("cup", 2)] },
      { lines: [line("cup", 2), line("pot", 3), line("cup", 1)] },
      { lines: [line("pot", 3), line("cup", 2)] },
      { holdMs: 60_000 },
    ];
    for (const other of others)
      expect(await orderService.place({ ...first, ...other }), JSON.stringify(other)).toEqual({
        id: first.id,
        outcome: "id_reused",
        repeated: false,
        lines: [],
      });
    // Saying what goes without saying is no other body.
    expect(
      await orderService.place({ ...first, lines: [line("cup", 2, { pool: "sellable" }), line("pot", 3)] }),
    ).toMatchObject({ repeated: true });
    expect(await held("cup")).toMatchObject({ sellable: 48, reserved: 2 });
    expect(await held("pot")).toMatchObject({ sellable: 47, reserved: 3 });
  });

  it("of nobody's is unknown in every step", async () => {
    for (const step of ["pay", "cancel", "outbound"] as const)
      expect(await orderService[step](newId())).toMatchObject({ outcome: "unknown_order", lines: [] });
    expect(await orderService.read(newId())).toBeUndefined();
  });

  it("is remembered in a bucket that lives as long as the ledger remembers its lines", async () => {
    await receive("cup", 1);
    const placed = order(line("cup"));
    await orderService.place(placed);
    const buckets = await redis.keys(`${prefix}:{orders:*}:orders:*`);
    expect(buckets).toHaveLength(1);
    const [bucket] = buckets as [string];
    expect(
      bucket.endsWith(
        orderKeys(prefix, 0)
          .orders(NOW / 86_400_000)
          .split("}")[1] as string,
      ),
    ).toBe(true);
    // The bucket may be begun a day early; the last day counts whole; held lines are kept for 4 days more.
    expect(await client.ttl(bucket)).toBeGreaterThan((1 + 6) * 86_400 - 60);
  });
});

describe("a desk that dies half-way", () => {
  it("leaks nothing: the same order sent again goes on where it stopped", async () => {
    for (const sku of ["a", "b", "c"]) await receive(sku, 1);
    const placed = order(line("a"), line("b"), line("c"));
    await expect(new OrderService(mortal(2), orderStore).place(placed)).rejects.toThrow("gone");
    expect(await held("a")).toMatchObject({ sellable: 0, reserved: 1 });
    expect(await held("c")).toMatchObject({ sellable: 1, reserved: 0 });
    expect(await orderService.place(placed)).toMatchObject({ outcome: "accepted", repeated: false });
    expect(await statesOf(placed.id)).toEqual(["held", "held", "held"]);
    for (const sku of ["a", "b", "c"]) expect(await held(sku)).toMatchObject({ sellable: 0, reserved: 1 });
  });

  it("leaks nothing when nobody comes back: the holds expire", async () => {
    for (const sku of ["a", "b", "c"]) await receive(sku, 1);
    await expect(new OrderService(mortal(2), orderStore).place(order(line("a"), line("b"), line("c")))).rejects.toThrow(
      "gone",
    );
    await pass(HOLD_MS);
    for (const sku of ["a", "b", "c"]) expect(await held(sku)).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("and is asked again after the holds have run out: nothing is held, for good", async () => {
    for (const sku of ["a", "b", "c"]) await receive(sku, 1);
    const placed = order(line("a"), line("b"), line("c"));
    await expect(new OrderService(mortal(2), orderStore).place(placed)).rejects.toThrow("gone");
    await pass(HOLD_MS);
    for (let again = 0; again < 3; again++) {
      expect((await orderService.place(placed)).outcome).toBe("hold_expired");
      for (const sku of ["a", "b", "c"]) expect(await held(sku)).toMatchObject({ sellable: 1, reserved: 0 });
    }
  });

  it("before it could undo a refused order: the same order sent again undoes it", async () => {
    await receive("a", 1);
    await receive("b", 1);
    const placed = order(line("a"), line("b"), line("none"));
    await expect(new OrderService(mortal(3), orderStore).place(placed)).rejects.toThrow("gone");
    expect(await held("a")).toMatchObject({ reserved: 1 });
    expect((await orderService.place(placed)).outcome).toBe("unknown_sku");
    for (const sku of ["a", "b"]) expect(await held(sku)).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("while another desk refuses the same order for good: nothing of it is held after that no", async () => {
    await Promise.all([receive("a", 1), receive("b", 1)]);
    const placed = order(line("a"), line("b"), line("none"));
    // The first try has read how many there are; then the second takes its lines and dies before it can undo them.
    let dead: Promise<unknown> | undefined;
    const slow = new OrderService(
      stepwise(async ({ kind }) => {
        if (kind !== "abort" || dead) return;
        dead = new OrderService(mortal(3), orderStore).place(placed);
        await dead.catch(() => {});
      }),
      orderStore,
    );
    expect(await slow.place(placed)).toMatchObject({ outcome: "unknown_sku" });
    await expect(dead).rejects.toThrow("gone");
    for (const sku of ["a", "b"]) expect(await held(sku)).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("while it takes a payment that must be refused: the payment sent again gives everything back", async () => {
    for (const sku of ["a", "b", "c"]) await receive(sku, 1);
    const placed = order(line("a"), line("b"), line("c"));
    await orderService.place(placed);
    await pass(HOLD_MS);
    await orderService.place(order(line("b")));
    // a is paid anew, b is gone, and nobody is left to give a back.
    await expect(new OrderService(mortal(3), orderStore).pay(placed.id)).rejects.toThrow("gone");
    expect(await held("a")).toMatchObject({ sellable: 0, committed: 1 });
    expect((await orderService.pay(placed.id)).outcome).toBe("hold_expired");
    for (const sku of ["a", "c"]) expect(await held(sku)).toMatchObject({ sellable: 1, reserved: 0, committed: 0 });
  });

  it("while it takes a payment, a cancellation or an outbound: the step sent again ends it", async () => {
    for (const [step, state] of [
      ["pay", "paid"],
      ["outbound", "outbound"],
    ] as const) {
      for (const sku of ["a", "b"]) await receive(sku, 1);
      const placed = order(line("a"), line("b"));
      await orderService.place(placed);
      if (step === "outbound") await orderService.pay(placed.id);
      await expect(new OrderService(mortal(1), orderStore)[step](placed.id)).rejects.toThrow("gone");
      expect(await orderService[step](placed.id)).toMatchObject({ outcome: "accepted" });
      expect(await statesOf(placed.id)).toEqual([state, state]);
      expect(await orderService[step](placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
    }
    for (const sku of ["a", "b"]) await receive(sku, 1);
    const placed = order(line("a"), line("b"));
    await orderService.place(placed);
    await expect(new OrderService(mortal(1), orderStore).cancel(placed.id)).rejects.toThrow("gone");
    expect((await orderService.cancel(placed.id)).outcome).toBe("accepted");
    expect(await statesOf(placed.id)).toEqual(["cancelled", "cancelled"]);
  });
});

describe("a breaker", () => {
  const breaker = { kind: "sku", sku: "pot" } as const;
  const cause = { actor: "lin", reason: "count", forMs: 0 };

  it("that opens between two lines refuses the order as a whole; after it has closed the same order succeeds", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 5)]);
    const placed = order(line("cup", 2), line("pot", 2));
    const slow = new OrderService(
      stepwise(async ({ kind }, position) => {
        if (kind === "reserve" && position === 1) await ledger.breakers.set(breaker, "open", cause);
      }),
      orderStore,
    );
    expect(await slow.place(placed)).toMatchObject({ outcome: "breaker_open", repeated: false });
    expect(await held("cup")).toMatchObject({ sellable: 5, reserved: 0 });
    expect(await orderService.place(placed)).toMatchObject({ outcome: "breaker_open", repeated: false });
    await ledger.breakers.set(breaker, "close", cause);
    expect(await orderService.place(placed)).toMatchObject({ outcome: "accepted", repeated: false });
    expect(await statesOf(placed.id)).toEqual(["held", "held"]);
  });

  it("does not stop payments, cancellations and outbound", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 5)]);
    const [one, two] = [order(line("cup"), line("pot")), order(line("cup"), line("pot"))];
    await orderService.place(one);
    await orderService.place(two);
    await ledger.breakers.set({ kind: "shop" }, "open", cause);
    expect((await orderService.pay(one.id)).outcome).toBe("accepted");
    expect((await orderService.outbound(one.id)).outcome).toBe("accepted");
    expect((await orderService.cancel(two.id)).outcome).toBe("accepted");
    expect((await orderService.place(one)).outcome).toBe("accepted");
    expect((await orderService.place(order(line("cup")))).outcome).toBe("breaker_open");
  });

  it("and two desks with one order: what one has been told is held, the other does not give back", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 5)]);
    const placed = order(line("cup", 2), line("pot", 2));
    const doors = [0, 1].map(() => {
      let open: () => void = () => {};
      const closed = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, closed };
    });
    const [first, second] = doors as [(typeof doors)[0], (typeof doors)[0]];
    // The first try has its number and then stands still before its first line.
    const slow = new OrderService(
      stepwise(({ kind }, at) => (kind === "reserve" && at === 0 ? first.closed : undefined)),
      orderStore,
    );
    // The second finds the breaker open on its second line, and stands still before it undoes the first line.
    const refused = new OrderService(
      stepwise(({ kind }) => (kind === "abort" ? second.closed : undefined)),
      orderStore,
    );
    const slowReply = slow.place(placed);
    await expect.poll(() => orderStore.find(placed.id)).toBeDefined();
    await ledger.breakers.set(breaker, "open", cause);
    const refusedReply = refused.place(placed);
    await expect.poll(async () => (await held("cup"))?.reserved).toBe(2);
    await ledger.breakers.set(breaker, "close", cause);
    first.open();
    expect(await slowReply).toMatchObject({ outcome: "accepted" });
    second.open();
    // The newer try's answer counts: sent again, the older gets it, too.
    await expect(refusedReply).rejects.toMatchObject({ code: "contended", retryable: true });
    expect(await refused.place(placed)).toMatchObject({ outcome: "accepted", repeated: true });
    expect(await statesOf(placed.id)).toEqual(["held", "held"]);
    expect(await held("cup")).toMatchObject({ sellable: 3, reserved: 2 });
  });
});

describe("after a hold has expired", () => {
  it("a payment is admitted anew while there are units", async () => {
    await Promise.all([receive("cup", 2), receive("pot", 2)]);
    const placed = order(line("cup"), line("pot"));
    await orderService.place(placed);
    await pass(HOLD_MS);
    expect(await held("cup")).toMatchObject({ sellable: 2, reserved: 0 });
    expect(await orderService.pay(placed.id)).toMatchObject({ outcome: "admitted_anew" });
    expect(await held("cup")).toMatchObject({ sellable: 1, committed: 1 });
    expect(await orderService.pay(placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
  });

  it("a payment that was answered stays, though an older one of the same order was refused and undoes what it had paid", async () => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    const placed = order(line("cup"), line("pot"));
    await orderService.place(placed);
    await pass(HOLD_MS);
    const other = order(line("pot"));
    await orderService.place(other);
    let second: OrderReply | undefined;
    const slow = new OrderService(
      stepwise(async ({ kind }) => {
        if (kind !== "unpay" || second) return;
        await orderService.cancel(other.id);
        second = await orderService.pay(placed.id);
      }),
      orderStore,
    );
    await expect(slow.pay(placed.id)).rejects.toMatchObject({ code: "contended", retryable: true });
    expect(await slow.pay(placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
    expect(second).toMatchObject({ outcome: "admitted_anew" });
    expect(await statesOf(placed.id)).toEqual(["paid", "paid"]);
  });

  it("a payment is refused as a whole when one line's units are gone, and tells no line as paid", async () => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    const placed = order(line("cup"), line("pot"));
    await orderService.place(placed);
    await pass(HOLD_MS);
    const other = order(line("pot"));
    await orderService.place(other);
    const reply = await orderService.pay(placed.id);
    expect(reply.outcome).toBe("hold_expired");
    expect(reply.lines.map(({ state }) => state)).toEqual(["unpaid", "unpaid"]);
    expect(await held("cup")).toMatchObject({ sellable: 1, committed: 0 });
    expect(await held("pot")).toMatchObject({ sellable: 0, reserved: 1, committed: 0 });
    // When the units come back the order may be paid anew: all of it.
    await orderService.cancel(other.id);
    expect((await orderService.pay(placed.id)).outcome).toBe("admitted_anew");
    for (const sku of ["cup", "pot"]) expect(await held(sku)).toMatchObject({ sellable: 0, reserved: 0, committed: 1 });
  });

  it("goods that have left have left: their units are taken from what nobody has been promised", async () => {
    await receive("cup", 2);
    const placed = order(line("cup"));
    await orderService.place(placed);
    await pass(HOLD_MS);
    expect(await held("cup")).toMatchObject({ sellable: 2 });
    expect((await orderService.outbound(placed.id)).outcome).toBe("accepted");
    expect(await held("cup")).toMatchObject({ sellable: 1, reserved: 0, committed: 0 });
  });

  it("a paid order goes out once", async () => {
    await receive("cup", 2);
    const placed = order(line("cup"));
    await orderService.place(placed);
    await orderService.pay(placed.id);
    expect(await orderService.outbound(placed.id)).toMatchObject({ outcome: "accepted", repeated: false });
    expect(await orderService.outbound(placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
    expect((await orderService.cancel(placed.id)).outcome).toBe("already_outbound");
    expect(await held("cup")).toMatchObject({ sellable: 1, reserved: 0, committed: 0 });
  });
});

describe("a paid order", () => {
  it("that is cancelled tells that money has to go back, once and again", async () => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    const placed = order(line("cup"), line("pot"));
    await orderService.place(placed);
    await orderService.pay(placed.id);
    expect(await orderService.cancel(placed.id)).toMatchObject({ outcome: "cancelled_paid", repeated: false });
    expect(await orderService.cancel(placed.id)).toMatchObject({ outcome: "cancelled_paid", repeated: true });
    expect((await orderService.pay(placed.id)).outcome).toBe("line_cancelled");
  });

  it("one line of which was cancelled by hand keeps the others when its payment is told again", async () => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    const placed = order(line("cup"), line("pot"));
    await orderService.place(placed);
    await orderService.pay(placed.id);
    expect((await orderService.cancel(placed.id, undefined, [1])).outcome).toBe("cancelled_paid");
    expect((await orderService.pay(placed.id)).outcome).toBe("line_cancelled");
    expect(await statesOf(placed.id)).toEqual(["cancelled_paid", "paid"]);
  });
});

describe("the cancellation of a paid order", () => {
  const stepsOf = async (): Promise<string[]> => {
    const logs = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) => readLog(client, orderKeys(prefix, partition).log, 0, 1_000)),
    );
    return logs.flat().flatMap((entry) => orderEventsOf(entry).events.map(({ step }) => step));
  };
  const paid = async (...lines: OrderLine[]): Promise<Order> => {
    const placed = order(...lines);
    await orderService.place(placed);
    await orderService.pay(placed.id);
    return placed;
  };
  const atWarehouse = async (...lines: OrderLine[]): Promise<Order> => {
    const placed = await paid(...lines);
    await orderService.record(placed.id, "picking", { source: "wms" });
    return placed;
  };
  const evidence = { source: "wms" };

  it("tells the log once whether the order was locked, for a warehouse may have it then", async () => {
    await receive("cup", 4);
    const detailsOf = async (id: string) => {
      const log = await readLog(client, orderKeys(prefix, orderStore.partitionOf(id)).log, 0, 1_000);
      const told = log.flatMap((entry) => orderEventsOf(entry).events).filter((event) => event.id === id);
      return told.filter(({ step }) => step.startsWith("cancel")).map(({ step, detail }) => [step, detail?.["after"]]);
    };
    const unpaid = order(line("cup"));
    await orderService.place(unpaid);
    await orderService.cancel(unpaid.id);
    expect(await detailsOf(unpaid.id)).toEqual([["cancelled", undefined]]);
    const { id: alone } = await paid(line("cup"));
    await orderService.cancel(alone);
    expect(await detailsOf(alone)).toEqual([["cancelled", "locked"]]);
    const { id } = await atWarehouse(line("cup"));
    await orderService.cancel(id);
    await orderService.settleCancellation(id, "withdrawn", evidence);
    expect(await detailsOf(id)).toEqual([
      ["cancelling", "locked"],
      ["cancelled", undefined],
    ]);
    const old = { redis: client, prefix, partitions: PARTITIONS, format: () => 1 };
    const oldDesk = new OrderService(new Ledger({ ...old, clock }), new OrderStore({ ...old, keepSeconds: 86_400 }));
    const ofFormat1 = order(line("cup"));
    await oldDesk.place(ofFormat1);
    await oldDesk.pay(ofFormat1.id);
    await oldDesk.cancel(ofFormat1.id);
    expect(await detailsOf(ofFormat1.id)).toEqual([["cancelled", "locked"]]);
  });

  it("and its outbound and settlement, sent again while they are under way, cost nothing more", async () => {
    await Promise.all([receive("cup", 3), receive("pot", 3)]);
    const commandsOf = async (times: number, ask: () => Promise<OrderReply>): Promise<number> => {
      const before = ledger.commands;
      const replies = await Promise.all(Array.from({ length: times }, ask));
      expect(new Set(replies.map(({ outcome }) => outcome)).size).toBe(1);
      expect(replies.map(({ repeated }) => repeated)).toEqual(replies.map((_, i) => i > 0));
      return ledger.commands - before;
    };
    const { id } = await atWarehouse(line("cup"), line("pot"));
    expect(await commandsOf(20, () => orderService.cancel(id))).toBe(2);
    expect(await commandsOf(20, () => orderService.settleCancellation(id, "withdrawn", evidence))).toBe(4);
    const { id: part } = await atWarehouse(line("cup"), line("pot"));
    expect(await commandsOf(20, () => orderService.outbound(part, undefined, [2]))).toBe(1);
    // Other lines are another request.
    const [cup, all] = await Promise.all([orderService.outbound(part, undefined, [1]), orderService.outbound(part)]);
    expect([cup, all].map(({ lines }) => lines.map(({ state }) => state))).toEqual(
      Array(2).fill(["outbound", "outbound"]),
    );
  });

  it("reads an order's record once, and asks for a warehouse only where one may know of it", async () => {
    await receive("cup", 3);
    const counted = redis.connect();
    // Connecting makes calls of its own.
    await counted.ping();
    const sender = counted as unknown as { sendCommand(...call: unknown[]): unknown };
    const send = sender.sendCommand.bind(counted);
    let calls = 0;
    sender.sendCommand = (...call) => {
      calls++;
      return send(...call);
    };
    const of = { redis: counted, prefix, partitions: PARTITIONS };
    const own = new OrderService(new Ledger({ ...of, clock }), new OrderStore({ ...of, keepSeconds: 86_400 }));
    const callsOf = async (id: string): Promise<[outcome: string, calls: number]> => {
      calls = 0;
      const { outcome } = await own.cancel(id);
      return [outcome, calls];
    };
    const unpaid = order(line("cup"));
    await orderService.place(unpaid);
    expect(await callsOf(unpaid.id)).toEqual(["accepted", 4]);
    await orderStore.waiting.begin();
    const [first, second] = [await paid(line("cup")), await paid(line("cup"))];
    expect(await callsOf(first.id)).toEqual(["cancelling", 4]);
    expect(await callsOf(second.id)).toEqual(["cancelling", 3]);
  });

  it("keeps the units committed until the warehouse has let go", async () => {
    await Promise.all([receive("cup", 2), receive("pot", 2)]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    expect(await orderService.cancel(id)).toMatchObject({ outcome: "cancelling", repeated: false });
    expect(await orderService.cancel(id)).toMatchObject({ outcome: "cancelling", repeated: true });
    expect(await statesOf(id)).toEqual(["cancelling", "cancelling"]);
    expect(await held("cup")).toMatchObject({ sellable: 1, committed: 1 });
    expect(await orderService.settleCancellation(id, "withdrawn", evidence)).toMatchObject({
      outcome: "cancelled_paid",
      repeated: false,
    });
    expect(await orderService.settleCancellation(id, "withdrawn", evidence)).toMatchObject({
      outcome: "cancelled_paid",
      repeated: true,
    });
    expect((await orderService.settleCancellation(id, "refused", evidence)).outcome).toBe("line_cancelled");
    expect(await orderService.cancel(id)).toMatchObject({ outcome: "cancelled_paid", repeated: true });
    for (const sku of ["cup", "pot"]) expect(await held(sku)).toMatchObject({ sellable: 2, committed: 0 });
    expect((await stepsOf()).filter((step) => step.startsWith("cancel"))).toEqual(["cancelling", "cancelled"]);
  });

  it("is over when the warehouse refuses: the order goes on, and asking again gets no", async () => {
    await receive("cup", 1);
    const { id } = await atWarehouse(line("cup"));
    await orderService.cancel(id);
    expect(await orderService.settleCancellation(id, "refused", evidence)).toMatchObject({
      outcome: "accepted",
      repeated: false,
    });
    expect(await orderService.settleCancellation(id, "refused", evidence)).toMatchObject({
      outcome: "accepted",
      repeated: true,
    });
    expect(await statesOf(id)).toEqual(["paid"]);
    expect((await orderService.cancel(id)).outcome).toBe("cancellation_refused");
    expect((await orderService.outbound(id)).outcome).toBe("accepted");
    expect(await held("cup")).toMatchObject({ sellable: 0, committed: 0 });
  });

  it("of which the goods leave meanwhile gives nothing back", async () => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    await orderService.cancel(id);
    await orderService.outbound(id, undefined, [1]);
    expect((await orderService.settleCancellation(id, "withdrawn", evidence)).outcome).toBe("cancelled_paid");
    expect(await statesOf(id)).toEqual(["outbound", "cancelled_paid"]);
    const other = await atWarehouse(line("pot"));
    await orderService.cancel(other.id);
    await orderService.outbound(other.id);
    expect((await orderService.settleCancellation(other.id, "withdrawn", evidence)).outcome).toBe("already_outbound");
    expect(await held("pot")).toMatchObject({ sellable: 0, committed: 0 });
  });

  it("that nobody has asked for is not settled", async () => {
    await receive("cup", 1);
    const { id } = await atWarehouse(line("cup"));
    expect((await orderService.settleCancellation(id, "withdrawn", evidence)).outcome).toBe("not_cancelling");
    expect((await orderService.settleCancellation(newId(), "refused", evidence)).outcome).toBe("unknown_order");
  });

  it("takes all lines or none", async () => {
    await Promise.all([receive("cup", 2), receive("tea", 1), receive("tea", 1, AT, "presale")]);
    const { id } = await paid(line("cup"), { ...line("tea"), pool: "presale" });
    await orderService.outbound(id, undefined, [1]);
    expect((await orderService.cancel(id)).outcome).toBe("already_outbound");
    expect(await statesOf(id)).toEqual(["outbound", "paid"]);
    expect((await orderService.cancel(id, undefined, [2])).outcome).toBe("cancelled_paid");
    expect(await statesOf(id)).toEqual(["outbound", "cancelled_paid"]);
    expect(await held("tea")).toMatchObject({ sellable: 1, presale: 1 });
  });

  it("names lines only of a paid order, and of none that a warehouse has", async () => {
    await Promise.all([receive("cup", 5), receive("pot", 5)]);
    const placed = order(line("cup"), line("pot"));
    await orderService.place(placed);
    expect((await orderService.cancel(placed.id, undefined, [1])).outcome).toBe("not_paid");
    expect(await statesOf(placed.id)).toEqual(["held", "held"]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    expect((await orderService.cancel(id, undefined, [1])).outcome).toBe("whole_order_only");
    expect(await statesOf(id)).toEqual(["paid", "paid"]);
    expect((await orderService.cancel(id, undefined, [3])).outcome).toBe("unknown_line");
  });

  it("does what it did before while the previous release reads along", async () => {
    const old = { redis: client, prefix, partitions: PARTITIONS, format: () => 1 };
    const oldDesk = new OrderService(new Ledger({ ...old, clock }), new OrderStore({ ...old, keepSeconds: 86_400 }));
    const placed = order(line("cup"));
    await receive("cup", 1);
    await oldDesk.place(placed);
    await oldDesk.pay(placed.id);
    await oldDesk.record(placed.id, "picking", evidence);
    expect((await oldDesk.cancel(placed.id)).outcome).toBe("cancelled_paid");
  });

  it.each([1, 2, 3, 4, 5, 6])("that is cut off after %i calls is brought to its end by the next", async (calls) => {
    await Promise.all([receive("cup", 1), receive("pot", 1)]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    await new OrderService(mortal(calls), orderStore).cancel(id).catch(() => {});
    expect((await orderService.cancel(id)).outcome).toBe("cancelling");
    await new OrderService(mortal(calls), orderStore).settleCancellation(id, "withdrawn", evidence).catch(() => {});
    expect((await orderService.settleCancellation(id, "withdrawn", evidence)).outcome).toBe("cancelled_paid");
    for (const sku of ["cup", "pot"]) expect(await held(sku)).toMatchObject({ sellable: 1, committed: 0 });
  });

  it("and its payment, outbound and settlement at once in two processes leave whole orders", async () => {
    const random = seededRandom(66);
    const other = new OrderService(newLedger(), orderStore);
    await Promise.all([receive("cup", 40), receive("pot", 40)]);
    for (let i = 0; i < 30; i++) {
      const placed = order(line("cup"), line("pot"));
      await orderService.place(placed);
      if (random.below(2) === 0) await orderService.record(placed.id, "picking", evidence);
      const at = () => random.pick([orderService, other]);
      const work = [
        () => at().pay(placed.id),
        () => at().pay(placed.id),
        () => at().cancel(placed.id),
        () => at().cancel(placed.id),
        () => at().settleCancellation(placed.id, random.pick(["withdrawn", "refused"] as const), evidence),
      ];
      if (random.below(4) === 0) work.push(() => at().outbound(placed.id));
      await Promise.allSettled(work.map((each) => each()));
      await orderService.cancel(placed.id);
      await orderService.settleCancellation(placed.id, "withdrawn", evidence);
      const states = (await statesOf(placed.id)) ?? [];
      expect(["cancelled", "cancelled_paid", "outbound"]).toContain(states[0]);
      for (const state of states) expect(state.startsWith("cancelled")).toBe(states[0]?.startsWith("cancelled"));
    }
    const cells = await Promise.all(["cup", "pot"].map((sku) => held(sku)));
    for (const cell of cells) expect(cell).toMatchObject({ reserved: 0, committed: 0 });
    expect(cells[0]).toEqual(cells[1]);
  });
});

describe("a cancelled order whose lines the ledger has lost with its newest writes", () => {
  it("is cancelled once more when that is asked again: the warehouse has answered", async () => {
    await orderStore.waiting.begin();
    await receive("cup", 10);
    const placed = order(line("cup", 5));
    await orderService.place(placed);
    await orderService.pay(placed.id);
    expect((await orderService.cancel(placed.id)).outcome).toBe("cancelling");
    const keys = [...(await redis.keys(`${prefix}:{stock*lines:*`)), ...(await redis.keys(`${prefix}:{stock*cells`))];
    const before = await Promise.all(keys.map((key) => client.dumpBuffer(key)));
    const evidence = { source: "wms" };
    expect((await orderService.settleCancellation(placed.id, "withdrawn", evidence)).outcome).toBe("cancelled_paid");
    for (const [i, key] of keys.entries()) await client.restore(key, 0, before[i] as Buffer, "REPLACE");
    expect(await statesOf(placed.id)).toEqual(["cancelling"]);
    expect((await orderService.cancel(placed.id)).outcome).toBe("cancelled_paid");
    expect(await held("cup")).toMatchObject({ sellable: 10, committed: 0 });
  });
});

describe("units that the books have nowhere", () => {
  async function partlyOut(): Promise<{ id: string; open: () => Promise<unknown[]> }> {
    await receive("cup", 10);
    const { id } = order();
    await orderService.place({ id, lines: [line("cup", 5), line("cup", 5)] });
    await orderService.pay(id);
    await ledger.apply({ kind: "correct", id: newId(), sku: "cup", location: AT, units: -8, pool: "committed" });
    await orderService.outbound(id, undefined, [1]);
    const open = async () => {
      const log = await readLog(client, orderKeys(prefix, orderStore.partitionOf(id)).log, 0, 100);
      const flow = newFlow();
      for (const event of log.flatMap((entry) => orderEventsOf(entry).events)) takeStep(flow, event, {});
      return flow.open.map(({ kind, units }) => [kind, units]);
    };
    return { id, open };
  }

  it("are told once when the parts of an order leave one after the other, and again", async () => {
    const { id, open } = await partlyOut();
    expect(await open()).toEqual([["unexplained_outbound", 3]]);
    await orderService.outbound(id);
    expect(await open()).toEqual([["unexplained_outbound", 8]]);
  });

  it("are told of what has left, and not once more of the rest, which is cancelled", async () => {
    const { id, open } = await partlyOut();
    await ledger.apply({ kind: "correct", id: newId(), sku: "cup", location: AT, units: 5, pool: "committed" });
    expect((await orderService.cancel(id, undefined, [2])).outcome).toBe("cancelled_paid");
    expect(await open()).toEqual([["unexplained_outbound", 3]]);
  });
});

describe("under contention", () => {
  const SKUS = Array.from({ length: 10 }, (_, i) => `s${i}`);

  it.each([1, 2, 3])("no order is partly held and no unit is lost or sold twice (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    const STOCK = 25;
    for (const sku of SKUS) for (const location of [AT, "GZ"]) await receive(sku, STOCK, location);
    const desks = [
      orderService,
      new OrderService(
        newLedger(),
        new OrderStore({ redis: redis.connect(), prefix, partitions: PARTITIONS, keepSeconds: 86_400 }),
      ),
    ];
    const randomLine = () => line(random.pick(SKUS), 1 + random.below(3), { location: random.pick([AT, "GZ"]) });
    const orders = Array.from({ length: 400 }, () => order(...Array.from({ length: 1 + random.below(4) }, randomLine)));
    // Two waves, some orders twice or three times at once, by both desks.
    const told = new Map<string, Set<string>>();
    for (const wave of [orders.slice(0, 200), orders.slice(200)]) {
      const sent = wave.flatMap((placed) => Array.from({ length: 1 + (random.below(3) === 0 ? 2 : 0) }, () => placed));
      await Promise.all(
        sent.map(async (placed) => {
          const { outcome } = await random.pick(desks).place(placed);
          told.set(placed.id, (told.get(placed.id) ?? new Set()).add(outcome));
        }),
      );
    }
    const reserved = new Map<string, number>();
    let accepted = 0;
    for (const { id, lines } of orders) {
      const states = new Set(await statesOf(id));
      expect(states.size, `seed ${seed}, order ${id}: ${[...states]}`).toBe(1);
      const isHeld = states.has("held");
      expect([...(told.get(id) as Set<string>)], `seed ${seed}, order ${id}`).toEqual([
        isHeld ? "accepted" : "insufficient_sellable",
      ]);
      if (!isHeld) continue;
      accepted++;
      for (const { sku, location, units } of lines) {
        const cell = `${sku}@${location}`;
        reserved.set(cell, (reserved.get(cell) ?? 0) + units);
      }
    }
    expect(accepted).toBeGreaterThan(30);
    expect(accepted).toBeLessThan(400);
    for (const sku of SKUS) {
      for (const location of [AT, "GZ"]) {
        const units = reserved.get(`${sku}@${location}`) ?? 0;
        expect(await held(sku, location), `seed ${seed}`).toEqual({
          sellable: STOCK - units,
          reserved: units,
          committed: 0,
          safety: 0,
          presale: 0,
        });
      }
    }
  });

  it("one order placed twenty times at once is held once, or not at all", async () => {
    await Promise.all([receive("s1", 40), receive("s2", 40), receive("s3", 2)]);
    const other = new OrderService(newLedger(), orderStore);
    const good = order(line("s1", 2), line("s2", 2));
    const bad = order(line("s1", 2), line("s2", 2), line("s3", 3));
    const replies = await Promise.all(
      Array.from({ length: 40 }, (_, i) => (i % 2 ? orderService : other).place(i % 4 < 2 ? good : bad)),
    );
    expect(new Set(replies.filter(({ id }) => id === good.id).map(({ outcome }) => outcome))).toEqual(
      new Set(["accepted"]),
    );
    expect(new Set(replies.filter(({ id }) => id === bad.id).map(({ outcome }) => outcome))).toEqual(
      new Set(["insufficient_sellable"]),
    );
    for (const sku of ["s1", "s2"]) expect(await held(sku)).toMatchObject({ sellable: 38, reserved: 2 });
  });

  it("with a breaker that opens and closes all the time, whoever is told accepted holds the whole order", async () => {
    const random = seededRandom(9);
    for (const sku of SKUS) await receive(sku, 10_000);
    const other = new OrderService(newLedger(), orderStore);
    const orders = Array.from({ length: 120 }, () =>
      order(...Array.from({ length: 3 }, () => line(random.pick(SKUS)))),
    );
    const accepted = new Set<string>();
    let refused = 0;
    let isOver = false;
    const shut: BreakerScope[] = [];
    const cause = { actor: "lin", reason: "drill", forMs: 0 };
    const flapping = (async () => {
      for (;;) {
        // Some are always shut, and never the same ones.
        while (shut.length > (isOver ? 0 : 2)) await ledger.breakers.set(shut.shift() as BreakerScope, "close", cause);
        if (isOver) return;
        const scope = { kind: "sku", sku: random.pick(SKUS) } as const;
        await ledger.breakers.set(scope, "open", cause);
        shut.push(scope);
      }
    })();
    await Promise.all(
      orders.flatMap((placed) =>
        [orderService, other, orderService].map(async (at) => {
          for (let tries = 0; tries < 4; tries++) {
            const outcome = await at.place(placed).then(
              (reply) => reply.outcome,
              (fault) => (fault as EngineError).code,
            );
            if (outcome === "accepted") accepted.add(placed.id);
            else refused++;
          }
        }),
      ),
    ).finally(() => {
      isOver = true;
      return flapping;
    });
    expect(refused).toBeGreaterThan(0);
    for (const id of accepted) expect(await statesOf(id)).toEqual(["held", "held", "held"]);
    for (const placed of orders) expect((await orderService.place(placed)).outcome).toBe("accepted");
  });

  it("units are conserved through random placing, paying, cancelling, sending out and expiring", async () => {
    const random = seededRandom(77);
    const STOCK = 30;
    for (const sku of SKUS) await receive(sku, STOCK);
    const placed: Order[] = [];
    for (let turn = 0; turn < 40; turn++) {
      const work: Promise<unknown>[] = [];
      for (let i = 0; i < 12; i++) {
        const known = placed.length > 0 ? random.pick(placed) : undefined;
        const step = random.below(5);
        if (step < 2 || !known) {
          const fresh = order(
            ...Array.from({ length: 1 + random.below(3) }, () => line(random.pick(SKUS), 1 + random.below(2))),
          );
          placed.push(fresh);
          work.push(orderService.place(fresh));
        } else if (step === 2) work.push(orderService.pay(known.id));
        else if (step === 3) work.push(orderService.cancel(known.id));
        else work.push(orderService.outbound(known.id));
      }
      await Promise.all(work);
      if (random.below(4) === 0) await pass(HOLD_MS / 2);
    }
    const inState = { held: 0, paid: 0, outbound: 0 };
    for (const { id } of placed) {
      for (const { state, units, missingUnits = 0 } of (await orderService.read(id)) ?? [])
        if (state === "held" || state === "paid" || state === "outbound") inState[state] += units - missingUnits;
    }
    const sums = { sellable: 0, reserved: 0, committed: 0 };
    for (const sku of SKUS) {
      const cell = await held(sku);
      for (const pool of ["sellable", "reserved", "committed"] as const) sums[pool] += cell?.[pool] ?? Number.NaN;
    }
    expect(sums.reserved).toBe(inState.held);
    expect(sums.committed).toBe(inState.paid);
    expect(sums.sellable + sums.reserved + sums.committed + inState.outbound).toBe(STOCK * SKUS.length);
    expect(inState.outbound).toBeGreaterThan(10);
  });
});

it("an id of a source's own is the same order every time", async () => {
  await receive("cup", 2);
  const id = chainId("TM", NOW, "order 4711");
  await orderService.place({ id, lines: [line("cup")] });
  expect(await orderService.place({ id: chainId("TM", NOW, "order 4711"), lines: [line("cup")] })).toMatchObject({
    repeated: true,
  });
  expect(await held("cup")).toMatchObject({ sellable: 1, reserved: 1 });
});
