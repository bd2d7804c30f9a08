/** An order's steps over HTTP (R16, R17): on evidence, each once, and which are late or skipped. */
import { describe, expect, it } from "vitest";
import { freshId, httpBed } from "./http-bed.js";

const bed = httpBed();

const SHIP_TO = { name: "李伟", phone: "13800000000", address: "浙江省杭州市西湖区文三路478号\n华星时代广场A座" };

async function paidOrder(): Promise<string> {
  const id = freshId();
  await bed.receive("S", 1);
  const placed = await bed.send("POST", "/v1/orders", {
    body: { id, lines: [{ sku: "S", units: 1 }], shipTo: SHIP_TO },
  });
  expect(placed.status, placed.text).toBe(201);
  expect((await bed.send("POST", `/v1/orders/${id}/payment`)).status).toBe(200);
  return id;
}

const orderAt = async (id: string) => (await bed.send("GET", `/v1/orders/${id}`)).json;
const stepsOf = async (id: string): Promise<string[]> =>
  (await orderAt(id)).steps.map(({ step }: { step: string }) => step);

describe("an order with steps", () => {
  it("records each step once, on the first evidence", async () => {
    const id = await paidOrder();
    const reports: [path: string, body: object][] = [
      ["label", { source: "printer-3", waybill: "SF1234567890", carrier: "SF" }],
      ["logistics", { source: "carrier:SF", status: "picked up" }],
    ];
    for (const [path, body] of reports) {
      const first = await bed.send("POST", `/v1/orders/${id}/${path}`, { body });
      expect(first.json, first.text).toMatchObject({ id, repeated: false });
      const again = await bed.send("POST", `/v1/orders/${id}/${path}`, { body: { ...body, source: "somebody-else" } });
      expect(again.json).toMatchObject({ id, repeated: true });
    }
    expect((await bed.send("POST", `/v1/orders/${id}/outbound`)).status).toBe(200);
    await expect
      .poll(() => stepsOf(id))
      .toEqual(["created", "paid", "locked", "labelled", "waybill", "reported", "outbound"]);
    const { steps, exceptions } = await orderAt(id);
    expect(steps[3]).toMatchObject({
      source: "printer-3",
      detail: { waybill: "SF1234567890", carrier: "SF" },
      at: expect.stringMatching(/Z$/),
    });
    // The carrier reported the parcel before `outbound` was reported; then that was recorded, too.
    expect(exceptions).toEqual([]);
  });

  it("is an exception while a step is late, and no longer when the step is recorded", async () => {
    const id = await paidOrder();
    const listed = async () =>
      (await bed.send("GET", "/v1/exceptions?limit=1000")).json.exceptions.filter(
        ({ order }: { order: string }) => order === id,
      );
    await expect.poll(listed, { timeout: 30_000 }).toMatchObject([{ step: "labelled", kind: "late" }]);
    expect((await orderAt(id)).exceptions).toMatchObject([{ step: "labelled", kind: "late" }]);
    // Counted once a second.
    const counts = async () => (await bed.send("GET", "/v1/exceptions")).json.counts;
    const late = { step: "labelled", kind: "late", open: expect.any(Number) };
    await expect.poll(counts).toContainEqual(late);
    await bed.send("POST", `/v1/orders/${id}/label`, { body: { source: "printer-3" } });
    await expect.poll(listed).toEqual([]);
  });

  it("is listed page by page, the oldest first", async () => {
    const ids = [await paidOrder(), await paidOrder(), await paidOrder()];
    const get = async (query: string) => (await bed.send("GET", `/v1/exceptions${query}`)).json;
    const whole = async () => (await get("?limit=1000")).exceptions.map(({ order }: { order: string }) => order);
    await expect.poll(whole).toEqual(expect.arrayContaining(ids));
    expect(await get("?limit=1000")).toMatchObject({ complete: true });
    const paged: { order: string; since: string }[] = [];
    for (let query = "?limit=1"; query !== ""; ) {
      const { exceptions, next } = await get(query);
      expect(exceptions).toHaveLength(1);
      paged.push(...exceptions);
      query = next === undefined ? "" : `?limit=1&cursor=${next}`;
    }
    expect(paged.map(({ order }) => order)).toEqual(await whole());
    expect(paged.map(({ since }) => since)).toEqual(paged.map(({ since }) => since).toSorted());
    const { json } = await bed.send("GET", "/v1/exceptions?cursor=nonsense");
    expect(json).toMatchObject({ status: 400, code: "bad_input", errors: [{ field: "cursor" }] });
  });

  it("waits for nothing more when it is cancelled before it is paid", async () => {
    const id = freshId();
    await bed.receive("S", 1);
    await bed.send("POST", "/v1/orders", { body: { id, lines: [{ sku: "S", units: 1 }] } });
    await bed.send("POST", `/v1/orders/${id}/cancellation`);
    const paid = await paidOrder();
    await expect.poll(() => stepsOf(paid)).toHaveLength(3);
    expect(await orderAt(id)).toMatchObject({ lines: [{ state: "cancelled" }], exceptions: [] });
    expect(await stepsOf(id)).toEqual(["created", "cancelled"]);
  });

  it("is the same order only with the same address", async () => {
    const id = freshId();
    await bed.receive("S", 2);
    const body = { id, lines: [{ sku: "S", units: 1 }], shipTo: SHIP_TO };
    expect((await bed.send("POST", "/v1/orders", { body })).status).toBe(201);
    const { address, phone, name } = SHIP_TO;
    expect((await bed.send("POST", "/v1/orders", { body: { ...body, shipTo: { address, phone, name } } })).status).toBe(
      200,
    );
    const other = { ...body, shipTo: { ...SHIP_TO, name: "王芳" } };
    expect((await bed.send("POST", "/v1/orders", { body: other })).json).toMatchObject({ code: "id_reused" });
    const { shipTo: _, ...without } = body;
    expect((await bed.send("POST", "/v1/orders", { body: without })).json).toMatchObject({ code: "id_reused" });
  });

  it("that does not exist, or a step with a bad field, is refused with its name", async () => {
    const unknown = await bed.send("POST", `/v1/orders/${freshId()}/label`, { body: { source: "printer-3" } });
    expect(unknown.json).toMatchObject({ status: 404, code: "unknown_order" });
    const id = await paidOrder();
    const bad: [path: string, body: unknown, field: string][] = [
      ["label", {}, "source"],
      ["waybill", { source: "x" }, "waybill"],
      ["waybill", { source: "x", waybill: "no spaces" }, "waybill"],
      ["logistics", { source: "x", status: "" }, "status"],
      ["picking", { source: "x y" }, "source"],
    ];
    for (const [path, body, field] of bad) {
      const { json } = await bed.send("POST", `/v1/orders/${id}/${path}`, { body });
      expect(json, path).toMatchObject({ status: 400, code: "bad_input", errors: [{ field }] });
    }
    for (const shipTo of [{}, { adress: "x" }, { address: "" }, { address: "a\u0000b" }, { name: "two\nlines" }]) {
      const { json } = await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "S", units: 1 }], shipTo } });
      expect(json, JSON.stringify(shipTo)).toMatchObject({ status: 400, code: "bad_input" });
    }
    expect((await bed.send("GET", "/v1/exceptions?limit=0")).status).toBe(400);
  });
});
