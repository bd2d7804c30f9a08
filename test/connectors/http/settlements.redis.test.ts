/**
 * Settlements over HTTP (R13, R14): the rows of a comparison, approvals and rejections with their limits and roles, and
 * what they leave. The rules are tested in test/reconciliation/settlement/settlement.redis.test.ts.
 */
import { describe, expect, it } from "vitest";
import { chainId } from "../../../engine/kernel/chain-id.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { ComparisonStore } from "../../../engine/reconciliation/comparison/comparison-store.js";
import { LEDGER, NO_DIVERGENCE } from "../../../engine/reconciliation/model.js";
import { ASK_ALWAYS } from "../../../engine/reconciliation/settlement/conflict-policy.js";
import { SourceRegistry } from "../../../engine/reconciliation/source-registry.js";
import { until } from "../../redis/server.js";
import { freshId, httpBed } from "./http-bed.js";

const secretOf = (name: string) => `the-secret-of-${name}-0123456789`;
const bed = httpBed({
  tokens: [`li.wei:operate:${secretOf("li.wei")}`, `boss:admin:${secretOf("boss")}`, `wall:read:${secretOf("wall")}`],
});
const as = (name: string) => ({ headers: { authorization: `Bearer ${secretOf(name)}` } });
const get = (path: string, name = "wall") => bed.send("GET", path, as(name));
const post = (path: string, body: object, name = "li.wei") => bed.send("POST", path, { ...as(name), body });

/** Receives units of each SKU, and stores a comparison in which a WMS reports others. */
async function compared(found: Readonly<Record<string, readonly [wms: number, ledger: number]>>): Promise<string> {
  for (const [sku, [, units]] of Object.entries(found)) await bed.receive(sku, units);
  const atMs = systemClock.now();
  const id = chainId("CP", atMs);
  const snapshot = { source: "wms", id: "s-1", measure: "on_hand", asOfMs: atMs, rows: 1, completedMs: atMs } as const;
  const pair = { a: "wms", b: LEDGER, shop: NO_DIVERGENCE, locations: {}, skus: [], top: [], onlyInA: 0, onlyInB: 0 };
  const differences = Object.entries(found).map(([sku, [aUnits, bUnits]]) => ({
    ...{ sku, location: "main", aUnits, bUnits, explainedUnits: 0 },
  }));
  const comparison = { id, atMs, cause: "demand", snapshots: [snapshot], pairs: [pair], leftOut: {}, durationMs: 1 };
  await new ComparisonStore(bed.redis, "t").put(comparison as Parameters<ComparisonStore["put"]>[0], [
    { pair, differences },
  ]);
  return id;
}

const sellable = async (sku: string) => (await bed.ledger.balances(sku))?.get("main")?.sellable;

describe("settlements", () => {
  it("are listed, approved by their ids, and listed as decided", async () => {
    const comparison = await compared({ "A-CUP": [8, 10], "A-BOWL": [11, 10] });
    const listed = await get(`/v1/settlements?comparison=${comparison}`);
    expect(listed.status).toBe(200);
    expect(listed.json).toMatchObject({
      comparison,
      rows: [
        { state: "proposed", proposal: { sku: "A-CUP", gapUnits: -2, correctionUnits: -2, onHandUnits: 10 } },
        { state: "proposed", proposal: { sku: "A-BOWL", gapUnits: 1, correctionUnits: 1, source: "wms" } },
      ],
    });
    const ids = listed.json.rows.map(({ proposal }: { proposal: { id: string } }) => proposal.id);
    await bed.receive("A-BOWL", 1);
    const approved = await post("/v1/settlements/approval", { ids, actor: "night.shift", reason: "recounted" });
    expect(approved.json).toMatchObject({
      settled: 1,
      rows: [
        { id: ids[0], outcome: "approved", repeated: false },
        { id: ids[1], outcome: "balance_changed", next: { onHandUnits: 11, correctionUnits: 1 } },
      ],
    });
    expect(await sellable("A-CUP")).toBe(8);
    const again = await post("/v1/settlements/approval", { ids, actor: "night.shift", reason: "recounted" }, "boss");
    expect(again.json).toMatchObject({ settled: 1, rows: [{ repeated: true }, { outcome: "balance_changed" }] });
    expect((await get("/v1/settlements?state=approved")).json.rows).toMatchObject([
      { proposal: { sku: "A-CUP" }, decision: { actor: "li.wei", onBehalfOf: "night.shift", outcome: "accepted" } },
    ]);
    expect((await get("/v1/settlements?state=refused")).json.rows).toMatchObject([
      { state: "proposed", refused: { outcome: "balance_changed" } },
    ]);
    expect((await get("/v1/settlements/decisions?limit=1")).json).toMatchObject({
      decisions: [{ proposal: { comparison }, decision: { kind: "approve", reason: "recounted" } }],
      next: expect.any(String),
    });
  });

  it("of a source are approved together within the limits that the request names", async () => {
    const comparison = await compared({ "B-CUP": [7, 10], "B-BOWL": [9, 10] });
    const all = { comparison, source: "wms", reason: "recounted" };
    const over = await post("/v1/settlements/approval", { ...all, maxRows: 2, maxUnits: 3 });
    expect([over.status, over.json.code]).toEqual([409, "settlement_limit"]);
    expect(over.json.detail).toContain("2 rows with 4 units");
    expect(await sellable("B-CUP")).toBe(10);
    const approved = await post("/v1/settlements/approval", { ...all, maxRows: 2, maxUnits: 4 });
    expect(approved.json.settled).toBe(2);
    expect(await sellable("B-CUP")).toBe(7);
  });

  it("of many units need the role admin", async () => {
    const comparison = await compared({ "C-CUP": [0, 5_001] });
    const all = { comparison, source: "wms", reason: "burnt", maxRows: 1, maxUnits: 10_000 };
    const refused = await post("/v1/settlements/approval", all);
    expect([refused.status, refused.json.code]).toEqual([403, "forbidden"]);
    expect((await post("/v1/settlements/approval", all, "boss")).json.settled).toBe(1);
    expect(await sellable("C-CUP")).toBe(0);
  });

  it("follow the conflict policy of the sources' configuration", async () => {
    const registry = new SourceRegistry(bed.redis, "t");
    const policy = { policy: "rank", order: [LEDGER] } as const;
    await registry.configure([], { on_hand: policy, sellable: policy, display: policy });
    const comparison = await compared({ "E-CUP": [9, 10] });
    expect((await get(`/v1/settlements?comparison=${comparison}`)).json.rows).toMatchObject([
      { state: "source_to_correct", proposal: { winner: LEDGER, correctionUnits: 0 } },
    ]);
    await registry.configure([], ASK_ALWAYS);
  });

  it("are rejected with a reason, and not approved any more", async () => {
    const comparison = await compared({ "D-CUP": [9, 10] });
    const all = { comparison, source: "wms", reason: "the WMS is wrong", maxRows: 1 };
    expect((await post("/v1/settlements/rejection", all)).json.settled).toBe(1);
    const [row] = (await get(`/v1/settlements?comparison=${comparison}`)).json.rows;
    expect(row).toMatchObject({ state: "rejected", decision: { kind: "reject", reason: "the WMS is wrong" } });
    const late = await post("/v1/settlements/approval", { ids: [row.proposal.id], reason: "after all" });
    expect(late.json).toMatchObject({ settled: 0, rows: [{ outcome: "rejected", repeated: true }] });
  });
});

