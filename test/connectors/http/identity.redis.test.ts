/**
 * Who may do what, and who did it: each route's role, and the authenticated name on every change, whatever name the
 * body gives.
 */
import { describe, expect, it } from "vitest";
import { ROLES, type Role } from "../../../connectors/http/identity.js";
import { orderEventsOf } from "../../../engine/orders/log-entry.js";
import { eventsOf } from "../../../engine/stock/log-entry.js";
import type { StockEvent } from "../../../engine/stock/model.js";
import { orderKeys, stockKeys } from "../../../engine/stream/keys.js";
import { readLog } from "../../../engine/stream/log.js";
import { freshId, httpBed } from "./http-bed.js";

const secretOf = (name: string) => `the-secret-of-${name}-0123456789`;
const bed = httpBed({
  tokens: [
    ...ROLES.map((role) => `${role}.clerk:${role}:${secretOf(role)}`),
    `li.wei:operate:${secretOf("li.wei")}`,
    "a-bare-secret-of-old-times",
  ],
});
const PARTITIONS = [0, 1, 2, 3];
const as = (name: string) => ({ headers: { authorization: `Bearer ${secretOf(name)}` } });
const ask = (role: string, method: string, path: string, body?: unknown) =>
  bed.send(method, path, { ...as(role), ...(body === undefined ? {} : { body }) });
const bulk = (role: string, ...commands: object[]) =>
  bed.send("POST", "/v1/commands", {
    body: commands.map((command) => `${JSON.stringify(command)}\n`).join(""),
    headers: { ...as(role).headers, "content-type": "application/x-ndjson" },
  });

async function eventOfId(sku: string, id: string): Promise<StockEvent | undefined> {
  const { log } = stockKeys("t", bed.ledger.partitionOf(sku));
  const entries = await readLog(bed.redis, log, 0, 1_000);
  return entries.flatMap((entry) => eventsOf(entry).events).find((event) => event.id === id);
}

describe("a role", () => {
  const NEEDED: [role: Role, method: string, path: string, body?: object][] = [
    ["read", "GET", "/v1/orders/x"],
    ["read", "GET", "/v1/exceptions"],
    ["read", "GET", "/v1/alerts"],
    ["read", "GET", "/v1/breaker"],
    ["read", "GET", "/v1/ledger/A"],
    ["read", "GET", "/v1/comparisons"],
    ["read", "GET", "/v1/divergence"],
    ["order", "POST", "/v1/orders", {}],
    ["order", "POST", "/v1/orders/x/payment"],
    ["order", "POST", "/v1/orders/x/cancellation"],
    ["order", "POST", "/v1/orders/x/outbound"],
    ["order", "POST", "/v1/orders/x/picking", {}],
    ["order", "POST", "/v1/orders/x/label", {}],
    ["order", "POST", "/v1/orders/x/waybill", {}],
    ["order", "POST", "/v1/orders/x/logistics", {}],
    ["order", "POST", "/v1/commands", {}],
    ["order", "POST", "/v1/ids"],
    ["operate", "PUT", "/v1/skus/A/settings", {}],
    ["operate", "PUT", "/v1/categories/A/settings", {}],
    ["operate", "POST", "/v1/alerts/A%231/acknowledgement", {}],
    ["operate", "POST", "/v1/breaker", {}],
    ["read", "GET", "/v1/settlements"],
    ["operate", "POST", "/v1/settlements/approval", {}],
    ["operate", "POST", "/v1/settlements/rejection", {}],
    ["operate", "POST", "/v1/comparisons", {}],
  ];
  it.each(NEEDED)("%s or a higher one is needed for %s %s", async (...[needed, method, path, body]) => {
    for (const role of ROLES) {
      const { status, json } = await ask(role, method, path, body);
      if (ROLES.indexOf(role) >= ROLES.indexOf(needed)) expect([401, 403], role).not.toContain(status);
      else
        expect(json, role).toMatchObject({
          status: 403,
          code: "forbidden",
          // A person's session may do some of it, too, and the text says so.
          detail: expect.stringContaining(`this needs the role ${needed}; ${role}.clerk has ${role}`),
        });
    }
  });

  it("order takes order lines in bulk, and nothing that changes stock by hand", async () => {
    await bed.receive("BK", 9);
    const reserve = { kind: "reserve", id: freshId(), sku: "BK", units: 1 };
    expect((await bulk("order", reserve)).status).toBe(200);
    const receive = { kind: "receive", id: freshId(), sku: "BK", units: 7 };
    const refused = await bulk("order", { ...reserve, id: freshId() }, receive);
    expect(refused.json).toMatchObject({ status: 403, code: "forbidden" });
    expect(refused.json.detail).toContain("the command receive needs the role operate");
    expect((await ask("read", "GET", "/v1/ledger/BK")).json.total).toMatchObject({ sellable: 8, reserved: 1 });
    expect((await bulk("operate", receive)).status).toBe(200);
  });

  it("is admin for a secret without a name", async () => {
    const headers = { authorization: "Bearer a-bare-secret-of-old-times" };
    const id = freshId();
    const body = { id, settings: { alertFactor: 4 } };
    expect((await bed.send("PUT", "/v1/skus/OLD/settings", { headers, body })).status).toBe(200);
    expect((await eventOfId("OLD", id))?.detail).toMatchObject({ actor: "default" });
  });
});

