/** Histories over HTTP: of a SKU's stock and of an order, as fields and as sentences, page by page. */
import { describe, expect, it } from "vitest";

import { orderKeys, stockKeys } from "../../../engine/stream/keys.js";
import { partitionOf } from "../../../engine/stream/partition.js";
import { freshId, httpBed } from "./http-bed.js";

const bed = httpBed();
const history = (sku: string, query = "") => bed.send("GET", `/v1/ledger/${sku}/history${query}`);
const orderHistory = (id: string, query = "") => bed.send("GET", `/v1/orders/${id}/history${query}`);

/** An order of a SKU that is paid. */
async function paidOrder(sku: string, units: number): Promise<string> {
  const id = freshId();
  expect((await bed.send("POST", "/v1/orders", { body: { id, lines: [{ sku, units }] } })).status).toBe(201);
  expect((await bed.send("POST", `/v1/orders/${id}/payment`)).status).toBe(200);
  return id;
}

describe("the history of a SKU", () => {
  it("has every change with its cause, who did it and the balances after it, and adds up", async () => {
    await bed.receive("H1", 10);
    const order = await paidOrder("H1", 3);
    const cause = { actor: "counter", onBehalfOf: "li.wei", reason: "broken" };
    await bed.ledger.apply({ id: freshId(), kind: "correct", sku: "H1", location: "main", units: -2, ...cause });
    const { status, json } = await history("H1");
    expect(status).toBe(200);
    expect(json.changes.map(({ what, units, from, to }: Record<string, unknown>) => [what, units, from, to])).toEqual([
      ["StockReceived", 10, "outside", "sellable"],
      ["StockReserved", 3, "sellable", "reserved"],
      ["LinePaid", 3, "reserved", "committed"],
      ["StockCorrected", 2, "sellable", "outside"],
    ]);
    const [, reserved, paid, corrected] = json.changes;
    expect(reserved).toMatchObject({ order, line: 1, source: "shop", actor: expect.any(String) });
    expect(paid.balances).toEqual([
      { location: "main", sellable: 7, reserved: 0, committed: 3, safety: 0, presale: 0, onHand: 10 },
    ]);
    expect(corrected).toMatchObject(cause);
    expect(json).toMatchObject({ complete: true, mismatches: [], missing: [] });
    expect(json.closing).toEqual([
      { location: "main", sellable: 5, reserved: 0, committed: 3, safety: 0, presale: 0, onHand: 8 },
    ]);
  });

  it("comes in pages, each with the balances at its own beginning", async () => {
    for (let n = 1; n <= 7; n++) await bed.receive("H2", n, n % 2 === 0 ? "east" : "west");
    const all = (await history("H2")).json;
    const seen: unknown[] = [];
    let closing: unknown = [];
    let next: string | undefined;
    for (let page = 0; page < 4; page++) {
      const { json } = await history("H2", `?limit=2${next === undefined ? "" : `&after=${next}`}`);
      if (page > 0) expect(json.opening).toEqual(closing);
      seen.push(...json.changes);
      closing = json.closing;
      next = json.next;
      expect(json.complete).toBe(page === 3);
    }
    expect(next).toBeUndefined();
    expect(seen).toEqual(all.changes);
    expect(closing).toEqual(all.closing);
  });

  it("may be of one location and of one span", async () => {
    await bed.receive("H3", 1, "east");
    await bed.receive("H3", 2, "west");
    const { json } = await history("H3", "?location=east");
    expect(json.changes).toHaveLength(1);
    expect(json.closing).toEqual([expect.objectContaining({ location: "east", sellable: 1 })]);
    expect(json.complete).toBe(true);
    const after = json.changes[0].at;
    const later = (await history("H3", `?from=${after}`)).json;
    expect(later.changes.every(({ at }: { at: string }) => at > after)).toBe(true);
  });

  it("is written in Chinese or English", async () => {
    await bed.receive("H4", 4);
    const zh = (await history("H4", "?format=story")).json;
    expect(zh.changes).toBeUndefined();
    expect(zh.story.changes[0].text).toMatch(/^main 收货 4 件，计入可售库存/);
    const en = (await history("H4", "?format=story&lang=en")).json;
    expect(en.story).toMatchObject({
      language: "en",
      changes: [{ text: expect.stringMatching(/^4 received at main/) }],
    });
  });

  it("is refused where it cannot be given: an unknown SKU, a bad span or cursor, and before the log's beginning", async () => {
    expect((await history("never-seen")).json).toMatchObject({ status: 404, code: "unknown_sku" });
    await bed.receive("H5", 1);
    for (const query of [
      "?from=yesterday",
      "?to=2026-02-30T00:00:00Z",
      "?from=2026-06-19T00:00:00Z&to=2026-06-18T00:00:00Z",
      "?after=x",
      "?limit=0",
      "?limit=1001",
      "?lang=fr",
      "?sku=x",
    ])
      expect((await history("H5", query)).status, query).toBe(400);
    const { log } = stockKeys("t", bed.ledger.partitionOf("H5"));
    const [[first] = []] = await bed.redis.xrange(log, "-", "+", "COUNT", 1);
    await bed.redis.xdel(log, first as string);
    expect((await history("H5", "?from=2020-01-01T00:00:00Z")).json).toMatchObject({ code: "outside_retention" });
    // Without a beginning it begins where the log does.
    expect((await history("H5")).status).toBe(200);
  });
});

