/**
 * What every source of history does (engine/replay/history.ts), as tests that a source's own test file runs. They give
 * it rows in its own form and read chunks. What only one kind of source has (quotes, encodings, compression, rules of a
 * mapping) is tested beside it.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import {
  type HistoryChunk,
  type HistoryReading,
  INTENTS,
  MAX_CHUNK_ROWS,
  type MappedRow,
} from "../../engine/replay/history.js";

/** A row of the history, as the bed writes it. `bad`: a sale whose number of units is no number. */
export interface SampleRow {
  sku: string;
  units: number;
  timeMs: number;
  bad?: true;
}

/** One place to read from, such as a file. */
export type Input = string;

export interface SourceBed {
  /** Rows that are all sales, except bad ones. */
  input(rows: Iterable<SampleRow>): Promise<Input>;
  /** The same, with something after the rows that cannot be read at all. */
  brokenInput(rows: Iterable<SampleRow>): Promise<Input>;
  /** Something that is no input of this source. */
  wrongInput(): Promise<Input>;
  read(inputs: readonly Input[]): HistoryReading;
  /** How many inputs the process holds open now. */
  openInputs(): Promise<number>;
  close(): Promise<void>;
}

/** Enough to be several chunks of any source. */
const MANY_ROWS = 20_000;
const START_MS = Date.UTC(2026, 5, 11);

function* sales(count: number, first = 0): Generator<SampleRow> {
  for (let i = first; i < first + count; i++)
    yield { sku: `SKU-${i % 97}`, units: 1 + (i % 5), timeMs: START_MS + i * 1_000 };
}

const bad: SampleRow = { sku: "BAD", units: 1, timeMs: START_MS, bad: true };

/** @param open makes a bed; called before each test, and the bed closed after it */
export function describeSource(name: string, open: () => Promise<SourceBed>): void {
  describe(`${name}, as a source of history,`, () => {
    let bed: SourceBed;
    beforeEach(async () => {
      bed = await open();
    });
    afterEach(() => bed.close());

    const chunksOf = async (...inputs: Input[]): Promise<HistoryChunk[]> => {
      const chunks: HistoryChunk[] = [];
      for await (const chunk of bed.read(inputs)) chunks.push(chunk);
      return chunks;
    };
    const rowsOf = async (...inputs: Input[]): Promise<MappedRow[]> =>
      (await chunksOf(...inputs)).flatMap(({ rows }) => rows);

    it("gives every row once, in order, input after input", async () => {
      const inputs = [await bed.input(sales(40)), await bed.input(sales(40, 40))];
      const chunks = await chunksOf(...inputs);
      expect([...new Set(chunks.map(({ file }) => file))]).toEqual(inputs);
      expect(chunks.flatMap(({ rows }) => rows)).toMatchObject(
        [...sales(80)].map(({ sku, units, timeMs }) => ({ intent: "sale", sku, units, timeMs })),
      );
      for (const input of inputs) {
        const lines = chunks.filter(({ file }) => file === input).flatMap(({ rows }) => rows.map(({ line }) => line));
        expect(lines).toEqual([...lines].sort((one, other) => one - other));
        expect(new Set(lines).size).toBe(40);
      }
    });

    it("gives a row that it cannot understand with place, reason and fields, and goes on", async () => {
      const rows = await rowsOf(await bed.input([...sales(3), bad, ...sales(2, 3)]));
      expect(rows.map(({ intent }) => intent)).toEqual(["sale", "sale", "sale", "reject", "sale", "sale"]);
      const [before, rejected] = rows.slice(2) as [MappedRow, MappedRow];
      expect(rejected).toMatchObject({ line: before.line + 1, reason: expect.stringMatching(/\w{3}/) });
      expect(Object.values((rejected as { row: Record<string, string> }).row)).toContain("BAD");
    });

    it("gives the same rows for the same input, and an id of its own to each", async () => {
      const inputs = [await bed.input([...sales(50), bad]), await bed.input(sales(50))];
      const rows = await rowsOf(...inputs);
      expect(await rowsOf(...inputs)).toEqual(rows);
      const ids = rows.flatMap((row) => (row.intent === "reject" ? [] : [row.id]));
      expect(new Set(ids).size).toBe(100);
      for (const { intent } of rows) expect([...INTENTS, "reject"]).toContain(intent);
    });

    it("reports how far it is: never backwards, and everything at the end", async () => {
      const chunks = await chunksOf(await bed.input(sales(5_000)), await bed.input(sales(10)));
      const read = chunks.map(({ bytesRead }) => bytesRead);
      expect(read).toEqual([...read].sort((one, other) => one - other));
      expect(new Set(chunks.map(({ totalBytes }) => totalBytes)).size).toBe(1);
      expect(read.at(-1)).toBe(chunks[0]?.totalBytes);
    });

    it("gives nothing when nothing is in it", async () => {
      expect(await rowsOf(await bed.input([]))).toEqual([]);
    });

    it("reads no further than it is asked to, in chunks that do not grow with the input", async () => {
      const reading = bed.read([await bed.input(sales(MANY_ROWS))]);
      const first = (await reading.next()).value as HistoryChunk;
      // Whatever reads ahead has time to do so.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const second = (await reading.next()).value as HistoryChunk;
      expect(second.bytesRead).toBeLessThan(second.totalBytes);
      let rows = first.rows.length + second.rows.length;
      for await (const chunk of reading) {
        expect(chunk.rows.length).toBeLessThanOrEqual(MAX_CHUNK_ROWS);
        rows += chunk.rows.length;
      }
      expect(rows).toBe(MANY_ROWS);
    });

    it.each(["before the first chunk", "after it", "by an error of its reader"])(
      "holds nothing open once it is ended %s",
      async (when) => {
        const reading = bed.read([await bed.input(sales(MANY_ROWS)), await bed.input(sales(10))]);
        if (when !== "before the first chunk") expect((await reading.next()).done).toBe(false);
        if (when === "by an error of its reader")
          await expect(reading.throw(new Error("the reader has failed"))).rejects.toThrow("the reader has failed");
        else await reading.return();
        expect(await reading.next()).toEqual({ done: true, value: undefined });
        expect(await bed.openInputs()).toBe(0);
      },
    );

    it("holds nothing open when it has been read to its end", async () => {
      await rowsOf(await bed.input(sales(10)), await bed.input(sales(10)));
      expect(await bed.openInputs()).toBe(0);
    });

    it("gives the rows before a fault of the input, then the fault with its place", async () => {
      const input = await bed.brokenInput(sales(20));
      const reading = bed.read([await bed.input(sales(5)), input]);
      const rows: MappedRow[] = [];
      const thrown = await (async () => {
        for await (const chunk of reading) rows.push(...chunk.rows);
      })().catch((reason: unknown) => reason);
      expect(rows).toHaveLength(25);
      expectFault(thrown, input);
      expect(await bed.openInputs()).toBe(0);
    });

    it.each(["missing", "wrong"])(
      "refuses an input that is %s before it gives the first row of another",
      async (how) => {
        const good = await bed.input(sales(5));
        const other = how === "wrong" ? await bed.wrongInput() : `${good}.missing`;
        const reading = bed.read([good, other]);
        expectFault(await reading.next().catch((reason: unknown) => reason), other);
        expect(await bed.openInputs()).toBe(0);
      },
    );
  });
}

function expectFault(thrown: unknown, input: Input): void {
  expect(thrown).toBeInstanceOf(EngineError);
  expect(thrown).toMatchObject({ code: "bad_input", retryable: false, message: expect.stringContaining(input) });
}
