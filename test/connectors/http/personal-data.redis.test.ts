/**
 * Deleting a buyer's text over HTTP: which roles may, what remains, and what an order without it still allows.
 */
import { describe, expect, it } from "vitest";
import { freshId, httpBed } from "./http-bed.js";

const OPERATOR = "operator-secret-0123456789";
const CLERK = "clerk-secret-0123456789";
const bed = httpBed({ tokens: [`ann:operate:${OPERATOR}`, `bob:order:${CLERK}`] });

const call = (method: string, path: string, token: string, body?: unknown) =>
  bed.send(method, path, { ...(body === undefined ? {} : { body }), headers: { authorization: `Bearer ${token}` } });

async function placed(): Promise<string> {
  await bed.receive("A", 1);
  const id = freshId();
  const shipTo = { name: "planted", address: "planted-street 9" };
  const answer = await call("POST", "/v1/orders", CLERK, { id, lines: [{ sku: "A", units: 1 }], shipTo });
  expect(answer.status).toBe(201);
  return id;
}

describe("DELETE /v1/orders/{id}/personal-data", () => {
  it("is for those who operate, may be repeated, and leaves lines and stock as they are", async () => {
    const id = await placed();
    const path = `/v1/orders/${id}/personal-data`;
    expect((await call("DELETE", path, CLERK)).status).toBe(403);
    const before = (await call("GET", `/v1/orders/${id}`, CLERK)).json;
    for (let i = 0; i < 2; i++) {
      const { status, json } = await call("DELETE", path, OPERATOR);
      expect(status).toBe(200);
      expect(json).toEqual({ id, outcome: "erased" });
    }
    expect((await call("GET", `/v1/orders/${id}`, CLERK)).json).toEqual(before);
  });

  it("makes an unpaid order impossible to pay, because its address is deleted", async () => {
    const id = await placed();
    await call("DELETE", `/v1/orders/${id}/personal-data`, OPERATOR);
    const { status, json } = await call("POST", `/v1/orders/${id}/payment`, CLERK);
    expect(status).toBe(409);
    expect(json.code).toBe("hold_expired");
  });

  it("leaves a paid order paid: its payment is answered as before", async () => {
    const id = await placed();
    expect((await call("POST", `/v1/orders/${id}/payment`, CLERK)).status).toBe(200);
    expect((await call("DELETE", `/v1/orders/${id}/personal-data`, OPERATOR)).status).toBe(200);
    const { status, json } = await call("POST", `/v1/orders/${id}/payment`, CLERK);
    expect(status).toBe(200);
    expect(json.repeated).toBe(true);
  });

  it("refuses an unknown order, an invalid id, and an order on its way to the warehouse", async () => {
    expect((await call("DELETE", `/v1/orders/${freshId()}/personal-data`, OPERATOR)).json.code).toBe("unknown_order");
    expect((await call("DELETE", "/v1/orders/nothing/personal-data", OPERATOR)).status).toBe(400);
    const { port } = await bed.another({
      tokens: [`ann:operate:${OPERATOR}`],
      eraseBuyer: async () => "on_its_way",
    });
    const answer = await fetch(`http://127.0.0.1:${port}/v1/orders/${freshId()}/personal-data`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${OPERATOR}` },
    });
    expect(answer.status).toBe(409);
    expect(await answer.json()).toMatchObject({ code: "order_on_its_way" });
  });
});
