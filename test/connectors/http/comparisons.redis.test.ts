/** Comparisons over HTTP: made on request, listed, read with their differences, and as the live divergence. */
import { describe, expect, it, vi } from "vitest";
import { chainId } from "../../../engine/kernel/chain-id.js";
import type { SnapshotRow } from "../../../engine/reconciliation/model.js";
import { comparisonKeys } from "../../../engine/stream/keys.js";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();

let snapshots = 0;

/** A complete snapshot of a source in one part, as of now. */
async function report(source: string, rows: readonly SnapshotRow[]): Promise<string> {
  const { snapshots: store, clock } = bed.deps();
  const id = `s-${++snapshots}`;
  const header = { source, id, measure: "on_hand", asOfMs: clock.now(), parts: 1, part: 1, rows: rows.length } as const;
  const writer = await store.receive(header);
  if ("outcome" in writer) throw new Error(JSON.stringify(writer));
  for (const { sku, location, units } of rows) expect(writer.add(sku, location, units)).toBeUndefined();
  expect(await writer.end()).toMatchObject({ outcome: "complete" });
  return id;
}

let compared: Promise<string> | undefined;

/** Two cells of which a WMS has lost units of one, and an ERP that is right; the engine compares them, too. */
const comparedShop = (): Promise<string> => {
  compared ??= compareShop();
  return compared;
};

async function compareShop(): Promise<string> {
  await bed.receive("C1", 100);
  await bed.receive("C2", 50, "east");
  // A snapshot is taken once the views have every location.
  await vi.waitFor(() => expect(bed.storefrontView.get("C2")?.locations.has("east")).toBe(true), { timeout: 60_000 });
  const right = [
    { sku: "C1", location: "main", units: 100 },
    { sku: "C2", location: "east", units: 50 },
  ];
  await vi.waitFor(() => report("erp", right), { timeout: 60_000 });
  await report("wms", [
    { sku: "C1", location: "main", units: 100 },
    { ...(right[1] as SnapshotRow), units: 30 },
  ]);
  const { status, json } = await bed.send("POST", "/v1/comparisons?wait=true");
  expect(status).toBe(200);
  return json.id;
}

describe("a comparison over HTTP", () => {
  it("that is waited for is answered with its result, and kept", async () => {
    const id = await comparedShop();
    const { status, json } = await bed.send("GET", `/v1/comparisons/${id}`);
    expect(status).toBe(200);
    expect(json).toMatchObject({ id, cause: "demand", leftOut: [] });
    expect(json.snapshots).toMatchObject([{ source: "erp" }, { source: "wms", measure: "on_hand", rows: 2 }]);
    expect(json.pairs.map(({ a, b, share }: Record<string, unknown>) => [a, b, share])).toEqual([
      ["erp", "ledger", 0],
      // The units were received within two seconds, so a source may not have all of them yet.
      ["wms", "ledger", expect.any(Number)],
      ["erp", "wms", expect.any(Number)],
    ]);
    expect(json.pairs[0]).toMatchObject({ cells: 2, differingCells: 0, totalUnits: 150, onlyInA: 0, onlyInB: 0 });
    const { comparisons } = (await bed.send("GET", "/v1/comparisons")).json;
    const listed = comparisons.find((each: { id: string }) => each.id === id);
    expect(listed).toMatchObject({ pairs: [{ a: "erp", b: "ledger", share: 0 }, {}, {}] });
    expect(listed.pairs[0]).not.toHaveProperty("top");
  });

  it("has its differences page by page, greatest first", async () => {
    const id = await comparedShop();
    const path = `/v1/comparisons/${id}/differences`;
    const all = (await bed.send("GET", path)).json;
    const wanted = { sku: "C2", location: "east", bUnits: 50, aUnits: 30 };
    const [first] = (await bed.send("GET", `${path}?pair=wms:ledger&limit=1`)).json.differences;
    expect(first).toMatchObject({ a: "wms", b: "ledger", ...wanted });
    expect((await bed.send("GET", `${path}?location=east`)).json.differences).toEqual(all.differences);
    expect((await bed.send("GET", `${path}?location=main`)).json.differences).toEqual([]);
    expect((await bed.send("GET", `${path}?limit=1`)).json.next).toBe(1);
    expect((await bed.send("GET", `${path}?limit=1&after=1`)).json.differences).toEqual([all.differences[1]]);
  });

  it("is the live divergence of its pairs, the greatest share first", async () => {
    await comparedShop();
    const { pairs } = (await bed.send("GET", "/v1/divergence")).json;
    expect(pairs).toHaveLength(3);
    expect(pairs[0].share).toBeGreaterThan(0.1);
    expect(pairs[2]).toMatchObject({ a: "erp", b: "ledger", share: 0, comparison: expect.any(String) });
    expect(pairs[0].ageMs).toBeGreaterThanOrEqual(0);
  });

  it("is asked for of a worker, or refused where no worker makes any", async () => {
    const asked: string[] = [];
    const server = await bed.another({ requestComparison: async (actor) => void asked.push(actor) });
    const { status, json } = await send(server.port, "POST", "/v1/comparisons");
    expect(status).toBe(202);
    expect(json).toEqual({ requestedAt: expect.any(String), follow: "/v1/comparisons?limit=1" });
    expect(asked).toEqual(["default"]);
    const without = await bed.another({ requestComparison: undefined as never });
    expect((await send(without.port, "POST", "/v1/comparisons")).json).toMatchObject({ code: "not_ready" });
  });

  it("that is not known, or whose differences are not kept any more, is refused as such", async () => {
    const unknown = chainId("CP", Date.UTC(2026, 5, 18));
    for (const path of [`/v1/comparisons/${unknown}`, `/v1/comparisons/${unknown}/differences`])
      expect((await bed.send("GET", path)).json).toMatchObject({ status: 404, code: "unknown_comparison" });
    const id = await comparedShop();
    await bed.redis.del(comparisonKeys("t").differences(id));
    expect((await bed.send("GET", `/v1/comparisons/${id}/differences`)).json).toMatchObject({
      status: 410,
      code: "differences_removed",
    });
  });

  it("is not made of bad input: each fault is named", async () => {
    for (const [path, field] of [
      ["/v1/comparisons?limit=0", "limit"],
      ["/v1/comparisons?before=yesterday", "before"],
      ["/v1/comparisons/x", "id"],
      [`/v1/comparisons/${chainId("CP", 1)}/differences?pair=wms`, "pair"],
      [`/v1/comparisons/${chainId("CP", 1)}/differences?after=-1`, "after"],
    ])
      expect((await bed.send("GET", path as string)).json.errors, path).toMatchObject([{ field }]);
    expect((await bed.send("POST", "/v1/comparisons?wait=yes")).json.errors).toMatchObject([{ field: "wait" }]);
    const body = await bed.send("POST", "/v1/comparisons", { body: { now: true } });
    expect(body.json.errors).toMatchObject([{ field: "now", message: "is not a known field" }]);
  });
});
