/**
 * Settling a difference against a real Redis (R13, R14): what is proposed, who may decide it once, and that no balance
 * is corrected on a state that nobody has seen.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { LEDGER, PUBLISHED } from "../../../engine/reconciliation/model.js";
import type { Proposal } from "../../../engine/reconciliation/settlement/proposal.js";
import { settledUnits } from "../../../engine/reconciliation/settlement/settled-rows.js";
import type { Settlement, SettlementAnswer } from "../../../engine/reconciliation/settlement/settlement.js";
import type { RowPage, RowQuery, SettlementRow } from "../../../engine/reconciliation/settlement/settlement-rows.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import { cellOf, type StockEvent } from "../../../engine/stock/model.js";
import { withRedis } from "../../redis/with-redis.js";
import { CAUSE, ranked, SettlementBed, START_MS, WIDE } from "./settlement-bed.js";

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

async function rows(of: Settlement = settlement, query: Partial<RowQuery> = {}): Promise<SettlementRow[]> {
  const page = await of.list({ limit: 100, ...query });
  if (page.outcome !== "found") throw new Error(page.outcome);
  return page.rows;
}

const proposals = async (of?: Settlement): Promise<Proposal[]> => (await rows(of)).map(({ proposal }) => proposal);

const outcomes = (answer: SettlementAnswer): string[] =>
  answer.outcome === "decided" ? answer.rows.map(({ outcome }) => outcome) : [answer.outcome];

/** The corrections in all partitions. */
async function corrections(): Promise<StockEvent[]> {
  const found: StockEvent[] = [];
  for (let partition = 0; partition < bed.partitions; partition++) found.push(...(await bed.eventsIn(partition)));
  return found.filter(({ type }) => type === "StockCorrected");
}

describe("a proposal", () => {
  it("is the gap that events around the instant do not explain, on the balance that the cell has now", async () => {
    await bed.receive({ CUP: 10, BOWL: 5 });
    const comparison = await bed.compare([
      { sku: "CUP", sourceUnits: 4, ledgerUnits: 10, explainedUnits: 2 },
      { sku: "BOWL", sourceUnits: 7, ledgerUnits: 5 },
      { sku: "BOWL", location: "GZ", sourceUnits: 1, ledgerUnits: 3, explainedUnits: 2 },
    ]);
    expect(await proposals()).toMatchObject([
      { comparison, sku: "CUP", gapUnits: -4, correctionUnits: -4, restUnits: 0, onHandUnits: 10, snapshot: "wms-1" },
      { sku: "BOWL", gapUnits: 2, correctionUnits: 2, onHandUnits: 5 },
    ]);
  });

  it("corrects only sellable units, and says how many need a decision", async () => {
    await bed.receive({ CUP: 10, BOWL: 2 });
    await bed.ledger.apply({ kind: "reserve", ...bed.at("CUP"), units: 7 });
    await bed.ledger.apply({ kind: "reserve", ...bed.at("BOWL"), units: 2 });
    await bed.compare([
      { sku: "CUP", sourceUnits: 5, ledgerUnits: 10 },
      { sku: "BOWL", sourceUnits: 0, ledgerUnits: 2 },
    ]);
    const [cup, bowl] = await rows();
    expect(cup).toMatchObject({ state: "proposed", proposal: { correctionUnits: -3, restUnits: 2 } });
    expect(bowl).toMatchObject({ state: "needs_decision", proposal: { correctionUnits: 0, restUnits: 2 } });
    const answer = await settlement.approve({ ids: [bowl?.proposal.id ?? ""] }, CAUSE, WIDE);
    expect(outcomes(answer)).toEqual(["not_correctable"]);
  });

  it("is made anew when the balance has changed by the next listing", async () => {
    await bed.receive({ CUP: 10 });
    await bed.compare([{ sku: "CUP", sourceUnits: 8, ledgerUnits: 10 }]);
    const [old] = await proposals();
    expect(await proposals()).toEqual([old]);
    await bed.receive({ CUP: 1 });
    const [fresh] = await proposals();
    expect(fresh).toMatchObject({ onHandUnits: 11, correctionUnits: -2 });
    expect(outcomes(await settlement.approve({ ids: [old?.id ?? ""] }, CAUSE, WIDE))).toEqual(["unknown_proposal"]);
    expect(outcomes(await settlement.approve({ ids: [fresh?.id ?? ""] }, CAUSE, WIDE))).toEqual(["approved"]);
  });

  it("names the source that is wrong by the policy, and is not approved then", async () => {
    await bed.receive({ CUP: 10 });
    await bed.compare([
      { source: "erp", sku: "CUP", sourceUnits: 12, ledgerUnits: 10 },
      { source: "wms", sku: "CUP", sourceUnits: 9, ledgerUnits: 10 },
      { source: PUBLISHED, sku: "CUP", sourceUnits: 11, ledgerUnits: 10 },
    ]);
    const winners = async (...order: string[]) =>
      (await rows(bed.settlement({ policies: ranked(...order) }))).map(({ state, proposal }) => [
        state,
        proposal.winner,
        proposal.correctionUnits,
      ]);
    const published = ["source_to_correct", LEDGER, 0];
    expect(await winners("wms", "erp")).toEqual([["source_to_correct", "wms", 0], ["proposed", "wms", -1], published]);
    expect(await winners(LEDGER, "wms")).toEqual([
      ["source_to_correct", LEDGER, 0],
      ["source_to_correct", LEDGER, 0],
      published,
    ]);
    expect(await winners("oms")).toEqual([["proposed", undefined, 2], ["proposed", undefined, -1], published]);
    const [erp] = await proposals(bed.settlement({ policies: ranked("wms") }));
    expect(outcomes(await settlement.approve({ ids: [erp?.id ?? ""] }, CAUSE, WIDE))).toEqual(["not_correctable"]);
  });
});

