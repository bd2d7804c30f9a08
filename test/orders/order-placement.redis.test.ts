/** Placing orders with several lines: all of an order is held, or nothing of it, also while breakers open and close. */
import { describe, expect, it } from "vitest";
import { chainId } from "../../engine/kernel/chain-id.js";
import { lineId, type Order } from "../../engine/orders/model.js";
import { orderKeys } from "../../engine/stream/keys.js";
import { AT, HOLD_MS, line, withOrderBed } from "./order-bed.js";

const bed = withOrderBed();

describe("an order", () => {
  it("is held as a whole when every line is available", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup", 2), line("pot", 3));
    expect(await bed.orderService.place(placed)).toMatchObject({
      outcome: "accepted",
      repeated: false,
      lines: [
        { id: `${placed.id}-1`, sku: "cup", units: 2, outcome: "accepted", state: "held" },
        { id: `${placed.id}-2`, sku: "pot", units: 3, outcome: "accepted", state: "held" },
      ],
    });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 3, reserved: 2 });
  });

  it("is refused as a whole when one line is not available, and reports no line as held", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 2)]);
    const reply = await bed.orderService.place(bed.order(line("cup", 2), line("pot", 3)));
    expect(reply).toMatchObject({ outcome: "insufficient_sellable", repeated: false });
    expect(reply.lines.map(({ outcome, state }) => [outcome, state])).toEqual([
      ["accepted", "none"],
      ["insufficient_sellable", "none"],
    ]);
    expect(await bed.balances("cup")).toMatchObject({ sellable: 5, reserved: 0 });
    expect(await bed.balances("pot")).toMatchObject({ sellable: 2, reserved: 0 });
  });

  it("that was refused takes nothing when it is sent again: older attempts at its other line are refused, too", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 2)]);
    const placed = bed.order(line("cup", 2), line("pot", 3));
    const first = await bed.orderService.place(placed);
    const before = bed.ledger.commands;
    expect(await bed.orderService.place(placed)).toEqual({ ...first, repeated: true });
    expect(bed.ledger.commands).toBe(before + 1);
    expect(
      await bed.ledger.apply({
        kind: "reserve",
        id: lineId(placed.id, 0),
        sku: "cup",
        location: AT,
        units: 2,
        ofOrder: true,
      }),
    ).toEqual({ outcome: "superseded", repeated: false, state: "none" });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 5, reserved: 0 });
  });

  it("is refused as a whole even when the hold of a line ends before it is released", async () => {
    await bed.receive("cup", 5);
    const slow = bed.stepwise(async ({ kind }) => {
      if (kind === "abort") await bed.pass(HOLD_MS);
    });
    const placed: Order = { ...bed.order(line("cup", 2), line("nothing")), holdMs: 1_000 };
    expect((await slow.place(placed)).outcome).toBe("unknown_sku");
    expect(await bed.balances("cup")).toMatchObject({ sellable: 5, reserved: 0 });
  });

  it("that is sent again while it is under way waits for the first answer and sends no further command", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup", 2), line("pot", 3));
    const before = bed.ledger.commands;
    const replies = await Promise.all(Array.from({ length: 20 }, () => bed.orderService.place(placed)));
    expect(replies.map(({ outcome, repeated }) => [outcome, repeated])).toEqual([
      ["accepted", false],
      ...Array(19).fill(["accepted", true]),
    ]);
    // A reservation a line, and that it counts as demand.
    expect(bed.ledger.commands).toBe(before + 2 * placed.lines.length);
  });

  it("with the same SKU on two lines needs the units of both", async () => {
    await bed.receive("cup", 3);
    expect((await bed.orderService.place(bed.order(line("cup", 2), line("cup", 2)))).outcome).toBe(
      "insufficient_sellable",
    );
    expect(await bed.balances("cup")).toMatchObject({ sellable: 3, reserved: 0 });
    expect((await bed.orderService.place(bed.order(line("cup", 2), line("cup", 1)))).outcome).toBe("accepted");
  });

  it("reports the refusal of the highest precedence, whichever line has it", async () => {
    await Promise.all([bed.receive("cup", 1), bed.receive("pot", 1)]);
    await bed.ledger.breakers.set({ kind: "sku", sku: "pot" }, "open", { actor: "lin", reason: "count", forMs: 0 });
    expect((await bed.orderService.place(bed.order(line("cup", 9), line("unknown"), line("pot")))).outcome).toBe(
      "breaker_open",
    );
    expect((await bed.orderService.place(bed.order(line("cup", 9), line("unknown")))).outcome).toBe("unknown_sku");
  });

  it("that is sent again gets its first answer again", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 1)]);
    const good = bed.order(line("cup", 2), line("pot"));
    const bad = bed.order(line("cup", 2), line("pot"));
    await bed.orderService.place(good);
    await bed.orderService.place(bad);
    expect(await bed.orderService.place(good)).toMatchObject({ outcome: "accepted", repeated: true });
    await bed.receive("pot", 10);
    expect(await bed.orderService.place(bad)).toMatchObject({ outcome: "insufficient_sellable", repeated: true });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 3, reserved: 2 });
    expect(await bed.balances("pot")).toMatchObject({ sellable: 10, reserved: 1 });
  });

  it("with a known id and another body is refused, and the first order stays as it is", async () => {
    await Promise.all([bed.receive("cup", 50), bed.receive("pot", 50)]);
    const first = bed.order(line("cup", 2), line("pot", 3));
    await bed.orderService.place(first);
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
      expect(await bed.orderService.place({ ...first, ...other }), JSON.stringify(other)).toEqual({
        id: first.id,
        outcome: "id_reused",
        repeated: false,
        lines: [],
      });
    // A default that is written out makes no other body.
    expect(
      await bed.orderService.place({ ...first, lines: [line("cup", 2, { pool: "sellable" }), line("pot", 3)] }),
    ).toMatchObject({ repeated: true });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 48, reserved: 2 });
    expect(await bed.balances("pot")).toMatchObject({ sellable: 47, reserved: 3 });
  });

  it("with an unknown id is unknown at every step", async () => {
    for (const step of ["pay", "cancel", "outbound"] as const)
      expect(await bed.orderService[step](bed.newId())).toMatchObject({ outcome: "unknown_order", lines: [] });
    expect(await bed.orderService.read(bed.newId())).toBeUndefined();
  });

  it("is stored in a bucket that is kept as long as the ledger keeps its lines", async () => {
    await bed.receive("cup", 1);
    const placed = bed.order(line("cup"));
    await bed.orderService.place(placed);
    const buckets = await bed.redis.keys(`${bed.prefix}:{orders:*}:orders:*`);
    expect(buckets).toHaveLength(1);
    const [bucket] = buckets as [string];
    expect(
      bucket.endsWith(
        orderKeys(bed.prefix, 0)
          .orders(bed.nowMs / 86_400_000)
          .split("}")[1] as string,
      ),
    ).toBe(true);
    // The bucket may be begun a day early; the last day counts whole; held lines are kept for 4 days more.
    expect(await bed.client.ttl(bucket)).toBeGreaterThan((1 + 6) * 86_400 - 60);
  });

  it("whose id is made from the id of a source is the same order every time", async () => {
    await bed.receive("cup", 2);
    const id = chainId("TM", bed.nowMs, "order 4711");
    await bed.orderService.place({ id, lines: [line("cup")] });
    expect(
      await bed.orderService.place({ id: chainId("TM", bed.nowMs, "order 4711"), lines: [line("cup")] }),
    ).toMatchObject({
      repeated: true,
    });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 1, reserved: 1 });
  });
});

