/**
 * What every Receiver does (engine/outbox/receiver.ts), as tests that a receiver's own test file runs. They reach it by
 * its contract, and its outside system through a bed. What only one receiver has (its bodies, codes, bookkeeping) is
 * tested beside it.
 */
import { setMaxListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";

/** One outside system that works, for one test. Receivers that are opened from it are closed with it. */
export interface ReceiverBed {
  readonly receiver: Receiver;
  /** One that the outside system accepts: each number has a key of its own. */
  delivery(number: number): Delivery;
  /** One that can never be accepted. */
  badDelivery(number: number): Delivery;
  /** Where no outside system answers, because none is there. */
  unreachable(): Promise<Receiver>;
  /** Where the outside system asks for fewer requests. */
  throttled(): Promise<Receiver>;
  /** Where something between answers that it has failed, whether the outside system has the request or not. */
  failing(): Promise<Receiver>;
  /** Where the outside system gets every request and does not answer. */
  silent(): Promise<Receiver>;
  /** The same outside system as `receiver`; it gets the first request and works on it, and its answer is lost. */
  losingAnswer(): Promise<Receiver>;
  /** Requests that have come to the outside systems of this bed. */
  requests(): number;
  /** How often the outside system of `receiver` has acted on a key. */
  actions(key: string): number;
  close(): Promise<void>;
}

export interface ReceiverFeatures {
  /** All kinds that it wants. */
  readonly kinds: readonly string[];
  /** Whether it takes several deliveries with one request. */
  readonly batch: boolean;
  /** Whether the outside system recognises a repeat. */
  readonly recognisesRepeats: boolean;
  /** The pause that `throttled` asks for; left out: it asks for none. */
  readonly retryAfterMs?: number;
  /** Texts that no reason may contain. */
  readonly secrets: readonly string[];
}

type Retry = DeliveryOutcome & { outcome: "retry" };

export function describeReceiver(name: string, features: ReceiverFeatures, open: () => Promise<ReceiverBed>): void {
  const { kinds, batch, recognisesRepeats, retryAfterMs, secrets } = features;

  describe(`${name}, as a receiver,`, () => {
    let bed: ReceiverBed;
    let running: AbortController;
    beforeEach(async () => {
      bed = await open();
      running = new AbortController();
      setMaxListeners(0, running.signal);
    });
    afterEach(() => bed.close());

    const deliver = (delivery: Delivery, { to = bed.receiver, again = false, signal = running.signal } = {}) =>
      to.deliver(delivery, signal, again);

    const retryOf = async (outcome: Promise<DeliveryOutcome>): Promise<Retry> => {
      const found = await outcome;
      expect(found.outcome).toBe("retry");
      expectUseful(found);
      return found as Retry;
    };

    /** The reason is for an operator, and neither it nor its short form has a credential. */
    function expectUseful(outcome: DeliveryOutcome): void {
      const { reason, brief = reason } = outcome as Retry;
      expect(reason.length).toBeGreaterThan(5);
      for (const text of [reason, brief]) for (const secret of secrets) expect(text).not.toContain(secret);
    }

    it("has a name for its keys, and wants its kinds and no other", () => {
      expect(bed.receiver.name).toMatch(/^[a-z0-9-]{1,32}$/);
      for (const kind of kinds) expect(bed.receiver.wants(kind)).toBe(true);
      for (const kind of ["", "other", ...kinds.map((each) => `${each}.`)])
        expect(bed.receiver.wants(kind)).toBe(false);
      expect(kinds).toContain(bed.delivery(1).kind);
    });

    it("delivers with one request, and the outside system acts on it once", async () => {
      const delivery = bed.delivery(1);
      expect((await deliver(delivery)).outcome).toBe("done");
      expect([bed.requests(), bed.actions(delivery.key)]).toEqual([1, 1]);
    });

    it("delivers different keys at the same time", async () => {
      const deliveries = Array.from({ length: 8 }, (_, i) => bed.delivery(i));
      const outcomes = await Promise.all(deliveries.map((each) => deliver(each)));
      expect(outcomes.every(({ outcome }) => outcome === "done")).toBe(true);
      expect(deliveries.map(({ key }) => bed.actions(key))).toEqual(deliveries.map(() => 1));
    });

    it("refuses for good what can never be accepted, with the reason", async () => {
      const bad = bed.badDelivery(1);
      const refused = await deliver(bad);
      expect(refused.outcome).toBe("refused");
      expectUseful(refused);
      expect(bed.actions(bad.key)).toBe(0);
      expect((await deliver(bed.delivery(2))).outcome).toBe("done");
    });

    it("reports an outside system that is not there: it cannot have the delivery, and this is a failure", async () => {
      const outcome = await retryOf(deliver(bed.delivery(1), { to: await bed.unreachable() }));
      expect(outcome.mayHaveArrived ?? false).toBe(false);
      expect(outcome).not.toMatchObject({ isUnsent: true });
      expect(outcome).not.toMatchObject({ throttled: true });
      expect(outcome.fault).toBeUndefined();
    });

    it("reports an outside system that asks for fewer requests, with the pause that it asks for", async () => {
      const outcome = await retryOf(deliver(bed.delivery(1), { to: await bed.throttled() }));
      expect(outcome.throttled).toBe(true);
      expect(outcome.retryAfterMs).toBe(retryAfterMs);
    });

    it("reports a failure on the way: the outside system may have the delivery", async () => {
      const outcome = await retryOf(deliver(bed.delivery(1), { to: await bed.failing() }));
      expect(outcome).toMatchObject({ mayHaveArrived: true });
      expect(outcome.throttled ?? false).toBe(false);
    });

    it("ends without an answer when it is not needed any more: the outside system may have the delivery", async () => {
      const to = await bed.silent();
      const waiting = retryOf(deliver(bed.delivery(1), { to }));
      await expect.poll(() => bed.requests(), { interval: 5 }).toBe(1);
      running.abort();
      expect(await waiting).toMatchObject({ mayHaveArrived: true });
    });

    it("sends nothing that is not needed any more", async () => {
      const delivery = bed.delivery(1);
      await retryOf(deliver(delivery, { signal: AbortSignal.abort() }));
      expect([bed.requests(), bed.actions(delivery.key)]).toEqual([0, 0]);
    });

    it.runIf(recognisesRepeats)("delivers again after a lost answer, and the outside system acts once", async () => {
      const delivery = bed.delivery(1);
      const lost = await retryOf(deliver(delivery, { to: await bed.losingAnswer() }));
      expect(lost.mayHaveArrived).toBe(true);
      expect(bed.actions(delivery.key)).toBe(1);
      expect((await deliver(delivery, { again: true })).outcome).toBe("done");
      // After a crash nothing is known of the first try, and after a loss of Redis it has another id.
      expect((await deliver({ ...delivery, id: `${delivery.id}.1` })).outcome).toBe("done");
      expect(bed.actions(delivery.key)).toBe(1);
    });

    it("records what was delivered and what was given up, also for the second time", async () => {
      const { receiver } = bed;
      const delivery = bed.delivery(1);
      const outcome = await deliver(delivery);
      const receipt = outcome.outcome === "done" ? outcome.receipt : undefined;
      for (let i = 0; i < 2; i++) {
        await receiver.delivered?.(0, [{ delivery, receipt, atMs: 1 }]);
        await receiver.deadLettered?.(0, [bed.badDelivery(2)]);
        await receiver.idle?.(0);
      }
      expect(bed.actions(delivery.key)).toBe(1);
    });

    it(batch ? "states how much one request may hold" : "has no requests for several deliveries", () => {
      const { receiver } = bed;
      expect([receiver.batch !== undefined, receiver.deliverBatch !== undefined]).toEqual([batch, batch]);
      if (batch) expect(receiver.batch?.deliveries).toBeGreaterThan(1);
    });

    if (batch) describeBatches();

    function describeBatches(): void {
      const deliverAll = (
        deliveries: readonly Delivery[],
        { to = bed.receiver, again = false, signal = running.signal } = {},
      ) =>
        to.deliverBatch?.(
          deliveries,
          signal,
          deliveries.map(() => again),
        ) ?? [];
      const full = () => Array.from({ length: bed.receiver.batch?.deliveries ?? 0 }, (_, i) => bed.delivery(i));

      it("delivers as many as it states with one request", async () => {
        const deliveries = full();
        const outcomes = await deliverAll(deliveries);
        expect(outcomes.map(({ outcome }) => outcome)).toEqual(deliveries.map(() => "done"));
        expect(bed.requests()).toBe(1);
        for (const { key } of deliveries) expect(bed.actions(key)).toBe(1);
      });

      it("returns the outcome of each by its position", async () => {
        const mixed = [bed.delivery(1), bed.badDelivery(2), bed.delivery(3)];
        const outcomes = await deliverAll(mixed);
        expect(outcomes.map(({ outcome }) => outcome)).toEqual(["done", "refused", "done"]);
        expect(mixed.map(({ key }) => bed.actions(key))).toEqual([1, 0, 1]);
      });

      it.each(["unreachable", "throttled", "failing"] as const)(
        "has an outcome for each when it is %s",
        async (how) => {
          const deliveries = [bed.delivery(1), bed.delivery(2)];
          const to = await bed[how]();
          const single = await retryOf(deliver(bed.delivery(3), { to }));
          const { throttled, mayHaveArrived } = single;
          for (const outcome of await deliverAll(deliveries, { to }))
            expect(outcome).toMatchObject({
              outcome: "retry",
              ...(throttled && { throttled }),
              ...(mayHaveArrived && { mayHaveArrived }),
            });
        },
      );

      it.runIf(recognisesRepeats)("delivers again after a lost answer, and the outside system acts once", async () => {
        const deliveries = full();
        const lost = await deliverAll(deliveries, { to: await bed.losingAnswer() });
        for (const outcome of lost) expect(outcome).toMatchObject({ outcome: "retry", mayHaveArrived: true });
        const outcomes = await deliverAll(deliveries, { again: true });
        expect(outcomes.map(({ outcome }) => outcome)).toEqual(deliveries.map(() => "done"));
        for (const { key } of deliveries) expect(bed.actions(key)).toBe(1);
      });
    }
  });
}
