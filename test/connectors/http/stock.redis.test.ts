/** What operators read and set: balances, settings, alerts, breaker, ids. */
import { request } from "node:http";
import { describe, expect, it } from "vitest";
import { chainIdFault } from "../../../engine/kernel/chain-id.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { stockKeys } from "../../../engine/stream/keys.js";
import { freshId, httpBed, send, TOKEN } from "./http-bed.js";

const bed = httpBed();
const visible = (sku: string, display: number) =>
  expect.poll(() => bed.storefrontView.get(sku)?.total.display, { timeout: 30_000 }).toBe(display);

describe("the ledger's balances", () => {
  it("are given by location and in total, at once", async () => {
    await bed.receive("L", 10, "east");
    await bed.receive("L", 5, "main");
    await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "L", units: 2 }] } });
    const { json } = await bed.send("GET", "/v1/ledger/L");
    expect(json).toEqual({
      sku: "L",
      total: { sellable: 13, reserved: 2, committed: 0, safety: 0, presale: 0, onHand: 15 },
      locations: [
        { location: "east", sellable: 10, reserved: 0, committed: 0, safety: 0, presale: 0, onHand: 10 },
        { location: "main", sellable: 3, reserved: 2, committed: 0, safety: 0, presale: 0, onHand: 5 },
      ],
    });
  });
});

describe("settings", () => {
  it("change the display from now on, once for an id", async () => {
    await bed.receive("SET", 20);
    await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "SET", units: 10 }] } });
    const id = freshId();
    const body = { id, settings: { displayCoefficient: 1 }, actor: "li.wei" };
    const answer = await bed.send("PUT", "/v1/skus/SET/settings", { body });
    expect(answer.json).toEqual({ id, sku: "SET", settings: { displayCoefficient: 1 }, repeated: false });
    await visible("SET", 20);
    expect((await bed.send("PUT", "/v1/skus/SET/settings", { body })).json).toMatchObject({ repeated: true });
    const other = await bed.send("PUT", "/v1/skus/SET/settings", {
      body: { ...body, settings: { displayCoefficient: 0 } },
    });
    expect(other.json).toMatchObject({ status: 409, code: "id_reused" });
    expect(
      (await bed.send("PUT", "/v1/skus/SET/settings", { body: { settings: { alertFactor: 0 } } })).json,
    ).toMatchObject({ status: 400 });
  });
});

describe("a category", () => {
  const put = (path: string, body: unknown) => bed.send("PUT", path, { body });

  it("brings its settings to its SKUs, those that join later too; a SKU's own go before them", async () => {
    for (const sku of ["C1", "C2", "C3"]) {
      await bed.receive(sku, 20);
      await bed.send("POST", "/v1/orders", { body: { lines: [{ sku, units: 10 }] } });
    }
    await put("/v1/skus/C1/settings", { category: "umbrellas" });
    await put("/v1/skus/C2/settings", { category: "umbrellas", settings: { displayCoefficient: 0 } });
    await expect.poll(() => bed.storefrontView.skusOf("umbrellas").sort()).toEqual(["C1", "C2"]);

    const answer = await put("/v1/categories/umbrellas/settings", { settings: { displayCoefficient: 1 } });
    expect(answer.json).toEqual({ category: "umbrellas", settings: { displayCoefficient: 1 }, skus: 2 });
    await visible("C1", 20);
    await visible("C2", 10);
    expect((await put("/v1/skus/C3/settings", { category: "umbrellas" })).json).toMatchObject({
      category: "umbrellas",
    });
    await visible("C3", 20);

    await put("/v1/categories/umbrellas/settings", { settings: {} });
    await visible("C1", 13);
  });

  it("and settings cannot both be left out, and a category has no unknown option", async () => {
    expect((await put("/v1/skus/C1/settings", {})).json).toMatchObject({ status: 400 });
    expect(
      (await put("/v1/categories/umbrellas/settings", { settings: { colour: 1 } })).json.errors[0].field,
    ).toContain("colour");
  });
});

