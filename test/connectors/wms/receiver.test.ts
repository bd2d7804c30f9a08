/** What is sent to the WMS, by the order's state at that time, and what the WMS's answers change. */
import { describe, expect, it } from "vitest";
import type { KnownRefusal } from "../../../connectors/wms/client.js";
import { wmsReceiver } from "../../../connectors/wms/index.js";
import { PICK_EMIT, WITHDRAW_EMIT } from "../../../engine/jobs/order-flow/job.js";
import type { OrderStep } from "../../../engine/orders/model.js";
import type { StepRecord } from "../../../engine/orders/order-store.js";
import type { Delivery, DeliveryOutcome } from "../../../engine/outbox/receiver.js";

const ID = "WB-1";
const never = new AbortController().signal;

function bed(steps: readonly OrderStep[] | "unknown" | "unreadable") {
  const posted: { path: string; key: string }[] = [];
  const notes: StepRecord[] = [];
  const settled: unknown[][] = [];
  const receiver = wmsReceiver({
    client: {
      async post(path: string, _body: unknown, key: string, _signal: unknown, _done?: readonly KnownRefusal[]) {
        posted.push({ path, key });
        return { outcome: "done", receipt: { status: 201 } } satisfies DeliveryOutcome;
      },
    },
    contract: { check: () => [] },
    objects: { put: async () => {} },
    orderStore: {
      async recordDelivered(records) {
        notes.push(...records);
        return records.map(() => "recorded" as const);
      },
      markDeadLetters: async () => {},
      waiting: { correct: async () => false },
      async status() {
        if (steps === "unreadable") throw new Error("Redis is away");
        return steps === "unknown" ? undefined : { hasStep: (step) => steps.includes(step) };
      },
    },
    settle: async (...args) => settled.push(args),
    onPicking: () => {},
  });
  const of = (kind: string, more: object = {}): Delivery => {
    const request = { order: ID, placedMs: 1, paidMs: 1, lines: [{ sku: "A", location: "SHA", units: 1 }], ...more };
    return { id: `orders/00/1.${kind}`, kind, key: ID, atMs: 1, payload: request };
  };
  const deliver = (kind: string, mayHaveArrived = false, more: object = {}) =>
    receiver.deliver(of(kind, more), never, mayHaveArrived);
  const delivered = (kind: string, receipt: unknown) =>
    receiver.delivered?.(0, [{ delivery: of(kind), receipt, atMs: 2 }]);
  return { deliver, delivered, posted, notes, settled };
}

const LOCKED = ["created", "paid", "locked"] as const;

describe("a pick", () => {
  it("is sent for an order that needs it, and for one that the store has lost", async () => {
    for (const steps of [LOCKED, "unknown"] as const) {
      const { deliver, posted } = bed(steps);
      expect(await deliver(PICK_EMIT)).toMatchObject({ outcome: "done", receipt: { status: 201 } });
      expect(posted).toEqual([{ path: "/v1/picking-orders", key: ID }]);
    }
  });

  it.each(["cancelled", "cancelling", "picking", "outbound"] as const)(
    "of an order that is %s by now is not sent, and not recorded",
    async (step) => {
      const { deliver, delivered, posted, notes } = bed([...LOCKED, step]);
      const outcome = await deliver(PICK_EMIT);
      expect(outcome).toEqual({ outcome: "done", isUnsent: true });
      await delivered(PICK_EMIT, undefined);
      expect({ posted, notes }).toEqual({ posted: [], notes: [] });
    },
  );

  it("is not sent for goods that have left, even if it may have arrived", async () => {
    const { deliver, posted } = bed([...LOCKED, "outbound"]);
    expect(await deliver(PICK_EMIT, true)).toEqual({ outcome: "done", isUnsent: true });
    expect(posted).toEqual([]);
  });

  it("that may have arrived is sent until the WMS confirms it, so that a withdrawal cannot overtake it", async () => {
    const { deliver, posted } = bed([...LOCKED, "cancelled"]);
    await deliver(PICK_EMIT, true);
    expect(posted).toHaveLength(1);
  });

  it("is retried later while the order's state cannot be read", async () => {
    const { deliver, posted } = bed("unreadable");
    expect(await deliver(PICK_EMIT)).toMatchObject({ outcome: "retry", isUnsent: true });
    expect(posted).toEqual([]);
  });

  it("that was withdrawn before it arrived is not recorded as picking, and its cancellation is settled", async () => {
    const { delivered, notes, settled } = bed([...LOCKED, "cancelling", "cancellation_refused"]);
    await delivered(PICK_EMIT, { status: 409, code: "already_withdrawn" });
    expect(notes).toEqual([]);
    expect(settled).toEqual([[ID, "withdrawn", { source: "wms", detail: { answer: "already_withdrawn" } }]]);
    await delivered(PICK_EMIT, { status: 409, code: "already_exists" });
    expect(notes).toMatchObject([{ id: ID, step: "picking" }]);
  });
});

describe("a withdrawal", () => {
  it("is sent for a cancelled order, and not for one that continues", async () => {
    const off = bed([...LOCKED, "cancelled"]);
    await off.deliver(WITHDRAW_EMIT);
    expect(off.posted).toEqual([{ path: `/v1/picking-orders/${ID}/cancellation`, key: `${ID}/withdraw` }]);
    for (const goesOn of [["picking"], ["picking", "cancelling", "cancellation_refused"]] as const) {
      const on = bed([...LOCKED, ...goesOn]);
      expect(await on.deliver(WITHDRAW_EMIT)).toEqual({ outcome: "done", isUnsent: true });
      await on.delivered(WITHDRAW_EMIT, undefined);
      expect([on.posted, on.settled]).toEqual([[], []]);
    }
  });

  it("after a refused one has its own key, so that it does not get the first one's answer", async () => {
    const { deliver, posted } = bed([...LOCKED, "cancelling", "cancellation_refused", "cancelled"]);
    await deliver(WITHDRAW_EMIT, false, { again: true });
    expect(posted.map(({ key }) => key)).toEqual([`${ID}/withdraw/again`]);
  });

  it.each([
    [{ status: 200 }, "withdrawn", undefined],
    [{ status: 404, code: "unknown_order" }, "withdrawn", { answer: "unknown_order" }],
    [{ status: 409, code: "already_withdrawn" }, "withdrawn", { answer: "already_withdrawn" }],
    [{ status: 409, code: "already_picked" }, "refused", { answer: "already_picked" }],
  ])("that is answered %o is %s", async (receipt, result, detail) => {
    const { delivered, settled } = bed([...LOCKED, "cancelled"]);
    await delivered(WITHDRAW_EMIT, receipt);
    expect(settled).toEqual([[ID, result, { source: "wms", ...(detail ? { detail } : {}) }]]);
  });
});
