/**
 * Where two sides part, on a real ledger and with stored snapshots: the event of a warehouse's one mistake is in the
 * first group of causes in every seeded shop, and a warehouse that is only late has none. The many cases are in
 * divergence.test.ts; here the reading is tested: which snapshots and which part of the log are looked at.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Localiser } from "../../engine/reconciliation/localisation/localisation.js";
import { MovementPartWriter, MovementStore } from "../../engine/reconciliation/reports/movement-store.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import { Corrections } from "../../engine/stock/corrections.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { lengthOf } from "../length.js";
import { type Row, sendPart, snapshotBed } from "../reconciliation/reports/snapshot-bed.js";
import { withRedis } from "../redis/with-redis.js";
import {
  bookedUnits,
  commandsOf,
  LATENESS_MS,
  LOCATIONS,
  MISTAKES,
  type Mistake,
  SKUS,
  type Warehouse,
  type WorldOptions,
  warehouseOf,
} from "./divergence-world.js";

const redis = withRedis();
const PARTITIONS = 2;
const CASES = lengthOf({ short: 6, long: 60 });
const FIRST = Number(process.env["SHUIWEI_SEED"] ?? 1);
const seeds = Array.from({ length: process.env["SHUIWEI_SEED"] ? 1 : CASES }, (_, i) => FIRST + i);

let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
});

interface RunShop extends Warehouse {
  /** Of the shop, by what the warehouse reports beside snapshots. */
  localisers: Record<"snapshots" | "own ids" | "shared ids", Localiser>;
}

/** Runs a shop on a ledger, and sends what its warehouse reports. */
async function runShop(seed: number, kind: WorldOptions["kind"]): Promise<RunShop> {
  const options: WorldOptions = { commands: 120, snapshots: 4, pauseMs: 2_000, endsQuietly: true, kind };
  const [prefix, random] = [`parting-${seed}-${kind}`, seededRandom(seed)];
  const clock = new ManualClock(0);
  const shared = { redis: client, prefix, partitions: PARTITIONS };
  const ledger = new Ledger({ ...shared, clock });
  for (const [nowMs, command] of commandsOf(random, options)) {
    clock.moveTo(nowMs);
    await ledger.apply(command);
  }
  const logs = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) => readLog(client, stockKeys(prefix, partition).log, 0, 10_000)),
  );
  const events = logs.flatMap((entries) => entries.flatMap((entry) => eventsOf(entry).events));
  const warehouse = warehouseOf(random, events, options);
  clock.moveTo(warehouse.toMs + LATENESS_MS);
  for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
  const { store } = snapshotBed(client, { ...shared, clock, locations: () => new Set(LOCATIONS) });
  for (const [i, atMs] of warehouse.instants.entries()) {
    const rows = SKUS.flatMap((sku) =>
      LOCATIONS.map((location): Row => [sku, location, bookedUnits(warehouse.bookings, sku, location, atMs)]),
    );
    const header = { id: `snapshot-${i}`, measure: warehouse.measure, asOfMs: atMs + warehouse.clockOffMs };
    expect(await sendPart(store, header, rows), `SHUIWEI_SEED=${seed}`).toMatchObject({ outcome: "complete" });
  }
  const corrections = new Corrections(shared);
  const reading = { ...shared, corrections, snapshots: store, history: new BalanceHistory(shared) };
  const withMovements = async (ids: "own" | "shared"): Promise<Localiser> => {
    const onTrouble = (message: string): void => expect(message).toBe("no trouble");
    const movements = new MovementStore({ ...shared, prefix: `${prefix}-${ids}`, clock, onTrouble });
    await report(movements, warehouse, ids, seed);
    return new Localiser({ ...reading, movements });
  };
  return {
    ...warehouse,
    localisers: {
      snapshots: new Localiser(reading),
      "own ids": await withMovements("own"),
      "shared ids": await withMovements("shared"),
    },
  };
}

