/**
 * Rows of a CSV text (RFC 4180) with a header that names the columns, in any order. Fields may be quoted; a line break
 * inside a field is refused, because no SKU has one. A whole number becomes a number, and every other text stays one.
 * Only commas separate: it guesses no separators and no encodings, and trims nothing.
 */
import type { Row } from "./row-reader.js";
import type { LineParser } from "./text-rows.js";

const WHOLE = /^(?:0|-?[1-9]\d{0,14})$/;
/** Columns that are numbers; others stay texts, even where they look like numbers. */
const NUMBERS = new Set(["units"]);
/** No header has more. */
const MAX_FIELDS = 64;

export class CsvLines implements LineParser {
  readonly #columns: readonly string[];
  /** For each field of the file the column that it is. */
  #places: readonly number[] | undefined;
  readonly #isNumber: readonly boolean[];

  constructor(columns: readonly string[]) {
    this.#columns = columns;
    this.#isNumber = columns.map((column) => NUMBERS.has(column));
  }

  read(text: string, from: number, to: number, row: Row): boolean | string {
    if (this.#places === undefined) {
      const fields = fieldsOf(text.slice(from, to));
      return typeof fields === "string" ? fields : this.#readHeader(fields);
    }
    const quote = text.indexOf('"', from);
    if (quote >= 0 && quote < to) {
      const fields = fieldsOf(text.slice(from, to));
      return typeof fields === "string" ? fields : this.#place(fields, row);
    }
    const places = this.#places;
    let at = from;
    for (let i = 0; i < places.length; i++) {
      const isLast = i === places.length - 1;
      const comma = text.indexOf(",", at);
      if (isLast !== (comma < 0 || comma >= to)) return this.#otherNumber(fieldsOf(text.slice(from, to)).length);
      const end = isLast ? to : comma;
      const place = places[i] as number;
      row[place] = this.#valueOf(text.slice(at, end), place);
      at = end + 1;
    }
    return true;
  }

  #readHeader(fields: readonly string[]): false | string {
    const places = fields.map((field) => this.#columns.indexOf(field));
    const expected = `the header must be ${this.#columns.join(",")}, in any order`;
    if (fields.length !== this.#columns.length || places.includes(-1) || new Set(places).size < places.length)
      return expected;
    this.#places = places;
    return false;
  }

  #place(fields: readonly string[], row: Row): true | string {
    const places = this.#places as readonly number[];
    if (fields.length !== places.length) return this.#otherNumber(fields.length);
    for (const [i, field] of fields.entries()) {
      const place = places[i] as number;
      row[place] = this.#valueOf(field, place);
    }
    return true;
  }

  #valueOf(field: string, place: number): unknown {
    return this.#isNumber[place] && WHOLE.test(field) ? Number(field) : field;
  }

  #otherNumber(fields: number): string {
    return `has ${fields} fields, and the header has ${this.#columns.length}`;
  }
}

/** The fields of one line, or what is wrong with its quotes. */
function fieldsOf(line: string): string[] | string {
  const fields: string[] = [];
  for (let at = 0; fields.length < MAX_FIELDS; ) {
    if (line.charAt(at) !== '"') {
      const comma = line.indexOf(",", at);
      const field = line.slice(at, comma < 0 ? line.length : comma);
      if (field.includes('"')) return "has a quote inside a field that is not quoted";
      fields.push(field);
      if (comma < 0) return fields;
      at = comma + 1;
      continue;
    }
    let field = "";
    for (at++; ; ) {
      const quote = line.indexOf('"', at);
      if (quote < 0) return "has a quoted field that does not end on its line";
      field += line.slice(at, quote);
      at = quote + 1;
      if (line.charAt(at) !== '"') break;
      field += '"';
      at++;
    }
    fields.push(field);
    if (at === line.length) return fields;
    if (line.charAt(at) !== ",") return "has text after a quoted field";
    at++;
  }
  return `has more than ${MAX_FIELDS} fields`;
}
