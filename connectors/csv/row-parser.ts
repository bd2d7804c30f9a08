/**
 * Parses CSV text (RFC 4180) into rows, from pieces of any length. A row has as many fields as the header, each with
 * its quotes closed. The first fault is kept in `fault`, with the line number; nothing after it is parsed. Memory is
 * limited by a piece and a row. Bytes, their encoding and compression belong to reader.ts.
 */
import { badInput, type EngineError } from "../../engine/kernel/errors.js";
import type { SourceRow } from "../mapping/mapping.js";

/** The operation that errors of this connector name. */
export const OP = "csv.read";
/** The longest field, in bytes of UTF-8. A longer one is nearly always a quote that was never closed. */
export const MAX_FIELD_BYTES = 64 * 1024;
/** The longest row, in characters: 16 fields of full length; limits what is kept until a row's end is read. */
export const MAX_ROW_CHARACTERS = 16 * MAX_FIELD_BYTES;

const CARRIAGE_RETURN = 0x0d;
export const NEW_LINE = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;

interface QuotedRow {
  fields: string[];
  /** Where the next row starts. */
  next: number;
  lines: number;
}

/** Parses text into rows. After a fault it ignores all further text. */
export class RowParser {
  fault: EngineError | undefined;
  readonly #name: string;
  /** The beginning of a row whose end has not been read yet, and the line it starts on. */
  #pending = "";
  #line = 1;
  /** Fields of the header; 0 until it has been read. */
  #width = 0;
  /** The first empty line, which is a fault unless nothing but empty lines follows; 0 when there is none. */
  #emptyLine = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** The line that the next character will be on. */
  currentLine(): number {
    return this.#line + newLines(this.#pending);
  }

  push(text: string): SourceRow[] {
    return this.#parse(this.#pending + text, false);
  }

  /** Parses what is left; no text follows. */
  end(): SourceRow[] {
    return this.#parse(this.#pending, true);
  }

  #parse(text: string, isLast: boolean): SourceRow[] {
    const rows: SourceRow[] = [];
    let start = 0;
    let quoteAt = -1;
    let returnAt = -1;
    while (start < text.length && !this.fault) {
      let end = text.indexOf("\n", start);
      if (end === -1) end = text.length;
      if (quoteAt < start) quoteAt = indexOrEnd(text, '"', start);
      if (quoteAt < end) {
        const row = this.#quotedRow(text, start, isLast);
        if (!row) break;
        if (row.next - start > MAX_ROW_CHARACTERS) this.#tooLong();
        else this.#take(rows, row.fields, false);
        start = row.next;
        this.#line += row.lines;
        continue;
      }
      if (end === text.length && !isLast) break;
      if (returnAt < start) returnAt = indexOrEnd(text, "\r", start);
      const next = end + 1;
      if (end < text.length && end > start && text.charCodeAt(end - 1) === CARRIAGE_RETURN) end--;
      if (returnAt < end) this.#fail(this.#line, LONE_RETURN);
      else if (end - start > MAX_ROW_CHARACTERS) this.#tooLong();
      else {
        const fields = text.slice(start, end).split(",");
        if (end - start > MAX_FIELD_BYTES / 3) for (const field of fields) this.#checkLength(field);
        if (!this.fault) this.#take(rows, fields, end === start);
      }
      start = next;
      this.#line++;
    }
    this.#pending = this.fault ? "" : text.slice(start);
    if (!this.fault && this.#pending.length > MAX_FIELD_BYTES / 3) this.#checkPending();
    return rows;
  }

