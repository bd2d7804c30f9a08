/**
 * Corrections that expect something of their cell, and what the ledger keeps of corrections beside its log, against a
 * real Redis. The rules are tested in decide.test.ts and in the simulation.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { DAY_MS, ManualClock } from "../../engine/kernel/clock.js";
import { settledUnits } from "../../engine/reconciliation/settlement/settled-rows.js";
import { Corrections } from "../../engine/stock/corrections.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { type CorrectStock, cellOf, OUTCOMES, type SettledDifference } from "../../engine/stock/model.js";
import { field } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { ledgerBed, outcomes } from "./ledger-bed.js";

const START_MS = Date.UTC(2026, 5, 18);
const PREFIX = "corrections-test";
const CUP = cellOf("CUP", "SH");
const redis = withRedis();

let client: RedisClient;
let clock: ManualClock;
let ledger: Ledger;
let corrections: Corrections;
const { ledgerOn, place, receive, reserve, eventsIn } = ledgerBed(PREFIX, () => ({ client, clock }));

beforeEach(async () => {
  await redis.flush();
  client = redis.connect();
  await Ledger.load(client);
  clock = new ManualClock(START_MS);
  ledger = ledgerOn(client);
  corrections = new Corrections({ redis: client, prefix: PREFIX, partitions: 1 });
});

const correct = (units: number, more: Partial<CorrectStock> = {}): CorrectStock => ({
  kind: "correct",
  ...place(),
  units,
  ...more,
});
const settling = (asOfMs: number): SettledDifference => ({
  comparison: "c-1",
  source: "wms",
  snapshot: "s-1",
  proposal: "p-1",
  asOfMs,
});

describe("a correction that expects what its cell holds", () => {
  it("is refused when the cell holds something else, and changes nothing", async () => {
    await ledger.apply(receive(5));
    await ledger.apply(reserve(2));
    const replies = await ledger.applyMany([
      correct(-1, { expected: { onHandUnits: 4 } }),
      correct(-1, { expected: { onHandUnits: 5 } }),
      correct(-1, { expected: { onHandUnits: 5 } }),
    ]);
    expect(outcomes(replies)).toEqual(["balance_changed", "accepted", "balance_changed"]);
    expect(await ledger.balances("CUP")).toMatchObject(new Map([["SH", { sellable: 2, reserved: 2 }]]));
  });

  it("is refused again under its id, in a batch with others, also when the cell holds it by then", async () => {
    const correction = correct(-1, { expected: { onHandUnits: 5 } });
    expect((await ledger.apply(correction)).outcome).toBe("balance_changed");
    const [, again] = await ledger.applyMany([receive(5), correction, receive(1)]);
    expect(again).toMatchObject({ outcome: "balance_changed", repeated: true });
  });

  it("leaves only outcomes in the log that the previous release reads", async () => {
    const correction = correct(-1, { expected: { onHandUnits: 9 } });
    await ledger.applyMany([receive(5), correction, correction]);
    const { entries } = await eventsIn(0);
    const logged = entries.flatMap((entry) => [...(field(entry, "o") ?? [])].map((code) => OUTCOMES[code & 127]));
    expect(logged).toEqual(["accepted", "insufficient_units", "insufficient_units"]);
    expect(entries.flatMap((entry) => eventsOf(entry).events)).toHaveLength(1);
  });

  it("names in its event what it settles, and who and why", async () => {
    const settlement = settling(START_MS);
    await ledger.apply(correct(3, { settlement, actor: "li", reason: "counted" }));
    const { events } = await eventsIn(0);
    expect(events[0]?.detail).toEqual({ actor: "li", reason: "counted", settlement });
  });
});

describe("corrected cells", () => {
  it("are known with the time of their last correction", async () => {
    await ledger.apply(receive(5));
    const before = await corrections.cellsNow(0, [CUP, cellOf("BOWL", "SH")]);
    expect(before.map(({ balances, correctedMs }) => [balances.sellable, correctedMs])).toEqual([
      [5, undefined],
      [0, undefined],
    ]);
    clock.moveTo(clock.now() + 1_000);
    await ledger.apply(correct(1));
    clock.moveTo(clock.now() + 1_000);
    await ledger.applyMany([correct(2), correct(1, { pool: "presale" }), correct(-99)]);
    const [cup] = await corrections.cellsNow(0, [CUP]);
    expect(cup).toMatchObject({ correctedMs: START_MS + 2_000, balances: { sellable: 8 } });
  });

  it("are kept for 8 days", async () => {
    await ledger.apply(correct(1, { settlement: settling(START_MS - 1) }));
    clock.moveTo(clock.now() + 8 * DAY_MS);
    await ledger.apply(correct(1, { ...place("BOWL") }));
    expect((await corrections.cellsNow(0, [CUP]))[0]?.correctedMs).toBe(START_MS);
    clock.moveTo(clock.now() + 1);
    await ledger.apply(correct(1, { ...place("BOWL") }));
    expect((await corrections.cellsNow(0, [CUP]))[0]?.correctedMs).toBeUndefined();
    expect(await corrections.settledAfter(0, 0)).toEqual([]);
  });
});

describe("a settled difference", () => {
  it("counts from the instant of its snapshot until it is booked", async () => {
    const asOfMs = START_MS + 1_000;
    clock.moveTo(clock.now() + 5_000);
    await ledger.applyMany([
      correct(3, { settlement: settling(asOfMs) }),
      correct(-1, { settlement: settling(asOfMs) }),
      correct(7),
    ]);
    const unitsAt = async (instantMs: number) => [...(await settledUnits(corrections, { asOfMs: instantMs }, 0))];
    expect(await unitsAt(asOfMs - 1)).toEqual([]);
    expect(await unitsAt(asOfMs)).toEqual([[CUP, 2]]);
    expect(await unitsAt(START_MS + 4_999)).toEqual([[CUP, 2]]);
    expect(await unitsAt(START_MS + 5_000)).toEqual([]);
  });

  it("is counted once when its command is sent twice", async () => {
    const correction = correct(3, { settlement: settling(START_MS - 1) });
    await ledger.applyMany([correction, correction]);
    await ledger.apply(correction);
    expect(await settledUnits(corrections, { asOfMs: START_MS - 1 }, 0)).toEqual(new Map([[CUP, 3]]));
  });
});