describe("alerts", () => {
  it("are listed, acknowledged through the ledger once, and 404 or 409 otherwise", async () => {
    await bed.receive("AL", 500);
    for (let i = 0; i < 2; i++) await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "AL", units: 60 }] } });
    await expect
      .poll(async () => (await bed.send("GET", "/v1/alerts")).json.alerts.length, { timeout: 30_000 })
      .toBe(1);
    const { alerts } = (await bed.send("GET", "/v1/alerts?state=all&limit=10")).json;
    expect(alerts).toEqual([
      expect.objectContaining({
        ...{ id: "AL#1", sku: "AL", state: "fired", firedAt: expect.any(String), hourUnits: 120 },
        ...{ rule: "depletion", subject: "AL", severity: "warning" },
      }),
    ]);
    expect(alerts[0]).not.toHaveProperty("dailyAverage");
    const noted = await bed.send("POST", "/v1/alerts/AL%231/acknowledgement", { body: { actor: "li.wei" } });
    expect(noted.status).toBe(202);
    expect(noted.json).toEqual({ id: "AL#1", sku: "AL", acknowledgedBy: "default", repeated: false });
    await expect.poll(() => bed.depletionView.openAlert("AL")?.acknowledgedBy, { timeout: 30_000 }).toBe("default");
    const again = await bed.send("POST", "/v1/alerts/AL%231/acknowledgement", { body: { actor: "zhang" } });
    expect([again.status, again.json.acknowledgedBy, again.json.repeated]).toEqual([200, "default", true]);
    expect((await bed.send("GET", "/v1/alerts?state=cleared")).json.alerts).toEqual([]);
    for (const id of ["AL%232", "unknown%231"]) {
      expect(
        (await bed.send("POST", `/v1/alerts/${id}/acknowledgement`, { body: { actor: "li.wei" } })).json,
      ).toMatchObject({ status: 404, code: "unknown_alert" });
    }
    expect((await bed.send("POST", "/v1/alerts/AL/acknowledgement", { body: { actor: "li.wei" } })).json).toMatchObject(
      { status: 400 },
    );
    expect((await bed.send("POST", "/v1/alerts/AL%231/acknowledgement", { body: {} })).json).toMatchObject({
      errors: [{ field: "actor" }],
    });
  });
});

describe("the breaker", () => {
  it("accepts only a scope that fits its kind", async () => {
    const cause = { actor: "li.wei", reason: "test" };
    for (const [scope, field] of [
      [{ kind: "shop", sku: "A" }, "scope.sku"],
      [{ kind: "sku" }, "scope.sku"],
      [{ kind: "location", sku: "A" }, "scope.sku"],
      [{ kind: "location" }, "scope.location"],
      [{ kind: "planet" }, "scope.kind"],
    ] as const) {
      expect(
        (await bed.send("POST", "/v1/breaker", { body: { action: "open", scope, ...cause } })).json.errors[0].field,
      ).toBe(field);
    }
    const closing = { action: "close", scope: { kind: "shop" }, ...cause };
    expect((await bed.send("POST", "/v1/breaker", { body: { ...closing, forMs: 1 } })).json).toMatchObject({
      errors: [{ field: "forMs" }],
    });
    expect((await bed.send("POST", "/v1/breaker", { body: closing })).json).toEqual({
      changed: false,
      complete: true,
      open: false,
      version: expect.any(Number),
      breakers: [],
    });
  });

  it("opened by hand without an end is shown so, and refused orders get a Retry-After of a minute", async () => {
    const scope = { kind: "location", location: "east" };
    const cause = { actor: "li.wei", reason: "flood" };
    const opened = await bed.send("POST", "/v1/breaker", { body: { action: "open", scope, ...cause, forMs: 0 } });
    expect(opened.json.breakers).toEqual([
      {
        scope,
        state: "open",
        since: expect.any(String),
        actor: "default",
        onBehalfOf: "li.wei",
        reason: "flood",
        version: expect.any(Number),
        complete: true,
      },
    ]);
    const refused = await bed.send("POST", "/v1/orders", {
      body: { lines: [{ sku: "L", location: "east", units: 1 }] },
    });
    expect([refused.json.code, refused.headers["retry-after"]]).toEqual(["breaker_open", "60"]);
    await bed.send("POST", "/v1/breaker", { body: { action: "close", scope, ...cause } });
  });
});

