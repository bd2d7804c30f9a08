/**
 * When schedules are due: daily times over forty years of zones that change their clocks at midnight, by half an hour,
 * by two hours or by a whole day, each compared with the zone's own clock; aligned intervals; and which ticks each
 * catch-up rule gives after an outage, a clock that was set, and a changed definition.
 */
import { describe, expect, it } from "vitest";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import {
  type CatchUp,
  type Due,
  daily,
  every,
  nextDueMs,
  type ScheduleState,
  type ScheduleStep,
  stepOf,
} from "../../engine/stream/schedule.js";

const UTC = zoneOf("UTC");
const utc = (time: string) => Date.parse(`${time}Z`);
const next = (zone: string, due: Due, after: string) =>
  new Date(nextDueMs(due, utc(after), zoneOf(zone))).toISOString().slice(0, -8);

/** A zone's own clock: the date and time that it shows, as milliseconds as if the zone were UTC. */
function clockOf(name: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: name, dateStyle: "short", timeStyle: "medium" });
  return (ms) => utc(format.format(ms).replace(" ", "T"));
}

/** No zone has set its clocks twice within this time. */
const STEP_MS = 14 * DAY_MS;
const EARLIER = [1_800_000, 3_600_000, 7_200_000];

/** Instants from 2000 to 2040 of which each is less than a day before a clock is set. */
function changesOf(clock: (ms: number) => number): number[] {
  const changes: number[] = [];
  const endMs = utc("2041-01-01T00:00");
  let fromMs = utc("2000-01-01T00:00");
  let offsetMs = clock(fromMs) - fromMs;
  for (; fromMs < endMs; fromMs += STEP_MS) {
    const laterMs = clock(fromMs + STEP_MS) - fromMs - STEP_MS;
    if (laterMs !== offsetMs) {
      let [low, high] = [fromMs, fromMs + STEP_MS];
      while (high - low > DAY_MS) {
        const middle = Math.floor((low + high) / 2);
        if (clock(middle) - middle === offsetMs) low = middle;
        else high = middle;
      }
      changes.push(low);
    }
    offsetMs = laterMs;
  }
  return changes;
}

describe("a daily time", () => {
  it.each([
    ["Asia/Shanghai", "18:00", "2026-06-18T09:59", "2026-06-18T10:00"],
    ["Asia/Shanghai", "18:00", "2026-06-18T10:00", "2026-06-19T10:00"],
    ["Europe/London", "18:00", "2026-03-28T18:00", "2026-03-29T17:00"],
    // Skipped: the first instant after the gap.
    ["Europe/London", "01:30", "2026-03-28T12:00", "2026-03-29T01:00"],
    ["America/Santiago", "00:00", "2026-09-05T12:00", "2026-09-06T04:00"],
    ["Antarctica/Troll", "02:59", "2026-03-28T12:00", "2026-03-29T01:00"],
    // Twice: the first.
    ["Europe/London", "01:30", "2026-10-24T12:00", "2026-10-25T00:30"],
    ["Europe/London", "01:30", "2026-10-25T00:30", "2026-10-26T01:30"],
    // A day that the zone left out has none.
    ["Pacific/Apia", "18:00", "2011-12-29T12:00", "2011-12-30T04:00"],
    ["Pacific/Apia", "18:00", "2011-12-30T04:00", "2011-12-31T04:00"],
    ["Pacific/Apia", "00:00", "2011-12-29T10:00", "2011-12-30T10:00"],
  ])("in %s, at %s, after %s is due at %s", (zone, time, after, expected) => {
    expect(next(zone, daily(time), after)).toBe(expected);
  });

  it.each([
    ["Europe/London", "01:30"],
    ["America/Santiago", "00:00"],
    ["Africa/Casablanca", "02:30"],
    ["Australia/Lord_Howe", "02:15"],
    ["Pacific/Apia", "18:00"],
    ["America/St_Johns", "00:30"],
    ["America/Scoresbysund", "23:59"],
  ])(
    "in %s, at %s, is due once on every local day around each change of the clocks from 2000 to 2040",
    (name, time) => {
      const zone = zoneOf(name);
      const clock = clockOf(name);
      const due = daily(time);
      const [hours, minutes] = time.split(":").map(Number) as [number, number];
      const timeMs = (hours * 60 + minutes) * 60_000;
      const missing: string[] = [];
      const changes = changesOf(clock);
      for (const fromMs of changes) {
        let dueMs = nextDueMs(due, fromMs - DAY_MS, zone);
        let day = Math.floor(clock(dueMs) / DAY_MS);
        while (dueMs < fromMs + 2 * DAY_MS) {
          const afterMs = nextDueMs(due, dueMs, zone);
          expect(afterMs).toBeGreaterThan(dueMs);
          const localMs = clock(afterMs);
          day++;
          // A day that does not exist: the clock goes past it at once.
          if (localMs - (day * DAY_MS + timeMs) >= DAY_MS) {
            missing.push(new Date(day * DAY_MS).toISOString().slice(0, 10));
            day++;
          }
          const wantedMs = day * DAY_MS + timeMs;
          if (localMs !== wantedMs) {
            expect(localMs).toBeGreaterThan(wantedMs);
            expect(clock(afterMs - 1)).toBeLessThan(wantedMs);
          } else if (afterMs - dueMs !== DAY_MS) {
            // Of two instants with this time, the first.
            for (const earlierMs of EARLIER) expect(clock(afterMs - earlierMs)).toBeLessThan(wantedMs);
          }
          dueMs = afterMs;
        }
      }
      expect(changes.length).toBeGreaterThan(20);
      expect(missing).toEqual(name === "Pacific/Apia" ? ["2011-12-30"] : []);
    },
  );

  it("is the same whichever instant before it is asked for", () => {
    const random = seededRandom(618);
    for (const name of ["Europe/London", "America/Santiago", "Australia/Lord_Howe"]) {
      const zone = zoneOf(name);
      for (let i = 0; i < 200; i++) {
        const due = daily(`0${random.below(3)}:${10 + random.below(50)}`);
        const fromMs = utc("2010-01-01T00:00") + random.below(20 * 365) * DAY_MS;
        const dueMs = nextDueMs(due, fromMs, zone);
        expect(nextDueMs(due, dueMs - 1, zone)).toBe(dueMs);
        expect(nextDueMs(due, fromMs + random.below(dueMs - fromMs), zone)).toBe(dueMs);
      }
    }
  });

  it("that is no time of a day is rejected", () => {
    for (const time of ["24:00", "18", "6:00", "18:60", ""]) expect(() => daily(time)).toThrow(EngineError);
  });
});

