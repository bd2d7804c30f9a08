/**
 * The warehouse stand-in over real HTTP: its limit, its keys, callers who give up, and its death. Judged by what its
 * books say and by the answers, not by the clock.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { WmsSandbox, type WmsSettings } from "../../../connectors/wms/sandbox.js";

let wms: WmsSandbox | undefined;
afterEach(() => wms?.die());

async function started(settings: WmsSettings = {}): Promise<WmsSandbox> {
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

describe("the WMS stand-in", () => {
  it("takes as many requests in a second as it may, and no more", async () => {
    let instantMs = 0;
    const { url } = await started({ limitPerSecond: 20, parser: FAST, instantMs: () => instantMs });
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => pick(`A${i}`, { key: `A${i}` })));
    const throttled = answers.filter(({ status }) => status === 429);
    expect(throttled).toHaveLength(10);
    expect(throttled.every(({ headers }) => headers.get("retry-after") === "1")).toBe(true);
    expect(wms?.report()).toMatchObject({ arrived: 30, arrivedPerSecondMost: 30, throttled: 10 });
    expect(wms?.picked).toBe(20);
    instantMs = 999;
    expect((await fetch(`${url}/v1/nothing`)).status).toBe(429);
    instantMs = 1_000;
    expect((await pick("B", { key: "B" })).status).toBe(201);
  });

  it("makes one picking order a key, and one a request without keys", async () => {
    await started({ parser: FAST });
    expect((await pick("A", { key: "A" })).status).toBe(201);
    expect((await pick("A", { key: "A" })).status).toBe(200);
    expect(wms?.report()).toMatchObject({ duplicates: 0, repeats: 1 });
    expect((await pick("B")).status).toBe(201);
    expect((await pick("B")).status).toBe(201);
    expect(wms?.report()).toMatchObject({ duplicates: 1, repeats: 1, madeBySecond: [3] });
    expect(wms?.report().orders.map(([order]) => order)).toEqual(["A", "B"]);
  });

  it("lets a repeat that comes while its order is in the making wait for that one", async () => {
    await started({ parser: FAST });
    const answers = await Promise.all([
      pick("A", { key: "A", text: LONG_TEXT }),
      pick("A", { key: "A", text: LONG_TEXT }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(wms?.report()).toMatchObject({ arrived: 2, duplicates: 0, repeats: 1 });
  });

  it("works for callers who have given up, and rolls that back", async () => {
    await started({ parser: { msPerCharacter: 0.3 } });
    const gaveUp = new AbortController();
    const asked = pick("A", { key: "A", text: LONG_TEXT, signal: gaveUp.signal }).catch(() => "given up");
    while (wms?.report().arrived === 0) await sleep(5);
    await sleep(20);
    gaveUp.abort();
    expect(await asked).toBe("given up");
    while (wms?.report().rolledBack === 0) await sleep(5);
    expect(wms?.picked).toBe(0);
    expect((await pick("A", { key: "A" })).status).toBe(201);
  });

  it("turns everybody away while it is out of service", async () => {
    await started({ parser: { parsers: 1, queueLimit: 2, msPerCharacter: 0.2 } });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => pick(`A${i}`, { text: LONG_TEXT })));
    expect(answers.every(({ status }) => status === 503)).toBe(true);
    expect(wms?.report()).toMatchObject({ gated: 8, orders: [] });
    while ((wms?.report().rolledBack ?? 0) < 3) await sleep(10);
    expect((await pick("B")).status).toBe(201);
  });

  it("refuses connections while it is dead, and comes back under the same address with what it had made", async () => {
    const system = await started({ parser: FAST });
    await pick("A", { key: "A" });
    await system.die();
    await expect(pick("A", { key: "A" })).rejects.toThrow();
    await system.start();
    expect((await pick("A", { key: "A" })).status).toBe(200);
    expect(system.picked).toBe(1);
  });

  it("refuses what is no picking order", async () => {
    const { url } = await started();
    const refused = await fetch(`${url}/v1/picking-orders`, { method: "POST", body: "{" });
    expect(refused.status).toBe(400);
    const cancelled = await fetch(`${url}/v1/picking-orders/A/cancellation`, { method: "POST" });
    expect(cancelled.status).toBe(404);
    expect(await cancelled.json()).toMatchObject({ code: "unknown_order" });
  });

  it("takes an order back until it is picked, says so otherwise, and takes none that was withdrawn", async () => {
    const system = await started({ parser: FAST });
    for (const order of ["A", "B"]) await pick(order, { key: order });
    system.takeFromShelf("B");
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
