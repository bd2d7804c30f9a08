/** Which events explain a difference between snapshots of a source and the ledger. */
import { describe, expect, it } from "vitest";
import type { BookableEvent } from "../../../engine/reconciliation/localisation/divergence-cause.js";
import { type Observation, searchGaps, searchSteps } from "../../../engine/reconciliation/localisation/gap-search.js";
import { event, move, observation, WINDOW_MS } from "./divergence-scene.js";

const search = (observations: Observation[], events: BookableEvent[]) =>
  searchGaps(observations, events, { windowMs: WINDOW_MS });

/** What is said of each cause of the best group: kind, time in seconds, and the other location. */
const said = (observations: Observation[], events: BookableEvent[]): string[] =>
  (search(observations, events).causes[0]?.members ?? []).map(({ faults }) =>
    faults.map(({ kind, atMs, bookedAt }) => [kind, atMs / 1_000, bookedAt].filter(Boolean).join(" ")).join(" + "),
  );

//      0        10       20       30 s
//      |---e5---|-e13-e17--|--e25-|
// gap  0        0        +2       +2
describe("a difference between two snapshots", () => {
  const events = [event(5, -2), event(13, -2), event(17, -3), event(25, -2)];
  const gaps = (gap: number) => [
    observation(0, { SH: 0 }),
    observation(10, { SH: 0 }),
    observation(20, { SH: gap }),
    observation(30, { SH: gap }),
  ];

  it("is explained by the event between them that is missing", () => {
    expect(said(gaps(2), events)).toEqual(["missing 13", "units_changed 17"]);
    expect(search(gaps(2), events)).toMatchObject({
      ...{ lastEqual: "at-10", firstUnequal: "at-20", agreesUntil: "at-30", mayBeOlder: false, persistent: false },
    });
  });

  it("is explained by an event that was booked twice", () => {
    expect(said(gaps(-3), events)).toEqual(["doubled 17"]);
  });

  it("names every event that fits equally well, and their number", () => {
    const more = [event(5, -2), event(13, -2), event(14, -2), event(25, -2)];
    expect(said(gaps(2), more)).toEqual(["missing 13", "missing 14"]);
    expect(search(gaps(2), more).causes).toMatchObject([{ faults: 1, count: 2 }]);
  });

  it("is explained by two events when no single one does", () => {
    const more = [event(5, -9), event(13, -3), event(16, -4), event(25, -9)];
    expect(said(gaps(7), more)).toEqual(["missing 13 + missing 16"]);
    expect(search(gaps(7), more).causes).toMatchObject([{ faults: 2, count: 1 }]);
  });

  it("has no cause when nothing explains it", () => {
    expect(search(gaps(50), events)).toMatchObject({ causes: [], firstUnequal: "at-20", agreesUntil: undefined });
  });

  it("may be older when the oldest snapshot has it already", () => {
    expect(search(gaps(2).slice(2), events)).toMatchObject({ mayBeOlder: true, lastEqual: undefined });
  });

  it("has its first cause, although a second one follows", () => {
    const later = [...gaps(3).slice(0, 3), observation(30, { SH: 5 })];
    expect(said(later, events)).toEqual(["missing 17"]);
    expect(search(later, events).agreesUntil).toBe("at-20");
  });

  it("has its cause also when the source has put it right since", () => {
    const healed = [...gaps(3).slice(0, 3), observation(30, { SH: 0 })];
    expect(said(healed, events)).toEqual(["missing 17"]);
  });
});

describe("differences at two locations", () => {
  const gaps = (sh: number, gz: number) => [observation(0, { SH: 0, GZ: 0 }), observation(20, { SH: sh, GZ: gz })];

  it("are one event that was booked at the other location", () => {
    expect(said(gaps(3, -3), [event(8, -3), event(12, -1)])).toEqual(["misplaced 8 GZ"]);
  });

  it("are one unit of an event that was booked at the other location", () => {
    expect(said(gaps(1, -1), [event(8, -3)])).toEqual(["units_changed 8 GZ"]);
  });

  it("are one movement between them that is missing as a whole", () => {
    expect(said(gaps(2, -2), [move(8, 2), event(12, -1)])).toEqual(["missing 8"]);
    expect(search(gaps(2, -2), [move(8, 2)]).causes[0]?.members[0]?.faults[0]?.offUnits).toEqual({ SH: 2, GZ: -2 });
  });

  it("are one half of a movement that is missing", () => {
    expect(said(gaps(0, -2), [move(8, 2)])).toEqual(["missing 8"]);
    expect(search(gaps(0, -2), [move(8, 2)]).causes[0]?.members[0]?.faults[0]?.offUnits).toEqual({ GZ: -2 });
  });
});

describe("events around a snapshot's instant", () => {
  it("explain a gap, in any choice", () => {
    const events = [event(8.5, -2), event(9, -3), event(11, -4)];
    for (const gap of [2, 3, 5, -4, 1, -2, -1, 0])
      expect(search([observation(10, { SH: gap })], events).firstUnequal, `${gap}`).toBeUndefined();
    for (const gap of [4, 6, -3, -5])
      expect(search([observation(10, { SH: gap })], events).firstUnequal, `${gap}`).toBe("at-10");
  });

  it("hide a fault in one snapshot, which others show", () => {
    // One unit is missing since second 5; in the second snapshot another event explains it as well.
    const events = [event(5, -1), event(9.5, -1), event(25, -1)];
    const all = [observation(0, { SH: 0 }), observation(10, { SH: 1 }), observation(20, { SH: 1 })];
    expect(search(all, events)).toMatchObject({ lastEqual: "at-10", firstUnequal: "at-20" });
    expect(said(all, events)).toEqual(["missing 5", "missing 9.5"]);
  });

  it("may be the fault's own", () => {
    const all = [observation(0, { SH: 0 }), observation(10, { SH: 1 }), observation(20, { SH: 1 })];
    expect(search(all, [event(9, -1)]).causes).toMatchObject([{ members: [{ isNearSnapshot: true }] }]);
  });

  it("explain no gap that stays while they change", () => {
    const events = [event(5, -1), event(9.5, -1), event(19.5, -1), event(29.5, -1)];
    const all = [0, 10, 20, 30].map((atS) => observation(atS, { SH: atS === 0 ? 0 : 1 }));
    expect(search(all, events)).toMatchObject({ persistent: true, firstUnequal: "at-10", lastEqual: "at-0" });
    expect(said(all, events)).toContain("missing 5");
    expect(search(all.slice(0, 3), events)).toMatchObject({ persistent: false, firstUnequal: undefined, causes: [] });
  });
});

it("hundreds of events around a snapshot are searched in many short steps, and exactly", () => {
  const events = Array.from({ length: 300 }, (_, i) => event(18 + i / 75, -(1 + (i % 3))));
  const observations = [observation(0, { SH: 0, HZ: 0 }), observation(20, { SH: 0, HZ: 1 })];
  const steps = searchSteps(observations, events, { windowMs: WINDOW_MS });
  let count = 0;
  let step = steps.next();
  for (; !step.done; step = steps.next()) count++;
  expect(count).toBeGreaterThan(50);
  expect(step.value).toMatchObject({ firstUnequal: "at-20", isCut: false });
});