describe("an approval", () => {
  it("books one event with who, why, comparison, snapshot and proposal", async () => {
    await bed.receive({ CUP: 10 });
    await bed.compare([{ sku: "CUP", sourceUnits: 7, ledgerUnits: 10 }]);
    const [proposal] = await proposals();
    const { id = "", comparison } = proposal as Proposal;
    expect(outcomes(await settlement.approve({ ids: [id] }, CAUSE, WIDE))).toEqual(["approved"]);
    const booked = await corrections();
    expect(booked).toHaveLength(1);
    expect(booked[0]).toMatchObject({
      ...{ sku: "CUP", units: 3, from: "sellable", to: "outside" },
      detail: {
        ...CAUSE,
        settlement: { comparison, source: "wms", snapshot: "wms-1", proposal: id, asOfMs: START_MS },
      },
    });
    const [row] = await rows();
    expect(row).toMatchObject({ state: "approved", decided: { decision: CAUSE, result: { outcome: "accepted" } } });
    expect((await settlement.decisions(10)).decisions).toMatchObject([{ decision: { kind: "approve", ...CAUSE } }]);
  });

  it("counts as booked at the snapshot's instant, so the same snapshot does not differ any more", async () => {
    await bed.receive({ CUP: 10 });
    await bed.compare([{ sku: "CUP", sourceUnits: 7, ledgerUnits: 10 }]);
    const ids = (await proposals()).map(({ id }) => id);
    await settlement.approve({ ids }, CAUSE, WIDE);
    const partition = bed.ledger.partitionOf("CUP");
    const settled = await settledUnits(bed.corrections, { asOfMs: START_MS }, partition);
    expect(settled).toEqual(new Map([[cellOf("CUP", "SH"), -3]]));
  });

  it("books one event however many clients approve at once, and is answered to each", async () => {
    const skus = Array.from({ length: 20 }, (_, i) => `CUP-${i}`);
    await bed.receive(Object.fromEntries(skus.map((sku) => [sku, 10])));
    const comparison = await bed.compare(skus.map((sku) => ({ sku, sourceUnits: 9, ledgerUnits: 10 })));
    const ids = (await proposals()).map(({ id }) => id);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, client) => {
        const one = bed.settlement({ ledger: bed.ledgerOn(redis.connect()) });
        const selection = client % 2 === 0 ? { ids } : { comparison, source: "wms" };
        return one.approve(selection, { actor: `client-${client}`, reason: "counted" }, WIDE);
      }),
    );
    for (const [client, answer] of answers.entries()) {
      expect(outcomes(answer).every((outcome) => outcome === "approved")).toBe(true);
      // All rows of the source are those that still wait: fewer, when the others were faster.
      if (client % 2 === 0) expect(outcomes(answer)).toHaveLength(20);
    }
    const booked = await corrections();
    expect(booked.map(({ sku }) => sku).sort()).toEqual([...skus].sort());
    expect((await settlement.decisions(100)).decisions).toHaveLength(20);
  });

  it("is refused for rows that changed since, and these are proposed anew", async () => {
    await bed.receive({ CUP: 10, BOWL: 10 });
    await bed.compare([
      { sku: "CUP", sourceUnits: 8, ledgerUnits: 10 },
      { sku: "BOWL", sourceUnits: 8, ledgerUnits: 10 },
    ]);
    const ids = (await proposals()).map(({ id }) => id);
    await bed.receive({ CUP: 5 });
    const answer = await settlement.approve({ ids }, CAUSE, WIDE);
    expect(outcomes(answer)).toEqual(["balance_changed", "approved"]);
    const next = answer.outcome === "decided" ? answer.rows[0]?.next : undefined;
    expect(next).toMatchObject({ onHandUnits: 15, correctionUnits: -2 });
    expect(await rows(settlement, { state: "refused" })).toMatchObject([
      { state: "proposed", proposal: next, refused: { result: { outcome: "balance_changed" } } },
    ]);
    // The first answer again, also when the balance is again what it was.
    await bed.ledger.apply({
      kind: "move",
      ...bed.at("CUP"),
      units: 5,
      from: "sellable",
      to: "sellable",
      toLocation: "GZ",
    });
    expect(outcomes(await settlement.approve({ ids }, CAUSE, WIDE))).toEqual(["balance_changed", "approved"]);
    expect(await bed.sellable("CUP")).toBe(10);
    expect(await corrections()).toHaveLength(1);
  });

  it("of a source's rows uses the balances that were shown", async () => {
    await bed.receive({ CUP: 10, BOWL: 10 });
    const comparison = await bed.compare([
      { sku: "CUP", sourceUnits: 8, ledgerUnits: 10 },
      { sku: "BOWL", sourceUnits: 8, ledgerUnits: 10 },
    ]);
    await proposals();
    await bed.receive({ CUP: 5 });
    const answer = await settlement.approve({ comparison, source: "wms" }, CAUSE, WIDE);
    expect(outcomes(answer)).toEqual(["balance_changed", "approved"]);
  });

  it("is refused when the cell was corrected since the snapshot, by a count or by another settlement", async () => {
    await bed.receive({ CUP: 10, BOWL: 10 });
    await bed.compare([
      { source: "erp", sku: "CUP", sourceUnits: 8, ledgerUnits: 10 },
      { source: "wms", sku: "CUP", sourceUnits: 8, ledgerUnits: 10 },
      { sku: "BOWL", sourceUnits: 8, ledgerUnits: 10 },
    ]);
    const ids = (await proposals()).map(({ id }) => id);
    // A count finds what the WMS reports, and as many units come in: on hand is what it was.
    await bed.ledger.apply({ kind: "correct", ...bed.at("BOWL"), units: -2 });
    await bed.receive({ BOWL: 2 });
    const answer = await settlement.approve({ ids }, CAUSE, WIDE);
    expect(outcomes(answer)).toEqual(["approved", "balance_changed", "outdated"]);
    expect(await bed.sellable("CUP")).toBe(8);
    expect((await rows()).map(({ state }) => state)).toEqual(["approved", "outdated", "outdated"]);
  });

  it("is refused when the source has reported another gap since, or none", async () => {
    await bed.receive({ CUP: 10, BOWL: 10, POT: 10 });
    const comparison = await bed.compare([
      { sku: "CUP", sourceUnits: 8, ledgerUnits: 10 },
      { sku: "BOWL", sourceUnits: 7, ledgerUnits: 10 },
      { sku: "POT", sourceUnits: 6, ledgerUnits: 10 },
    ]);
    const ids = (await proposals()).map(({ id }) => id);
    // What another source reports says nothing about this one.
    await bed.compare([{ source: "erp", sku: "CUP", sourceUnits: 9, ledgerUnits: 10 }]);
    expect((await rows(settlement, { comparison })).map(({ state }) => state)).toEqual(Array(3).fill("proposed"));
    await bed.compare([
      { sku: "BOWL", sourceUnits: 7, ledgerUnits: 10 },
      { sku: "POT", sourceUnits: 9, ledgerUnits: 10 },
    ]);
    const states = (await rows(settlement, { comparison })).map(({ proposal, state }) => [proposal.sku, state]);
    expect(states).toEqual([
      ["POT", "outdated"],
      ["BOWL", "proposed"],
      ["CUP", "outdated"],
    ]);
    expect(outcomes(await settlement.approve({ ids }, CAUSE, WIDE))).toEqual(["outdated", "approved", "outdated"]);
    expect(await bed.sellable("CUP")).toBe(10);
  });

  it("of more than the limit decides nothing", async () => {
    await bed.receive({ CUP: 10, BOWL: 10 });
    const comparison = await bed.compare([
      { sku: "CUP", sourceUnits: 5, ledgerUnits: 10 },
      { sku: "BOWL", sourceUnits: 14, ledgerUnits: 10 },
    ]);
    const selection = { comparison, source: "wms" };
    const over = { outcome: "over_limit", rows: 2, units: 9 };
    expect(await settlement.approve(selection, CAUSE, { rows: 1, units: 100 })).toEqual(over);
    expect(await settlement.approve(selection, CAUSE, { rows: 2, units: 8 })).toEqual(over);
    expect(await corrections()).toEqual([]);
    expect((await settlement.decisions(10)).decisions).toEqual([]);
    expect(outcomes(await settlement.approve(selection, CAUSE, { rows: 2, units: 9 }))).toEqual([
      "approved",
      "approved",
    ]);
  });

  it("that was interrupted before or after the correction is completed by the same approval, once", async () => {
    for (const reaches of [false, true]) {
      const sku = `CUP-${reaches}`;
      await bed.receive({ [sku]: 10 });
      await bed.compare([{ sku, sourceUnits: 7, ledgerUnits: 10 }]);
      const ids = (await proposals()).map(({ id }) => id);
      const dying = bed.settlement({
        ledger: {
          partitionOf: (each) => bed.ledger.partitionOf(each),
          recall: (lines) => bed.ledger.recall(lines),
          async applyMany(commands) {
            if (reaches) await bed.ledger.applyMany(commands);
            throw new Error("killed");
          },
        },
      });
      await expect(dying.approve({ ids }, CAUSE, WIDE)).rejects.toThrow("killed");
      const other = { actor: "somebody.else", reason: "again" };
      const rejected = await settlement.reject({ ids }, other, WIDE);
      expect(outcomes(rejected)).toEqual(["approving"]);
      // The listing takes the ledger's answer, if it has one.
      expect((await rows()).map(({ state }) => state)).toEqual([reaches ? "approved" : "approving"]);
      const settled = await settledUnits(
        bed.corrections,
        { asOfMs: bed.clock.now() - 60_000 },
        bed.ledger.partitionOf(sku),
      );
      expect(settled.get(cellOf(sku, "SH"))).toBe(reaches ? -3 : undefined);
      expect(outcomes(await settlement.approve({ ids }, other, WIDE))).toEqual(["approved"]);
      expect((await corrections()).filter((event) => event.sku === sku)).toMatchObject([{ detail: CAUSE }]);
    }
  });

  it("of what was never proposed is refused", async () => {
    const answer = await settlement.approve({ ids: ["nonsense", `${bed.id()}~AAAAAAAAAAAAAAAA.1.5.-2`] }, CAUSE, WIDE);
    expect(outcomes(answer)).toEqual(["unknown_proposal", "unknown_proposal"]);
    const selection = { comparison: bed.id(), source: "wms" };
    expect(outcomes(await settlement.approve(selection, CAUSE, WIDE))).toEqual(["unknown_comparison"]);
  });
});

