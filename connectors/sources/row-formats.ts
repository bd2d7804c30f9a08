/**
 * Reads rows from bytes: CSV with a header, or NDJSON (a JSON object a line), both plain or as gzip data. Rows come in
 * pages as they are read, so memory is a page and a row. A text that is broken ends the reading with its line; rows
 * before it may have been returned, and whoever collects them drops them.
 */
import { badInput, EngineError } from "../../engine/kernel/errors.js";
import { RowParser } from "../csv/row-parser.js";
import { GzipFault, unpacked } from "../mapping/unpack.js";
import type { RawRow } from "../source.js";

export type RowFormat = "csv" | "ndjson";

const OP = "source.rows";
/** Rows that are returned together. */
const PAGE_ROWS = 2_000;
/** The longest line of NDJSON: a row of stock has a few hundred bytes. An endless one ends here. */
const MAX_LINE_CHARACTERS = 64 * 1024;
/** Uncompressed: 5,000,000 rows of 1.6 KB. What never ends, such as blank lines or a gzip bomb, ends here. */
const MAX_BYTES = 8 * 1024 ** 3;

/**
 * @param name of the file or address, for the places of rows
 * @throws EngineError `bad_input` with the line; and what the bytes throw
 */
export async function* rowsOf(
  format: RowFormat,
  bytes: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<RawRow[]> {
  const reader = format === "csv" ? new CsvRows(name) : new JsonLines(name);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (piece?: Uint8Array): string => {
    try {
      return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true });
    } catch (cause) {
      throw badInput(OP, `${name} line ${reader.line}`, "is not valid UTF-8", cause);
    }
  };
  let page: RawRow[] = [];
  let read = 0;
  try {
    for await (const piece of unpacked(bytes)) {
      read += piece.length;
      if (read > MAX_BYTES) throw badInput(OP, `${name} line ${reader.line}`, `more than ${MAX_BYTES} bytes came`);
      for (const row of reader.push(decode(piece))) {
        page.push(row);
        if (page.length < PAGE_ROWS) continue;
        yield page;
        page = [];
      }
    }
    page.push(...reader.push(decode()), ...reader.end());
  } catch (thrown) {
    if (!(thrown instanceof GzipFault)) throw thrown;
    // A body that was cut off may come whole the next time.
    const detail = { op: OP, code: "bad_input", retryable: true, input: `${name} line ${reader.line}` };
    throw new EngineError(`${name} line ${reader.line}: ${thrown.message}`, detail, { cause: thrown });
  }
  if (page.length > 0) yield page;
}

interface RowReader {
  /** Of the next character, from 1. */
  readonly line: number;
  push(text: string): Iterable<RawRow>;
  end(): Iterable<RawRow>;
}

class CsvRows implements RowReader {
  readonly #name: string;
  readonly #parser: RowParser;
  #columns: readonly string[] | undefined;

  constructor(name: string) {
    this.#name = name;
    this.#parser = new RowParser(name);
  }

  get line(): number {
    return this.#parser.currentLine();
  }

  push(text: string): Iterable<RawRow> {
    return this.#rows(this.#parser.push(text));
  }

  end(): Iterable<RawRow> {
    const rows = this.#rows(this.#parser.end());
    if (this.#columns === undefined) throw badInput(OP, this.#name, "is empty; the first line must name the fields");
    return rows;
  }

  #rows(parsed: readonly { line: number; fields: readonly string[] }[]): RawRow[] {
    if (this.#parser.fault) throw this.#parser.fault;
    let rows = parsed;
    if (this.#columns === undefined && rows.length > 0) {
      this.#columns = this.#header(rows[0]?.fields ?? []);
      rows = rows.slice(1);
    }
    const columns = this.#columns ?? [];
    return rows.map(({ line, fields }) => ({
      place: `${this.#name} line ${line}`,
      fields: Object.fromEntries(columns.map((column, i) => [column, fields[i]])),
    }));
  }

  #header(fields: readonly string[]): string[] {
    // Excel writes a byte order mark.
    const columns = fields.map((field, i) => (i === 0 ? field.replace(/^\uFEFF/, "") : field));
    const twice = columns.find((column, i) => columns.indexOf(column) < i);
    if (twice !== undefined)
      throw badInput(OP, `${this.#name} line 1`, `names the field ${JSON.stringify(twice)} twice`);
    return columns;
  }
}

class JsonLines implements RowReader {
  readonly #name: string;
  #rest = "";
  line = 1;

  constructor(name: string) {
    this.#name = name;
  }

  *push(text: string): Iterable<RawRow> {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      yield* this.#row(line);
      this.line++;
    }
    if (this.#rest.length > MAX_LINE_CHARACTERS) throw this.#fault(`is longer than ${MAX_LINE_CHARACTERS} characters`);
  }

  end(): Iterable<RawRow> {
    return this.#row(this.#rest);
  }

  *#row(text: string): Iterable<RawRow> {
    if (text.trim() === "") return;
    if (text.length > MAX_LINE_CHARACTERS) throw this.#fault(`is longer than ${MAX_LINE_CHARACTERS} characters`);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw this.#fault("is no JSON", cause);
    }
    if (!isObject(value)) throw this.#fault("is no JSON object");
    yield { place: `${this.#name} line ${this.line}`, fields: value };
  }

  #fault(message: string, cause?: unknown): EngineError {
    return badInput(OP, `${this.#name} line ${this.line}`, message, cause);
  }
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
