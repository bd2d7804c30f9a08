/**
 * Orders over HTTP against a real ledger: all lines or none, repeats, every refusal, and never more sold than there is.
 */
import { Agent } from "node:http";
import { describe, expect, it } from "vitest";
import { chainId, chainIdDay, chainIdFault } from "../../../engine/kernel/chain-id.js";
import { DAY_MS, systemClock } from "../../../engine/kernel/clock.js";
import { orderKeys, stockKeys } from "../../../engine/stream/keys.js";
import { freshId, httpBed } from "./http-bed.js";

const bed = httpBed();

const place = (body: unknown, headers?: Record<string, string>) =>
  bed.send("POST", "/v1/orders", headers ? { body, headers } : { body });
const cell = async (sku: string, location = "main") => (await bed.ledger.balances(sku))?.get(location);

describe("placing an order", () => {
  it("reserves its lines and answers 201 with them", async () => {
    await bed.receive("A", 10);
    const id = freshId();
    const answer = await place({ id, lines: [{ sku: "A", units: 3 }] });
    expect(answer.status).toBe(201);
    expect(answer.headers.location).toBe(`/v1/orders/${id}`);
    expect(answer.json).toEqual({
      id,
      outcome: "accepted",
      repeated: false,
      lines: [{ id: `${id}-1`, sku: "A", location: "main", units: 3, outcome: "accepted", state: "held" }],
    });
    expect(await cell("A")).toMatchObject({ sellable: 7, reserved: 3 });
  });

  it("answers 200 with the first answer when the same is sent again, and 409 when the id comes with another body", async () => {
    await bed.receive("B", 10);
    const id = freshId();
    const body = { id, lines: [{ sku: "B", units: 1 }] };
    expect((await place(body)).status).toBe(201);
    const again = await place(body);
    expect(again.status).toBe(200);
    expect(again.json).toMatchObject({ id, outcome: "accepted", repeated: true });
    const other = await place({ id, lines: [{ sku: "B", units: 2 }] });
    expect(other.status).toBe(409);
    expect(other.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(other.json).toMatchObject({ type: "urn:shuiwei:id_reused", status: 409, code: "id_reused", id });
    expect(await cell("B")).toMatchObject({ sellable: 9, reserved: 1 });
  });

  it("makes an id in the given channel when none is sent", async () => {
    await bed.receive("C", 10);
    const { json } = await place({ channel: "T7", lines: [{ sku: "C", units: 1 }] });
    expect(json.id.slice(0, 2)).toBe("T7");
    expect(chainIdFault(json.id)).toBeUndefined();
    expect((await place({ lines: [{ sku: "C", units: 1 }] })).json.id.slice(0, 2)).toBe("WB");
  });

  it("leaves balances as before when one line is refused, and names that line", async () => {
    await bed.receive("D1", 10);
    await bed.receive("D2", 1);
    const answer = await place({
      id: freshId(),
      lines: [
        { sku: "D1", units: 4 },
        { sku: "D2", units: 2 },
      ],
    });
    expect(answer.status).toBe(409);
    expect(answer.json).toMatchObject({ code: "insufficient_sellable", errors: [{ field: "lines[1].units" }] });
    expect(await cell("D1")).toMatchObject({ sellable: 10, reserved: 0 });
    expect(await cell("D2")).toMatchObject({ sellable: 1, reserved: 0 });
  });

  it("counts the same SKU on two lines together", async () => {
    await bed.receive("E", 5);
    expect(
      (
        await place({
          lines: [
            { sku: "E", units: 3 },
            { sku: "E", units: 3 },
          ],
        })
      ).status,
    ).toBe(409);
    expect(
      (
        await place({
          lines: [
            { sku: "E", units: 3 },
            { sku: "E", units: 2 },
          ],
        })
      ).status,
    ).toBe(201);
    expect(await cell("E")).toMatchObject({ sellable: 0, reserved: 5 });
  });

  it("answers 404 for an unknown SKU", async () => {
    const answer = await place({ lines: [{ sku: "never-received", units: 1 }] });
    expect(answer.status).toBe(404);
    expect(answer.json).toMatchObject({ code: "unknown_sku", errors: [{ field: "lines[0].sku" }] });
  });

  it("answers 409 insufficient_presale when the presale has not enough left", async () => {
    await bed.receive("P", 5);
    const answer = await place({ lines: [{ sku: "P", units: 1, pool: "presale" }] });
    expect(answer.json).toMatchObject({ status: 409, code: "insufficient_presale" });
  });

  it("answers 422 for an id from outside the time window", async () => {
    await bed.receive("WD", 5);
    const answer = await place({ id: chainId("TE", systemClock.now() - 60 * DAY_MS), lines: [{ sku: "W", units: 1 }] });
    expect(answer.json).toMatchObject({ status: 422, code: "id_outside_window" });
  });

  it("sells exactly 400 of 400 units to 64 concurrent clients, and every sale is one 201", {
    timeout: 180_000,
  }, async () => {
    await bed.receive("HOT", 400);
    const clients = Array.from({ length: 64 }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
    const statuses = new Map<number, number>();
    await Promise.all(
      clients.map(async (agent) => {
        for (let i = 0; i < 10; i++) {
          const { status } = await bed.send("POST", "/v1/orders", {
            body: { id: freshId(), lines: [{ sku: "HOT", units: 1 }] },
            agent,
          });
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
        agent.destroy();
      }),
    );
    expect(Object.fromEntries(statuses)).toEqual({ 201: 400, 409: 240 });
    expect(await cell("HOT")).toMatchObject({ sellable: 0, reserved: 400 });
  });
});

describe("the details of an order", () => {
  const DETAILS = {
    amount: Number.MAX_SAFE_INTEGER,
    currency: "CNY",
    paymentKind: "alipay",
    buyer: "buyer-81027",
    attributes: { constructor: "x", "address.kind": "酒店", share: -0.15, first: true },
  };

  it("are shown as they came, whether the order is repeated or erased, and belong to its body", async () => {
    await bed.receive("DETAILED", 5);
    const id = freshId();
    const body = { id, lines: [{ sku: "DETAILED", units: 1 }], shipTo: { name: "李伟" }, ...DETAILS };
    expect((await place(body)).status).toBe(201);
    expect((await bed.send("GET", `/v1/orders/${id}`)).json).toMatchObject({
      id,
      ...DETAILS,
      lines: [{ state: "held" }],
    });
    expect((await place(body)).json).toMatchObject({ repeated: true });
    for (const other of [{ amount: 1 }, { buyer: "buyer-2" }, { attributes: {} }])
      expect((await place({ ...body, ...other })).json).toMatchObject({ code: "id_reused" });
    expect((await bed.send("DELETE", `/v1/orders/${id}/personal-data`)).status).toBe(200);
    expect((await bed.send("GET", `/v1/orders/${id}`)).json).toMatchObject(DETAILS);
  });

  it("are absent where none were sent, and a number that is not finite is refused", async () => {
    await bed.receive("PLAIN", 5);
    const { json } = await place({ lines: [{ sku: "PLAIN", units: 1 }], attributes: {} });
    const view = (await bed.send("GET", `/v1/orders/${json.id}`)).json;
    expect(Object.keys(view)).toEqual(["id", "lines", "steps", "exceptions"]);
    const headers = { "content-type": "application/json" };
    const infinite = '{"lines":[{"sku":"PLAIN","units":1}],"attributes":{"share":1e999}}';
    expect((await place(infinite, headers)).json.errors).toMatchObject([{ field: "attributes.share" }]);
  });
});

describe("the life of an order", () => {
  it("is paid, sent out, and shows the states of its lines", async () => {
    await bed.receive("L", 5);
    const id = freshId();
    await place({ id, lines: [{ sku: "L", units: 2 }] });
    const paid = await bed.send("POST", `/v1/orders/${id}/payment`);
    expect(paid.status).toBe(200);
    expect(paid.json).toMatchObject({ outcome: "accepted", repeated: false, lines: [{ state: "paid" }] });
    expect((await bed.send("POST", `/v1/orders/${id}/payment`, { body: {} })).json).toMatchObject({ repeated: true });
    expect((await bed.send("GET", `/v1/orders/${id}`)).json).toMatchObject({
      id,
      lines: [{ id: `${id}-1`, sku: "L", location: "main", units: 2, state: "paid" }],
    });
    expect((await bed.send("POST", `/v1/orders/${id}/outbound`)).json).toMatchObject({
      outcome: "accepted",
      lines: [{ state: "outbound" }],
    });
    const late = await bed.send("POST", `/v1/orders/${id}/cancellation`);
    expect(late.json).toMatchObject({ status: 409, code: "already_outbound", errors: [{ field: "lines[0]" }] });
    expect(await cell("L")).toMatchObject({ sellable: 3, reserved: 0, committed: 0 });
  });

  it("is cancelled when its warehouse withdraws it, and continues when the warehouse refuses", async () => {
    await bed.receive("WD", 5);
    const [withdrawn, kept] = [freshId(), freshId()];
    for (const id of [withdrawn, kept]) {
      await place({ id, lines: [{ sku: "WD", units: 2 }] });
      await bed.send("POST", `/v1/orders/${id}/payment`);
      const early = await bed.send("POST", `/v1/orders/${id}/withdrawal`, { body: { result: "refused", source: "w" } });
      expect(early.json).toMatchObject({ status: 409, code: "not_cancelling" });
      await bed.send("POST", `/v1/orders/${id}/picking`, { body: { source: "w" } });
      const part = await bed.send("POST", `/v1/orders/${id}/outbound`, { body: { lines: [2] } });
      expect(part.json).toMatchObject({ status: 409, code: "unknown_line" });
      expect((await bed.send("POST", `/v1/orders/${id}/cancellation`, { body: { lines: [0] } })).status).toBe(400);
      for (const repeated of [false, true]) {
        const asked = await bed.send("POST", `/v1/orders/${id}/cancellation`);
        expect(asked).toMatchObject({
          status: 202,
          json: { outcome: "cancelling", repeated, lines: [{ state: "cancelling" }] },
        });
      }
    }
    expect(await cell("WD")).toMatchObject({ committed: 4 });
    const settle = (id: string, result: string) =>
      bed.send("POST", `/v1/orders/${id}/withdrawal`, { body: { result, source: "w" } });
    expect(await settle(withdrawn, "withdrawn")).toMatchObject({ status: 200, json: { outcome: "cancelled_paid" } });
    expect(await settle(kept, "refused")).toMatchObject({ status: 200, json: { outcome: "accepted" } });
    expect((await bed.send("POST", `/v1/orders/${kept}/cancellation`)).json).toMatchObject({
      code: "cancellation_refused",
    });
    expect(await cell("WD")).toMatchObject({ committed: 2 });
  });

  it("releases its units when cancelled, and reports when a payment must be refunded", async () => {
    await bed.receive("M", 5);
    const held = freshId();
    await place({ id: held, lines: [{ sku: "M", units: 2 }] });
    expect((await bed.send("POST", `/v1/orders/${held}/cancellation`)).json).toMatchObject({ outcome: "accepted" });
    const paid = freshId();
    await place({ id: paid, lines: [{ sku: "M", units: 2 }] });
    await bed.send("POST", `/v1/orders/${paid}/payment`);
    expect((await bed.send("POST", `/v1/orders/${paid}/cancellation`)).json).toMatchObject({
      outcome: "cancelled_paid",
    });
    expect(await cell("M")).toMatchObject({ sellable: 5, reserved: 0, committed: 0 });
  });

  it("is refused as hold_expired when paid after its units went to another", async () => {
    await bed.receive("X", 1);
    const id = freshId();
    await place({ id, holdMs: 1, lines: [{ sku: "X", units: 1 }] });
    await expect.poll(async () => (await cell("X"))?.sellable, { timeout: 30_000 }).toBe(1);
    await place({ lines: [{ sku: "X", units: 1 }] });
    expect((await bed.send("POST", `/v1/orders/${id}/payment`)).json).toMatchObject({
      status: 409,
      code: "hold_expired",
    });
  });

  it("answers 404 unknown_order, and 400 for what is no order id", async () => {
    for (const [method, path] of [
      ["POST", "/payment"],
      ["POST", "/cancellation"],
      ["POST", "/outbound"],
      ["GET", ""],
    ] as const) {
      expect((await bed.send(method, `/v1/orders/${freshId()}${path}`)).json).toMatchObject({
        status: 404,
        code: "unknown_order",
      });
      const id = freshId();
      const wrong = id.slice(0, -1) + (id.endsWith("A") ? "B" : "A");
      for (const bad of ["nonsense", `${id}-1`, wrong]) {
        expect((await bed.send(method, `/v1/orders/${bad}${path}`)).json).toMatchObject({
          status: 400,
          code: "bad_input",
          errors: [{ field: "id" }],
        });
      }
    }
  });

  it("takes no body with a step", async () => {
    const answer = await bed.send("POST", `/v1/orders/${freshId()}/payment`, { body: { amount: 3 } });
    expect(answer.json).toMatchObject({ status: 400, errors: [{ field: "amount", message: "is not a known field" }] });
  });
});

describe("while a breaker is open", () => {
  it("refuses new orders with 503 and Retry-After, and accepts payments", async () => {
    await bed.receive("G", 5);
    const id = freshId();
    await place({ id, lines: [{ sku: "G", units: 1 }] });
    const scope = { kind: "sku", sku: "G" };
    const opened = await bed.send("POST", "/v1/breaker", {
      body: { action: "open", scope, actor: "li.wei", reason: "count differs", forMs: 600_000 },
    });
    expect(opened.json).toMatchObject({
      open: true,
      breakers: [{ scope, onBehalfOf: "li.wei", reason: "count differs" }],
    });
    const body = { id: freshId(), lines: [{ sku: "G", units: 1 }] };
    const refused = await place(body);
    expect(refused.json).toMatchObject({ status: 503, code: "breaker_open", id: body.id });
    expect(refused.json.detail).toMatch(
      /again with the same id after \d{3} s: the breaker of G is open until .*: count/,
    );
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(590);
    expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(600);
    expect((await bed.send("POST", `/v1/orders/${id}/payment`)).status).toBe(200);
    const events = async () => (await bed.send("GET", "/v1/breaker/history?limit=2")).json.events;
    const patience = { timeout: 60_000, interval: 100 };
    await expect.poll(events, patience).toMatchObject([{ kind: "opened", scope: "sku:G" }]);
    const closed = await bed.send("POST", "/v1/breaker", {
      body: { action: "close", scope, actor: "li.wei", reason: "counted again" },
    });
    expect(closed.json).toEqual({
      changed: true,
      version: expect.any(Number),
      open: false,
      complete: true,
      breakers: [],
    });
    expect((await bed.send("GET", "/v1/breaker")).json).toEqual({ open: false, breakers: [] });
    expect((await place(body)).status).toBe(201);
    await expect.poll(async () => (await events()).length, patience).toBe(2);
    expect(await events()).toMatchObject([
      { kind: "closed", by: "operator", actor: "default", reason: "counted again" },
      { kind: "opened", by: "operator", reason: "count differs", until: expect.any(String) },
    ]);
    expect((await bed.send("GET", "/v1/breaker/history?limit=0")).status).toBe(400);
  });

  const setBreaker = (action: string, scope: object) =>
    bed.send("POST", "/v1/breaker", { body: { action, scope, actor: "li.wei", reason: "count differs" } });

  it.each([
    ["shop", "open", { kind: "shop" }],
    ["location", "open", { kind: "location", location: "west" }],
    ["SKU", "half_open", { kind: "sku", sku: "H" }],
  ])("stores nothing of the orders that one for the %s refuses, and answers known ones", async (_, action, scope) => {
    await bed.receive("H", 5, "west");
    const lines = [{ sku: "H", location: "west", units: 1 }];
    const before = { id: freshId(), lines };
    const first = await place(before);
    expect(first.status).toBe(201);
    expect((await setBreaker(action, scope)).json).toMatchObject({ complete: true });
    const day = chainIdDay(before.id);
    const sizes = () =>
      Promise.all(
        Array.from({ length: bed.ledger.partitions }, (_, partition) => {
          const [orders, stock] = [orderKeys("t", partition), stockKeys("t", partition)];
          return Promise.all([bed.redis.hlen(orders.orders(day)), bed.redis.hlen(stock.lines(day))]);
        }),
      );
    const stored = await sizes();
    const ids = Array.from({ length: 100 }, () => freshId());
    for (let from = 0; from < ids.length; from += 10) {
      // Reads the breakers anew: what was read two seconds ago refuses nothing before it is stored.
      await bed.send("GET", "/v1/breaker");
      const few = ids.slice(from, from + 10);
      for (const answer of await Promise.all(few.map((id) => place({ id, lines })))) {
        expect(answer.json).toMatchObject({ status: 503, code: "breaker_open" });
        expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
      }
    }
    expect(await sizes()).toEqual(stored);
    for (let partition = 0; partition < bed.ledger.partitions; partition++) {
      const entries = await bed.redis.xrange(orderKeys("t", partition).log, "-", "+");
      const logged = entries.flatMap(([, fields]) => fields).join();
      expect(ids.filter((id) => logged.includes(id))).toEqual([]);
    }
    const repeated = await place(before);
    expect(repeated.status).toBe(200);
    expect(repeated.json).toEqual({ ...first.json, repeated: true });
    expect((await setBreaker("close", scope)).json).toMatchObject({ complete: true });
    expect((await place({ id: ids[0], lines })).status).toBe(201);
  });
});
