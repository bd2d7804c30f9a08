/**
 * The CSV reader: RFC 4180 in every cut of its bytes, and each fault with its file and line.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openCsv, readRows } from "../../../connectors/csv/reader.js";
import { MAX_FIELD_BYTES, MAX_ROW_CHARACTERS } from "../../../connectors/csv/row-parser.js";
import type { SourceRow } from "../../../connectors/mapping/mapping.js";
import { EngineError } from "../../../engine/kernel/errors.js";
import { lengthOf } from "../../length.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "csv-reader-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function* pieces(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    yield bytes.subarray(from, cut);
    from = cut;
  }
}

/** The returned rows, and the fault that ended the reading. */
async function read(
  content: string | Uint8Array,
  everyBytes = 1e9,
): Promise<{ rows: SourceRow[]; fault: EngineError | undefined }> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const cuts = Array.from({ length: Math.floor(bytes.length / everyBytes) }, (_, index) => (index + 1) * everyBytes);
  const rows: SourceRow[] = [];
  try {
    for await (const chunk of readRows(pieces(bytes, cuts), "till.csv")) rows.push(...chunk);
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    return { rows, fault: thrown };
  }
  return { rows, fault: undefined };
}

async function readFile(
  content: string | Uint8Array,
): Promise<{ columns: readonly string[]; rows: SourceRow[]; fault: EngineError | undefined }> {
  const path = join(folder, "till.csv");
  await writeFile(path, content);
  const rows: SourceRow[] = [];
  let columns: readonly string[] = [];
  try {
    const file = await openCsv(path);
    columns = file.columns;
    for await (const chunk of file.rows) rows.push(...chunk);
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    return { columns, rows, fault: thrown };
  }
  return { columns, rows, fault: undefined };
}

const fieldsOf = (rows: SourceRow[]) => rows.map((row) => row.fields);