describe("the history of an order", () => {
  it("has its steps with their evidence, and what its lines did to the stock", async () => {
    await bed.receive("O1", 10);
    const id = await paidOrder("O1", 4);
    await bed.send("POST", `/v1/orders/${id}/label`, { body: { source: "wms", waybill: "SF-1" } });
    const { status, json } = await orderHistory(id);
    expect(status).toBe(200);
    expect(json.lines).toEqual([{ line: 1, sku: "O1", location: "main", units: 4 }]);
    expect(json.steps.map(({ step }: { step: string }) => step)).toEqual([
      ...["created", "paid", "locked", "labelled", "waybill"],
    ]);
    expect(json.steps[3]).toMatchObject({ source: "wms", detail: { waybill: "SF-1", actor: expect.any(String) } });
    expect(json.changes.map(({ what, sku }: Record<string, unknown>) => [what, sku])).toEqual([
      ["StockReserved", "O1"],
      ["LinePaid", "O1"],
    ]);
    expect(json).toMatchObject({ complete: true, missing: [] });
    const { story } = (await orderHistory(id, "?format=story&lang=en")).json;
    expect(story.changes.map(({ text }: { text: string }) => text).join("\n")).toContain(
      "label printed; reported by wms",
    );
  });

  it("has no personal data", async () => {
    await bed.receive("O2", 1);
    const id = freshId();
    const shipTo = { name: "Zhang San", phone: "13800000000", address: "Nanjing Road 1" };
    await bed.send("POST", "/v1/orders", { body: { id, lines: [{ sku: "O2", units: 1 }], shipTo } });
    const { text } = await orderHistory(id);
    for (const secret of Object.values(shipTo)) expect(text).not.toContain(secret);
  });

  it("states what is missing when a log no longer has it", async () => {
    await bed.receive("O3", 1);
    const id = await paidOrder("O3", 1);
    await bed.redis.xtrim(orderKeys("t", partitionOf(id, bed.ledger.partitions)).log, "MAXLEN", 0);
    const { json } = await orderHistory(id);
    expect(json.complete).toBe(false);
    expect(json.missing.length).toBeGreaterThan(0);
    expect(json.lines).toHaveLength(1);
  });

  it("of an unknown order is 404, and of a wrong id 400", async () => {
    expect((await orderHistory(freshId())).json).toMatchObject({ status: 404, code: "unknown_order" });
    expect((await orderHistory("x")).status).toBe(400);
  });
});
