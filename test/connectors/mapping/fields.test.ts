/** Times in the rows of a history, with and without a zone. Pure. */
import { describe, expect, it } from "vitest";
import { createMapper } from "../../../connectors/mapping/mapping.js";
import { checkMapping } from "../../../connectors/mapping/mapping.schema.js";
import { base, one, TIME_MS, timeOf } from "./mapping-bed.js";

describe("a time", () => {
  it.each([
    ["2025-06-18T12:00Z", TIME_MS],
    ["2025-06-18 12:00:00Z", TIME_MS],
    ["2025-06-18T12:00:00.25Z", TIME_MS + 250],
    ["2025-06-18T12:00:00.123456789Z", TIME_MS + 123],
    ["2025-06-18T20:00:00+08:00", TIME_MS],
    ["2025-06-18T08:30:00-0330", TIME_MS],
    ["2024-02-29T00:00:00Z", Date.UTC(2024, 1, 29)],
  ])("reads ISO %s", (when, expected) => {
    expect(timeOf(one({}, { when }))).toBe(expected);
  });

  it.each([
    "2025-02-29T00:00:00Z",
    "2025-13-01T00:00:00Z",
    "2025-00-01T00:00:00Z",
    "2025-01-00T00:00:00Z",
    "2025-04-31T00:00:00Z",
    "2025-01-01T24:00:00Z",
    "2025-01-01T00:60:00Z",
    "2025-01-01T00:00:60Z",
    "2025-01-01T00:00:00+24:00",
    "2025-01-01",
    "1/2/2025",
  ])("is rejected when it is not a valid ISO time: %s", (when) => {
    expect(timeOf(one({}, { when }))).toMatch(/is not an ISO 8601 time/);
  });

  it.each(
    [
      ["yyyy-MM-ddTHH:mm:ss", "2025-06-18T20:00:00", TIME_MS],
      ["M/d/yyyy H:mm", "6/18/2025 20:00", TIME_MS],
      ["d.M.yyyy, HH:mm:ss.SSS", "18.6.2025, 20:00:00.007", TIME_MS + 7],
      ["yyyyMMddHHmm", "202506182000", TIME_MS],
      ["dd/MM/yyyy", "18/06/2025", TIME_MS - 20 * 3_600_000],
    ].map((row) => row as [string, string, number]),
  )("in the format %s is read in the zone", (time, when, expected) => {
    expect(timeOf(one({ time }, { when }, "Asia/Shanghai"))).toBe(expected);
  });

  it("is rejected when it does not match the mapping's format exactly", () => {
    for (const when of [
      "18-06-2025 20:00",
      "18.06.2025 20:00 ",
      "18.6.2025 20:00",
      "31.06.2025 20:00",
      "18x06x2025 20:00",
    ]) {
      expect(timeOf(one({ time: "dd.MM.yyyy HH:mm" }, { when }, "UTC"))).toBe(
        `when is not a time of the form dd.MM.yyyy HH:mm: ${JSON.stringify(when)}`,
      );
    }
  });

  it("follows the zone's clocks: a time that occurs twice is the earlier one, a skipped one is rejected", () => {
    const london = (when: string) => timeOf(one({ time: "yyyy-MM-dd HH:mm" }, { when }, "Europe/London"));
    expect(london("2025-07-15 12:00")).toBe(Date.UTC(2025, 6, 15, 11));
    expect(london("2025-03-30 01:30")).toBe(
      'when is a time that the clocks of Europe/London skipped: "2025-03-30 01:30"',
    );
    expect(london("2025-10-26 01:30")).toBe(Date.UTC(2025, 9, 26, 0, 30));
  });

  it("without a zone needs the option --zone with a known zone", () => {
    const mapping = checkMapping({ ...base, time: "yyyy-MM-dd" }, "m.json");
    expect(() => createMapper(mapping)).toThrow(/^--zone: is missing/);
    expect(() => createMapper(mapping, { zone: "Europe/Lundon" })).toThrow(
      /^--zone: "Europe\/Lundon" is not a known time zone/,
    );
  });
});
