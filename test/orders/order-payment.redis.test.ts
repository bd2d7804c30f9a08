/** Payments: of an order whose holds have expired, and of one with cancelled lines. */
import { describe, expect, it } from "vitest";
import type { OrderReply } from "../../engine/orders/model.js";
import { HOLD_MS, line, withOrderBed } from "./order-bed.js";

const bed = withOrderBed();

describe("after a hold has expired", () => {
  it("a payment is accepted anew while there are units", async () => {
    await Promise.all([bed.receive("cup", 2), bed.receive("pot", 2)]);
    const placed = bed.order(line("cup"), line("pot"));
    await bed.orderService.place(placed);
    await bed.pass(HOLD_MS);
    expect(await bed.balances("cup")).toMatchObject({ sellable: 2, reserved: 0 });
    expect(await bed.orderService.pay(placed.id)).toMatchObject({ outcome: "admitted_anew" });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 1, committed: 1 });
    expect(await bed.orderService.pay(placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
  });

  it("a payment that was answered stays, although an older one of the same order was refused and undoes its lines", async () => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    const placed = bed.order(line("cup"), line("pot"));
    await bed.orderService.place(placed);
    await bed.pass(HOLD_MS);
    const other = bed.order(line("pot"));
    await bed.orderService.place(other);
    let second: OrderReply | undefined;
    const slow = bed.stepwise(async ({ kind }) => {
      if (kind !== "unpay" || second) return;
      await bed.orderService.cancel(other.id);
      second = await bed.orderService.pay(placed.id);
    });
    await expect(slow.pay(placed.id)).rejects.toMatchObject({ code: "contended", retryable: true });
    expect(await slow.pay(placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
    expect(second).toMatchObject({ outcome: "admitted_anew" });
    expect(await bed.statesOf(placed.id)).toEqual(["paid", "paid"]);
  });

  it("a payment is refused as a whole when one line has no units left, and reports no line as paid", async () => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    const placed = bed.order(line("cup"), line("pot"));
    await bed.orderService.place(placed);
    await bed.pass(HOLD_MS);
    const other = bed.order(line("pot"));
    await bed.orderService.place(other);
    const reply = await bed.orderService.pay(placed.id);
    expect(reply.outcome).toBe("hold_expired");
    expect(reply.lines.map(({ state }) => state)).toEqual(["unpaid", "unpaid"]);
    expect(await bed.balances("cup")).toMatchObject({ sellable: 1, committed: 0 });
    expect(await bed.balances("pot")).toMatchObject({ sellable: 0, reserved: 1, committed: 0 });
    // When the units come back the order may be paid anew: all of it.
    await bed.orderService.cancel(other.id);
    expect((await bed.orderService.pay(placed.id)).outcome).toBe("admitted_anew");
    for (const sku of ["cup", "pot"])
      expect(await bed.balances(sku)).toMatchObject({ sellable: 0, reserved: 0, committed: 1 });
  });
});

describe("a paid order", () => {
  it("that is cancelled reports that the payment has to be refunded, at every repetition", async () => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    const placed = bed.order(line("cup"), line("pot"));
    await bed.orderService.place(placed);
    await bed.orderService.pay(placed.id);
    expect(await bed.orderService.cancel(placed.id)).toMatchObject({ outcome: "cancelled_paid", repeated: false });
    expect(await bed.orderService.cancel(placed.id)).toMatchObject({ outcome: "cancelled_paid", repeated: true });
    expect((await bed.orderService.pay(placed.id)).outcome).toBe("line_cancelled");
  });

  it("with one line cancelled by hand keeps the others when its payment is sent again", async () => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    const placed = bed.order(line("cup"), line("pot"));
    await bed.orderService.place(placed);
    await bed.orderService.pay(placed.id);
    expect((await bed.orderService.cancel(placed.id, undefined, [1])).outcome).toBe("cancelled_paid");
    expect((await bed.orderService.pay(placed.id)).outcome).toBe("line_cancelled");
    expect(await bed.statesOf(placed.id)).toEqual(["cancelled_paid", "paid"]);
  });
});