describe("a rejection", () => {
  it("is recorded with its reason, and the row cannot be approved any more", async () => {
    await bed.receive({ CUP: 10 });
    await bed.compare([{ sku: "CUP", sourceUnits: 7, ledgerUnits: 10 }]);
    const ids = (await proposals()).map(({ id }) => id);
    const rejected = await settlement.reject({ ids }, CAUSE, WIDE);
    expect(rejected).toMatchObject({ rows: [{ outcome: "rejected", repeated: false }] });
    const late = await settlement.approve({ ids }, { actor: "b", reason: "c" }, WIDE);
    expect(late).toMatchObject({ rows: [{ outcome: "rejected", repeated: true }] });
    expect(await corrections()).toEqual([]);
    expect(await rows()).toMatchObject([{ state: "rejected", decided: { decision: CAUSE } }]);
  });

  it("and an approval at the same moment: one of them stands", async () => {
    const skus = Array.from({ length: 10 }, (_, i) => `CUP-${i}`);
    await bed.receive(Object.fromEntries(skus.map((sku) => [sku, 10])));
    await bed.compare(skus.map((sku) => ({ sku, sourceUnits: 9, ledgerUnits: 10 })));
    const ids = (await proposals()).map(({ id }) => id);
    const [approved, rejected] = await Promise.all([
      bed.settlement({ ledger: bed.ledgerOn(redis.connect()) }).approve({ ids }, CAUSE, WIDE),
      bed.settlement().reject({ ids }, CAUSE, WIDE),
    ]);
    const booked = new Set((await corrections()).map(({ sku }) => sku));
    for (const [i, sku] of skus.entries()) {
      const stands = booked.has(sku) ? "approved" : "rejected";
      expect(outcomes(approved)[i]).toBe(stands);
      expect(["approving", stands]).toContain(outcomes(rejected)[i]);
    }
  });
});