  #take(rows: SourceRow[], fields: string[], isEmptyLine: boolean): void {
    // With one column an empty line is a row; with several it can only be an extra line break.
    if (isEmptyLine && this.#width > 1) {
      if (this.#emptyLine === 0) this.#emptyLine = this.#line;
      return;
    }
    if (this.#emptyLine > 0) {
      this.#fail(this.#emptyLine, "is empty, and rows follow");
      return;
    }
    if (this.#width === 0) this.#width = fields.length;
    if (fields.length === this.#width) rows.push({ line: this.#line, fields });
    else this.#fail(this.#line, `has ${fieldsOf(fields.length)}, but the header has ${fieldsOf(this.#width)}`);
  }

  /** One row that has quotes, or undefined when its end has not been read yet or it has a fault. */
  #quotedRow(text: string, start: number, isLast: boolean): QuotedRow | undefined {
    const fields: string[] = [];
    let lines = 0;
    let at = start;
    for (;;) {
      let field = "";
      if (text.charCodeAt(at) === QUOTE) {
        at++;
        for (;;) {
          const close = text.indexOf('"', at);
          if (close === -1 || (close + 1 === text.length && !isLast)) {
            if (isTooLong(field + text.slice(at, close === -1 ? text.length : close))) {
              return this.#fail(
                this.#line + lines,
                `has a field longer than ${MAX_FIELD_BYTES} bytes; does its quote close?`,
              );
            }
            return isLast ? this.#fail(this.#line + lines, "has a quote that never closes") : undefined;
          }
          field += text.slice(at, close);
          at = close + 1;
          if (text.charCodeAt(at) !== QUOTE) break;
          field += '"';
          at++;
        }
        if (!this.#checkLength(field, lines)) return undefined;
        lines += newLines(field);
      } else {
        const from = at;
        while (at < text.length && !endsField(text.charCodeAt(at))) at++;
        field = text.slice(from, at);
        if (!this.#checkLength(field, lines)) return undefined;
        if (text.charCodeAt(at) === QUOTE) {
          return this.#fail(this.#line + lines, "has a quote inside a field that does not begin with one");
        }
      }
      fields.push(field);
      if (at === text.length) return isLast ? { fields, next: at, lines: lines + 1 } : undefined;
      const mark = text.charCodeAt(at++);
      if (mark === COMMA) continue;
      if (mark === NEW_LINE) return { fields, next: at, lines: lines + 1 };
      if (mark !== CARRIAGE_RETURN) return this.#fail(this.#line + lines, "has text after a field's closing quote");
      if (at === text.length && !isLast) return undefined;
      if (text.charCodeAt(at) !== NEW_LINE) return this.#fail(this.#line + lines, LONE_RETURN);
      return { fields, next: at + 1, lines: lines + 1 };
    }
  }

  /** Whether a field is short enough; otherwise the fault is set. */
  #checkLength(field: string, linesBefore = 0): boolean {
    if (!isTooLong(field)) return true;
    this.#fail(this.#line + linesBefore, `has a field longer than ${MAX_FIELD_BYTES} bytes`);
    return false;
  }

  /** Limits an incomplete row, and its last field. Quoted fields have been checked while they were parsed. */
  #checkPending(): void {
    if (this.#pending.length > MAX_ROW_CHARACTERS) this.#tooLong();
    else if (!this.#pending.includes('"')) this.#checkLength(this.#pending.slice(this.#pending.lastIndexOf(",") + 1));
  }

  #tooLong(): void {
    this.#fail(this.#line, `has a row longer than ${MAX_ROW_CHARACTERS} characters`);
  }

  #fail(line: number, message: string): undefined {
    this.fault ??= badInput(OP, `${this.#name} line ${line}`, message);
  }
}

const LONE_RETURN = "has a carriage return that no line feed follows";

const fieldsOf = (width: number): string => (width === 1 ? "1 field" : `${width} fields`);

const endsField = (mark: number): boolean =>
  mark === COMMA || mark === NEW_LINE || mark === CARRIAGE_RETURN || mark === QUOTE;

function indexOrEnd(text: string, mark: string, from: number): number {
  const index = text.indexOf(mark, from);
  return index === -1 ? text.length : index;
}

function newLines(text: string): number {
  let lines = 0;
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}

/** A character takes 3 bytes at most (two units of UTF-16 take 4), so most fields need no counting. */
const isTooLong = (field: string): boolean =>
  field.length * 3 > MAX_FIELD_BYTES && Buffer.byteLength(field) > MAX_FIELD_BYTES;
