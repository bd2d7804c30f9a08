/** An order service that stops between two commands: the same request sent again completes or undoes the order. */
import { describe, expect, it } from "vitest";
import { HOLD_MS, line, withOrderBed } from "./order-bed.js";

const bed = withOrderBed();

describe("an order service that stops half-way", () => {
  it("loses no units: the same order sent again continues where it stopped", async () => {
    for (const sku of ["a", "b", "c"]) await bed.receive(sku, 1);
    const placed = bed.order(line("a"), line("b"), line("c"));
    await expect(bed.stoppingAfter(2).place(placed)).rejects.toThrow("stopped");
    expect(await bed.balances("a")).toMatchObject({ sellable: 0, reserved: 1 });
    expect(await bed.balances("c")).toMatchObject({ sellable: 1, reserved: 0 });
    expect(await bed.orderService.place(placed)).toMatchObject({ outcome: "accepted", repeated: false });
    expect(await bed.statesOf(placed.id)).toEqual(["held", "held", "held"]);
    for (const sku of ["a", "b", "c"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 0, reserved: 1 });
  });

  it("loses no units when the order is not sent again: the holds expire", async () => {
    for (const sku of ["a", "b", "c"]) await bed.receive(sku, 1);
    await expect(bed.stoppingAfter(2).place(bed.order(line("a"), line("b"), line("c")))).rejects.toThrow("stopped");
    await bed.pass(HOLD_MS);
    for (const sku of ["a", "b", "c"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("holds nothing when the order is sent again after the holds have expired", async () => {
    for (const sku of ["a", "b", "c"]) await bed.receive(sku, 1);
    const placed = bed.order(line("a"), line("b"), line("c"));
    await expect(bed.stoppingAfter(2).place(placed)).rejects.toThrow("stopped");
    await bed.pass(HOLD_MS);
    for (let again = 0; again < 3; again++) {
      expect((await bed.orderService.place(placed)).outcome).toBe("hold_expired");
      for (const sku of ["a", "b", "c"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 1, reserved: 0 });
    }
  });

  it("before it has undone a refused order: the same order sent again undoes it", async () => {
    await bed.receive("a", 1);
    await bed.receive("b", 1);
    const placed = bed.order(line("a"), line("b"), line("none"));
    await expect(bed.stoppingAfter(3).place(placed)).rejects.toThrow("stopped");
    expect(await bed.balances("a")).toMatchObject({ reserved: 1 });
    expect((await bed.orderService.place(placed)).outcome).toBe("unknown_sku");
    for (const sku of ["a", "b"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("while another process refuses the same order: nothing of it is held after that refusal", async () => {
    await Promise.all([bed.receive("a", 1), bed.receive("b", 1)]);
    const placed = bed.order(line("a"), line("b"), line("none"));
    // After the first attempt has read the number of attempts, the second reserves its lines and stops before it
    // undoes them.
    let dead: Promise<unknown> | undefined;
    const slow = bed.stepwise(async ({ kind }) => {
      if (kind !== "abort" || dead) return;
      dead = bed.stoppingAfter(3).place(placed);
      await dead.catch(() => {});
    });
    expect(await slow.place(placed)).toMatchObject({ outcome: "unknown_sku" });
    await expect(dead).rejects.toThrow("stopped");
    for (const sku of ["a", "b"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("during a payment that must be refused: the payment sent again releases all lines", async () => {
    for (const sku of ["a", "b", "c"]) await bed.receive(sku, 1);
    const placed = bed.order(line("a"), line("b"), line("c"));
    await bed.orderService.place(placed);
    await bed.pass(HOLD_MS);
    await bed.orderService.place(bed.order(line("b")));
    // a is paid anew, b has no units, and the process stops before it releases a.
    await expect(bed.stoppingAfter(3).pay(placed.id)).rejects.toThrow("stopped");
    expect(await bed.balances("a")).toMatchObject({ sellable: 0, committed: 1 });
    expect((await bed.orderService.pay(placed.id)).outcome).toBe("hold_expired");
    for (const sku of ["a", "c"])
      expect(await bed.balances(sku)).toMatchObject({ sellable: 1, reserved: 0, committed: 0 });
  });

  it("during a payment, a cancellation or an outbound: the step sent again completes it", async () => {
    for (const [step, state] of [
      ["pay", "paid"],
      ["outbound", "outbound"],
    ] as const) {
      for (const sku of ["a", "b"]) await bed.receive(sku, 1);
      const placed = bed.order(line("a"), line("b"));
      await bed.orderService.place(placed);
      if (step === "outbound") await bed.orderService.pay(placed.id);
      await expect(bed.stoppingAfter(1)[step](placed.id)).rejects.toThrow("stopped");
      expect(await bed.orderService[step](placed.id)).toMatchObject({ outcome: "accepted" });
      expect(await bed.statesOf(placed.id)).toEqual([state, state]);
      expect(await bed.orderService[step](placed.id)).toMatchObject({ outcome: "accepted", repeated: true });
    }
    for (const sku of ["a", "b"]) await bed.receive(sku, 1);
    const placed = bed.order(line("a"), line("b"));
    await bed.orderService.place(placed);
    await expect(bed.stoppingAfter(1).cancel(placed.id)).rejects.toThrow("stopped");
    expect((await bed.orderService.cancel(placed.id)).outcome).toBe("accepted");
    expect(await bed.statesOf(placed.id)).toEqual(["cancelled", "cancelled"]);
  });
});