describe("the ledger at an instant", () => {
  it("answers with the balances that it held then, the instant and the position of its log", async () => {
    await bed.receive("PAST", 5, "east");
    const between = new Date(systemClock.now()).toISOString();
    await expect.poll(() => systemClock.now()).toBeGreaterThan(Date.parse(between) + 1);
    await bed.receive("PAST", 7, "main");
    const then = (await bed.send("GET", `/v1/ledger/PAST?at=${between}`)).json;
    expect(then).toMatchObject({ sku: "PAST", asOf: between, final: true, total: { sellable: 5, onHand: 5 } });
    expect(then.locations).toMatchObject([
      { location: "east", sellable: 5 },
      { location: "main", sellable: 0 },
    ]);
    expect(then.position).toEqual({ partition: bed.ledger.partitionOf("PAST"), offset: expect.any(Number) });
    const later = (await bed.send("GET", "/v1/ledger/PAST?at=2100-01-01T00:00:00%2B08:00")).json;
    expect(later).toMatchObject({ final: false, total: { sellable: 12 } });
    expect(Date.parse(later.asOf)).toBeLessThanOrEqual(systemClock.now() + 1_000);
    expect((await bed.send("GET", "/v1/ledger/PAST")).json).not.toHaveProperty("asOf");
  });

  it("is read for four requests at a time, further ones get 429, and one that has left is read no further", async () => {
    const signals: (AbortSignal | undefined)[] = [];
    let answer = (): void => {};
    const hold = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const { history } = bed.deps();
    const slow = {
      asOf: async (skus: string[], atMs: number, signal?: AbortSignal) => {
        signals.push(signal);
        await hold;
        return history.asOf(skus, atMs, signal);
      },
    };
    const { port } = await bed.another({ history: slow as never });
    await bed.receive("BUSY", 1);
    const path = "/v1/ledger/BUSY?at=2100-01-01T00:00:00Z";
    const leaving = request({ port, path, headers: { authorization: `Bearer ${TOKEN}` } }).on("error", () => {});
    leaving.end();
    const three = Array.from({ length: 3 }, () => send(port, "GET", path));
    await expect.poll(() => signals.length).toBe(4);
    const refused = await send(port, "GET", path);
    expect([refused.status, refused.json.code, refused.headers["retry-after"]]).toEqual([429, "overloaded", "1"]);
    expect((await send(port, "GET", "/v1/ledger/BUSY")).status).toBe(200);
    leaving.destroy();
    await expect.poll(() => signals.filter((signal) => signal?.aborted).length).toBe(1);
    const next = send(port, "GET", path);
    await expect.poll(() => signals.length).toBe(5);
    answer();
    expect((await Promise.all([...three, next])).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  });

  it("rejects what is no instant, an unknown SKU, and an instant before its log begins", async () => {
    for (const at of ["yesterday", "2026-06-18", "2026-06-18T20:00:00", "2026-02-30T00:00:00Z", "2026-06-18T25:00:00Z"])
      expect((await bed.send("GET", `/v1/ledger/PAST?at=${at}`)).json, at).toMatchObject({
        status: 400,
        errors: [{ field: "at" }],
      });
    const now = new Date(systemClock.now()).toISOString();
    expect((await bed.send("GET", `/v1/ledger/NEVER?at=${now}`)).json).toMatchObject({ code: "unknown_sku" });
    const { log } = stockKeys("t", bed.ledger.partitionOf("TRIMMED"));
    await bed.receive("TRIMMED", 1);
    await bed.receive("TRIMMED", 1);
    const [last] = await bed.redis.xrevrange(log, "+", "-", "COUNT", 1);
    await bed.redis.xtrim(log, "MINID", last?.[0] ?? "");
    const answer = await bed.send("GET", "/v1/ledger/TRIMMED?at=2026-01-01T00:00:00Z");
    expect([answer.status, answer.json.code]).toEqual([410, "outside_retention"]);
  });
});

it("a breaker can be half-open: by hand, or when its time is over; both are shown, and refuse orders", async () => {
  const scope = { kind: "sku", sku: "HALF" };
  const change = { scope, actor: "li.wei", reason: "count differs" };
  const opened = await bed.send("POST", "/v1/breaker", {
    body: { action: "open", ...change, forMs: 600_000, atEnd: "half_open" },
  });
  expect(opened.json.breakers).toMatchObject([{ scope, state: "open", atEnd: "half_open", complete: true }]);
  const half = await bed.send("POST", "/v1/breaker", { body: { action: "half_open", ...change } });
  expect(half.json).toMatchObject({ changed: true, open: true, breakers: [{ scope, state: "half_open" }] });
  expect(half.json.breakers[0]).not.toHaveProperty("until");
  const place = async () => {
    const { json, headers } = await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "HALF", units: 1 }] } });
    return [json.code, headers["retry-after"]];
  };
  // Breakers are read once a second.
  await expect.poll(place).toEqual(["breaker_open", "5"]);
  for (const [body, field] of [
    [{ action: "half_open", ...change, forMs: 1 }, "forMs"],
    [{ action: "close", ...change, atEnd: "close" }, "atEnd"],
    [{ action: "open", ...change, forMs: 0, atEnd: "half_open" }, "atEnd"],
  ] as const)
    expect((await bed.send("POST", "/v1/breaker", { body })).json).toMatchObject({ errors: [{ field }] });
  const closed = await bed.send("POST", "/v1/breaker", { body: { action: "close", ...change } });
  expect(closed.json).toMatchObject({ changed: true, open: false });
});

it("fresh ids are chain ids, all different, in the requested channel", async () => {
  const { ids } = (await bed.send("POST", "/v1/ids?count=1000&channel=T9")).json;
  expect(new Set(ids).size).toBe(1_000);
  expect(ids.every((id: string) => chainIdFault(id) === undefined && id.startsWith("T9"))).toBe(true);
  expect((await bed.send("POST", "/v1/ids")).json.ids).toHaveLength(1);
});

it("no request caused an unexpected fault", () => {
  expect(bed.troubles).toEqual([]);
});
