/** The check of a mapping file, and loading one. */
// biome-ignore-all lint/suspicious/noThenProperty: `then` is a field of a mapping's rules, and never a function
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMapper, loadMapping } from "../../../connectors/mapping/mapping.js";
import { checkMapping } from "../../../connectors/mapping/mapping.schema.js";
import { base, holds, type Json } from "./mapping-bed.js";

describe("a mapping file", () => {
  const rule = (change: Json) => ({ rules: [{ when: "always", then: "sale", ...change }] });
  const when = (condition: unknown) => rule({ when: condition });
  const nested = (depth: number): unknown =>
    depth === 0 ? { column: "kind", empty: true } : { all: [nested(depth - 1)] };

  it.each<[Json | unknown, string, RegExp]>([
    [[], "$", /is a list, and must be an object/],
    [
      { nmae: "x" },
      "$",
      /unknown field "nmae"; allowed are name, channel, columns, time, rules, description, location/,
    ],
    [{ name: undefined }, "$", /lacks the field "name"/],
    [{ name: "Till Export" }, "$.name", /kebab-case/],
    [{ name: 7 }, "$.name", /is the number 7, and must be a text/],
    [{ channel: "TLX" }, "$.channel", /2 characters of 0-9 A-Z/],
    [{ description: 1 }, "$.description", /must be a text/],
    [{ columns: "when" }, "$.columns", /must be an object/],
    [{ columns: { time: "when", sku: "sku" } }, "$.columns", /lacks the field "units"/],
    [
      { columns: { ...base.columns, price: "p" } },
      "$.columns",
      /unknown field "price"; allowed are time, sku, units, location, reference/,
    ],
    [{ columns: { ...base.columns, sku: "" } }, "$.columns.sku", /is empty/],
    [{ columns: { ...base.columns, reference: [] } }, "$.columns.reference", /is empty/],
    [{ columns: { ...base.columns, reference: ["order", 1] } }, "$.columns.reference[1]", /must be a text/],
    [
      { columns: { ...base.columns, location: "place" }, location: "main" },
      "$.location",
      /excludes \$\.columns\.location/,
    ],
    [{ location: "a\tb" }, "$.location", /control character/],
    [{ time: "yyyy-MM-dd hh:mm a" }, "$.time", /has h, h, a; write "iso", or a format of yyyy, MM, M/],
    [{ time: "MM-dd HH:mm" }, "$.time", /lacks yyyy/],
    [{ time: "yyyy-MM-M-dd" }, "$.time", /MM or M more than once/],
    [{ rules: [] }, "$.rules", /is empty/],
    [{ rules: {} }, "$.rules", /is an object, and must be a list/],
    [{ rules: Array.from({ length: 1_001 }, () => base.rules[0]) }, "$.rules", /1001 rules; 1000 are allowed/],
    [{ rules: [base.rules[0], "sale"] }, "$.rules[1]", /must be an object/],
    [rule({ if: "x" }), "$.rules[0]", /unknown field "if"; allowed are when, then, units, reason/],
    [
      rule({ then: "sell" }),
      "$.rules[0].then",
      /is "sell"; allowed are sale, reserve, pay, cancel, outbound, receive, return, correct, reject/,
    ],
    [rule({ units: "abs" }), "$.rules[0].units", /is "abs"; allowed are as is, negated, absolute/],
    [rule({ then: "reject" }), "$.rules[0].reason", /is missing; "reject" needs a reason/],
    [rule({ then: "correct" }), "$.rules[0].reason", /is missing/],
    [rule({ then: "reject", reason: "r", units: "as is" }), "$.rules[0].units", /has no meaning/],
    [rule({ then: "pay" }), "$.rules[0].then", /"pay" needs \$.columns.reference/],
    [rule({ then: "reserve" }), "$.rules[0].then", /"reserve" needs/],
    [when({}), "$.rules[0].when", /needs one of "all", "any" and "column"/],
    [
      when({ colum: "kind", equals: "x" }),
      "$.rules[0].when",
      /needs one of "all", "any" and "column"; it has "colum", "equals"/,
    ],
    [when({ column: "kind" }), "$.rules[0].when", /needs exactly one test, and has none; the tests are startsWith/],
    [when({ column: "kind", equals: "x", empty: true }), "$.rules[0].when", /has equals, empty/],
    [when({ column: "kind", regex: ".*" }), "$.rules[0].when", /unknown field "regex"; allowed are column, startsWith/],
    [when({ all: [] }), "$.rules[0].when.all", /is empty/],
    [when({ all: [{ column: "a", empty: true }], any: [] }), "$.rules[0].when", /unknown field "any"; allowed are all/],
    [
      when({
        any: [
          { column: "a", empty: true },
          { column: "b", ">": "1" },
        ],
      }),
      '$.rules[0].when.any[1][">"]',
      /is the string "1", and must be a number/,
    ],
    [when({ column: "a", startsWith: "" }), '$.rules[0].when["startsWith"]', /is empty/],
    [when({ column: "a", oneOf: "x" }), '$.rules[0].when["oneOf"]', /must be a list/],
    [when({ column: "a", equals: 1 }), '$.rules[0].when["equals"]', /must be a text/],
    [when({ column: "a", empty: false }), '$.rules[0].when["empty"]', /can only be true/],
    [when({ column: "a", matches: "a\\" }), '$.rules[0].when["matches"]', /ends with a backslash/],
    [when({ column: "a", matches: "a".repeat(101) }), '$.rules[0].when["matches"]', /longer than 100/],
    [when(nested(8)), `$.rules[0].when${".all[0]".repeat(8)}`, /nested deeper than 8 levels/],
  ])("is refused with its JSON path: %j", (change, path, message) => {
    const json = Array.isArray(change) ? change : JSON.parse(JSON.stringify({ ...base, ...(change as Json) }));
    expect(() => checkMapping(json, "m.json")).toThrow(
      expect.objectContaining({ name: "EngineError", input: `m.json ${path}` }),
    );
    expect(() => checkMapping(json, "m.json")).toThrow(message);
  });

  it("is accepted with conditions nested as deep as allowed", () => {
    expect(holds(nested(7), { kind: "" })).toBe(true);
  });

  it("is refused with all its faults at once", () => {
    expect(() =>
      checkMapping({ ...base, channel: "x", time: "", rules: [{ when: "always", then: "sell" }] }, "m.json"),
    ).toThrow(/^m\.json \$\.channel: .*; \$\.time: is empty; \$\.rules\[0\]\.then: is "sell"/);
  });

  it("is refused for a CSV file that lacks a column, also one that only a condition names", () => {
    const condition = {
      any: [
        { column: "brand", equals: "x" },
        { column: "kind", empty: true },
      ],
    };
    const mapper = createMapper(checkMapping({ ...base, rules: [{ when: condition, then: "sale" }] }, "m.json"));
    expect(() => mapper.forFile({ name: "till.csv", columns: ["when", "sku", "kind"], ordinal: 0 })).toThrow(
      'till.csv: lacks the columns "pieces", "brand", used by the mapping "till-export"; it has "when", "sku", "kind"',
    );
  });
});

describe("loading a mapping", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "csv-mapping-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("loads a built-in one by name, and another by its path", async () => {
    expect(await loadMapping("online-retail")).toMatchObject({ name: "online-retail", channel: "OR" });
    const path = join(folder, "mine.json");
    await writeFile(path, `\ufeff${JSON.stringify(base)}`);
    expect(await loadMapping(path)).toMatchObject({ name: "till-export", location: "main" });
  });

  it("lists the built-in ones when no mapping has the name", async () => {
    await expect(loadMapping("offline-retail")).rejects.toThrow(
      "offline-retail: is neither a built-in mapping (online-retail) nor a file that can be read",
    );
    await expect(loadMapping("../mapping.schema")).rejects.toThrow(/is neither/);
  });

  it("names the file that is not JSON, or not a mapping", async () => {
    const path = join(folder, "bad.json");
    await writeFile(path, "{");
    await expect(loadMapping(path)).rejects.toThrow(`${path}: is not JSON`);
    await writeFile(path, "{}");
    await expect(loadMapping(path)).rejects.toThrow(`${path} $: lacks the field "name"`);
  });
});
