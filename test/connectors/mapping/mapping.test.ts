/**
 * Mappings: what a mapping file may say, what each row means by it, and how faults of either are told. Pure: rows are
 * written in the tests.
 */
// biome-ignore-all lint/suspicious/noThenProperty: `then` is a field of a mapping's rules, and never a function
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createMapper,
  loadMapping,
  MAX_FILES,
  MAX_LINES,
  MAX_OPEN_LINES,
} from "../../../connectors/mapping/mapping.js";
import { type Condition, checkMapping } from "../../../connectors/mapping/mapping.schema.js";
import { chainIdFault, chainIdTimeMs } from "../../../engine/kernel/chain-id.js";
import { commandsOf, type IntentRow, type MappedRow } from "../../../engine/replay/history.js";

const COLUMNS = ["when", "sku", "pieces", "place", "order", "kind", "price"];
const TIME = "2025-06-18T12:00:00Z";
const TIME_MS = Date.UTC(2025, 5, 18, 12);

const base = {
  name: "till-export",
  channel: "TL",
  columns: { time: "when", sku: "sku", units: "pieces" },
  time: "iso",
  rules: [{ when: "always", then: "sale" }] as unknown[],
};
type Json = Record<string, unknown>;

/** Maps rows given as columns by name; what is left out is a plain sale of 2. */
function mapped(change: Json, rows: Record<string, string>[], zone?: string): MappedRow[] {
  const mapper = createMapper(checkMapping({ ...base, ...change }, "m.json"), { zone });
  const map = mapper.forFile({ name: "till.csv", columns: COLUMNS, ordinal: 0 });
  return rows.map((row, index) => {
    const full: Record<string, string> = {
      when: TIME,
      sku: "A",
      pieces: "2",
      place: "B1",
      order: "o1",
      kind: "S",
      price: "1",
      ...row,
    };
    return map({ line: index + 2, fields: COLUMNS.map((column) => full[column] ?? "") });
  });
}
const one = (change: Json, row: Record<string, string> = {}, zone?: string): MappedRow =>
  mapped(change, [row], zone)[0] as MappedRow;
const reasonOf = (row: MappedRow): string | undefined => row.reason;
const timeOf = (row: MappedRow): number | string => (row.intent === "reject" ? row.reason : row.timeMs);
const unitsOf = (row: MappedRow): number | string => (row.intent === "reject" ? row.reason : row.units);
const holds = (when: unknown, row: Record<string, string>): boolean =>
  one({ rules: [{ when, then: "sale" }] }, row).intent === "sale";

describe("a row that means something", () => {
  it("becomes an intent with its time, SKU, place, units and id", () => {
    const row = one({});
    expect(row).toEqual({
      line: 2,
      timeMs: TIME_MS,
      intent: "sale",
      sku: "A",
      location: "main",
      units: 2,
      id: expect.any(String),
      reference: undefined,
      reason: undefined,
      mapping: "till-export",
    });
    const { id } = row as IntentRow;
    expect(chainIdFault(id)).toBeUndefined();
    expect(chainIdTimeMs(id)).toBe(TIME_MS);
    expect(id.startsWith("TL")).toBe(true);
  });

  it("takes the location from a constant or from a column", () => {
    expect(one({ location: "shop" })).toMatchObject({ location: "shop" });
    expect(one({ columns: { ...base.columns, location: "place" } })).toMatchObject({ location: "B1" });
  });

  it("keeps the letter case of the SKU", () => {
    expect(one({}, { sku: "aB" })).toMatchObject({ sku: "aB" });
  });

  it("says what the line is called at its source", () => {
    expect(one({ columns: { ...base.columns, reference: "order" } })).toMatchObject({ reference: "o1" });
    expect(one({ columns: { ...base.columns, reference: ["order", "kind"] } })).toMatchObject({ reference: "o1/S" });
  });

  it("is decided by the first rule that holds", () => {
    const rules = [
      { when: { column: "kind", equals: "R" }, then: "return", reason: "came back" },
      { when: { column: "pieces", ">": 0 }, then: "sale" },
      { when: "always", then: "correct", reason: "count" },
    ];
    expect(mapped({ rules }, [{ kind: "R" }, {}, { pieces: "-1" }]).map((row) => row.intent)).toEqual([
      "return",
      "sale",
      "correct",
    ]);
  });

  it("is rejected when no rule holds, or a rule says so, with its fields", () => {
    expect(one({ rules: [{ when: { column: "kind", equals: "X" }, then: "sale" }] })).toEqual({
      line: 2,
      intent: "reject",
      reason: "no rule matches",
      row: { when: TIME, sku: "A", pieces: "2", place: "B1", order: "o1", kind: "S", price: "1" },
    });
    expect(reasonOf(one({ rules: [{ when: "always", then: "reject", reason: "no goods" }] }))).toBe("no goods");
  });

  it.each([
    ["as is", "correct", "-3", -3],
    ["as is", "correct", "3", 3],
    ["negated", "sale", "-3", 3],
    ["negated", "correct", "3", -3],
    ["absolute", "return", "-3", 3],
    ["absolute", "return", "+3", 3],
    ["as is", "sale", "3.00", 3],
    ["as is", "sale", "9007199254740991", Number.MAX_SAFE_INTEGER],
    ["as is", "sale", "-3", 'pieces gives -3 units, and "sale" takes units above 0'],
    ["negated", "return", "3", 'pieces gives -3 units, and "return" takes units above 0'],
  ])("reads units %s of a %s: %s", (units, then, pieces, expected) => {
    expect(unitsOf(one({ rules: [{ when: "always", then, units, reason: "r" }] }, { pieces }))).toBe(expected);
  });
});

