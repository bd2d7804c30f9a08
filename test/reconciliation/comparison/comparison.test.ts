/** Divergences of random reports, compared with their formulas, cell by cell. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../engine/kernel/random.js";
import { differingUnits, PairSum, type PartyCells } from "../../../engine/reconciliation/comparison/comparison.js";
import { NO_REACH, reachOf, unexplainedUnits } from "../../../engine/reconciliation/comparison/explained.js";
import { Greatest } from "../../../engine/reconciliation/comparison/greatest.js";
import { type Difference, type Divergence, NO_DIVERGENCE, withCell } from "../../../engine/reconciliation/model.js";
import { CellIndex } from "../../../engine/stock/cell-index.js";

const SEED = Number(process.env["SHUIWEI_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const random = seededRandom(SEED);
const CELLS = 300;
/** The ledger has the first of them. */
const LEDGER_CELLS = 280;

function drawCells(partition: number): CellIndex {
  const cells = new CellIndex();
  while (cells.length < CELLS) cells.add(`P${partition}-SKU-${random.below(120)}`, `L${random.below(5)}`);
  return cells;
}

function drawParty(): PartyCells {
  const windows = new Map<number, number[]>();
  for (let cell = 0; cell < LEDGER_CELLS; cell++)
    if (random.below(4) === 0)
      windows.set(
        cell,
        Array.from({ length: 3 * (1 + random.below(3)) }, () => random.below(7) - 3),
      );
  const ledger = Float64Array.from({ length: LEDGER_CELLS }, () => random.below(40));
  const units = Float64Array.from({ length: CELLS }, (_, cell) => {
    if (random.below(8) === 0) return Number.NaN;
    return Math.max(0, (ledger[cell] ?? 10) + random.pick([0, 0, 0, -1, 2, -3, 9]));
  });
  const base = { sellable: 0, reserved: 0, coefficient: undefined };
  return { units, ledger, reach: (cell) => reachOf(windows.get(cell) ?? [], "on_hand", base) };
}

describe("a comparison of a partition's cells", () => {
  it("is the formula of R13 over the cells that both report, for shop, locations and SKUs, over all partitions", () => {
    for (let round = 0; round < 10; round++) {
      const sums = [new PairSum("erp"), new PairSum("erp", "wms")];
      const shop: Divergence[] = [NO_DIVERGENCE, NO_DIVERGENCE];
      const locations = [new Map<string, Divergence>(), new Map<string, Divergence>()];
      const skus = [new Map<string, Divergence>(), new Map<string, Divergence>()];
      const only = [0, 0, 0, 0];
      const differences: [Difference[], Difference[]] = [[], []];
      for (let partition = 0; partition < 3; partition++) {
        const cells = drawCells(partition);
        const [erp, wms] = [drawParty(), drawParty()];
        for (const [i, sum] of sums.entries()) {
          sum.begin({ cells, ledgerCells: LEDGER_CELLS });
          sum.take(0, 100, erp, i === 0 ? undefined : wms);
          sum.take(100, CELLS, erp, i === 0 ? undefined : wms);
          sum.finish();
          for (let cell = 0; cell < CELLS; cell++) {
            const aUnits = erp.units[cell] as number;
            const ledgerUnits = erp.ledger[cell] ?? Number.NaN;
            const reported = wms.units[cell] as number;
            const bUnits = i === 0 ? ledgerUnits : reported - (wms.ledger[cell] ?? 0) + (erp.ledger[cell] ?? 0);
            if (Number.isNaN(aUnits) || Number.isNaN(bUnits)) {
              if (aUnits > 0) only[2 * i] = (only[2 * i] as number) + 1;
              if ((i === 0 ? bUnits : reported) > 0) only[2 * i + 1] = (only[2 * i + 1] as number) + 1;
              continue;
            }
            const gap = aUnits - bUnits;
            const left = unexplainedUnits(gap, erp.reach(cell), i === 0 ? NO_REACH : wms.reach(cell));
            const explainedUnits = Math.abs(gap) - left;
            const [sku, location] = [cells.sku(cell), cells.location(cell)];
            const added = (sum: Divergence | undefined) =>
              withCell(sum ?? NO_DIVERGENCE, aUnits, bUnits, explainedUnits);
            shop[i] = added(shop[i]);
            locations[i]?.set(location, added(locations[i]?.get(location)));
            skus[i]?.set(sku, added(skus[i]?.get(sku)));
            if (left > 0) differences[i]?.push({ sku, location, aUnits, bUnits, explainedUnits });
          }
        }
      }
      for (const [i, sum] of sums.entries()) {
        const { pair, differences: found } = sum.result();
        const message = `SHUIWEI_SEED=${SEED}`;
        expect(pair.shop, message).toEqual(shop[i]);
        expect(new Map(Object.entries(pair.locations)), message).toEqual(locations[i]);
        for (const { sku, ...units } of pair.skus) expect(skus[i]?.get(sku), message).toMatchObject(units);
        expect([pair.onlyInA, pair.onlyInB], message).toEqual(only.slice(2 * i, 2 * i + 2));
        expect(found.length).toBe(differences[i]?.length);
        expect(new Set(found.map((each) => JSON.stringify(each)))).toEqual(
          new Set(differences[i]?.map((each) => JSON.stringify(each))),
        );
        expect(found.map(differingUnits)).toEqual(found.map(differingUnits).sort((x, y) => y - x));
        expect(pair.top).toEqual(found.slice(0, 20));
        const [greatest] = pair.skus;
        expect(greatest?.differingUnits).toBe(Math.max(...[...(skus[i] ?? [])].map(([, each]) => each.differingUnits)));
      }
    }
  });

  it("keeps the greatest of any number of items", () => {
    for (const limit of [1, 2, 7, 50]) {
      const greatest = new Greatest<number>(limit);
      const sizes = Array.from({ length: 500 }, () => random.below(200));
      for (const size of sizes) greatest.add(size, size);
      expect(greatest.items().sort((a, b) => b - a)).toEqual(sizes.sort((a, b) => b - a).slice(0, limit));
    }
  });
});
