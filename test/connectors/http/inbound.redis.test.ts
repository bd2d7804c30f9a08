/**
 * Receipts on their way and what is to be reordered, over HTTP on a real ledger: an arrival is booked once however
 * often it is sent, also after a crash between the ledger and the record of it.
 */
import { describe, expect, it } from "vitest";
import { ReplenishmentList } from "../../../engine/alerting/replenishment-list.js";
import { InboundReceipts } from "../../../engine/stock/inbound.js";
import type { StockCommand } from "../../../engine/stock/model.js";
import { httpBed } from "./http-bed.js";

const bed = httpBed();
const put = (id: string, body: object) => bed.send("PUT", `/v1/inbound/${id}`, { body });
const arrive = (id: string, body: object) => bed.send("POST", `/v1/inbound/${id}/arrival`, { body });
const sellable = async (sku: string) => (await bed.send("GET", `/v1/ledger/${sku}`)).json.total.sellable;
const expectedAt = "2026-06-20T09:00:00.000Z";

describe("a receipt", () => {
  it("arrives in parts, each booked once, and more than was ordered is a fact", async () => {
    await bed.receive("R1", 1);
    const created = await put("PO-1", { sku: "R1", units: 10, expectedAt, reference: "4711" });
    expect([created.status, created.json]).toEqual([
      201,
      {
        ...{ id: "PO-1", sku: "R1", location: "main", units: 10, expectedAt, reference: "4711" },
        ...{ arrivedUnits: 0, remainingUnits: 10 },
      },
    ]);
    const first = await arrive("PO-1", { units: 4 });
    expect(first.json).toMatchObject({ repeated: false, receipt: { arrivedUnits: 4, remainingUnits: 6 } });
    expect((await arrive("PO-1", { units: 4 })).json).toMatchObject({ repeated: true });
    expect((await arrive("PO-1", { units: 5 })).json).toMatchObject({ status: 409, code: "arrival_differs" });
    const answers = await Promise.all(Array.from({ length: 5 }, () => arrive("PO-1", { units: 8, arrival: "2" })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(await sellable("R1")).toBe(13);
    expect((await bed.send("GET", "/v1/inbound?sku=R1")).json.receipts).toEqual([]);
  });

  it("is listed, replaced and removed, and keeps its SKU", async () => {
    await put("PO-2", { sku: "R2", units: 10, expectedAt });
    expect((await put("PO-2", { sku: "R2", units: 7, expectedAt })).json).toMatchObject({ units: 7 });
    expect((await put("PO-2", { sku: "R3", units: 7, expectedAt })).json.code).toBe("receipt_differs");
    expect((await bed.send("GET", "/v1/inbound?sku=R2")).json.receipts).toMatchObject([{ id: "PO-2", units: 7 }]);
    expect((await bed.send("DELETE", "/v1/inbound/PO-2")).status).toBe(204);
    expect((await arrive("PO-2", { units: 7 })).json.code).toBe("unknown_receipt");
    for (const body of [{}, { units: 0 }, { units: 1.5 }, { units: 1, arrival: "a/b" }])
      expect((await arrive("PO-2", body)).status).toBe(400);
  });

  it("that broke off between the ledger and its record is booked once", async () => {
    await bed.receive("R4", 1);
    const { clock } = bed.deps();
    let crashes = true;
    const inbound = new InboundReceipts({
      redis: bed.redis,
      prefix: "t",
      clock,
      ledger: {
        apply: async (command: StockCommand) => {
          const reply = await bed.ledger.apply(command);
          if (crashes) throw new Error("crash");
          return reply;
        },
      },
    });
    await inbound.put({ id: "PO-4", sku: "R4", location: "main", units: 3, expectedMs: 1 });
    await expect(inbound.arrive("PO-4", "1", 3, {})).rejects.toThrow("crash");
    expect(await inbound.inboundUnits("R4")).toBe(3);
    crashes = false;
    expect(await inbound.arrive("PO-4", "1", 3, {})).toMatchObject({ receipt: { remainingUnits: 0 } });
    expect(await inbound.inboundUnits("R4")).toBe(0);
    expect(await sellable("R4")).toBe(4);
  });
});

describe("thousands of receipts", () => {
  /** Counts how often all are read. */
  function counted(prefix: string) {
    const { clock } = bed.deps();
    let readings = 0;
    const redis = new Proxy(bed.redis, {
      get(target, name) {
        if (name === "hgetall") readings++;
        const found = Reflect.get(target, name);
        return typeof found === "function" ? found.bind(target) : found;
      },
    });
    const inbound = new InboundReceipts({ redis, prefix, clock, ledger: bed.ledger });
    return { inbound, readings: () => readings };
  }
  const receipt = (number: number, sku = "MANY") => ({
    ...{ id: `PO-${number}`, sku, location: "main", units: 2, expectedMs: number },
  });

  it("are added without reading all of them for each", async () => {
    const { inbound, readings } = counted("many");
    const other = counted("many");
    const all = Array.from({ length: 2_000 }, (_, number) => receipt(number));
    const outcomes = await Promise.all(all.map((each) => inbound.put(each)));
    expect(new Set(outcomes)).toEqual(new Set(["created"]));
    expect(await inbound.inboundUnits("MANY")).toBe(4_000);
    expect(await other.inbound.inboundUnits("MANY")).toBe(4_000);
    expect(readings()).toBeLessThan(20);
    expect(await other.inbound.put({ ...receipt(7), units: 5 })).toBe("replaced");
    expect(await other.inbound.get("PO-7")).toMatchObject({ remainingUnits: 5 });
    await expect.poll(() => inbound.inboundUnits("MANY")).toBe(4_003);
    expect(await inbound.remove("PO-7")).toBe(true);
    expect(await inbound.remove("PO-7")).toBe(false);
    expect(await inbound.inboundUnits("MANY")).toBe(3_998);
    expect((await inbound.list("MANY", 2)).map(({ id }) => id)).toEqual(["PO-0", "PO-1"]);
  });

  it("are not more than the limit, however many are added at once", async () => {
    const { inbound } = counted("full");
    const fields = Array.from({ length: 9_995 }, (_, number) => receipt(number)).map((each) => [
      each.id,
      JSON.stringify(each),
    ]);
    await bed.redis.hset("full:{inbound}:records", Object.fromEntries(fields));
    await bed.redis.incr("full:{inbound}:version");
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, number) => inbound.put(receipt(20_000 + number))),
    );
    expect(outcomes.filter((each) => each === "created")).toHaveLength(5);
    expect(outcomes.filter((each) => each === "too_many")).toHaveLength(15);
  });

  it("have nothing of an earlier receipt of their id, whose removal met its arrival", async () => {
    await bed.receive("MET", 1);
    const { clock } = bed.deps();
    const inbound: InboundReceipts = new InboundReceipts({
      ...{ redis: bed.redis, prefix: "met", clock },
      ledger: {
        apply: async (command: StockCommand) => {
          await inbound.remove("PO-1");
          return bed.ledger.apply(command);
        },
      },
    });
    await inbound.put(receipt(1, "MET"));
    await inbound.arrive("PO-1", "1", 2, {});
    expect(await inbound.get("PO-1")).toBeUndefined();
    await inbound.put(receipt(1, "MET"));
    expect(await inbound.get("PO-1")).toMatchObject({ arrivedUnits: 0, remainingUnits: 2 });
    expect(await inbound.inboundUnits("MET")).toBe(2);
  });
});

