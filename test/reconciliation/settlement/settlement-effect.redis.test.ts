/**
 * What a settlement leaves behind, against a real Redis (R13, R14): the next comparison of the same snapshots, and the
 * log of a shop that went on trading while rows were settled.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../../engine/kernel/random.js";
import { Comparer } from "../../../engine/reconciliation/comparison/comparer.js";
import { settledUnits } from "../../../engine/reconciliation/settlement/settled-rows.js";
import type { Settlement } from "../../../engine/reconciliation/settlement/settlement.js";
import type { SettlementRow } from "../../../engine/reconciliation/settlement/settlement-rows.js";
import { BalanceHistory } from "../../../engine/stock/as-of.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import {
  cellOf,
  emptyBalances,
  onHandUnits,
  type SettledDifference,
  type StockEvent,
} from "../../../engine/stock/model.js";
import { withRedis } from "../../redis/with-redis.js";
import { Audit } from "../../sim/audit.js";
import { Reports } from "../comparison/reports.js";
import { CAUSE, PREFIX, SettlementBed, WIDE } from "./settlement-bed.js";

const redis = withRedis();
let bed: SettlementBed;
let settlement: Settlement;

beforeEach(async () => {
  await redis.flush();
  const client = redis.connect();
  await Ledger.load(client);
  bed = new SettlementBed(client);
  settlement = bed.settlement();
});

async function rowsOf(source: string): Promise<SettlementRow[]> {
  const page = await settlement.list({ limit: 100, source });
  if (page.outcome !== "found") throw new Error(page.outcome);
  return page.rows;
}

const row = (sku: string, units: number) => ({ sku, location: "SH", units });

/** Reports of sources, and what a comparison of the newest ones finds. */
function compared(): { reports: Reports; differing: () => Promise<string[]> } {
  const reports = new Reports(bed.partitions);
  const history = new BalanceHistory({ redis: bed.redis, prefix: PREFIX, partitions: bed.partitions });
  const comparer = new Comparer({
    ...{ snapshots: reports, history, store: bed.comparisons, partitions: bed.partitions, clock: bed.clock },
    settledUnits: (snapshot, partition) => settledUnits(bed.corrections, snapshot, partition),
  });
  const differing = async (): Promise<string[]> => {
    const { pairs } = await comparer.compare("demand");
    return pairs.flatMap(({ a, b, top }) =>
      top.map(({ sku, aUnits, bUnits }) => `${a}:${b} ${sku} ${aUnits - bUnits}`),
    );
  };
  return { reports, differing };
}

describe("a comparison after the settling", () => {
  it("finds no difference in a report from before it, which agreed with the ledger, until the next report", async () => {
    const { reports, differing } = compared();
    await bed.receive({ CUP: 10 });
    bed.pass(60_000);
    const asOfMs = bed.clock.now();
    reports.set({ source: "wms", measure: "on_hand", asOfMs }, [row("CUP", 7)]);
    reports.set({ source: "erp", measure: "on_hand", asOfMs: asOfMs + 1_000 }, [row("CUP", 10)]);
    bed.pass(60_000);
    expect(await differing()).toEqual(["wms:ledger CUP -3", "erp:wms CUP 3"]);
    const [wanted] = await rowsOf("wms");
    await settlement.approve({ ids: [wanted?.proposal.id ?? ""] }, CAUSE, WIDE);
    bed.pass(60_000);
    expect(await differing()).toEqual([]);
    reports.set({ source: "erp", measure: "on_hand", asOfMs: bed.clock.now() }, [row("CUP", 10)]);
    bed.pass(60_000);
    expect(await differing()).toEqual(["erp:ledger CUP 3", "erp:wms CUP 3"]);
  });

  it("of the same snapshots finds the settled rows no more, and the others", async () => {
    const { reports, differing } = compared();
    await bed.receive({ CUP: 10, BOWL: 10, PLATE: 10 });
    bed.pass(60_000);
    const asOfMs = bed.clock.now();
    reports.set({ source: "wms", measure: "on_hand", asOfMs }, [row("CUP", 7), row("BOWL", 12), row("PLATE", 9)]);
    reports.set({ source: "shop", measure: "sellable", asOfMs: asOfMs + 1_000 }, [row("CUP", 7), row("BOWL", 12)]);
    bed.pass(60_000);
    expect((await differing()).sort()).toEqual([
      ...["shop:ledger BOWL 2", "shop:ledger CUP -3", "wms:ledger BOWL 2", "wms:ledger CUP -3", "wms:ledger PLATE -1"],
    ]);
    const wanted = (await rowsOf("wms")).filter(({ proposal }) => proposal.sku !== "PLATE");
    const answer = await settlement.approve({ ids: wanted.map(({ proposal }) => proposal.id) }, CAUSE, WIDE);
    expect(answer).toMatchObject({ rows: [{ outcome: "approved" }, { outcome: "approved" }] });
    bed.pass(60_000);
    expect(await differing()).toEqual(["wms:ledger PLATE -1"]);
    // A snapshot that a source takes after the correction has it in its own figures.
    reports.set({ source: "wms", measure: "on_hand", asOfMs: bed.clock.now() }, [row("CUP", 7), row("BOWL", 13)]);
    bed.pass(60_000);
    expect(await differing()).toEqual(["wms:ledger BOWL 1", "shop:wms BOWL -1"]);
  });
});

describe("under traffic", () => {
  it("units are conserved, and every correction was made on the balance that it names", async () => {
    const random = seededRandom(7);
    const skus = Array.from({ length: 30 }, (_, i) => `CUP-${i}`);
    await bed.receive(Object.fromEntries(skus.map((sku) => [sku, 50])));
    await bed.compare(skus.map((sku) => ({ sku, sourceUnits: 48, ledgerUnits: 50 })));
    let outside = 0;
    const trade = async (): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        const sku = random.pick(skus);
        const line = { ...bed.at(sku), units: 1 };
        if (random.below(3) === 0) {
          await bed.receive({ [sku]: 1 });
          outside--;
          continue;
        }
        await bed.ledger.apply({ kind: "reserve", ...line });
        await bed.ledger.apply({ kind: "pay", ...line });
        await bed.ledger.apply({ kind: "outbound", ...line });
        outside++;
      }
    };
    const settle = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        const ids = (await rowsOf("wms")).map(({ proposal }) => proposal.id);
        await settlement.approve({ ids }, CAUSE, WIDE);
      }
    };
    await Promise.all([trade(), trade(), settle(), settle()]);
    const corrected: StockEvent[] = [];
    for (let partition = 0; partition < bed.partitions; partition++) {
      const audit = new Audit();
      for (const event of await bed.eventsIn(partition)) {
        if (event.type === "StockCorrected") {
          corrected.push(event);
          const { settlement: settled } = event.detail as unknown as { settlement: SettledDifference };
          const before = audit.cells.get(cellOf(event.sku, event.location)) ?? emptyBalances();
          expect(settled.proposal).toContain(`.${onHandUnits(before)}.-2`);
        }
        audit.fold(event);
      }
      for await (const { sku, location, balances } of bed.ledger.cells(partition)) {
        expect(balances).toEqual(audit.cells.get(cellOf(sku, location)));
        audit.checkSum(sku);
      }
    }
    const held = (await Promise.all(skus.map((sku) => bed.sellable(sku)))).reduce<number>(
      (sum, n) => sum + (n ?? 0),
      0,
    );
    expect(held).toBe(50 * skus.length - outside - 2 * corrected.length);
    expect(new Set(corrected.map(({ sku }) => sku)).size).toBe(corrected.length);
    expect(corrected.length).toBeGreaterThan(0);
  });
});
