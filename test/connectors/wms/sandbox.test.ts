/**
 * The WMS sandbox over real HTTP: its limit, its keys, callers that stop waiting, and a stop. Checked by its report
 * and its answers, not by the clock.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { WmsSandbox, type WmsSandboxSettings } from "../../../connectors/wms/sandbox.js";

let wms: WmsSandbox | undefined;
afterEach(() => wms?.stop());

async function started(settings: WmsSandboxSettings = {}): Promise<WmsSandbox> {
  wms = new WmsSandbox(settings);
  await wms.start();
  return wms;
}

function pick(order: string, { key, text, signal }: { key?: string; text?: string; signal?: AbortSignal } = {}) {
  return fetch(`${wms?.url}/v1/picking-orders`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key === undefined ? {} : { "idempotency-key": key }) },
    body: JSON.stringify({ orderNo: order, lines: [], ...(text === undefined ? {} : { text }) }),
    ...(signal === undefined ? {} : { signal }),
  });
}

const FAST = { msPerCharacter: 0.1, baseMs: 0 };
const LONG_TEXT = "长".repeat(562);

describe("the WMS sandbox", () => {
  it("accepts requests up to its limit in a second, and no more", async () => {
    let instantMs = 0;
    const { url } = await started({ limitPerSecond: 20, parser: FAST, instantMs: () => instantMs });
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => pick(`A${i}`, { key: `A${i}` })));
    const throttled = answers.filter(({ status }) => status === 429);
    expect(throttled).toHaveLength(10);
    expect(throttled.every(({ headers }) => headers.get("retry-after") === "1")).toBe(true);
    expect(wms?.report()).toMatchObject({ arrived: 30, arrivedPerSecondMost: 30, throttled: 10 });
    expect(wms?.accepted).toBe(20);
    instantMs = 999;
    expect((await fetch(`${url}/v1/nothing`)).status).toBe(429);
    instantMs = 1_000;
    expect((await pick("B", { key: "B" })).status).toBe(201);
  });

  it("makes one picking order per key, and one per request without a key", async () => {
    await started({ parser: FAST });
    expect((await pick("A", { key: "A" })).status).toBe(201);
    expect((await pick("A", { key: "A" })).status).toBe(200);
    expect(wms?.report()).toMatchObject({ duplicates: 0, repeats: 1 });
    expect((await pick("B")).status).toBe(201);
    expect((await pick("B")).status).toBe(201);
    expect(wms?.report()).toMatchObject({ duplicates: 1, repeats: 1, madeBySecond: [3] });
    expect(wms?.report().orders.map(([order]) => order)).toEqual(["A", "B"]);
  });

  it("answers a repeat that comes while its order is being made once it is made", async () => {
    // Not by the machine's time: on a busy one the order might be made before the repeat comes.
    const due: (() => void)[] = [];
    await started({ parser: FAST, time: { nowMs: () => 0, at: (_, call) => due.push(call) } });
    const asked = ["A", "A"].map((key) => pick("A", { key, text: LONG_TEXT }));
    while (wms?.report().repeats === 0) await sleep(5);
    for (const call of due.splice(0)) call();
    const answers = await Promise.all(asked);
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(wms?.report()).toMatchObject({ arrived: 2, duplicates: 0, repeats: 1 });
  });

  it("parses orders of callers that no longer wait, and rolls them back", async () => {
    await started({ parser: { msPerCharacter: 0.3 } });
    const gaveUp = new AbortController();
    const asked = pick("A", { key: "A", text: LONG_TEXT, signal: gaveUp.signal }).catch(() => "given up");
    while (wms?.report().arrived === 0) await sleep(5);
    await sleep(20);
    gaveUp.abort();
    expect(await asked).toBe("given up");
    while (wms?.report().rolledBack === 0) await sleep(5);
    expect(wms?.accepted).toBe(0);
    expect((await pick("A", { key: "A" })).status).toBe(201);
  });

  it("answers 503 to every request while it is out of service", async () => {
    await started({ parser: { parsers: 1, queueLimit: 2, msPerCharacter: 0.2 } });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => pick(`A${i}`, { text: LONG_TEXT })));
    expect(answers.every(({ status }) => status === 503)).toBe(true);
    expect(wms?.report()).toMatchObject({ unavailable: 8, orders: [] });
    while ((wms?.report().rolledBack ?? 0) < 3) await sleep(10);
    expect((await pick("B")).status).toBe(201);
  });

  it("refuses connections while it is stopped, and starts again at the same address with the orders it had made", async () => {
    const system = await started({ parser: FAST });
    await pick("A", { key: "A" });
    await system.stop();
    await expect(pick("A", { key: "A" })).rejects.toThrow();
    await system.start();
    expect((await pick("A", { key: "A" })).status).toBe(200);
    expect(system.accepted).toBe(1);
  });

  it("keeps a limited number of orders, and drops the oldest first", async () => {
    const system = await started({ parser: FAST, ordersKept: 2 });
    for (const order of ["A", "B", "C"]) expect((await pick(order, { key: order })).status).toBe(201);
    expect(system.accepted).toBe(3);
    expect(system.report().orders.map(([order]) => order)).toEqual(["B", "C"]);
    expect((await pick("C", { key: "C" })).status).toBe(200);
    expect((await pick("A", { key: "A" })).status).toBe(201);
  });

  it("refuses bodies that are not a picking order", async () => {
    const { url } = await started();
    const refused = await fetch(`${url}/v1/picking-orders`, { method: "POST", body: "{" });
    expect(refused.status).toBe(400);
    const cancelled = await fetch(`${url}/v1/picking-orders/A/cancellation`, { method: "POST" });
    expect(cancelled.status).toBe(404);
    expect(await cancelled.json()).toMatchObject({ code: "unknown_order" });
  });

  it("withdraws an order until it is picked, and accepts none that was withdrawn", async () => {
    const system = await started({ parser: FAST });
    for (const order of ["A", "B"]) await pick(order, { key: order });
    system.markPicked("B");
    const cancel = async (order: string) => {
      const answer = await fetch(`${system.url}/v1/picking-orders/${order}/cancellation`, { method: "POST" });
      return [answer.status, ((await answer.json()) as { code?: string }).code];
    };
    expect(await cancel("A")).toEqual([200, undefined]);
    expect(await cancel("A")).toEqual([409, "already_withdrawn"]);
    expect(await cancel("B")).toEqual([409, "already_picked"]);
    expect(await cancel("C")).toEqual([404, "unknown_order"]);
    expect((await pick("C", { key: "C" })).status).toBe(409);
  });
});
