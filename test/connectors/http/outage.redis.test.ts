/**
 * What clients get when Redis cannot be reached.
 */
import { expect, it } from "vitest";
import { stopwatch } from "../../../engine/kernel/clock.js";
import { freshId, httpBed } from "./http-bed.js";

const bed = httpBed();

it("without its store every write and read of it is 503 with Retry-After, soon, and the view is given only while it is young", async () => {
  await bed.receive("A", 5);
  await expect.poll(() => bed.storefrontView.get("A")?.total.display, { timeout: 30_000 }).toBe(5);
  process.kill(bed.redisPid, "SIGKILL");
  const elapsed = stopwatch();
  const id = freshId();
  for (const [method, path, body] of [
    ["POST", "/v1/orders", { id, lines: [{ sku: "A", units: 1 }] }],
    ["POST", `/v1/orders/${id}/payment`, undefined],
    ["GET", `/v1/orders/${id}`, undefined],
    ["GET", "/v1/ledger/A", undefined],
    ["GET", "/v1/breaker", undefined],
    ["POST", "/v1/breaker", { action: "open", scope: { kind: "shop" }, actor: "a", reason: "b" }],
    ["PUT", "/v1/skus/A/settings", { settings: { displayCoefficient: 1 } }],
  ] as const) {
    const answer = await bed.send(method, path, { body });
    expect(answer.json, path).toMatchObject({ status: 503, code: "unavailable" });
    expect(answer.headers["retry-after"], path).toBe("1");
  }
  const body = JSON.stringify({ kind: "pay", id: `${id}-1`, sku: "A", units: 1 });
  const headers = { "content-type": "application/x-ndjson" };
  const bulk = await bed.send("POST", "/v1/commands", { body, headers });
  expect(bulk.json).toMatchObject({ status: 503, code: "unavailable" });
  expect(bulk.headers["retry-after"]).toBe("1");
  // Each waited for the client's own limit of 10 s, they would not be through yet.
  expect(elapsed()).toBeLessThan(60_000);
  expect((await bed.send("GET", "/healthz")).status).toBe(200);
  await expect
    .poll(async () => (await bed.send("GET", "/v1/stock/A")).json.code, { timeout: 30_000, interval: 200 })
    .toBe("stale_view");
  expect(elapsed()).toBeGreaterThan(3_000);
});
