/**
 * Days of a shop's zone: those of 23, 24 and 25 hours, and those that do not begin at midnight. Instants of times on
 * its clocks: those that come twice, and those that do not come. And zones that there are not.
 */
import { describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const dayNumber = (date: string): number => Date.parse(date) / DAY;
/** When the zone's clocks first show a date, found by trying every quarter of an hour. */
function startOf(zone: string, date: string): number {
  const { dayOf } = zoneOf(zone);
  for (let ms = Date.parse(date) - 15 * HOUR; ; ms += 900_000) if (dayOf(ms) >= dayNumber(date)) return ms;
}

describe("a day", () => {
  it("is the zone's, not UTC's", () => {
    const shanghai = zoneOf("Asia/Shanghai");
    expect(shanghai.dayOf(Date.parse("2026-06-17T15:59:59.999Z"))).toBe(dayNumber("2026-06-17"));
    expect(shanghai.dayOf(Date.parse("2026-06-17T16:00:00Z"))).toBe(dayNumber("2026-06-18"));
    expect(zoneOf("America/New_York").dayOf(Date.parse("2026-06-18T03:59:59Z"))).toBe(dayNumber("2026-06-17"));
    expect(zoneOf("Asia/Kathmandu").dayOf(Date.parse("2026-06-17T18:15:00Z"))).toBe(dayNumber("2026-06-18"));
    expect(zoneOf("UTC").dayOf(0)).toBe(0);
  });

  it("has the minute of the day that its clocks show, after a change of the clocks, too", () => {
    expect(zoneOf("Asia/Shanghai").minuteOfDay(Date.parse("2026-06-17T15:59:59.999Z"))).toBe(1_439);
    expect(zoneOf("Asia/Shanghai").minuteOfDay(Date.parse("2026-06-17T16:00:00Z"))).toBe(0);
    expect(zoneOf("Europe/Berlin").minuteOfDay(Date.parse("2026-10-25T12:30:00Z"))).toBe(13 * 60 + 30);
    expect(zoneOf("UTC").minuteOfDay(0)).toBe(0);
  });

  it.each([
    ["Europe/London", "2026-03-29", 23],
    ["Europe/London", "2026-10-25", 25],
    ["Europe/London", "2026-06-18", 24],
    ["America/New_York", "2026-03-08", 23],
    ["America/New_York", "2026-11-01", 25],
    ["Australia/Lord_Howe", "2026-04-05", 24.5],
    ["Australia/Lord_Howe", "2026-10-04", 23.5],
    // Clocks go forward at midnight: the day begins at one o'clock.
    ["America/Santiago", "2026-09-06", 23],
    // Two hours at once.
    ["Antarctica/Troll", "2026-03-29", 22],
    ["Antarctica/Troll", "2026-10-25", 26],
  ])("in %s, %s, has its own length: %s hours", (name, date, hours) => {
    const zone = zoneOf(name);
    const startMs = startOf(name, date);
    expect((zone.nextDayMs(startMs) - startMs) / HOUR).toBe(hours);
    expect(zone.nextDayMs(startMs - 1)).toBe(startMs);
    expect(zone.nextDayMs(startMs + hours * HOUR - 1)).toBe(startMs + hours * HOUR);
    expect(zone.dayOf(startMs)).toBe(zone.dayOf(startMs - 1) + 1);
    expect(zone.dayOf(startMs + hours * HOUR - 1)).toBe(dayNumber(date));
  });

  it("that a zone skipped does not occur", () => {
    const apia = zoneOf("Pacific/Apia");
    const ms = Date.parse("2011-12-30T09:59:59Z");
    expect(apia.dayOf(ms)).toBe(dayNumber("2011-12-29"));
    expect(apia.nextDayMs(ms)).toBe(ms + 1_000);
    expect(apia.dayOf(ms + 1_000)).toBe(dayNumber("2011-12-31"));
  });

  it("agrees with the platform's calendar at random instants of twenty years", () => {
    for (const name of [
      "Asia/Shanghai",
      "Europe/London",
      "America/New_York",
      "Asia/Kathmandu",
      "America/Sao_Paulo",
      "Pacific/Chatham",
    ]) {
      const zone = zoneOf(name);
      const calendar = new Intl.DateTimeFormat("en-CA", {
        timeZone: name,
        year: "numeric",
        month: "2-digit",
        day: "2-digit",
      });
      const random = seededRandom(618);
      for (let i = 0; i < 2_000; i++) {
        const ms = Date.UTC(2012, 0, 1) + Math.floor(random.next() * 20 * 365 * DAY);
        expect(zone.dayOf(ms)).toBe(dayNumber(calendar.format(ms)));
        const nextMs = zone.nextDayMs(ms);
        expect(zone.dayOf(nextMs - 1)).toBe(zone.dayOf(ms));
        expect(zone.dayOf(nextMs)).toBeGreaterThan(zone.dayOf(ms));
      }
    }
  });
});

describe("a time on the zone's clocks", () => {
  const instant = (zone: string, local: string) => zoneOf(zone).instantOf(Date.parse(`${local}Z`));
  const utc = (time: string) => Date.parse(`${time}Z`);

  it.each([
    ["2025-01-15T12:00", "2025-01-15T12:00"],
    ["2025-07-15T12:00", "2025-07-15T11:00"],
    ["2025-07-15T12:00:00.250", "2025-07-15T11:00:00.250"],
    ["2025-03-30T00:59", "2025-03-30T00:59"],
    ["2025-03-30T02:00", "2025-03-30T01:00"],
    ["2025-10-26T00:30", "2025-10-25T23:30"],
    ["2025-10-26T02:00", "2025-10-26T02:00"],
  ])("in London, %s, is the instant %s", (local, expected) => {
    expect(instant("Europe/London", local)).toBe(utc(expected));
  });

  it("that occurs twice is the earlier one, and a skipped one does not exist", () => {
    expect(instant("Europe/London", "2025-10-26T01:30")).toBe(utc("2025-10-26T00:30"));
    expect(instant("Europe/London", "2025-03-30T01:30")).toBeUndefined();
    expect(instant("Pacific/Apia", "2011-12-29T12:00")).toBe(utc("2011-12-29T22:00"));
    expect(instant("Pacific/Apia", "2011-12-30T12:00")).toBeUndefined();
    expect(instant("Pacific/Apia", "2011-12-31T12:00")).toBe(utc("2011-12-30T22:00"));
  });

  it("is exact where clocks were set at an odd minute, whatever was asked before", () => {
    const zone = zoneOf("America/St_Johns");
    // Clocks went back from 00:01 to 23:01.
    for (let ms = utc("2010-11-06T12:00"); ms < utc("2010-11-07T12:00"); ms += 60_000) zone.dayOf(ms);
    expect(zone.instantOf(utc("2010-11-06T23:00"))).toBe(utc("2010-11-07T01:30"));
    expect(zone.instantOf(utc("2010-11-06T23:01"))).toBe(utc("2010-11-07T01:31"));
    expect(zone.instantOf(utc("2010-11-07T00:00"))).toBe(utc("2010-11-07T02:30"));
    expect(zone.instantOf(utc("2010-11-07T00:01"))).toBe(utc("2010-11-07T03:31"));
  });

  it("is exact to the second in years whose offset is not a whole minute", () => {
    // Mean solar time, 8 h 5 min 43 s ahead of UTC.
    expect(instant("Asia/Shanghai", "1890-06-18T00:00")).toBe(utc("1890-06-17T15:54:17"));
  });

  it("agrees with the zone's own clock at every half hour of a year", () => {
    const { instantOf } = zoneOf("Europe/London");
    const clock = new Intl.DateTimeFormat("sv-SE", {
      timeZone: "Europe/London",
      dateStyle: "short",
      timeStyle: "short",
    });
    const start = Date.UTC(2025, 0, 1);
    const times = Array.from({ length: 365 * 48 }, (_, index) => start + index * 1_800_000);
    const found = times.map((ms) => instantOf(utc(clock.format(ms).replace(" ", "T"))));
    // The two half hours that come twice are taken as the earlier ones.
    expect(found.filter((ms, index) => ms !== times[index])).toEqual([
      utc("2025-10-26T00:00"),
      utc("2025-10-26T00:30"),
    ]);
  });
});

describe("a zone", () => {
  it("that the platform does not have is rejected by name", () => {
    for (const name of ["Asia/Peking", "", "Mars/Olympus"]) {
      expect(() => zoneOf(name)).toThrow(EngineError);
      expect(() => zoneOf(name)).toThrow(`"${name}" is not a time zone`);
    }
  });

  it("keeps its name", () => {
    expect(zoneOf("Asia/Shanghai").name).toBe("Asia/Shanghai");
  });
});
