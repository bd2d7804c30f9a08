/**
 * Where two sides part, in seeded shops: a warehouse that makes one mistake with one event is found out, by its
 * snapshots alone and by its movements with and without ids, and the event is in the first group of causes, always. A
 * warehouse that is only late and out of order makes no divergence. How often several events fit is printed.
 */
import { describe, expect, it } from "vitest";
import { NO_REACH, reachOf, unexplainedUnits } from "../../engine/reconciliation/comparison/explained.js";
import type { CauseGroup } from "../../engine/reconciliation/localisation/divergence-cause.js";
import { type Observation, searchGaps } from "../../engine/reconciliation/localisation/gap-search.js";
import { pairMovements } from "../../engine/reconciliation/localisation/movement-pairing.js";
import { lengthOf } from "../length.js";
import { LATENESS_MS, MISTAKES, type Mistake, makeWorld, type World } from "./divergence-world.js";

const SEEDS = Number(process.env["DIVERGENCE_SEEDS"] ?? lengthOf({ short: 100, long: 1_000 }));
const FIRST = Number(process.env["SHUIWEI_SEED"] ?? 1);
const COUNT = process.env["SHUIWEI_SEED"] ? 1 : SEEDS;
const seeds = Array.from({ length: COUNT }, (_, i) => FIRST + i);

const worldOf = (seed: number, kind?: "none"): World =>
  makeWorld(seed, {
    commands: 120,
    snapshots: 5,
    pauseMs: 2_000,
    endsQuietly: true,
    kind: kind ?? (MISTAKES[seed % MISTAKES.length] as (typeof MISTAKES)[number]),
  });

const searchOf = (world: World, sku: string) =>
  searchGaps(world.observations.get(sku) ?? [], world.events.get(sku) ?? [], { windowMs: LATENESS_MS });

/** Units of an observation that a comparison counts as divergence. */
function divergence(world: World, sku: string, { asOfMs, gaps }: Observation): number {
  let units = 0;
  for (const [location, gap] of gaps) {
    const around = (world.events.get(sku) ?? []).flatMap(({ event, effects }) => {
      const effect = effects.get(location) ?? 0;
      if (Math.abs(event.clockMs - asOfMs) > LATENESS_MS) return [];
      // What the ledger would have more if the event were on the other side of the instant.
      const other = event.clockMs <= asOfMs ? -effect : effect;
      return [other, 0, other];
    });
    const reach = reachOf(around, world.measure, { sellable: 0, reserved: 0, coefficient: undefined });
    units += unexplainedUnits(gap, reach, NO_REACH);
  }
  return units;
}

/** Whether the event of the mistake is named by the first group. */
const names = (group: CauseGroup | undefined, { bookable }: Mistake): boolean =>
  group?.members.some(({ faults }) => faults.some(({ event }) => event === bookable.event)) ?? false;

describe("a warehouse with one mistake", () => {
  it("is found by its snapshots, and the event is in the first group of causes", () => {
    let [found, ambiguous, members] = [0, 0, 0];
    for (const seed of seeds) {
      const world = worldOf(seed);
      const { mistake } = world;
      if (!mistake) throw new Error(`SHUIWEI_SEED=${seed}: no event fits`);
      const search = searchOf(world, mistake.sku);
      const [best] = search.causes;
      if (!names(best, mistake)) expect(search, `SHUIWEI_SEED=${seed} ${mistake.kind}`).toBe("found");
      const observed = world.observations.get(mistake.sku) ?? [];
      const firstDiverging = observed.find((each) => divergence(world, mistake.sku, each) > 0);
      expect(search.firstUnequal, `SHUIWEI_SEED=${seed}: as a comparison`).toBe(firstDiverging?.snapshotId);
      found++;
      if ((best?.count ?? 0) > 1) ambiguous++;
      members += best?.count ?? 0;
    }
    console.info(`snapshots: ${found} of ${COUNT} found, ${ambiguous} ambiguous, ${members / COUNT} causes on average`);
  });

  it.each([true, false])("is found by its movements, with ids: %s", (withIds) => {
    let [found, ambiguous, members] = [0, 0, 0];
    for (const seed of seeds) {
      const world = worldOf(seed);
      const mistake = world.mistake as Mistake;
      const all = world.movements.get(mistake.sku) ?? [];
      const movements = withIds ? all : all.map((each, i) => ({ ...each, id: `m-${i}` }));
      const pairing = pairMovements(world.events.get(mistake.sku) ?? [], movements, {
        fromMs: world.fromMs,
        toMs: world.toMs,
        toleranceMs: LATENESS_MS,
      });
      const [best] = pairing.parts;
      if (!names(best, mistake) || pairing.count !== 1)
        expect(pairing, `SHUIWEI_SEED=${seed} ${mistake.kind}`).toBe("found");
      found++;
      if ((best?.count ?? 0) > 1) ambiguous++;
      members += best?.count ?? 0;
    }
    console.info(`movements: ${found} of ${COUNT} found, ${ambiguous} ambiguous, ${members / COUNT} causes on average`);
  });
});

describe("a warehouse that is late and out of order", () => {
  it("makes no divergence, and no movement is without partner", () => {
    for (const seed of seeds) {
      const world = worldOf(seed, "none");
      for (const sku of world.events.keys()) {
        expect(searchOf(world, sku).firstUnequal, `SHUIWEI_SEED=${seed} ${sku}`).toBeUndefined();
        for (const observation of world.observations.get(sku) ?? [])
          expect(divergence(world, sku, observation), `SHUIWEI_SEED=${seed} ${sku}`).toBe(0);
      }
    }
  });
});