describe("a condition", () => {
  it.each<[Condition | Json, Record<string, string>, boolean]>([
    [{ column: "kind", startsWith: "C" }, { kind: "C12" }, true],
    [{ column: "kind", startsWith: "C" }, { kind: "12C" }, false],
    [{ column: "kind", startsWith: ["A", "C"] }, { kind: "C12" }, true],
    [{ column: "kind", notStartsWith: ["A", "C"] }, { kind: "A1" }, false],
    [{ column: "kind", notStartsWith: ["A", "C"] }, { kind: "B1" }, true],
    [{ column: "kind", equals: "s" }, { kind: "S" }, false],
    [{ column: "kind", equals: "" }, { kind: "" }, true],
    [{ column: "kind", oneOf: ["R", "S"] }, { kind: "S" }, true],
    [{ column: "kind", oneOf: ["R", "S"] }, { kind: "T" }, false],
    [{ column: "price", ">": 1 }, { price: "1" }, false],
    [{ column: "price", ">": 1 }, { price: "1.01" }, true],
    [{ column: "price", "<": -1.5 }, { price: "-2e0" }, true],
    [{ column: "price", ">=": 1 }, { price: "1" }, true],
    [{ column: "price", "<=": 1 }, { price: "1.5" }, false],
    [{ column: "kind", empty: true }, { kind: "" }, true],
    [{ column: "kind", empty: true }, { kind: " " }, false],
    [{ column: "kind", notEmpty: true }, { kind: "" }, false],
    [
      {
        all: [
          { column: "kind", equals: "S" },
          { column: "price", ">": 0 },
        ],
      },
      {},
      true,
    ],
    [
      {
        all: [
          { column: "kind", equals: "S" },
          { column: "price", ">": 5 },
        ],
      },
      {},
      false,
    ],
    [
      {
        any: [
          { column: "kind", equals: "R" },
          { column: "price", ">": 0 },
        ],
      },
      {},
      true,
    ],
    [
      {
        any: [
          { column: "kind", equals: "R" },
          { column: "price", ">": 5 },
        ],
      },
      {},
      false,
    ],
    [
      {
        all: [
          {
            any: [
              { column: "kind", equals: "R" },
              { column: "kind", equals: "S" },
            ],
          },
          { column: "sku", equals: "A" },
        ],
      },
      {},
      true,
    ],
  ])("%j on %j: %s", (when, row, expected) => {
    expect(holds(when, row)).toBe(expected);
  });

  it.each([
    ["AB", "AB", true],
    ["AB", "ABC", false],
    ["A?", "AB", true],
    ["A?", "A", false],
    ["##", "42", true],
    ["##", "4a", false],
    ["A*", "A", true],
    ["*A*B", "xxAyyAzB", true],
    ["*A*B", "xxByyA", false],
    ["*", "x", true],
    ["a\\*b", "a*b", true],
    ["a\\*b", "axb", false],
    ["\\#\\\\", "#\\", true],
    ["a.c", "abc", false],
  ])("pattern %s on %s: %s", (matches, kind, expected) => {
    expect(holds({ column: "kind", matches }, { kind })).toBe(expected);
  });

  it("matches a hostile pattern in bounded time", () => {
    expect(holds({ column: "kind", matches: `${"*a".repeat(50)}` }, { kind: `${"a".repeat(60_000)}b` })).toBe(false);
  });

  it("rejects the row when a compared field is no number, unless it is guarded", () => {
    const compared = { column: "price", ">": 0 };
    for (const price of ["", "x", "1,5", "Infinity", "NaN", "0x10", " 1", "1e999"]) {
      expect(reasonOf(one({ rules: [{ when: compared, then: "sale" }] }, { price }))).toBe(
        `price is not a number: ${JSON.stringify(price)}`,
      );
    }
    const either = { any: [compared, { column: "kind", equals: "S" }] };
    expect(reasonOf(one({ rules: [{ when: either, then: "sale" }] }, { price: "x" }))).toMatch(/not a number/);
    const guarded = { all: [{ column: "price", notEmpty: true }, compared] };
    expect(reasonOf(one({ rules: [{ when: guarded, then: "sale" }] }, { price: "" }))).toBe("no rule matches");
  });
});

