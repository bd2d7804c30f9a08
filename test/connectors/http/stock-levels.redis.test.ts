/**
 * What customers are shown: freshness, and how long caches and browsers may keep it.
 */
import { request } from "node:http";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../engine/kernel/clock.js";
import { freshnessBudget, MAX_LAG_MS } from "../../../engine/publication/freshness.js";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();
const show = (path: string, headers: Record<string, string> = {}) =>
  bed.send("GET", `/v1/stock${path}`, { anonymous: true, headers });
const visible = (sku: string, display: number) =>
  expect.poll(() => bed.storefrontView.get(sku)?.total.display, { timeout: 30_000 }).toBe(display);

describe("what customers are shown", () => {
  it("is sellable and 0.3 of reserved, with a time that is at most 15 s old, for a CDN to keep", async () => {
    await bed.receive("S", 20);
    await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "S", units: 10 }] } });
    await visible("S", 13);
    const answer = await show("/S");
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ sku: "S", display: 13, available: true, asOf: expect.any(String) });
    const ageMs = systemClock.now() - Date.parse(answer.json.asOf);
    expect(ageMs).toBeGreaterThanOrEqual(0);
    expect(ageMs).toBeLessThan(MAX_LAG_MS + 1_000);
    // A browser shows nothing stale; only a CDN may, which reads a field of its own.
    expect(answer.headers["cache-control"]).toMatch(/^public, max-age=0, must-revalidate, s-maxage=[1-5]$/);
    expect(answer.headers["cdn-cache-control"]).toMatch(/^max-age=[1-3](, stale-while-revalidate=[12])?$/);
    expect(answer.headers["x-accel-expires"]).toBe(`@${Date.parse(answer.json.asOf) / 1_000 + 11}`);
    expect(answer.headers["access-control-allow-origin"]).toBe("*");
    expect(answer.headers["access-control-expose-headers"]).toBe("Age, Date");
    expect(answer.headers).not.toHaveProperty("cache-tag");
  });

  it("is given by location on demand", async () => {
    await bed.receive("BY", 5, "east");
    await bed.receive("BY", 0 + 7, "west");
    await visible("BY", 12);
    const { json } = await show("/BY?by=location");
    expect(json.display).toBe(12);
    expect(json.locations).toEqual(
      expect.arrayContaining([
        { location: "east", display: 5, available: true },
        { location: "west", display: 7, available: true },
      ]),
    );
  });

  it("is given for many SKUs at once, each once, with the unknown ones listed", async () => {
    await bed.receive("M1", 1);
    await bed.receive("M2", 2);
    await visible("M2", 2);
    await visible("M1", 1);
    const { json } = await show("?sku=M1&sku=nope&sku=M2&sku=M1");
    expect(json).toEqual({
      asOf: expect.any(String),
      skus: [
        { sku: "M1", display: 1, available: true },
        { sku: "M2", display: 2, available: true },
      ],
      unknown: ["nope"],
    });
    expect((await show("?sku=M1")).json.skus).toHaveLength(1);
  });

  it("finds SKUs with slashes, blanks, emoji and 64 characters of 4 bytes", async () => {
    for (const sku of ["a/b?c#d", "茶 叶", "🍵".repeat(64), "50%"]) {
      await bed.receive(sku, 3);
      await visible(sku, 3);
      expect((await show(`/${encodeURIComponent(sku)}`)).json).toMatchObject({ sku, display: 3 });
      expect((await show(`?sku=${encodeURIComponent(sku)}`)).json.skus).toMatchObject([{ sku, display: 3 }]);
    }
  });

  it("is 404 for an unknown SKU and for one that was only configured, kept as briefly as any answer", async () => {
    const answer = await show("/unknown");
    expect(answer.json).toMatchObject({ status: 404, code: "unknown_sku" });
    expect(answer.headers["x-accel-expires"]).toMatch(/^@\d{10}$/);
    expect(answer.headers["cache-control"]).toMatch(/^public, max-age=0, must-revalidate, s-maxage=[1-5]$/);
    await bed.send("PUT", "/v1/skus/only-set/settings", { body: { settings: { displayCoefficient: 1 } } });
    await expect.poll(() => bed.storefrontView.get("only-set")).toBeDefined();
    expect((await show("/only-set")).status).toBe(404);
  });

  it("is 304 for a client that has it, and 200 again when it or its second has changed", async () => {
    await bed.receive("E", 4);
    await visible("E", 4);
    await expect
      .poll(async () => {
        const first = await show("/E");
        const second = await show("/E", { "if-none-match": `"other", W/${first.headers.etag}` });
        const isKept = ["etag", "x-accel-expires", "access-control-allow-origin"].every(
          (name) => second.headers[name] === first.headers[name],
        );
        return [second.status, second.text, isKept, "content-type" in second.headers];
      })
      .toEqual([304, "", true, false]);
    const { headers } = await show("/E");
    await bed.receive("E", 1);
    await visible("E", 5);
    expect((await show("/E", { "if-none-match": String(headers.etag) })).status).toBe(200);
  });

  it("is refused rather than given when the view is too old", async () => {
    let ageMs = MAX_LAG_MS;
    const old = await bed.another({ ageMs: () => ageMs });
    const atLimit = await send(old.port, "GET", "/v1/stock/S");
    expect(atLimit.status).toBe(200);
    expect(systemClock.now() - Date.parse(atLimit.json.asOf)).toBeGreaterThanOrEqual(MAX_LAG_MS);
    for (ageMs of [MAX_LAG_MS + 1, Number.NaN]) {
      for (const path of ["/v1/stock/S", "/v1/stock?sku=S"]) {
        const answer = await send(old.port, "GET", path);
        expect(answer.json).toMatchObject({ status: 503, code: "stale_view" });
        expect(answer.headers["retry-after"]).toBe("1");
        expect(answer.headers["cache-control"]).toBe("no-store");
        expect(answer.headers["access-control-allow-origin"]).toBe("*");
      }
    }
  });

  it("says the same time in every process, in whole seconds of real time however fast the shop's clock runs", async () => {
    await bed.receive("CLOCK", 1);
    await visible("CLOCK", 1);
    const shopClock = { now: () => systemClock.now() + 86_400_000 };
    const fast = await bed.another({ clock: shopClock, speed: () => 60 });
    const { json } = await send(fast.port, "GET", "/v1/stock/CLOCK");
    expect(Date.parse(json.asOf) % 1_000).toBe(0);
    expect(Date.parse(json.asOf)).toBeLessThanOrEqual(systemClock.now());
    await expect
      .poll(async () => {
        const [one, other] = await Promise.all([show("/CLOCK"), send(fast.port, "GET", "/v1/stock/CLOCK")]);
        return [other.text === one.text, other.headers.etag === one.headers.etag];
      })
      .toEqual([true, true]);
  });

  it("sends X-Accel-Expires before Cache-Control, for nginx", async () => {
    await bed.receive("ORDER", 1);
    await visible("ORDER", 1);
    for (const path of ["/v1/stock/ORDER", "/v1/stock/none", "/v1/stock?sku=ORDER", "/v1/stock/ORDER?by=location"]) {
      const names: string[] = await new Promise((resolve, reject) => {
        request({ port: bed.port, path }, (response) => {
          response.resume();
          resolve(response.rawHeaders.filter((_, i) => i % 2 === 0));
        })
          .on("error", reject)
          .end();
      });
      expect(names).toEqual(expect.arrayContaining(["x-accel-expires", "cache-control"]));
      expect(names.indexOf("x-accel-expires")).toBeLessThan(names.indexOf("cache-control"));
    }
  });

  it("has the tags of its SKUs where purges are configured, as long as nginx takes them", async () => {
    const tagged = await bed.another({ tagOf: (sku) => `stock-${sku.padEnd(16, "0")}` });
    await bed.receive("TAG", 1);
    await visible("TAG", 1);
    const tags = async (path: string) => {
      const { headers } = await send(tagged.port, "GET", path);
      return [headers["cache-tag"], headers["surrogate-key"]];
    };
    const [tag, none] = ["stock-TAG0000000000000", "stock-none000000000000"];
    expect(await tags("/v1/stock/TAG")).toEqual([tag, tag]);
    expect(await tags("/v1/stock/none")).toEqual([none, none]);
    expect(await tags("/v1/stock?sku=TAG&sku=none")).toEqual([`${tag},${none}`, `${tag} ${none}`]);
    const many = Array.from({ length: 100 }, (_, n) => `sku=N${n}`).join("&");
    expect(await tags(`/v1/stock?${many}`)).toEqual([undefined, undefined]);
  });

  it("may be kept by caches as long as the settings say, and not at all without any", async () => {
    await bed.receive("KEEP", 1);
    await visible("KEEP", 1);
    const settings = { edgeTiers: 0, edgeRevalidateMs: 0, browserCacheMs: 2_000 };
    const { port } = await bed.another({ freshness: freshnessBudget(settings) });
    const { headers } = await send(port, "GET", "/v1/stock/KEEP");
    expect(headers["x-accel-expires"]).toBe("0");
    expect(headers["cache-control"]).toBe("public, max-age=2, must-revalidate, s-maxage=0");
    expect((await send(port, "GET", "/readyz")).json).toMatchObject({
      freshness: "15 s = 9 s in 0 caches with the engine's lag + 3 s on the way + 1 s rounding + 2 s in browsers",
    });
    expect((await send(port, "GET", "/readyz", { anonymous: true })).json).toEqual({ status: "ready" });
    expect((await send(port, "GET", "/metrics")).text).toContain("\nshuiwei_edge_lifetime_seconds 9\n");
  });
});
