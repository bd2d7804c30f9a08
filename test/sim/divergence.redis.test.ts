/**
 * Where two sides part, on a real ledger and with stored snapshots: the event of a warehouse's one mistake is in the
 * first group of causes in every seeded shop, and a warehouse that is only late has none. The many cases are in
 * divergence.test.ts; here the reading is tested: which snapshots and which part of the log are looked at.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Localiser } from "../../engine/reconciliation/localisation.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import { Corrections } from "../../engine/stock/corrections.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { lengthOf } from "../length.js";
import { type Row, sendPart, snapshotBed } from "../reconciliation/snapshot-bed.js";
import { withRedis } from "../redis/with-redis.js";
import {
  bookedUnits,
  commandsOf,
  LATENESS_MS,
  LOCATIONS,
  MISTAKES,
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

/** Runs a shop on a ledger, and sends the snapshots of its warehouse. */
async function runShop(seed: number, kind: WorldOptions["kind"]): Promise<[Localiser, Warehouse]> {
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
  const warehouse = warehouseOf(
    random,
    logs.flatMap((entries) => entries.flatMap((entry) => eventsOf(entry).events)),
    options,
  );
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
  const localiser = new Localiser({
    ...shared,
    snapshots: store,
    history: new BalanceHistory(shared),
    corrections: new Corrections(shared),
    windowMs: LATENESS_MS,
  });
  return [localiser, warehouse];
}

describe("a warehouse with one mistake", () => {
  it("is found by its snapshots on a real ledger", async () => {
    for (const seed of seeds) {
      const [localiser, { mistake }] = await runShop(seed, MISTAKES[seed % MISTAKES.length] ?? "missing");
      if (!mistake) throw new Error(`SHUIWEI_SEED=${seed}: no event fits`);
      const result = await localiser.locate(mistake.sku, "wms");
      if (result.outcome !== "located") throw new Error(`SHUIWEI_SEED=${seed}: ${result.outcome}`);
      const { offset, index } = mistake.bookable.event;
      const named = result.causes[0]?.members.flatMap(({ faults }) => faults.map(({ event }) => event)) ?? [];
      const isNamed = named.some((event) => event?.offset === offset && event.index === index);
      if (!isNamed) expect(result, `SHUIWEI_SEED=${seed} ${mistake.kind}`).toBe("found");
      expect(result.firstUnequal, `SHUIWEI_SEED=${seed}`).toBeDefined();
      expect(result.isAmbiguous).toBe(named.length > 1 || result.mayBeOlder);
    }
  });
});

describe("a warehouse that is only late", () => {
  it("parts from the ledger nowhere", async () => {
    for (const seed of seeds) {
      const [localiser] = await runShop(seed, "none");
      expect(await localiser.sources()).toEqual(["wms"]);
      for (const sku of SKUS)
        expect(await localiser.locate(sku, "wms"), `SHUIWEI_SEED=${seed} ${sku}`).toMatchObject({
          outcome: "located",
          firstUnequal: undefined,
          causes: [],
          isAmbiguous: false,
        });
    }
  });
});
