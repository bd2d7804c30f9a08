/** Rows of each format: the same rows however the bytes are cut, and a fault at its own row. */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { ROW_TYPES, type RowType, rowReader } from "../../../connectors/http/rows/row-formats.js";

const COLUMNS = ["sku", "location", "units"];
const packr = new Packr({ useRecords: false });
const packed = (...values: unknown[]): Buffer => Buffer.concat(values.map((value) => packr.pack(value)));

/** All rows, and the fault behind them, of a body that comes in pieces of this length. */
function read(type: RowType, body: string | Buffer, length = Number.POSITIVE_INFINITY) {
  const bytes = Buffer.from(body);
  const rows: unknown[][] = [];
  const reader = rowReader(type, COLUMNS);
  const take = (row: unknown[]): boolean => rows.push([...row]) > 0;
  for (let from = 0; from < bytes.length; from += length) {
    const fault = reader.push(bytes.subarray(from, Math.min(bytes.length, from + length)), take);
    if (fault !== undefined) return { rows, fault };
  }
  return { rows, fault: reader.end(take) };
}

const ROWS = [
  ["TEA-01", "main", 12],
  ["茶壶", "W-1", 0],
  ["TEA-02", "main", 1_000_000],
];
const BODIES: Record<string, [RowType, string | Buffer]> = {
  ndjson: [
    ROW_TYPES[0],
    ROWS.map(([sku, location, units]) => `${JSON.stringify({ sku, location, units })}\n`).join(""),
  ],
  "ndjson in another order": [
    ROW_TYPES[0],
    ROWS.map(([sku, location, units]) => JSON.stringify({ units, location, sku })).join("\r\n\r\n"),
  ],
  "ndjson with blanks": [
    ROW_TYPES[0],
    ROWS.map(([sku, location, units]) => `{"sku": "${sku}", "location": "${location}", "units": ${units}}`).join("\n"),
  ],
  csv: [ROW_TYPES[1], ["sku,location,units", ...ROWS.map((row) => row.join(","))].join("\n")],
  "csv with quotes, a mark and another order": [
    ROW_TYPES[1],
    `\ufeffunits,"sku",location\r\n${ROWS.map(([sku, location, units]) => `${units},"${sku}",${location}`).join("\r\n")}\r\n`,
  ],
  "msgpack lists": [ROW_TYPES[2], packed(...ROWS)],
  "msgpack maps": [ROW_TYPES[2], packed(...ROWS.map(([sku, location, units]) => ({ sku, location, units })))],
};

describe("rows are read", () => {
  for (const [name, [type, body]] of Object.entries(BODIES))
    it(`of ${name}, however the bytes are cut`, () => {
      for (const length of [1, 2, 3, 7, 64, Number.POSITIVE_INFINITY])
        expect({ length, ...read(type, body, length) }).toEqual({ length, rows: ROWS, fault: undefined });
    });

  it("of NDJSON with escapes as JSON means them", () => {
    expect(read(ROW_TYPES[0], '{"sku":"a\\u0041\\"","location":"m\\\\n","units":5}').rows).toEqual([
      ['aA"', "m\\n", 5],
    ]);
  });

  it("of CSV with quotes inside a field", () => {
    expect(read(ROW_TYPES[1], 'sku,location,units\n"a ""b"", c",main,5').rows).toEqual([['a "b", c', "main", 5]]);
  });

  it("without converting what is no whole number", () => {
    const { rows } = read(ROW_TYPES[1], "sku,location,units\n007,main,1.5\nb,main,\nc,main,007\nd,main,-3");
    expect(rows.map(([, , units]) => units)).toEqual(["1.5", "", "007", -3]);
    expect(rows[0]?.[0]).toBe("007");
    const json = '{"sku":"a","location":"m","units":1.5}\n{"sku":"a","location":"m","units":"5"}\n';
    expect(read(ROW_TYPES[0], json).rows.map(([, , units]) => units)).toEqual([1.5, "5"]);
  });
});

