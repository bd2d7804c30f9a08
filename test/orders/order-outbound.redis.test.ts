/** Outbound: after an expired hold, once, and of units that no balance has. */
import { describe, expect, it } from "vitest";
import { newFlow, takeStep } from "../../engine/orders/flow.js";
import { orderEventsOf } from "../../engine/orders/log-entry.js";
import { orderKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { AT, HOLD_MS, line, withOrderBed } from "./order-bed.js";

const bed = withOrderBed();

describe("the outbound of an order", () => {
  it("is accepted after the hold has expired: the units are taken from sellable", async () => {
    await bed.receive("cup", 2);
    const placed = bed.order(line("cup"));
    await bed.orderService.place(placed);
    await bed.pass(HOLD_MS);
    expect(await bed.balances("cup")).toMatchObject({ sellable: 2 });
    expect((await bed.orderService.outbound(placed.id)).outcome).toBe("accepted");
    expect(await bed.balances("cup")).toMatchObject({ sellable: 1, reserved: 0, committed: 0 });
  });

  it("is recorded once", async () => {
    await bed.receive("cup", 2);
    const placed = bed.order(line("cup"));
    await bed.orderService.place(placed);
    await bed.orderService.pay(placed.id);
    expect(await bed.orderService.outbound(placed.id)).toMatchObject({ outcome: "accepted", repeated: false });
    expect(await bed.orderService.outbound(placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
    expect((await bed.orderService.cancel(placed.id)).outcome).toBe("already_outbound");
    expect(await bed.balances("cup")).toMatchObject({ sellable: 1, reserved: 0, committed: 0 });
  });
});

describe("units that leave and are in no balance", () => {
  async function partlyOut(): Promise<{ id: string; open: () => Promise<unknown[]> }> {
    await bed.receive("cup", 10);
    const { id } = bed.order();
    await bed.orderService.place({ id, lines: [line("cup", 5), line("cup", 5)] });
    await bed.orderService.pay(id);
    await bed.ledger.apply({
      kind: "correct",
      id: bed.newId(),
      sku: "cup",
      location: AT,
      units: -8,
      pool: "committed",
    });
    await bed.orderService.outbound(id, undefined, [1]);
    const open = async () => {
      const log = await readLog(bed.client, orderKeys(bed.prefix, bed.orderStore.partitionOf(id)).log, 0, 100);
      const flow = newFlow();
      for (const event of log.flatMap((entry) => orderEventsOf(entry).events)) takeStep(flow, event, {});
      return flow.open.map(({ kind, units }) => [kind, units]);
    };
    return { id, open };
  }

  it("are reported once for each part of an order that leaves", async () => {
    const { id, open } = await partlyOut();
    expect(await open()).toEqual([["unexplained_outbound", 3]]);
    await bed.orderService.outbound(id);
    expect(await open()).toEqual([["unexplained_outbound", 8]]);
  });

  it("are reported for the part that has left, and not for the rest, which is cancelled", async () => {
    const { id, open } = await partlyOut();
    await bed.ledger.apply({ kind: "correct", id: bed.newId(), sku: "cup", location: AT, units: 5, pool: "committed" });
    expect((await bed.orderService.cancel(id, undefined, [2])).outcome).toBe("cancelled_paid");
    expect(await open()).toEqual([["unexplained_outbound", 3]]);
  });
});