describe("reading rows", () => {
  it("returns fields and the line number on which each row starts", async () => {
    const { rows } = await read("sku,units\nA,1\nB,2\n");
    expect(rows).toEqual([
      { line: 1, fields: ["sku", "units"] },
      { line: 2, fields: ["A", "1"] },
      { line: 3, fields: ["B", "2"] },
    ]);
  });

  it("reads quoted fields with separators, doubled quotes and line ends, and counts their lines", async () => {
    const { rows, fault } = await read('sku,note\n"A,1","say ""hi"""\nB,"two\nlines\r\n"\n"",x\n');
    expect(fault).toBeUndefined();
    expect(rows.slice(1)).toEqual([
      { line: 2, fields: ["A,1", 'say "hi"'] },
      { line: 3, fields: ["B", "two\nlines\r\n"] },
      { line: 6, fields: ["", "x"] },
    ]);
  });

  it.each([
    ["LF", "a,b\n1,2\n"],
    ["CRLF", "a,b\r\n1,2\r\n"],
    ["mixed line ends", "a,b\r\n1,2\n"],
    ["no line end at the end", "a,b\n1,2"],
    ["empty lines at the end", "a,b\n1,2\n\n\r\n"],
    ["a byte order mark", "\ufeffa,b\n1,2\n"],
    ["a byte order mark before a quote", '\ufeff"a",b\n1,"2"\n'],
    ["a quoted last field without line end", 'a,b\n1,"2"'],
  ])("reads a file with %s, in pieces of any length", async (_, content) => {
    for (const everyBytes of [1, 2, 3, 5, 1e9]) {
      const { rows, fault } = await read(content, everyBytes);
      expect(fault).toBeUndefined();
      expect(fieldsOf(rows)).toEqual([
        ["a", "b"],
        ["1", "2"],
      ]);
    }
  });

  it("keeps a byte order mark that is not at the beginning", async () => {
    expect(fieldsOf((await read("a\n\ufeffb\n", 2)).rows)).toEqual([["a"], ["\ufeffb"]]);
  });

  it("reads an empty line as an empty field when the header has one column", async () => {
    expect(fieldsOf((await read("a\n\nb\n")).rows)).toEqual([["a"], [""], ["b"]]);
  });

  it("reads back any table that was written as RFC 4180, wherever the bytes are cut", async () => {
    const sign = fc.constantFrom('"', ",", "\n", "\r", "\ufeff", " ", "a", "é", "水", "🛒", "\u0000");
    const field = fc.oneof(fc.string({ unit: sign, maxLength: 8 }), fc.string({ unit: "binary", maxLength: 8 }));
    const table = fc
      .integer({ min: 1, max: 5 })
      .chain((width) =>
        fc.array(fc.array(field, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 8 }),
      );
    const written = (rows: string[][], lineEnd: string, quoteAll: boolean) =>
      rows
        .map((row) =>
          row
            .map((text) => (quoteAll || /[",\r\n\ufeff]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
            .join(",")
            // Alone in its row, an empty field must differ from an empty line at the end.
            .replace(/^$/, '""'),
        )
        .join(lineEnd);
    await fc.assert(
      fc.asyncProperty(
        table,
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.nat({ max: 400 }), { maxLength: 20 }),
        async (rows, lineEnd, quoteAll, endsWithLineEnd, cuts) => {
          const text = written(rows, lineEnd, quoteAll) + (endsWithLineEnd ? lineEnd : "");
          const bytes = new TextEncoder().encode(text);
          const sorted = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
          const got: SourceRow[] = [];
          for await (const chunk of readRows(pieces(bytes, sorted), "x.csv")) got.push(...chunk);
          expect(fieldsOf(got)).toEqual(rows);
          let line = 1;
          for (const [index, row] of rows.entries()) {
            expect(got[index]?.line).toBe(line);
            line += 1 + row.join("").split("\n").length - 1;
          }
        },
      ),
      { numRuns: lengthOf({ short: 200, long: 500 }) },
    );
  });
});

describe("faults of a file", () => {
  const header = "a,b\n1,2\n";
  const faults: [string, string | Uint8Array, string, RegExp][] = [
    ["too few fields", `${header}3\n5,6\n`, "till.csv line 3", /has 1 field, but the header has 2 fields/],
    ["too many fields", `${header}3,4,5\n`, "till.csv line 3", /has 3 fields, but/],
    ["too many fields in quotes", `${header}"3",4,5\n`, "till.csv line 3", /has 3 fields, but/],
    ["an empty line between rows", `${header}\n5,6\n`, "till.csv line 3", /is empty, and rows follow/],
    ["a quote that never closes", `${header}3,"4\n5,6\n`, "till.csv line 3", /quote that never closes/],
    [
      "a quote that never closes, on a row's second line",
      `${header}"3\n","4\n5,6\n`,
      "till.csv line 4",
      /quote that never closes/,
    ],
    ["a quote inside a field", `${header}3,4"5\n`, "till.csv line 3", /quote inside a field/],
    ["text after a closing quote", `${header}"3"x,4\n`, "till.csv line 3", /text after a field's closing quote/],
    ["a lone carriage return", `${header}3,4\r5,6\n`, "till.csv line 3", /carriage return/],
    ["a lone carriage return after a quote", `${header}"3",4\r5,6\n`, "till.csv line 3", /carriage return/],
    [
      "a field that is too long",
      `${header}3,${"x".repeat(MAX_FIELD_BYTES + 1)}\n`,
      "till.csv line 3",
      /longer than 65536 bytes/,
    ],
    [
      "a field too long in bytes only",
      `${header}3,${"水".repeat(MAX_FIELD_BYTES / 3 + 1)}\n`,
      "till.csv line 3",
      /longer than 65536 bytes/,
    ],
    [
      "a quoted field that is too long",
      `${header}3,"${"x\n".repeat(MAX_FIELD_BYTES)}"\n`,
      "till.csv line 3",
      /longer than 65536 bytes/,
    ],
    [
      "a row that is too long",
      `${header}${"x,".repeat(MAX_ROW_CHARACTERS / 2 + 1)}\n`,
      "till.csv line 3",
      /row longer than 1048576 characters/,
    ],
    ["bytes that are not UTF-8", Buffer.from(`${header}M\xfcller,4\n`, "latin1"), "till.csv line 3", /not valid UTF-8/],
    [
      "a character that is cut off at the end",
      Buffer.from(`${header}3,\xe6\xb0`, "latin1"),
      "till.csv line 3",
      /not valid UTF-8/,
    ],
  ];

  it.each(faults)(
    "names the line of %s, after the rows before it, in pieces of any length",
    async (_, content, input, message) => {
      for (const everyBytes of content.length > 1_000 ? [4_093, 65_536, 1e9] : [1, 2, 3, 7, 1e9]) {
        const { rows, fault } = await read(content, everyBytes);
        expect(fault).toMatchObject({ op: "csv.read", code: "bad_input", retryable: false, input });
        expect(fault?.message).toMatch(message);
        expect(fieldsOf(rows)).toEqual([
          ["a", "b"],
          ["1", "2"],
        ]);
      }
    },
  );

  it("accepts a field of exactly the longest length, quoted or not", async () => {
    const longest = "x".repeat(MAX_FIELD_BYTES);
    for (const everyBytes of [4_093, 1e9]) {
      const { rows, fault } = await read(
        `a,b\n${longest},"${longest}"\n"${'""'.repeat(MAX_FIELD_BYTES)}",x\n`,
        everyBytes,
      );
      expect(fault).toBeUndefined();
      expect(rows[1]?.fields).toEqual([longest, longest]);
      expect(rows[2]?.fields[0]).toHaveLength(MAX_FIELD_BYTES);
    }
  });

  it("names the line of an invalid byte after a quoted line end", async () => {
    const { fault } = await read(Buffer.from('a,b\n"1\n2",\xff\n', "latin1"));
    expect(fault?.input).toBe("till.csv line 3");
  });
});

describe("opening a file", () => {
  const table = `a,b\n${Array.from({ length: 50_000 }, (_, index) => `${index},${(index * 7919) % 10_007}\n`).join("")}`;

  it("reads plain and gzip'd files alike, detected by their bytes and not by their name", async () => {
    const plain = await readFile(table);
    const packed = await readFile(gzipSync(table));
    expect(plain.fault).toBeUndefined();
    expect(plain.columns).toEqual(["a", "b"]);
    expect(plain.rows).toHaveLength(50_000);
    expect(packed).toEqual(plain);
  });

  it("reads gzip data of several members", async () => {
    const { rows, fault } = await readFile(Buffer.concat([gzipSync("a,b\n1,2\n"), gzipSync("3,4\n")]));
    expect(fault).toBeUndefined();
    expect(rows).toHaveLength(2);
  });

  it("reports how many of the bytes on disk it has read", async () => {
    const path = join(folder, "progress.csv");
    const packed = gzipSync(table);
    await writeFile(path, packed);
    const file = await openCsv(path);
    expect(file.totalBytes).toBe(packed.length);
    const seen: number[] = [];
    for await (const _ of file.rows) seen.push(file.bytesRead());
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen[0]).toBeLessThan(packed.length);
    expect(file.bytesRead()).toBe(packed.length);
  });

  it("closes the file when the loop is left early, and when no row is read", async () => {
    const path = join(folder, "left.csv");
    await writeFile(path, gzipSync(table));
    const left = await openCsv(path);
    for await (const _ of left.rows) break;
    await left.close();
    const unread = await openCsv(path);
    await unread.close();
    await unread.close();
  });

  it.each([
    ["a missing file", () => "missing.csv", /there is no such file/],
    ["a path through a file", () => "till.csv/x", /there is no such file/],
    ["a directory", () => ".", /is a directory/],
  ])("refuses %s, naming it", async (_, name, message) => {
    await writeFile(join(folder, "till.csv"), "a\n");
    const path = join(folder, name());
    await expect(openCsv(path)).rejects.toMatchObject({ name: "EngineError", code: "bad_input", input: path });
    await expect(openCsv(path)).rejects.toThrow(message);
  });

  it("refuses a file without permission, naming it", async () => {
    // As root every file can be read, so the refusal is simulated.
    vi.doMock("node:fs/promises", async (importActual) => {
      const actual = await importActual<typeof import("node:fs/promises")>();
      const open = () => Promise.reject(Object.assign(new Error("EACCES"), { code: "EACCES" }));
      return { ...actual, open };
    });
    vi.resetModules();
    try {
      const path = join(folder, "forbidden.csv");
      const refused = (await import("../../../connectors/csv/reader.js")).openCsv(path);
      await expect(refused).rejects.toMatchObject({ name: "EngineError", code: "bad_input", input: path });
      await expect(refused).rejects.toThrow(/there is no permission/);
    } finally {
      vi.doUnmock("node:fs/promises");
      vi.resetModules();
    }
  });

  it("refuses what is no regular file", async () => {
    await expect(openCsv("/dev/null")).rejects.toThrow("/dev/null: is not a regular file");
  });

  it("refuses an empty file, also an empty gzip file", async () => {
    expect((await readFile("")).fault?.message).toMatch(/is empty: not even a header/);
    expect((await readFile(gzipSync(""))).fault?.message).toMatch(/is empty: not even a header/);
  });

  it("refuses a header that names a column twice", async () => {
    expect((await readFile("a,b,a\n")).fault?.message).toMatch(/till\.csv line 1: names the column "a" twice/);
  });

  it("names the last whole line read when gzip data is cut off", async () => {
    const packed = gzipSync(table);
    for (const share of [0.3, 0.6, 0.99]) {
      const { rows, fault } = await readFile(packed.subarray(0, Math.floor(packed.length * share)));
      expect(fault?.message).toMatch(/the gzip data is cut off/);
      expect(rows.length).toBeGreaterThan(0);
      expect(fault?.input).toBe(`${join(folder, "till.csv")} after line ${rows.length + 1}`);
    }
  });

  it("reports gzip data that is cut off before the first line ends", async () => {
    const { fault } = await readFile(gzipSync("a,b\n").subarray(0, 12));
    expect(fault?.message).toMatch(/before the end of line 1: the gzip data is cut off/);
  });

  it("names the last whole line read when gzip data is damaged", async () => {
    const packed = gzipSync(table);
    packed[packed.length - 6] = (packed[packed.length - 6] as number) ^ 0xff;
    const { rows, fault } = await readFile(packed);
    expect(fault?.message).toMatch(/the gzip data is damaged \(incorrect data check\)/);
    expect(fault?.input).toBe(`${join(folder, "till.csv")} after line ${rows.length + 1}`);
    const middle = gzipSync(table);
    middle.fill(0xff, 40_000, 40_100);
    expect((await readFile(middle)).fault?.message).toMatch(/after line \d+: the gzip data is damaged/);
  });

  it.each([
    ["text", Buffer.from("a,b\n")],
    ["zeros", Buffer.alloc(16)],
  ])("refuses gzip data that is followed by %s", async (_, tail) => {
    const { fault } = await readFile(Buffer.concat([gzipSync("a,b\n1,2\n"), tail]));
    expect(fault?.message).toMatch(/bytes that are not gzip follow the gzip data|the gzip data is damaged/);
  });
});