describe("what is to be reordered", () => {
  it("counts what is on its way, the most urgent first", async () => {
    const skus = [
      { sku: "A", category: "cups", sellableUnits: 10, safetyUnits: 5, dailyAverage: 10 },
      { sku: "B", category: undefined, sellableUnits: 4, safetyUnits: 0, dailyAverage: 2 },
      { sku: "C", category: undefined, sellableUnits: 1, safetyUnits: 0, dailyAverage: 2 },
      { sku: "NEW", category: undefined, sellableUnits: 0, safetyUnits: 9, dailyAverage: undefined },
    ];
    const list = new ReplenishmentList({ skus: () => skus, inbound: async () => new Map([["C", 5]]) });
    const { skus: found, total } = await list.read();
    expect(
      found.map(({ sku, reorderPoint, suggestedUnits, daysLeft }) => [sku, reorderPoint, suggestedUnits, daysLeft]),
    ).toEqual([
      ["A", 39, 29, 1],
      ["B", 6, 2, 2],
    ]);
    expect(total).toBe(2);
  });

  it("is answered for a SKU without history, too, and for none that does not exist", async () => {
    await bed.receive("R5", 7);
    await put("PO-5", { sku: "R5", units: 2, expectedAt });
    await expect
      .poll(async () => (await bed.send("GET", "/v1/replenishment/R5")).json, { timeout: 30_000 })
      .toEqual({ sku: "R5", sellable: 7, safety: 0, inbound: 2 });
    expect((await bed.send("GET", "/v1/replenishment/unreal")).json.code).toBe("unknown_sku");
    expect((await bed.send("GET", "/v1/replenishment?limit=5")).json).toEqual({ skus: [], total: 0 });
  });
});
