/** The cancellation of paid orders, with and without a warehouse that has to withdraw them. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import { orderEventsOf } from "../../engine/orders/log-entry.js";
import type { Order, OrderLine, OrderReply } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { orderKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { AT, line, withOrderBed } from "./order-bed.js";

const bed = withOrderBed();

describe("the cancellation of a paid order", () => {
  const stepsOf = async (): Promise<string[]> => {
    const logs = await Promise.all(
      Array.from({ length: bed.partitions }, (_, partition) =>
        readLog(bed.client, orderKeys(bed.prefix, partition).log, 0, 1_000),
      ),
    );
    return logs.flat().flatMap((entry) => orderEventsOf(entry).events.map(({ step }) => step));
  };
  const paid = async (...lines: OrderLine[]): Promise<Order> => {
    const placed = bed.order(...lines);
    await bed.orderService.place(placed);
    await bed.orderService.pay(placed.id);
    return placed;
  };
  const atWarehouse = async (...lines: OrderLine[]): Promise<Order> => {
    const placed = await paid(...lines);
    await bed.orderService.record(placed.id, "picking", { source: "wms" });
    return placed;
  };
  const evidence = { source: "wms" };

  it("logs once whether the order was locked, because a warehouse may have it then", async () => {
    await bed.receive("cup", 4);
    const detailsOf = async (id: string) => {
      const log = await readLog(bed.client, orderKeys(bed.prefix, bed.orderStore.partitionOf(id)).log, 0, 1_000);
      const events = log.flatMap((entry) => orderEventsOf(entry).events).filter((event) => event.id === id);
      return events
        .filter(({ step }) => step.startsWith("cancel"))
        .map(({ step, detail }) => [step, detail?.["after"]]);
    };
    const unpaid = bed.order(line("cup"));
    await bed.orderService.place(unpaid);
    await bed.orderService.cancel(unpaid.id);
    expect(await detailsOf(unpaid.id)).toEqual([["cancelled", undefined]]);
    const { id: alone } = await paid(line("cup"));
    await bed.orderService.cancel(alone);
    expect(await detailsOf(alone)).toEqual([["cancelled", "locked"]]);
    const { id } = await atWarehouse(line("cup"));
    await bed.orderService.cancel(id);
    await bed.orderService.settleCancellation(id, "withdrawn", evidence);
    expect(await detailsOf(id)).toEqual([
      ["cancelling", "locked"],
      ["cancelled", undefined],
    ]);
    const previous = bed.previousRelease();
    const ofPrevious = bed.order(line("cup"));
    await previous.place(ofPrevious);
    await previous.pay(ofPrevious.id);
    await previous.cancel(ofPrevious.id);
    expect(await detailsOf(ofPrevious.id)).toEqual([["cancelled", "locked"]]);
  });

  it("and its outbound and settlement, sent again while they are under way, send no further command", async () => {
    await Promise.all([bed.receive("cup", 3), bed.receive("pot", 3)]);
    const commandsOf = async (times: number, ask: () => Promise<OrderReply>): Promise<number> => {
      const before = bed.ledger.commands;
      const replies = await Promise.all(Array.from({ length: times }, ask));
      expect(new Set(replies.map(({ outcome }) => outcome)).size).toBe(1);
      expect(replies.map(({ repeated }) => repeated)).toEqual(replies.map((_, i) => i > 0));
      return bed.ledger.commands - before;
    };
    const { id } = await atWarehouse(line("cup"), line("pot"));
    expect(await commandsOf(20, () => bed.orderService.cancel(id))).toBe(2);
    expect(await commandsOf(20, () => bed.orderService.settleCancellation(id, "withdrawn", evidence))).toBe(4);
    const { id: part } = await atWarehouse(line("cup"), line("pot"));
    expect(await commandsOf(20, () => bed.orderService.outbound(part, undefined, [2]))).toBe(1);
    // Other lines are another request.
    const [cup, all] = await Promise.all([
      bed.orderService.outbound(part, undefined, [1]),
      bed.orderService.outbound(part),
    ]);
    expect([cup, all].map(({ lines }) => lines.map(({ state }) => state))).toEqual(
      Array(2).fill(["outbound", "outbound"]),
    );
  });

  it("reads an order's record once, and checks for a warehouse only where one may have the order", async () => {
    await bed.receive("cup", 3);
    const counted = bed.redis.connect();
    // Connecting makes calls of its own.
    await counted.ping();
    const sender = counted as unknown as { sendCommand(...call: unknown[]): unknown };
    const send = sender.sendCommand.bind(counted);
    let calls = 0;
    sender.sendCommand = (...call) => {
      calls++;
      return send(...call);
    };
    const own = new OrderService(bed.newLedger(undefined, counted), bed.newStore(counted));
    const callsOf = async (id: string): Promise<[outcome: string, calls: number]> => {
      calls = 0;
      const { outcome } = await own.cancel(id);
      return [outcome, calls];
    };
    const unpaid = bed.order(line("cup"));
    await bed.orderService.place(unpaid);
    expect(await callsOf(unpaid.id)).toEqual(["accepted", 4]);
    await bed.orderStore.waiting.begin();
    const [first, second] = [await paid(line("cup")), await paid(line("cup"))];
    expect(await callsOf(first.id)).toEqual(["cancelling", 4]);
    expect(await callsOf(second.id)).toEqual(["cancelling", 3]);
  });

  it("keeps the units committed until the warehouse has withdrawn the order", async () => {
    await Promise.all([bed.receive("cup", 2), bed.receive("pot", 2)]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    expect(await bed.orderService.cancel(id)).toMatchObject({ outcome: "cancelling", repeated: false });
    expect(await bed.orderService.cancel(id)).toMatchObject({ outcome: "cancelling", repeated: true });
    expect(await bed.statesOf(id)).toEqual(["cancelling", "cancelling"]);
    expect(await bed.balances("cup")).toMatchObject({ sellable: 1, committed: 1 });
    expect(await bed.orderService.settleCancellation(id, "withdrawn", evidence)).toMatchObject({
      outcome: "cancelled_paid",
      repeated: false,
    });
    expect(await bed.orderService.settleCancellation(id, "withdrawn", evidence)).toMatchObject({
      outcome: "cancelled_paid",
      repeated: true,
    });
    expect((await bed.orderService.settleCancellation(id, "refused", evidence)).outcome).toBe("line_cancelled");
    expect(await bed.orderService.cancel(id)).toMatchObject({ outcome: "cancelled_paid", repeated: true });
    for (const sku of ["cup", "pot"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 2, committed: 0 });
    expect((await stepsOf()).filter((step) => step.startsWith("cancel"))).toEqual(["cancelling", "cancelled"]);
  });

  it("ends when the warehouse refuses it: the order continues, and another cancellation is refused", async () => {
    await bed.receive("cup", 1);
    const { id } = await atWarehouse(line("cup"));
    await bed.orderService.cancel(id);
    expect(await bed.orderService.settleCancellation(id, "refused", evidence)).toMatchObject({
      outcome: "accepted",
      repeated: false,
    });
    expect(await bed.orderService.settleCancellation(id, "refused", evidence)).toMatchObject({
      outcome: "accepted",
      repeated: true,
    });
    expect(await bed.statesOf(id)).toEqual(["paid"]);
    expect((await bed.orderService.cancel(id)).outcome).toBe("cancellation_refused");
    expect((await bed.orderService.outbound(id)).outcome).toBe("accepted");
    expect(await bed.balances("cup")).toMatchObject({ sellable: 0, committed: 0 });
  });

  it("releases no units of goods that leave meanwhile", async () => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    await bed.orderService.cancel(id);
    await bed.orderService.outbound(id, undefined, [1]);
    expect((await bed.orderService.settleCancellation(id, "withdrawn", evidence)).outcome).toBe("cancelled_paid");
    expect(await bed.statesOf(id)).toEqual(["outbound", "cancelled_paid"]);
    const other = await atWarehouse(line("pot"));
    await bed.orderService.cancel(other.id);
    await bed.orderService.outbound(other.id);
    expect((await bed.orderService.settleCancellation(other.id, "withdrawn", evidence)).outcome).toBe(
      "already_outbound",
    );
    expect(await bed.balances("pot")).toMatchObject({ sellable: 0, committed: 0 });
  });

  it("that was not requested is not settled", async () => {
    await bed.receive("cup", 1);
    const { id } = await atWarehouse(line("cup"));
    expect((await bed.orderService.settleCancellation(id, "withdrawn", evidence)).outcome).toBe("not_cancelling");
    expect((await bed.orderService.settleCancellation(bed.newId(), "refused", evidence)).outcome).toBe("unknown_order");
  });

  it("cancels all lines or none", async () => {
    await Promise.all([bed.receive("cup", 2), bed.receive("tea", 1), bed.receive("tea", 1, AT, "presale")]);
    const { id } = await paid(line("cup"), { ...line("tea"), pool: "presale" });
    await bed.orderService.outbound(id, undefined, [1]);
    expect((await bed.orderService.cancel(id)).outcome).toBe("already_outbound");
    expect(await bed.statesOf(id)).toEqual(["outbound", "paid"]);
    expect((await bed.orderService.cancel(id, undefined, [2])).outcome).toBe("cancelled_paid");
    expect(await bed.statesOf(id)).toEqual(["outbound", "cancelled_paid"]);
    expect(await bed.balances("tea")).toMatchObject({ sellable: 1, presale: 1 });
  });

  it("may name single lines only of a paid order that no warehouse has", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup"), line("pot"));
    await bed.orderService.place(placed);
    expect((await bed.orderService.cancel(placed.id, undefined, [1])).outcome).toBe("not_paid");
    expect(await bed.statesOf(placed.id)).toEqual(["held", "held"]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    expect((await bed.orderService.cancel(id, undefined, [1])).outcome).toBe("whole_order_only");
    expect(await bed.statesOf(id)).toEqual(["paid", "paid"]);
    expect((await bed.orderService.cancel(id, undefined, [3])).outcome).toBe("unknown_line");
  });

  it("is immediate, as before, while the previous release runs beside this one", async () => {
    const previous = bed.previousRelease();
    const placed = bed.order(line("cup"));
    await bed.receive("cup", 1);
    await previous.place(placed);
    await previous.pay(placed.id);
    await previous.record(placed.id, "picking", evidence);
    expect((await previous.cancel(placed.id)).outcome).toBe("cancelled_paid");
  });

  it.each([1, 2, 3, 4, 5, 6])("that stops after %i commands is completed by the next request", async (calls) => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    const { id } = await atWarehouse(line("cup"), line("pot"));
    await bed
      .stoppingAfter(calls)
      .cancel(id)
      .catch(() => {});
    expect((await bed.orderService.cancel(id)).outcome).toBe("cancelling");
    await bed
      .stoppingAfter(calls)
      .settleCancellation(id, "withdrawn", evidence)
      .catch(() => {});
    expect((await bed.orderService.settleCancellation(id, "withdrawn", evidence)).outcome).toBe("cancelled_paid");
    for (const sku of ["cup", "pot"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 1, committed: 0 });
  });

  it("and its payment, outbound and settlement at the same time in two processes leave no order half done", async () => {
    const random = seededRandom(66);
    const other = bed.otherService();
    await Promise.all([bed.receive("cup", 40), bed.receive("pot", 40)]);
    for (let i = 0; i < 30; i++) {
      const placed = bed.order(line("cup"), line("pot"));
      await bed.orderService.place(placed);
      if (random.below(2) === 0) await bed.orderService.record(placed.id, "picking", evidence);
      const at = () => random.pick([bed.orderService, other]);
      const work = [
        () => at().pay(placed.id),
        () => at().pay(placed.id),
        () => at().cancel(placed.id),
        () => at().cancel(placed.id),
        () => at().settleCancellation(placed.id, random.pick(["withdrawn", "refused"] as const), evidence),
      ];
      if (random.below(4) === 0) work.push(() => at().outbound(placed.id));
      await Promise.allSettled(work.map((each) => each()));
      await bed.orderService.cancel(placed.id);
      await bed.orderService.settleCancellation(placed.id, "withdrawn", evidence);
      const states = (await bed.statesOf(placed.id)) ?? [];
      expect(["cancelled", "cancelled_paid", "outbound"]).toContain(states[0]);
      for (const state of states) expect(state.startsWith("cancelled")).toBe(states[0]?.startsWith("cancelled"));
    }
    const cells = await Promise.all(["cup", "pot"].map((sku) => bed.balances(sku)));
    for (const cell of cells) expect(cell).toMatchObject({ reserved: 0, committed: 0 });
    expect(cells[0]).toEqual(cells[1]);
  });
});

describe("a cancelled order whose lines the ledger has lost with its newest writes", () => {
  it("is cancelled again by the next request, because the warehouse has answered", async () => {
    await bed.orderStore.waiting.begin();
    await bed.receive("cup", 10);
    const placed = bed.order(line("cup", 5));
    await bed.orderService.place(placed);
    await bed.orderService.pay(placed.id);
    expect((await bed.orderService.cancel(placed.id)).outcome).toBe("cancelling");
    const keys = [
      ...(await bed.redis.keys(`${bed.prefix}:{stock*lines:*`)),
      ...(await bed.redis.keys(`${bed.prefix}:{stock*cells`)),
    ];
    const before = await Promise.all(keys.map((key) => bed.client.dumpBuffer(key)));
    const evidence = { source: "wms" };
    expect((await bed.orderService.settleCancellation(placed.id, "withdrawn", evidence)).outcome).toBe(
      "cancelled_paid",
    );
    for (const [i, key] of keys.entries()) await bed.client.restore(key, 0, before[i] as Buffer, "REPLACE");
    expect(await bed.statesOf(placed.id)).toEqual(["cancelling"]);
    expect((await bed.orderService.cancel(placed.id)).outcome).toBe("cancelled_paid");
    expect(await bed.balances("cup")).toMatchObject({ sellable: 10, committed: 0 });
  });
});
