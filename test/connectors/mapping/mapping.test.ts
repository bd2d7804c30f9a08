/** Rows mapped to intents: their fields, ids and commands, and why a row is rejected. Pure. */
// biome-ignore-all lint/suspicious/noThenProperty: `then` is a field of a mapping's rules, and never a function
import { describe, expect, it } from "vitest";
import { createMapper, MAX_FILES, MAX_LINES, MAX_OPEN_LINES } from "../../../connectors/mapping/mapping.js";
import { checkMapping } from "../../../connectors/mapping/mapping.schema.js";
import { chainIdFault, chainIdTimeMs } from "../../../engine/kernel/chain-id.js";
import { commandsOf, type IntentRow, type MappedRow } from "../../../engine/replay/history.js";
import { base, COLUMNS, type Json, mapped, one, reasonOf, TIME, TIME_MS, unitsOf } from "./mapping-bed.js";

describe("a row that can be used", () => {
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

  it("keeps the reference that names the line at its source", () => {
    expect(one({ columns: { ...base.columns, reference: "order" } })).toMatchObject({ reference: "o1" });
    expect(one({ columns: { ...base.columns, reference: ["order", "kind"] } })).toMatchObject({ reference: "o1/S" });
  });

  it("follows the first rule whose condition is true", () => {
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

  it("is rejected with its fields when no rule applies or a rule rejects it", () => {
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

  it("differs between two identical rows", () => {
    expect(new Set(run({}, 0)).size).toBe(3);
  });

  it("is the same when the files are replayed, even under other names", () => {
    expect(run({}, 1, "renamed.csv")).toEqual(run({}, 1));
  });

  it("differs by file and by mapping", () => {
    expect(new Set([...run({}, 0), ...run({}, 1), ...run({}, MAX_FILES - 1), ...run({ name: "other" }, 0)]).size).toBe(
      12,
    );
  });

  it("is refused when there are too many files or lines", () => {
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

  it("get the id of the line that they name", () => {
    const [reserved, other, paid, out] = rows(["reserve", "o1"], ["reserve", "o2"], ["pay", "o1"], ["outbound", "o1"]);
    expect(paid).toBe(reserved);
    expect(out).toBe(reserved);
    expect(other).not.toBe(reserved);
  });

  it("are rejected without a reserve, with another SKU, and after the line has ended", () => {
    const none = (order: string) => `no row before it reserved "${order}" of this SKU here`;
    expect(rows(["pay", "o1"])).toEqual([none("o1")]);
    expect(rows(["reserve", "o1"], ["pay", "o1", "B"])[1]).toBe(none("o1"));
    expect(rows(["reserve", "o1"], ["cancel", "o1"], ["pay", "o1"])[2]).toBe(none("o1"));
  });

  it("keep their line when a second reserve comes, which is rejected while the first is open and accepted after it", () => {
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

  it("are rejected for the oldest open line when there are too many", () => {
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

  it("of a sale are reserve, pay and outbound of one line at its time", () => {
    const list = commands("sale");
    expect(list.map((command) => command.kind)).toEqual(["reserve", "pay", "outbound"]);
    for (const command of list) expect(command).toEqual({ ...list[0], kind: command.kind });
    expect(list[0]).toEqual({ kind: "reserve", id: list[0]?.id, sku: "A", location: "main", units: 2, atMs: TIME_MS });
  });

  it.each(["receive", "return"])("of a %s have the rule's reason", (then) => {
    expect(commands(then)).toEqual([
      { kind: then, id: expect.any(String), sku: "A", location: "main", units: 2, atMs: TIME_MS, reason: "why" },
    ]);
  });

  it("of a correction have the mapping as actor, and the rule's reason", () => {
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

  it.each(["reserve", "pay", "cancel", "outbound"] as const)("of a %s are that one command", (intent) => {
    const row = { ...(one({}) as IntentRow), intent };
    expect(commandsOf(row)).toEqual([
      { kind: intent, id: row.id, sku: "A", location: "main", units: 2, atMs: TIME_MS },
    ]);
  });
});