describe("a listing", () => {
  it("comes in pages, of all rows or of those in a state", async () => {
    const skus = Array.from({ length: 7 }, (_, i) => `CUP-${i}`);
    await bed.receive(Object.fromEntries(skus.map((sku) => [sku, 10])));
    const found = skus.map((sku, i) => ({ sku, sourceUnits: i, ledgerUnits: 10 }));
    await bed.compare([...found, { source: "erp", sku: "CUP-0", sourceUnits: 9, ledgerUnits: 10 }]);
    const pages = async (query: Partial<RowQuery>): Promise<string[][]> => {
      const all: string[][] = [];
      for (let after: number | undefined = 0; after !== undefined; ) {
        const page: RowPage = await settlement.list({ limit: 3, after, ...query });
        if (page.outcome !== "found") throw new Error(page.outcome);
        all.push(page.rows.map(({ proposal: { source, sku } }) => `${source} ${sku}`));
        after = page.next;
      }
      return all;
    };
    expect((await pages({})).map(({ length }) => length)).toEqual([3, 3, 2]);
    expect(await pages({ source: "erp" })).toEqual([["erp CUP-0"]]);
    const [first, , third] = await proposals();
    await settlement.reject({ ids: [first?.id ?? "", third?.id ?? ""] }, CAUSE, WIDE);
    expect(await pages({ state: "rejected", limit: 1 })).toEqual([["wms CUP-0"], ["wms CUP-2"], []]);
    expect((await pages({ state: "proposed" })).flat()).toHaveLength(6);
    expect(await pages({ state: "approved" })).toEqual([[]]);
  });
});
