/** Where sources and the ledger part in a SKU, over HTTP. */
import { describe, expect, it, vi } from "vitest";
import { DEFAULT_WINDOW_MS } from "../../../engine/reconciliation/comparison/comparer.js";
import { MovementPartWriter } from "../../../engine/reconciliation/reports/movement-store.js";
import { type Row, sendPart } from "../../reconciliation/reports/snapshot-bed.js";
import { httpBed } from "./http-bed.js";

const bed = httpBed();
const parting = (sku: string, query = "") => bed.send("GET", `/v1/divergence/${sku}${query}`);

/** Sends a whole snapshot of goods on hand. */
async function snapshot(source: string, id: string, asOfMs: number, rows: Row[]): Promise<void> {
  const sent = await sendPart(bed.deps().snapshots, { source, id, asOfMs }, rows);
  expect(sent).toMatchObject({ outcome: "complete" });
}

/** Goods of two SKUs arrive, and a warehouse books only one of them. */
async function loseGoods(kept: string, lost: string): Promise<void> {
  await bed.receive(kept, 4);
  await bed.receive(lost, 10);
  const bookedMs = bed.deps().clock.now();
  await vi.waitFor(() => expect(bed.deps().storefrontView.locations).toContain("main"), { timeout: 60_000 });
  await snapshot("wms", `${lost}-1`, bookedMs - 60_000, [
    [kept, "main", 0],
    [lost, "main", 0],
  ]);
  // After the window in which the warehouse may still book it; a snapshot may be ahead of the clock by as much.
  await vi.waitFor(() => expect(bed.deps().clock.now()).toBeGreaterThan(bookedMs + 20));
  await snapshot("wms", `${lost}-2`, bookedMs + DEFAULT_WINDOW_MS + 10, [
    [kept, "main", 4],
    [lost, "main", 0],
  ]);
}

describe("where a source and the ledger part", () => {
  it("names the snapshots between which they do, and the event that explains it", async () => {
    await loseGoods("P1", "P2");
    const { status, json } = await parting("P2", "?source=wms");
    expect(status).toBe(200);
    expect(json).toMatchObject({
      sku: "P2",
      sources: [
        {
          ...{ source: "wms", state: "differs", basis: "snapshots", ambiguous: false, mayBeOlder: false },
          lastEqual: { id: "P2-1" },
          firstUnequal: { id: "P2-2" },
          cells: [{ location: "main", sourceUnits: 0, ledgerUnits: 10 }],
          causes: [{ faults: 1, count: 1 }],
        },
      ],
    });
    const [fault] = json.sources[0].causes[0].members[0].faults;
    expect(fault).toMatchObject({ kind: "missing", location: "main", off: [{ location: "main", units: -10 }] });
    expect(fault.event).toMatchObject({ what: "StockReceived", units: 10, position: { offset: expect.any(Number) } });
    expect((await parting("P1")).json.sources).toMatchObject([{ source: "wms", state: "equal", causes: [] }]);
  });

  it("is refused for a source that has not reported the SKU, and a state where all sources are asked for", async () => {
    const { status, json } = await parting("NEVER-SEEN", "?source=wms");
    expect([status, json.code]).toEqual([404, "not_reported"]);
    expect((await parting("NEVER-SEEN")).json.sources).toMatchObject([{ source: "wms", state: "not_reported" }]);
  });

  it("is shown by the source's movements, for the whole shop and for the SKU", async () => {
    expect((await bed.send("GET", "/v1/movements/wms2/divergence")).json.code).toBe("not_covered");
    await bed.receive("P3", 5);
    const nowMs = bed.deps().clock.now();
    const span = { fromMs: nowMs - 60_000, toMs: nowMs + 60_000 };
    const writer = await bed
      .deps()
      .movements.receive({ source: "wms2", id: "b1", part: 1, parts: 1, rows: 1, ...span });
    if (!(writer instanceof MovementPartWriter)) throw new Error("not received");
    expect(writer.add("M1", "P4", "main", 7, nowMs - 30_000)).toBeUndefined();
    expect(await writer.end()).toMatchObject({ outcome: "complete" });
    const { status, json } = await bed.send("GET", "/v1/movements/wms2/divergence");
    expect(status).toBe(200);
    expect(json.cells).toContainEqual({ sku: "P3", location: "main", units: 5, partedAt: expect.any(String) });
    const own = json.skus.find(({ sku }: { sku: string }) => sku === "P3");
    expect(own).toMatchObject({ count: 1, faults: [{ members: [{ faults: [{ kind: "missing" }] }] }] });
    const other = json.skus.find(({ sku }: { sku: string }) => sku === "P4");
    expect(other.faults).toMatchObject([{ members: [{ faults: [{ kind: "unknown_to_ledger", movement: "M1" }] }] }]);
  });

  it("needs the role read, and a source's name", async () => {
    expect((await bed.send("GET", "/v1/divergence/P1", { anonymous: true })).status).toBe(401);
    expect((await parting("P1", "?source=Not%20one")).json).toMatchObject({ status: 400, code: "bad_input" });
  });
});
