/**
 * Rows of a text, one a line, for any format of a line. The text is UTF-8, with or without a byte order mark; lines end
 * with a line feed, or a carriage return before it. A line that is too long or not UTF-8 is a fault at its own place:
 * the rows before it are passed on first.
 */
import { isUtf8 } from "node:buffer";
import { MAX_ROW_BYTES, type Row, type RowReader, type TakeRow, TOO_LONG } from "./row-reader.js";

/** One line of a text as a row. */
export interface LineParser {
  /**
   * Reads the line from `from` to `to` into the row.
   * @returns true for a row, false for a line without one, or what is wrong
   */
  read(text: string, from: number, to: number, row: Row): boolean | string;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** Rows of a text, one a line; empty lines are skipped. */
export class TextRows implements RowReader {
  readonly #parser: LineParser;
  readonly #row: Row = [];
  #rest: Buffer = Buffer.alloc(0);
  #isFirst = true;

  constructor(parser: LineParser) {
    this.#parser = parser;
  }

  push(bytes: Buffer, take: TakeRow): string | undefined {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const last = all.lastIndexOf(NEWLINE);
    // A copy, so that the piece is not kept for the sake of its end.
    this.#rest = Buffer.from(all.subarray(last + 1));
    const fault = last < 0 ? undefined : this.#lines(all.subarray(0, last), take);
    return fault ?? (this.#rest.length > MAX_ROW_BYTES ? TOO_LONG : undefined);
  }

  end(take: TakeRow): string | undefined {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return this.#lines(rest, take);
  }

  /** Rows of whole lines. */
  #lines(bytes: Buffer, take: TakeRow): string | undefined {
    if (isUtf8(bytes)) return this.#text(this.#withoutMark(bytes.toString("utf8")), take);
    // One line at a time, so that the rows before the fault are taken and counted.
    for (let from = 0; from <= bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, from);
      const line = bytes.subarray(from, newline < 0 ? bytes.length : newline);
      if (!isUtf8(line)) return "is not valid UTF-8";
      const fault = this.#text(this.#withoutMark(line.toString("utf8")), take);
      if (fault !== undefined) return fault;
      from += line.length + 1;
    }
    return undefined;
  }

  #withoutMark(text: string): string {
    if (!this.#isFirst || text === "") return text;
    this.#isFirst = false;
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }

  #text(text: string, take: TakeRow): string | undefined {
    const row = this.#row;
    for (let from = 0; from < text.length; ) {
      let to = text.indexOf("\n", from);
      if (to < 0) to = text.length;
      const next = to + 1;
      if (to > from && text.charCodeAt(to - 1) === RETURN) to--;
      if (to - from > MAX_ROW_BYTES) return TOO_LONG;
      const read = to === from ? false : this.#parser.read(text, from, to, row);
      if (typeof read === "string") return read;
      if (read && !take(row)) return undefined;
      from = next;
    }
    return undefined;
  }
}
