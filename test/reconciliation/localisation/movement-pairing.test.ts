/** Which events and movements have no partner on the other side. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../engine/kernel/random.js";
import type { BookableEvent } from "../../../engine/reconciliation/localisation/divergence-cause.js";
import { type Effect, Matching } from "../../../engine/reconciliation/localisation/movement-matching.js";
import { pairMovements } from "../../../engine/reconciliation/localisation/movement-pairing.js";
import type { Movement } from "../../../engine/reconciliation/model.js";
import { event, move, movement, SECOND, WINDOW_MS } from "./divergence-scene.js";

const pair = (events: BookableEvent[], movements: Movement[]) =>
  pairMovements(events, movements, { fromMs: 0, toMs: 100 * SECOND, toleranceMs: WINDOW_MS });

/** Of each part, its causes: kind, time in seconds, and the other location. */
const said = (events: BookableEvent[], movements: Movement[]): string[][] =>
  pair(events, movements).parts.map(({ members }) =>
    members.map(({ faults: [fault] }) =>
      [fault?.kind, (fault?.atMs ?? 0) / SECOND, fault?.bookedAt].filter(Boolean).join(" "),
    ),
  );

describe("movements that have the ledger's ids", () => {
  const events = [event(10, -2), event(20, -2), event(30, -3)];
  const booked = [movement(11, -2, "SH", "E-10"), movement(21, -2, "SH", "E-20"), movement(31, -3, "SH", "E-30")];
  const [first, second, third] = booked as [Movement, Movement, Movement];

  it("all have partners, however late they are", () => {
    expect(pair(events, [first, { ...second, atMs: 90 * SECOND }, third])).toMatchObject({ pairs: 3, count: 0 });
  });

  it("name the event that is missing, doubled, misplaced or changed", () => {
    expect(said(events, [first, third])).toEqual([["missing 20"]]);
    expect(said(events, [...booked, { ...second, atMs: 60 * SECOND }])).toEqual([["doubled 20"]]);
    expect(said(events, [first, { ...second, location: "GZ" }, third])).toEqual([["misplaced 20 GZ"]]);
    expect(said(events, [first, { ...second, units: -1 }, third])).toEqual([["units_changed 20"]]);
    expect(said(events, [first, { ...second, units: -1 }, { ...second, units: -1, location: "GZ" }, third])).toEqual([
      ["units_changed 20 GZ"],
    ]);
  });

  it("may have an order's id instead of its line's", () => {
    expect(pair([event(10, -1, "SH", "ORDER-1")], [movement(11, -1, "SH", "ORDER")])).toMatchObject({
      pairs: 1,
      count: 0,
    });
  });

  it("name a movement that the ledger does not have", () => {
    expect(said(events, [...booked, movement(50, -7, "SH", "OTHER")])).toEqual([["unknown_to_ledger 50"]]);
  });

  it("name each difference, the earliest first", () => {
    expect(said(events, [{ ...third, units: -1 }, second])).toEqual([["missing 10"], ["units_changed 30"]]);
  });
});

describe("movements with ids of their own", () => {
  const events = [event(10, -2), event(20, -2), event(30, -3)];
  const booked = [movement(11, -2), movement(21, -2), movement(31, -3)];

  it("find their events by location, units and time", () => {
    expect(pair(events, booked)).toMatchObject({ pairs: 3, count: 0, undecided: 0 });
    expect(said(events, booked.slice(1))).toEqual([["missing 10"]]);
    expect(said(events, [...booked, movement(22, -2, "SH", "again")])).toEqual([["doubled 20"]]);
    expect(said(events, [movement(11, -2, "GZ"), ...booked.slice(1)])).toEqual([["misplaced 10 GZ"]]);
    expect(said(events, [...booked.slice(0, 2), movement(31, -2)])).toEqual([["units_changed 30"]]);
    expect(said(events, [...booked, movement(60, -1)])).toEqual([["unknown_to_ledger 60"]]);
  });

  it("leave open which of several near events has no partner", () => {
    const near = [event(10, -1), event(11, -1), event(12, -1), event(40, -1)];
    expect(said(near, [movement(11.5, -1), movement(12.5, -1), movement(41, -1)])).toEqual([
      ["missing 10", "missing 11", "missing 12"],
    ]);
  });

  it("have one fault for both halves of a movement between locations", () => {
    expect(said([move(10, 2)], [])).toEqual([["missing 10"]]);
    const twice = [movement(10, -2), movement(10, 2, "GZ"), movement(11, -2), movement(11, 2, "GZ")];
    expect(said([move(10, 2)], twice)).toEqual([["doubled 10"]]);
  });

  it("leave undecided what is near the ends of the span", () => {
    expect(pair([event(1, -1), event(99, -1)], [])).toMatchObject({ count: 0, undecided: 2 });
    expect(pair([], [movement(0.5, -1), movement(99.5, -1)])).toMatchObject({ count: 0, undecided: 2 });
  });
});

describe("what could be left over instead", () => {
  const SEED = Number(process.env["SHUIWEI_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const random = seededRandom(SEED);
  const times = (count: number): number[] => Array.from({ length: random.below(count) }, () => random.below(20));
  const effectAt = (atS: number): Effect => ({
    ...{ bookable: event(atS, -1), location: "SH", units: -1, atMs: atS * SECOND },
  });

  /** Who is left over in some pairing of as many as possible, by trying each pairing without one of them. */
  function couldBeOpen(effects: readonly Effect[], movements: readonly Movement[]): Set<Effect> {
    const most = new Matching(effects, movements, WINDOW_MS, { left: 1_000 }).pairs;
    const without = (effect: Effect) =>
      new Matching(
        effects.filter((each) => each !== effect),
        movements,
        WINDOW_MS,
        { left: 1_000 },
      ).pairs;
    return new Set(effects.filter((effect) => without(effect) === most));
  }

  it(`is every effect without which as many have partners (SHUIWEI_SEED=${SEED})`, () => {
    for (let round = 0; round < 300; round++) {
      const effects = times(12).map(effectAt);
      const movements = times(12).map((atS, i) => movement(atS, -1, "SH", `M-${i}`));
      const matching = new Matching(effects, movements, WINDOW_MS, { left: 1_000 });
      const found = matching.openEffects.flatMap((open) => matching.couldBeOpenInsteadOf(open) ?? []);
      expect(new Set(found)).toEqual(couldBeOpen(effects, movements));
    }
  });

  it("is not decided for all of thousands that are left over in the same seconds", () => {
    const events = Array.from({ length: 2_000 }, (_, i) => event(50 + i / 1_000, -1, "SH", `E-${i}`));
    const movements = Array.from({ length: 1_000 }, (_, i) => movement(50 + i / 500, -1, "SH", `M-${i}`));
    const { count, undecided, pairs } = pair(events, movements);
    expect({ pairs, left: count + undecided }).toEqual({ pairs: 1_000, left: 1_000 });
    expect(undecided).toBeGreaterThan(0);
  });
});