describe("a breaker", () => {
  const breaker = { kind: "sku", sku: "pot" } as const;
  const cause = { actor: "lin", reason: "count", forMs: 0 };

  it("that opens between two lines refuses the order as a whole; after it has closed the same order succeeds", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup", 2), line("pot", 2));
    const slow = bed.stepwise(async ({ kind }, position) => {
      if (kind === "reserve" && position === 1) await bed.ledger.breakers.set(breaker, "open", cause);
    });
    expect(await slow.place(placed)).toMatchObject({ outcome: "breaker_open", repeated: false });
    expect(await bed.balances("cup")).toMatchObject({ sellable: 5, reserved: 0 });
    expect(await bed.orderService.place(placed)).toMatchObject({ outcome: "breaker_open", repeated: false });
    await bed.ledger.breakers.set(breaker, "close", cause);
    expect(await bed.orderService.place(placed)).toMatchObject({ outcome: "accepted", repeated: false });
    expect(await bed.statesOf(placed.id)).toEqual(["held", "held"]);
  });

  it("does not stop payments, cancellations and outbound", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 5)]);
    const [one, two] = [bed.order(line("cup"), line("pot")), bed.order(line("cup"), line("pot"))];
    await bed.orderService.place(one);
    await bed.orderService.place(two);
    await bed.ledger.breakers.set({ kind: "shop" }, "open", cause);
    expect((await bed.orderService.pay(one.id)).outcome).toBe("accepted");
    expect((await bed.orderService.outbound(one.id)).outcome).toBe("accepted");
    expect((await bed.orderService.cancel(two.id)).outcome).toBe("accepted");
    expect((await bed.orderService.place(one)).outcome).toBe("accepted");
    expect((await bed.orderService.place(bed.order(line("cup")))).outcome).toBe("breaker_open");
  });

  it("and two processes with one order: what one has reported as held is not released by the other", async () => {
    await Promise.all([bed.receive("cup", 5), bed.receive("pot", 5)]);
    const placed = bed.order(line("cup", 2), line("pot", 2));
    const doors = [0, 1].map(() => {
      let open: () => void = () => {};
      const closed = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, closed };
    });
    const [first, second] = doors as [(typeof doors)[0], (typeof doors)[0]];
    // The first attempt has its number, and waits before its first line.
    const slow = bed.stepwise(({ kind }, at) => (kind === "reserve" && at === 0 ? first.closed : undefined));
    // The second finds the breaker open at its second line, and waits before it undoes the first line.
    const refused = bed.stepwise(({ kind }) => (kind === "abort" ? second.closed : undefined));
    const slowReply = slow.place(placed);
    await expect.poll(() => bed.orderStore.find(placed.id)).toBeDefined();
    await bed.ledger.breakers.set(breaker, "open", cause);
    const refusedReply = refused.place(placed);
    await expect.poll(async () => (await bed.balances("cup"))?.reserved).toBe(2);
    await bed.ledger.breakers.set(breaker, "close", cause);
    first.open();
    expect(await slowReply).toMatchObject({ outcome: "accepted" });
    second.open();
    // The answer of the newer attempt counts: sent again, the older gets it, too.
    await expect(refusedReply).rejects.toMatchObject({ code: "contended", retryable: true });
    expect(await refused.place(placed)).toMatchObject({ outcome: "accepted", repeated: true });
    expect(await bed.statesOf(placed.id)).toEqual(["held", "held"]);
    expect(await bed.balances("cup")).toMatchObject({ sellable: 3, reserved: 2 });
  });
});