describe("an interval", () => {
  it("is due at its multiples since the epoch", () => {
    expect(nextDueMs(every(15_000), 0, UTC)).toBe(15_000);
    expect(nextDueMs(every(15_000), 14_999, UTC)).toBe(15_000);
    expect(nextDueMs(every(15_000), 15_000, UTC)).toBe(30_000);
    expect(nextDueMs(every(15_000, 4_000), 4_000, UTC)).toBe(19_000);
    expect(nextDueMs(every(15_000, 4_000), 3_999, UTC)).toBe(4_000);
  });

  it("that is not a whole number of at least a second is rejected", () => {
    for (const ms of [0, 999, 1_500.5, Number.NaN]) expect(() => every(ms)).toThrow(EngineError);
    for (const offset of [-1, 1_000, 0.5]) expect(() => every(1_000, offset)).toThrow(EngineError);
  });
});

describe("a step", () => {
  const DUE = every(10_000);
  const resultOf = (found: ScheduleStep | undefined) => found && { ticks: found.ticks, state: found.state };
  const step = (catchUp: CatchUp, stored: ScheduleState | undefined, nowMs: number, due: Due = DUE) =>
    resultOf(stepOf({ name: "s", due, catchUp }, UTC, stored, nowMs));
  const at = (dueMs: number, more: Partial<ScheduleState> = {}): ScheduleState => ({
    definition: "every 10000 0",
    dueMs,
    missed: 0,
    missedInAll: 0,
    ...more,
  });

  it("of a new schedule gives no tick: it is due first after now", () => {
    for (const rule of ["every", "last", "none"] as const)
      expect(step(rule, undefined, 20_000)).toEqual({ ticks: [], state: at(30_000) });
  });

  it("is nothing before the due time", () => {
    expect(step("every", at(30_000), 29_999)).toBeUndefined();
  });

  it("gives one tick at the due time", () => {
    for (const rule of ["every", "last", "none"] as const)
      expect(step(rule, at(30_000), 30_000)).toEqual({
        ticks: [{ dueMs: 30_000, missed: 0 }],
        state: at(40_000, { firedMs: 30_000 }),
      });
  });

  it("after an outage gives every missed tick in order, or the last, with the number of the others", () => {
    expect(step("every", at(30_000), 59_999)).toEqual({
      ticks: [30_000, 40_000, 50_000].map((dueMs) => ({ dueMs, missed: 0 })),
      state: at(60_000, { firedMs: 50_000 }),
    });
    expect(step("last", at(30_000), 59_999)).toEqual({
      ticks: [{ dueMs: 50_000, missed: 2 }],
      state: at(60_000, { firedMs: 50_000, missedInAll: 2 }),
    });
  });

  it("gives at most a thousand ticks, and goes on from there", () => {
    const first = step("every", at(10_000), 25_000_000);
    expect(first?.ticks).toHaveLength(1_000);
    expect(first?.state.dueMs).toBe(10_010_000);
    const second = step("every", first?.state, 25_000_000);
    expect(second?.ticks[0]?.dueMs).toBe(10_010_000);
    expect(step("last", at(10_000), 25_000_000)?.ticks).toEqual([{ dueMs: 25_000_000, missed: 2_499 }]);
  });

  it("without catch-up passes over what is found late by the grace, and the next tick has the number", () => {
    const hourly = every(3_600_000);
    const stored = at(3_600_000, { definition: "every 3600000 0" });
    expect(step("none", stored, 3_659_999, hourly)?.ticks).toEqual([{ dueMs: 3_600_000, missed: 0 }]);
    const late = step("none", stored, 3_660_000, hourly);
    expect(late).toEqual({
      ticks: [],
      state: { ...stored, dueMs: 7_200_000, missed: 1, missedInAll: 1 },
    });
    expect(step("none", late?.state, 10_800_000, hourly)).toEqual({
      ticks: [{ dueMs: 10_800_000, missed: 2 }],
      state: { ...stored, dueMs: 14_400_000, firedMs: 10_800_000, missed: 0, missedInAll: 2 },
    });
  });

  it("without catch-up of an interval below the grace gives the latest tick alone", () => {
    expect(step("none", at(30_000), 60_000)?.ticks).toEqual([{ dueMs: 60_000, missed: 3 }]);
  });

  it("counts the days of a daily time", () => {
    const due = daily("18:00");
    const stored = at(utc("2026-06-18T18:00"), { definition: "daily 18:00 UTC" });
    expect(step("last", stored, utc("2026-06-21T17:00"), due)?.ticks).toEqual([
      { dueMs: utc("2026-06-20T18:00"), missed: 2 },
    ]);
    expect(step("none", stored, utc("2026-06-20T18:00:59"), due)?.ticks).toEqual([
      { dueMs: utc("2026-06-20T18:00"), missed: 2 },
    ]);
    expect(step("none", stored, utc("2026-06-20T18:01"), due)?.ticks).toEqual([]);
  });

  it("after the clock was set back waits for the time that it had reached", () => {
    const reached = step("every", at(30_000), 100_000)?.state;
    expect(step("every", reached, 40_000)).toBeUndefined();
    expect(step("every", reached, 110_000)?.ticks).toEqual([{ dueMs: 110_000, missed: 0 }]);
  });

  it("of a changed definition or zone begins anew from now, and keeps its counts", () => {
    const stored = at(30_000, { firedMs: 20_000, missedInAll: 3 });
    expect(step("every", stored, 100_000, every(7_000))).toEqual({
      ticks: [],
      state: { definition: "every 7000 0", dueMs: 105_000, firedMs: 20_000, missed: 0, missedInAll: 3 },
    });
    const inUtc = step("every", undefined, 0, daily("18:00"))?.state;
    const inShanghai = stepOf({ name: "s", due: daily("18:00"), catchUp: "every" }, zoneOf("Asia/Shanghai"), inUtc, 0);
    expect(inShanghai?.state).toMatchObject({ definition: "daily 18:00 Asia/Shanghai", dueMs: 10 * 3_600_000 });
  });

  it("is valid until the next due time or the end of the grace, and every missed tick for ever", () => {
    const until = (catchUp: CatchUp, due: Due, dueMs: number, definition: string) =>
      stepOf({ name: "s", due, catchUp }, UTC, at(dueMs, { definition }), dueMs)?.validBeforeMs;
    expect(until("every", DUE, 30_000, "every 10000 0")).toBe(Number.POSITIVE_INFINITY);
    expect(until("last", DUE, 30_000, "every 10000 0")).toBe(40_000);
    expect(until("none", DUE, 30_000, "every 10000 0")).toBe(40_000);
    expect(until("none", every(3_600_000), 3_600_000, "every 3600000 0")).toBe(3_660_000);
  });

  it("of a changed catch-up rule goes on", () => {
    expect(step("last", step("every", at(30_000), 30_000)?.state, 60_000)?.ticks).toEqual([
      { dueMs: 60_000, missed: 2 },
    ]);
  });
});