describe("a row that cannot be used", () => {
  it.each([
    [{ pieces: "x" }, 'pieces is not a whole number of units: "x"'],
    [{ pieces: "" }, 'pieces is not a whole number of units: ""'],
    [{ pieces: "1.5" }, 'pieces is not a whole number of units: "1.5"'],
    [{ pieces: "1e3" }, 'pieces is not a whole number of units: "1e3"'],
    [{ pieces: "0" }, "pieces is 0 units"],
    [{ pieces: "-0" }, "pieces is 0 units"],
    [{ pieces: "9007199254740992" }, "pieces is beyond 9007199254740991 units"],
    [{ pieces: "-9007199254740992" }, "pieces is beyond 9007199254740991 units"],
    [{ sku: "" }, "sku is empty"],
    [{ sku: "x".repeat(65) }, "sku is longer than 64 characters"],
    [{ sku: "a\u001fb" }, "sku has a control character"],
    [{ sku: "a\nb" }, "sku has a control character"],
    [{ place: "" }, "place is empty"],
    [{ place: "\u0085" }, "place has a control character"],
    [{ when: "" }, 'when is not an ISO 8601 time with a zone: ""'],
    [{ when: "2025-06-18T12:00:00" }, 'when is not an ISO 8601 time with a zone: "2025-06-18T12:00:00"'],
    [{ when: "1969-12-31T23:59:59Z" }, 'when is not between 1970 and 3084: "1969-12-31T23:59:59Z"'],
    [{ when: "9999-01-01T00:00:00Z" }, 'when is not between 1970 and 3084: "9999-01-01T00:00:00Z"'],
  ])("is rejected: %j", (row, reason) => {
    const change = { columns: { ...base.columns, location: "place" } };
    expect(one(change, row)).toMatchObject({ line: 2, intent: "reject", reason, row });
  });

  it("does not quote a long field in full", () => {
    expect(reasonOf(one({}, { pieces: "x".repeat(60_000) }))).toHaveLength(
      'pieces is not a whole number of units: ""'.length + 41,
    );
  });
});

