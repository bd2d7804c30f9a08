/** When a source is pulled: intervals, times of day, after a failure, and when it is overdue. */
import { describe, expect, it } from "vitest";
import { nextDueMs, overdueAfterMs, scheduleText } from "../../../connectors/sources/schedule.js";
import { zoneOf } from "../../../engine/kernel/zone.js";

const SHANGHAI = zoneOf("Asia/Shanghai");
const at = (text: string): number => Date.parse(`2026-11-30T${text}+08:00`);
const pulled = (text: string, outcome: "stored" | "failed" | "refused" = "stored", failures = 0) => ({
  lastAttemptMs: at(text),
  outcome,
  failures,
});
const NOW = at("23:00:00");
const EVERY = { everyMs: 900_000 };
const DAILY = { daily: ["17:45", "09:00"] };

describe("the next pull of a source", () => {
  it("is at once when there has been none", () => {
    expect(nextDueMs(EVERY, undefined, NOW, SHANGHAI)).toBe(0);
    expect(nextDueMs(DAILY, undefined, NOW, SHANGHAI)).toBe(0);
  });

  it("is an interval later, or at the next time of day", () => {
    expect(nextDueMs(EVERY, pulled("10:00:00"), NOW, SHANGHAI)).toBe(at("10:15:00"));
    expect(nextDueMs(DAILY, pulled("10:00:00"), NOW, SHANGHAI)).toBe(at("17:45:00"));
    expect(nextDueMs(DAILY, pulled("17:45:00"), NOW, SHANGHAI)).toBe(at("09:00:00") + 86_400_000);
  });

  it("is soon after a failure, later with each, and never later than the regular one", () => {
    expect(nextDueMs(DAILY, pulled("10:00:00", "failed", 1), NOW, SHANGHAI)).toBe(at("10:00:15"));
    expect(nextDueMs(DAILY, pulled("10:00:00", "failed", 3), NOW, SHANGHAI)).toBe(at("10:01:00"));
    expect(nextDueMs(DAILY, pulled("10:00:00", "failed", 99), NOW, SHANGHAI)).toBe(at("10:10:00"));
    expect(nextDueMs({ everyMs: 1_000 }, pulled("10:00:00", "failed", 9), NOW, SHANGHAI)).toBe(at("10:00:01"));
  });

  it("is at once when the last one was recorded while a clock was ahead", () => {
    expect(nextDueMs(DAILY, pulled("23:00:30"), NOW, SHANGHAI)).toBe(at("09:00:00") + 86_400_000);
    expect(nextDueMs(DAILY, pulled("23:30:00"), NOW, SHANGHAI)).toBe(0);
  });

  it("is the regular one after rows that were refused", () => {
    expect(nextDueMs(DAILY, pulled("10:00:00", "refused", 1), NOW, SHANGHAI)).toBe(at("17:45:00"));
  });

  it("is at a time of day that clocks skip when they have passed it", () => {
    const berlin = zoneOf("Europe/Berlin");
    const before = { ...pulled("10:00:00"), lastAttemptMs: Date.parse("2026-03-28T12:00:00Z") };
    expect(nextDueMs({ daily: ["02:30"] }, before, NOW, berlin)).toBe(Date.parse("2026-03-29T01:00:00Z"));
  });
});

describe("a source", () => {
  it("is overdue after three intervals, or an hour after the time of day", () => {
    expect(overdueAfterMs(EVERY, at("10:00:00"), SHANGHAI)).toBe(at("10:46:00"));
    expect(overdueAfterMs(DAILY, at("10:00:00"), SHANGHAI)).toBe(at("18:45:00"));
  });

  it("has its schedule in words", () => {
    expect(scheduleText(EVERY)).toBe("every 15m");
    expect(scheduleText({ everyMs: 1_500 })).toBe("every 1500ms");
    expect(scheduleText(DAILY)).toBe("daily 17:45, 09:00");
  });
});