describe("a fault comes after the rows before it:", () => {
  const good = '{"sku":"a","location":"m","units":1}\n';
  const cases: [name: string, type: RowType, body: string | Buffer, rows: number, fault: string][] = [
    ["a line that is not JSON", ROW_TYPES[0], `${good}{"sku":`, 1, "ends too early"],
    ["a JSON list", ROW_TYPES[0], `${good}[1]`, 1, "must be an object"],
    ["a missing field", ROW_TYPES[0], `${good}{"sku":"a","location":"m"}`, 1, "units is missing"],
    ["an unknown field", ROW_TYPES[0], `${good}{"sku":"a","location":"m","units":1,"x":1}`, 1, '"x" is not a known'],
    ["a repeated name", ROW_TYPES[0], `{"sku":"a","sku":"b","location":"m","units":1}`, 0, "duplicate name"],
    ["a rounded number", ROW_TYPES[0], `{"sku":"a","location":"m","units":9007199254740993}`, 0, "exactly"],
    ["leading zeros", ROW_TYPES[0], `{"sku":"a","location":"m","units":01}`, 0, "is not JSON"],
    ["two objects in a line", ROW_TYPES[0], `${good.trim()}${good}`, 0, "is not JSON"],
    ["bytes that are no UTF-8", ROW_TYPES[0], Buffer.concat([Buffer.from(good), Buffer.of(0xff, 10)]), 1, "UTF-8"],
    ["a line without an end", ROW_TYPES[0], `${good}${"x".repeat(5_000)}`, 1, "longer than 4096 bytes"],
    ["a line that is too long", ROW_TYPES[0], `${good}"${"x".repeat(5_000)}"\n${good}`, 1, "longer than 4096 bytes"],
    ["another header", ROW_TYPES[1], "sku;location;units\na;m;1", 0, "sku,location,units, in any order"],
    ["a header with a column twice", ROW_TYPES[1], "sku,sku,units\na,m,1", 0, "sku,location,units, in any order"],
    ["too few fields", ROW_TYPES[1], "sku,location,units\na,m,1\nb,m", 1, "has 2 fields"],
    ["too many fields", ROW_TYPES[1], "sku,location,units\na,m,1\nb,m,1,2", 1, "has 4 fields"],
    ["an open quote", ROW_TYPES[1], 'sku,location,units\n"a,m,1\nb",m,1', 0, "does not end on its line"],
    ["a quote in a field", ROW_TYPES[1], 'sku,location,units\na"b,m,1', 0, "has a quote inside"],
    ["a msgpack number", ROW_TYPES[2], packed(["a", "m", 1], 7), 1, "must be a list or a map"],
    [
      "a msgpack list of rows",
      ROW_TYPES[2],
      packed([
        ["a", "m", 1],
        ["b", "m", 1],
      ]),
      0,
      "is a list of 2",
    ],
    ["a cut msgpack value", ROW_TYPES[2], packed(["a", "m", 1], ["b", "m", 1]).subarray(0, -1), 1, "ends too early"],
    [
      "a msgpack text without an end",
      ROW_TYPES[2],
      Buffer.concat([Buffer.of(0xdb, 0xff, 0xff, 0xff, 0xff), Buffer.alloc(9_000)]),
      0,
      "msgpack",
    ],
    ["a msgpack extension", ROW_TYPES[2], Buffer.of(0xc7, 1, 1, 1), 0, "is not accepted as msgpack: has type"],
  ];
  for (const [name, type, body, rows, fault] of cases)
    it(name, () => {
      for (const length of [1, 1_000, Number.POSITIVE_INFINITY]) {
        const found = read(type, body, length);
        expect({ length, rows: found.rows.length, fault: found.fault }).toEqual({
          length,
          rows,
          fault: expect.stringContaining(fault),
        });
      }
    });
});
