/** Raw rows of a source as ours: fields, units, locations and times. */
import { describe, expect, it } from "vitest";
import type { PullKind } from "../../../connectors/source.js";
import { type RowReading, rowMapper } from "../../../connectors/sources/row-mapper.js";

const SOURCE = {
  location: undefined,
  locations: new Map<string, string | null>([
    ["WH-1", "main"],
    ["TRANSIT", null],
  ]),
  otherLocations: "fault" as const,
  units: new Map([
    ["piece", 1],
    ["box", 12],
  ]),
};
const FIELDS = { sku: "code", location: "/at/house", units: "pieces", unit: "per", time: "when", id: "no" };

const map = (fields: object, kind: PullKind = "snapshot", source: object = {}, timeFormat = "iso"): RowReading => {
  const names = kind === "snapshot" ? { ...FIELDS, time: undefined, id: undefined } : FIELDS;
  const given = Object.fromEntries(Object.entries(names).filter(([, name]) => name !== undefined));
  const mapper = rowMapper({ ...SOURCE, ...source }, kind, { fields: given, timeFormat }, "Asia/Shanghai");
  return mapper({ fields: fields as Record<string, unknown>, place: "page 1 row 2" });
};
const ROW = { code: "A", at: { house: "WH-1" }, pieces: "3", per: "box" };
const MOVED = { ...ROW, when: "2026-11-30T10:00:00Z", no: 17 };

describe("a row of a source", () => {
  it("has our location, and pieces", () => {
    expect(map(ROW)).toEqual({
      row: {
        sku: "A",
        location: "main",
        theirLocation: "WH-1",
        units: 36,
        timeMs: undefined,
        id: undefined,
        version: 0,
      },
    });
  });

  it("may count parts of a unit when they are whole pieces", () => {
    expect(map({ ...ROW, pieces: 1.5 })).toMatchObject({ row: { units: 18 } });
    expect(map({ ...ROW, pieces: "0.1" })).toMatchObject({ fault: { code: "wrong_unit" } });
    expect(map({ ...ROW, per: "piece", pieces: "100.0000" })).toMatchObject({ row: { units: 100 } });
  });

  it("of a movement is signed and has a time and an id", () => {
    expect(map({ ...MOVED, pieces: -2 }, "movements")).toMatchObject({
      row: { units: -24, timeMs: Date.UTC(2026, 10, 30, 10), id: "17" },
    });
  });

  it("is left out when its location is", () => {
    expect(map({ ...ROW, at: { house: "TRANSIT" } })).toBe("ignored");
    expect(map({ ...ROW, at: { house: "WH-9" } }, "snapshot", { otherLocations: "ignore" })).toBe("ignored");
  });

  it("keeps the location's name where the configuration states it", () => {
    const reading = map({ ...ROW, at: { house: "WH-9" } }, "snapshot", { otherLocations: "same" });
    expect(reading).toMatchObject({ row: { location: "WH-9" } });
    expect(map(ROW, "snapshot", { location: "main" })).toMatchObject({ row: { location: "main" } });
  });

  it.each([
    ["epoch-s", 1_796_032_800],
    ["epoch-ms", "1796032800000"],
    ["yyyy-MM-dd HH:mm:ss", "2026-11-30 18:00:00"],
  ])("has its time in the form %s", (format, when) => {
    const reading = map({ ...MOVED, when }, "movements", {}, format);
    expect(reading).toMatchObject({ row: { timeMs: Date.UTC(2026, 10, 30, 10) } });
  });

  it.each([
    [{ per: "pallet" }, "wrong_unit", '"per" is "pallet", a unit that "units" does not have'],
    [{ per: undefined }, "wrong_unit", 'lacks "per"'],
    [{ pieces: undefined }, "wrong_unit", 'lacks "pieces"'],
    [{ pieces: "many" }, "wrong_unit", '"pieces" is no number: "many"'],
    [{ pieces: null }, "wrong_unit", '"pieces" is no number: "null"'],
    [{ pieces: -1 }, "wrong_unit", '"pieces" is below 0: "-1"'],
    [{ pieces: 1e300 }, "wrong_unit", "is beyond"],
    [{ at: { house: "WH-9" } }, "unknown_location", '"/at/house" is "WH-9", which "locations" does not have'],
    [{ at: [] }, "unknown_location", 'lacks "/at/house"'],
    [{ code: "" }, "malformed_row", '"code" is no name: ""'],
    [{ code: "a\nb" }, "malformed_row", '"code" has a control character'],
    [{ code: " " }, "malformed_row", '"code" is no SKU: " "'],
    [{ code: "\ud800" }, "malformed_row", '"code" is no SKU'],
    [{ pieces: 1_000_000_001 }, "wrong_unit", "is beyond 1000000000 units"],
    [{ code: 1.5 }, "malformed_row", '"code" is no name: "1.5"'],
  ])("is a fault with its place: %j", (change, code, message) => {
    expect(map({ ...ROW, ...change })).toEqual({
      fault: { code, place: "page 1 row 2", message: expect.stringContaining(message) },
    });
  });

  it.each([
    [{ pieces: 0 }, "moves nothing"],
    [{ when: "yesterday" }, '"when" is not an ISO 8601 time'],
    [{ when: undefined }, '"when" is missing'],
    [{ no: undefined }, 'lacks "no"'],
    [{ no: "x".repeat(200) }, "must be 1 to 64 letters"],
  ])("of a movement is a fault, too: %j", (change, message) => {
    expect(map({ ...MOVED, ...change }, "movements")).toMatchObject({
      fault: { message: expect.stringContaining(message) },
    });
  });
});