describe("a time", () => {
  it.each([
    ["2025-06-18T12:00Z", TIME_MS],
    ["2025-06-18 12:00:00Z", TIME_MS],
    ["2025-06-18T12:00:00.25Z", TIME_MS + 250],
    ["2025-06-18T12:00:00.123456789Z", TIME_MS + 123],
    ["2025-06-18T20:00:00+08:00", TIME_MS],
    ["2025-06-18T08:30:00-0330", TIME_MS],
    ["2024-02-29T00:00:00Z", Date.UTC(2024, 1, 29)],
  ])("ISO %s", (when, expected) => {
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
  ])("that is none: %s", (when) => {
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
  )("of the form %s is taken in the zone", (time, when, expected) => {
    expect(timeOf(one({ time }, { when }, "Asia/Shanghai"))).toBe(expected);
  });

  it("is rejected when it does not have the mapping's form, sign by sign", () => {
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

  it("follows the zone's clocks: a time that comes twice is the earlier one, a skipped one is rejected", () => {
    const london = (when: string) => timeOf(one({ time: "yyyy-MM-dd HH:mm" }, { when }, "Europe/London"));
    expect(london("2025-07-15 12:00")).toBe(Date.UTC(2025, 6, 15, 11));
    expect(london("2025-03-30 01:30")).toBe(
      'when is a time that the clocks of Europe/London skipped: "2025-03-30 01:30"',
    );
    expect(london("2025-10-26 01:30")).toBe(Date.UTC(2025, 9, 26, 0, 30));
  });

  it("without a zone needs one that exists", () => {
    const mapping = checkMapping({ ...base, time: "yyyy-MM-dd" }, "m.json");
    expect(() => createMapper(mapping)).toThrow(/^--zone: is missing/);
    expect(() => createMapper(mapping, { zone: "Europe/Lundon" })).toThrow(
      /^--zone: "Europe\/Lundon" is not a known time zone/,
    );
  });
});

describe("an id", () => {
  const idsOf = (rows: MappedRow[]) => rows.map((row) => (row as IntentRow).id);
  const run = (change: Json, ordinal: number, name = "till.csv") => {
    const map = createMapper(checkMapping({ ...base, ...change }, "m.json")).forFile({
      name,
      columns: COLUMNS,
      ordinal,
    });
    return idsOf([2, 3, 4].map((line) => map({ line, fields: [TIME, "A", "2", "", "", "", ""] })));
  };

  it("differs between rows that are exact repeats", () => {
    expect(new Set(run({}, 0)).size).toBe(3);
  });

  it("is the same when the files are replayed, whatever they are called", () => {
    expect(run({}, 1, "renamed.csv")).toEqual(run({}, 1));
  });

  it("differs by file and by mapping", () => {
    expect(new Set([...run({}, 0), ...run({}, 1), ...run({}, MAX_FILES - 1), ...run({ name: "other" }, 0)]).size).toBe(
      12,
    );
  });

  it("is refused beyond the files and lines that it can number", () => {
    expect(() => run({}, MAX_FILES)).toThrow("till.csv: is one file too many");
    const map = createMapper(checkMapping(base, "m.json")).forFile({ name: "till.csv", columns: COLUMNS, ordinal: 0 });
    expect(() => map({ line: MAX_LINES, fields: [TIME, "A", "2", "", "", "", ""] })).toThrow(
      /till.csv line 268435456: is one line/,
    );
  });
});

describe("rows that follow a reserve", () => {
  const change = {
    columns: { ...base.columns, reference: "order" },
    rules: ["reserve", "pay", "cancel", "outbound"].map((then) => ({ when: { column: "kind", equals: then }, then })),
  };
  const rows = (...list: [kind: string, order: string, sku?: string][]) =>
    mapped(
      change,
      list.map(([kind, order, sku = "A"], index) => ({ kind, order, sku, when: `2025-06-18T12:0${index}:00Z` })),
    ).map((row) => (row.intent === "reject" ? row.reason : row.id));

  it("take the id of the line that they name", () => {
    const [reserved, other, paid, out] = rows(["reserve", "o1"], ["reserve", "o2"], ["pay", "o1"], ["outbound", "o1"]);
    expect(paid).toBe(reserved);
    expect(out).toBe(reserved);
    expect(other).not.toBe(reserved);
  });

  it("are rejected without it, with another SKU, and after the line has ended", () => {
    const none = (order: string) => `no row before it reserved "${order}" of this SKU here`;
    expect(rows(["pay", "o1"])).toEqual([none("o1")]);
    expect(rows(["reserve", "o1"], ["pay", "o1", "B"])[1]).toBe(none("o1"));
    expect(rows(["reserve", "o1"], ["cancel", "o1"], ["pay", "o1"])[2]).toBe(none("o1"));
  });

  it("are not confused by a second reserve, which is rejected while the first is open and taken after it", () => {
    const [first, second, , third] = rows(["reserve", "o1"], ["reserve", "o1"], ["cancel", "o1"], ["reserve", "o1"]);
    expect(second).toBe('"o1" has reserved this SKU here before');
    expect(chainIdFault(String(third))).toBeUndefined();
    expect(third).not.toBe(first);
  });

  it("find a line that another file reserved", () => {
    const mapper = createMapper(checkMapping({ ...base, ...change }, "m.json"));
    const fields = (kind: string) => [TIME, "A", "2", "", "o1", kind, ""];
    const reserved = mapper.forFile({ name: "1.csv", columns: COLUMNS, ordinal: 0 })({
      line: 2,
      fields: fields("reserve"),
    });
    const paid = mapper.forFile({ name: "2.csv", columns: COLUMNS, ordinal: 1 })({ line: 2, fields: fields("pay") });
    expect((paid as IntentRow).id).toBe((reserved as IntentRow).id);
  });

  it("forget the oldest open line when there are too many", () => {
    const map = createMapper(checkMapping({ ...base, ...change }, "m.json")).forFile({
      name: "1.csv",
      columns: COLUMNS,
      ordinal: 0,
    });
    for (let line = 2; line <= MAX_OPEN_LINES + 2; line++)
      map({ line, fields: [TIME, "A", "2", "", `o${line}`, "reserve", ""] });
    const pay = (order: string) => map({ line: 9_999_999, fields: [TIME, "A", "2", "", order, "pay", ""] }).intent;
    expect([pay("o2"), pay("o3")]).toEqual(["reject", "pay"]);
  });
});

describe("commands", () => {
  const commands = (then: string, pieces = "2") =>
    commandsOf(
      one(
        { rules: [{ when: "always", then, reason: "why" }], columns: { ...base.columns, reference: "order" } },
        { pieces },
      ) as IntentRow,
    );

  it("of a sale reserve, pay and send out one line at its time", () => {
    const list = commands("sale");
    expect(list.map((command) => command.kind)).toEqual(["reserve", "pay", "outbound"]);
    for (const command of list) expect(command).toEqual({ ...list[0], kind: command.kind });
    expect(list[0]).toEqual({ kind: "reserve", id: list[0]?.id, sku: "A", location: "main", units: 2, atMs: TIME_MS });
  });

  it.each(["receive", "return"])("of a %s carry the rule's reason", (then) => {
    expect(commands(then)).toEqual([
      { kind: then, id: expect.any(String), sku: "A", location: "main", units: 2, atMs: TIME_MS, reason: "why" },
    ]);
  });

  it("of a correction carry the mapping as actor, and the rule's reason", () => {
    expect(commands("correct", "-2")).toEqual([
      {
        kind: "correct",
        id: expect.any(String),
        sku: "A",
        location: "main",
        units: -2,
        atMs: TIME_MS,
        actor: "till-export",
        reason: "why",
      },
    ]);
  });

  it.each(["reserve", "pay", "cancel", "outbound"] as const)("of a %s are that one", (intent) => {
    const row = { ...(one({}) as IntentRow), intent };
    expect(commandsOf(row)).toEqual([
      { kind: intent, id: row.id, sku: "A", location: "main", units: 2, atMs: TIME_MS },
    ]);
  });
});

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
    [{ columns: { ...base.columns, location: "place" }, location: "main" }, "$.location", /excludes \$\.columns\.location/],
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

  it("is taken with conditions nested as deep as is allowed", () => {
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

  it("finds a built-in one by name, and another by its path", async () => {
    expect(await loadMapping("online-retail")).toMatchObject({ name: "online-retail", channel: "OR" });
    const path = join(folder, "mine.json");
    await writeFile(path, `\ufeff${JSON.stringify(base)}`);
    expect(await loadMapping(path)).toMatchObject({ name: "till-export", location: "main" });
  });

  it("names the built-in ones when there is none of that name", async () => {
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