/** Reports all movements in two batches. */
async function report(
  store: MovementStore,
  { bookings, clockOffMs, fromMs, toMs }: Warehouse,
  ids: "own" | "shared",
  seed: number,
): Promise<void> {
  const middleMs = Math.floor((fromMs + toMs) / 2);
  for (const [from, to] of [
    [fromMs, middleMs],
    [middleMs, toMs],
  ] as const) {
    const all = bookings
      .map((each, i) => ({ ...each, id: ids === "own" ? `m-${i}` : each.id, atMs: each.atMs + clockOffMs }))
      .filter(({ atMs }) => atMs >= from && atMs < to);
    const header = { source: "wms", id: `batch-${from}`, part: 1, parts: 1, rows: all.length, fromMs: from, toMs: to };
    const writer = await store.receive(header);
    if (!(writer instanceof MovementPartWriter)) throw new Error(JSON.stringify(writer));
    for (const { id, sku, location, units, atMs } of all)
      expect(writer.add(id, sku, location, units, atMs)).toBeUndefined();
    expect(await writer.end(), `SHUIWEI_SEED=${seed}`).toMatchObject({ outcome: "complete" });
  }
}

/** The causes that the first group names, by the offsets of their events. */
async function named(localiser: Localiser, { sku }: Mistake, basis: string, what: string): Promise<unknown[]> {
  const result = await localiser.locate(sku, "wms");
  expect(result, what).toMatchObject({ outcome: "located", basis, further: [] });
  if (result.outcome !== "located") return [];
  expect(result.firstUnequal, what).toBeDefined();
  expect(result.isAmbiguous, what).toBe((result.causes[0]?.count ?? 0) > 1 || result.mayBeOlder);
  return result.causes[0]?.members.flatMap(({ faults }) => faults.map(({ event }) => event?.offset)) ?? [];
}

describe("a warehouse with one mistake", () => {
  it("is found by its snapshots and by its movements on a real ledger", async () => {
    for (const seed of seeds) {
      const { localisers, mistake } = await runShop(seed, MISTAKES[seed % MISTAKES.length] ?? "missing");
      if (!mistake) throw new Error(`SHUIWEI_SEED=${seed}: no event fits`);
      const { offset } = mistake.bookable.event;
      const what = `SHUIWEI_SEED=${seed} ${mistake.kind}`;
      expect(await named(localisers.snapshots, mistake, "snapshots", what), what).toContain(offset);
      expect(await named(localisers["own ids"], mistake, "movements", what), what).toContain(offset);
      expect(await named(localisers["shared ids"], mistake, "movements", what), what).toEqual([offset]);
      for (const ids of ["own ids", "shared ids"] as const) {
        const shop = await localisers[ids].movementFaults("wms");
        if (shop.outcome !== "found") throw new Error(`${what}: ${shop.outcome}`);
        expect(
          shop.skus.map(({ sku }) => sku),
          what,
        ).toEqual([mistake.sku]);
        const cell = shop.cells.find(
          ({ sku, location }) => sku === mistake.sku && mistake.bookable.effects.has(location),
        );
        expect(cell?.partedMs, what).toBeLessThanOrEqual(mistake.bookable.event.clockMs + 2 * LATENESS_MS);
      }
    }
  });
});

describe("a warehouse that is only late", () => {
  it("parts from the ledger nowhere", async () => {
    for (const seed of seeds.slice(0, Math.ceil(CASES / 2))) {
      const { localisers } = await runShop(seed, "none");
      expect(await localisers.snapshots.sources()).toEqual(["wms"]);
      for (const sku of SKUS)
        expect(await localisers.snapshots.locate(sku, "wms"), `SHUIWEI_SEED=${seed} ${sku}`).toMatchObject({
          outcome: "located",
          firstUnequal: undefined,
          causes: [],
          isAmbiguous: false,
        });
      for (const ids of ["own ids", "shared ids"] as const)
        expect(await localisers[ids].movementFaults("wms"), `SHUIWEI_SEED=${seed}`).toMatchObject({ skus: [] });
    }
  });
});
