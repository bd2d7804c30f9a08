/** Sources of stock over HTTP: what is configured and pushed, how pulls went, and a request to pull. */
import { describe, expect, it, vi } from "vitest";
import { ASK_ALWAYS } from "../../../engine/reconciliation/settlement/conflict-policy.js";
import { SourceRegistry } from "../../../engine/reconciliation/source-registry.js";
import { httpBed } from "./http-bed.js";

const bed = httpBed();
const registry = (): SourceRegistry => new SourceRegistry(bed.redis, "t");

describe("the list of sources", () => {
  it("has configured ones with their pulls, and those that push", async () => {
    const { clock, snapshots } = bed.deps();
    const nowMs = clock.now();
    const erp = { name: "erp", kind: "http", about: "the ERP", measure: "on_hand", freshnessMs: 60_000 } as const;
    await registry().configure([{ ...erp, pulls: { snapshot: "every 15m", movements: "every 10m" } }], ASK_ALWAYS);
    await registry().record("erp", "snapshot", {
      ...{ lastAttemptMs: nowMs - 1_000, outcome: "failed", rows: 7, rowsTotal: 21, durationMs: 5, failures: 2 },
      ...{ lastSuccessMs: nowMs - 9_000, reachedMs: nowMs - 9_500, nextDueMs: nowMs + 1, overdueMs: nowMs - 1 },
      ...{ requests: 3, throttled: 0, process: "p", faults: [{ atMs: nowMs, message: "HTTP 503" }] },
    });
    await bed.receive("S1", 5);
    const header = { source: "wms", id: "w1", measure: "on_hand", asOfMs: nowMs, part: 1, parts: 1, rows: 1 } as const;
    await vi.waitFor(
      async () => {
        const writer = await snapshots.receive(header);
        if ("outcome" in writer) throw new Error(JSON.stringify(writer));
        expect(writer.add("S1", "main", 5)).toBeUndefined();
        expect(await writer.end()).toMatchObject({ outcome: "complete" });
      },
      { timeout: 60_000 },
    );
    const { status, json } = await bed.send("GET", "/v1/sources");
    expect(status).toBe(200);
    expect(json.sources).toMatchObject([
      {
        ...erp,
        pulls: [
          { pulled: "snapshot", schedule: "every 15m", outcome: "failed", rows: 7, failures: 2, overdue: true },
          { pulled: "movements", schedule: "every 10m", overdue: false, faults: [] },
        ],
      },
      { name: "wms", kind: "pushed", measure: "on_hand", pulls: [], snapshot: { id: "w1", rows: 1 } },
    ]);
    expect(json.sources[0].pulls[0].faults).toEqual([{ at: new Date(nowMs).toISOString(), message: "HTTP 503" }]);
    expect(json.sources[0].pulls[0].lagMs).toBeGreaterThanOrEqual(9_500);
  });
});

describe("a request to pull", () => {
  it("is recorded with who asked and why", async () => {
    const body = { actor: "anna", reason: "recounted" };
    const { status, json } = await bed.send("POST", "/v1/sources/erp/pull", { body });
    expect([status, json]).toEqual([202, { source: "erp", requested: true }]);
    expect(await registry().requested("erp")).toMatchObject({ reason: "recounted" });
  });

  it("is refused for a source that is not configured, and for one that pushes", async () => {
    const { status, json } = await bed.send("POST", "/v1/sources/wms/pull", { body: { reason: "x" } });
    expect([status, json.code]).toEqual([404, "unknown_source"]);
    expect((await bed.send("POST", "/v1/sources/No!/pull", { body: { reason: "x" } })).status).toBe(400);
    expect((await bed.send("POST", "/v1/sources/erp/pull", { body: {} })).status).toBe(400);
  });
});