it("from a snapshot to a comparison of the same snapshot in which the settled row does not differ any more", async () => {
  await bed.receive("F-CUP", 10);
  await until(async () => (await bed.send("GET", "/v1/stock/F-CUP")).status === 200, "the location is known");
  const asOf = new Date(systemClock.now()).toISOString();
  const path = `/v1/snapshots/scanner?id=s-1&asOf=${asOf}&measure=on_hand&part=1&parts=1&rows=1`;
  const row = `${JSON.stringify({ sku: "F-CUP", location: "main", units: 7 })}\n`;
  const headers = { ...as("li.wei").headers, "content-type": "application/x-ndjson" };
  expect((await bed.send("POST", path, { headers, body: row })).status).toBeLessThan(300);
  const compare = async () => {
    const { pairs, id } = (await post("/v1/comparisons?wait=true", {})).json;
    const found = pairs.find(({ a, b }: { a: string; b: string }) => a === "scanner" && b === LEDGER);
    return { comparison: id, differing: found.differingUnits };
  };
  const { comparison, differing } = await compare();
  expect(differing).toBe(3);
  const all = { comparison, source: "scanner", reason: "recounted", maxRows: 1, maxUnits: 3 };
  expect((await post("/v1/settlements/approval", all)).json.settled).toBe(1);
  expect((await compare()).differing).toBe(0);
});

describe("a request for a settlement is refused", () => {
  const APPROVAL = "/v1/settlements/approval";
  it.each([
    ["without ids or a source", { reason: "r" }, 400, "comparison is missing"],
    [
      "without limits for all of a source",
      { comparison: "CP1", source: "wms", reason: "r" },
      400,
      "maxRows is missing",
    ],
    ["with ids and a source", { ids: ["x"], source: "wms", reason: "r" }, 400, "source is not allowed with ids"],
    ["without a reason", { ids: ["x"] }, 400, "reason is missing"],
    ["with an id of nothing else", { ids: ["<script>"], reason: "r" }, 400, "ids[0]"],
    [
      "about a comparison that is not known",
      { comparison: freshId(), source: "wms", reason: "r", maxRows: 1, maxUnits: 1 },
      404,
      "not known",
    ],
  ] as const)("%s", async (_, body, status, detail) => {
    const answer = await post(APPROVAL, body);
    expect([answer.status, answer.json.detail]).toEqual([status, expect.stringContaining(detail)]);
  });

  it("when the role does not allow it", async () => {
    expect((await post(APPROVAL, { ids: ["x"], reason: "r" }, "wall")).status).toBe(403);
    expect((await post("/v1/settlements/rejection", { ids: ["x"], reason: "r" }, "wall")).status).toBe(403);
    expect((await bed.send("GET", "/v1/settlements", { anonymous: true })).status).toBe(401);
  });
});