describe("the authenticated name", () => {
  it("is the actor of a stock command; the name in the body is recorded beside it", async () => {
    const [own, other] = [freshId(), freshId()];
    await bulk(
      "li.wei",
      { kind: "receive", id: own, sku: "N", units: 9 },
      { kind: "correct", id: other, sku: "N", units: -1, actor: "the boss", reason: "broken" },
    );
    expect((await eventOfId("N", own))?.detail).toEqual({ actor: "li.wei" });
    expect((await eventOfId("N", other))?.detail).toEqual({
      actor: "li.wei",
      onBehalfOf: "the boss",
      reason: "broken",
    });
  });

  it("is no part of a command: the same one under another token is a repeat", async () => {
    const command = { kind: "receive", id: freshId(), sku: "RP", units: 3, actor: "wang" };
    const answers = [(await bulk("li.wei", command)).text, (await bulk("operate", command)).text];
    expect(answers.map((text) => JSON.parse(text))).toMatchObject([{ repeated: false }, { repeated: true }]);
    const changed = await bulk("li.wei", { ...command, actor: "zhang" });
    expect(JSON.parse(changed.text)).toMatchObject({ outcome: "id_reused" });
  });

  it("is on every step of an order, beside the evidence's source", async () => {
    await bed.receive("ST", 9);
    const placed = await ask("order", "POST", "/v1/orders", { lines: [{ sku: "ST", units: 1 }] });
    const { id } = placed.json;
    await ask("admin", "POST", `/v1/orders/${id}/payment`);
    await ask("order", "POST", `/v1/orders/${id}/picking`, { source: "wms" });
    await ask("li.wei", "POST", `/v1/orders/${id}/label`, { source: "printer-3", waybill: "SF12345" });
    await ask("order", "POST", `/v1/orders/${id}/outbound`);
    const steps = async () => (await ask("read", "GET", `/v1/orders/${id}`)).json.steps;
    await expect.poll(async () => (await steps()).length, { timeout: 30_000 }).toBe(7);
    expect(
      (await steps()).map(({ step, source, detail }: { step: string; source: string; detail?: { actor: string } }) => [
        step,
        source,
        detail?.actor,
      ]),
    ).toEqual([
      ["created", "shop", undefined],
      ["paid", "shop", "admin.clerk"],
      ["locked", "shop", "admin.clerk"],
      ["picking", "wms", "order.clerk"],
      ["labelled", "printer-3", "li.wei"],
      ["waybill", "printer-3", "li.wei"],
      ["outbound", "shop", "order.clerk"],
    ]);
    // Who placed it is in the log; an order's steps begin with its payment.
    const logs = await Promise.all(PARTITIONS.map((n) => readLog(bed.redis, orderKeys("t", n).log, 0, 1_000)));
    const events = logs.flat().flatMap((entry) => orderEventsOf(entry).events);
    expect(events.find((event) => event.id === id && event.step === "created")).toMatchObject({
      source: "shop",
      detail: { actor: "order.clerk" },
    });
  });

  it("is on a breaker and on settings", async () => {
    const scope = { kind: "sku", sku: "GT" };
    const change = { scope, actor: "the boss", reason: "count" };
    const opened = await ask("li.wei", "POST", "/v1/breaker", { action: "open", ...change });
    expect(opened.json.breakers).toMatchObject([{ scope, actor: "li.wei", onBehalfOf: "the boss", reason: "count" }]);
    await ask("li.wei", "POST", "/v1/breaker", { action: "close", ...change });
    const id = freshId();
    const settings = { id, settings: { displayCoefficient: 1 }, actor: "the boss" };
    await ask("li.wei", "PUT", "/v1/skus/GT/settings", settings);
    expect((await eventOfId("GT", id))?.detail).toMatchObject({ actor: "li.wei", onBehalfOf: "the boss" });
  });
});
