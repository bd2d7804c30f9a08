/** Orders of several processes at the same time, in random order: the units are counted at the end. */
import { describe, expect, it } from "vitest";
import type { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import type { Order } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import type { BreakerScope } from "../../engine/stock/breaker.js";
import { AT, HOLD_MS, line, withOrderBed } from "./order-bed.js";

const bed = withOrderBed();

describe("under contention", () => {
  const SKUS = Array.from({ length: 10 }, (_, i) => `s${i}`);

  it.each([1, 2, 3])("no order is partly held and no unit is lost or sold twice (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    const STOCK = 25;
    for (const sku of SKUS) for (const location of [AT, "GZ"]) await bed.receive(sku, STOCK, location);
    const services = [bed.orderService, new OrderService(bed.newLedger(), bed.newStore(bed.redis.connect()))];
    const randomLine = () => line(random.pick(SKUS), 1 + random.below(3), { location: random.pick([AT, "GZ"]) });
    const orders = Array.from({ length: 400 }, () =>
      bed.order(...Array.from({ length: 1 + random.below(4) }, randomLine)),
    );
    // Two waves, some orders three times at the same time, by both services.
    const outcomes = new Map<string, Set<string>>();
    for (const wave of [orders.slice(0, 200), orders.slice(200)]) {
      const sent = wave.flatMap((placed) => Array.from({ length: 1 + (random.below(3) === 0 ? 2 : 0) }, () => placed));
      await Promise.all(
        sent.map(async (placed) => {
          const { outcome } = await random.pick(services).place(placed);
          outcomes.set(placed.id, (outcomes.get(placed.id) ?? new Set()).add(outcome));
        }),
      );
    }
    const reserved = new Map<string, number>();
    let accepted = 0;
    for (const { id, lines } of orders) {
      const states = new Set(await bed.statesOf(id));
      expect(states.size, `seed ${seed}, order ${id}: ${[...states]}`).toBe(1);
      const isHeld = states.has("held");
      expect([...(outcomes.get(id) as Set<string>)], `seed ${seed}, order ${id}`).toEqual([
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
        expect(await bed.balances(sku, location), `seed ${seed}`).toEqual({
          sellable: STOCK - units,
          reserved: units,
          committed: 0,
          safety: 0,
          presale: 0,
        });
      }
    }
  });

  it("one order placed twenty times at the same time is held once, or not at all", async () => {
    await Promise.all([bed.receive("s1", 40), bed.receive("s2", 40), bed.receive("s3", 2)]);
    const other = bed.otherService();
    const good = bed.order(line("s1", 2), line("s2", 2));
    const bad = bed.order(line("s1", 2), line("s2", 2), line("s3", 3));
    const replies = await Promise.all(
      Array.from({ length: 40 }, (_, i) => (i % 2 ? bed.orderService : other).place(i % 4 < 2 ? good : bad)),
    );
    expect(new Set(replies.filter(({ id }) => id === good.id).map(({ outcome }) => outcome))).toEqual(
      new Set(["accepted"]),
    );
    expect(new Set(replies.filter(({ id }) => id === bad.id).map(({ outcome }) => outcome))).toEqual(
      new Set(["insufficient_sellable"]),
    );
    for (const sku of ["s1", "s2"]) expect(await bed.balances(sku)).toMatchObject({ sellable: 38, reserved: 2 });
  });

  it("with a breaker that opens and closes all the time, every accepted order is held as a whole", async () => {
    const random = seededRandom(9);
    for (const sku of SKUS) await bed.receive(sku, 10_000);
    const other = bed.otherService();
    const orders = Array.from({ length: 120 }, () =>
      bed.order(...Array.from({ length: 3 }, () => line(random.pick(SKUS)))),
    );
    const accepted = new Set<string>();
    let refused = 0;
    let isOver = false;
    const opened: BreakerScope[] = [];
    const cause = { actor: "lin", reason: "drill", forMs: 0 };
    const flapping = (async () => {
      for (;;) {
        // Some breakers are always open, and never the same ones.
        while (opened.length > (isOver ? 0 : 2))
          await bed.ledger.breakers.set(opened.shift() as BreakerScope, "close", cause);
        if (isOver) return;
        const scope = { kind: "sku", sku: random.pick(SKUS) } as const;
        await bed.ledger.breakers.set(scope, "open", cause);
        opened.push(scope);
      }
    })();
    await Promise.all(
      orders.flatMap((placed) =>
        [bed.orderService, other, bed.orderService].map(async (at) => {
          for (let attempt = 0; attempt < 4; attempt++) {
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
    for (const id of accepted) expect(await bed.statesOf(id)).toEqual(["held", "held", "held"]);
    for (const placed of orders) expect((await bed.orderService.place(placed)).outcome).toBe("accepted");
  });

  it("no unit is lost or added by random placing, paying, cancelling, outbound and expiry", async () => {
    const random = seededRandom(77);
    const STOCK = 30;
    for (const sku of SKUS) await bed.receive(sku, STOCK);
    const placed: Order[] = [];
    for (let turn = 0; turn < 40; turn++) {
      const work: Promise<unknown>[] = [];
      for (let i = 0; i < 12; i++) {
        const known = placed.length > 0 ? random.pick(placed) : undefined;
        const step = random.below(5);
        if (step < 2 || !known) {
          const fresh = bed.order(
            ...Array.from({ length: 1 + random.below(3) }, () => line(random.pick(SKUS), 1 + random.below(2))),
          );
          placed.push(fresh);
          work.push(bed.orderService.place(fresh));
        } else if (step === 2) work.push(bed.orderService.pay(known.id));
        else if (step === 3) work.push(bed.orderService.cancel(known.id));
        else work.push(bed.orderService.outbound(known.id));
      }
      await Promise.all(work);
      if (random.below(4) === 0) await bed.pass(HOLD_MS / 2);
    }
    const inState = { held: 0, paid: 0, outbound: 0 };
    for (const { id } of placed) {
      for (const { state, units, missingUnits = 0 } of (await bed.orderService.read(id))?.lines ?? [])
        if (state === "held" || state === "paid" || state === "outbound") inState[state] += units - missingUnits;
    }
    const sums = { sellable: 0, reserved: 0, committed: 0 };
    for (const sku of SKUS) {
      const cell = await bed.balances(sku);
      for (const pool of ["sellable", "reserved", "committed"] as const) sums[pool] += cell?.[pool] ?? Number.NaN;
    }
    expect(sums.reserved).toBe(inState.held);
    expect(sums.committed).toBe(inState.paid);
    expect(sums.sellable + sums.reserved + sums.committed + inState.outbound).toBe(STOCK * SKUS.length);
    expect(inState.outbound).toBeGreaterThan(10);
  });
});
