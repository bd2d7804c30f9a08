/**
 * Reads CSV (RFC 4180) as a stream, from a plain or gzip'd file, detected by its first bytes. Every returned row is
 * exactly as in the file: strict UTF-8, as many fields as the header, closed quotes, a correct gzip checksum; anything
 * else is an EngineError with the file and the line number. Rows before a fault of the text are returned first; before
 * a fault of the gzip data, those that could be decompressed. Memory is limited by a chunk and a row. It does not guess
 * separators or encodings, trim blanks, or detect a plain file that was cut off at a row's end or inside its last field.
 */
import { isAscii, isUtf8 } from "node:buffer";
import { type FileHandle, open } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { badInput, type EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { SourceRow } from "../mapping/mapping.js";

const OP = "csv.read";
/** The longest field, in bytes of UTF-8. A longer one is nearly always a quote that was never closed. */
export const MAX_FIELD_BYTES = 64 * 1024;
/** The longest row, in characters: 16 fields of full length; bounds what is kept while looking for a row's end. */
export const MAX_ROW_CHARACTERS = 16 * MAX_FIELD_BYTES;
/** One read of the file: small enough for a steady progress bar, large enough that reading is not what takes time. */
const READ_BYTES = 64 * 1024;
/** What zlib is given at a time. At a fault, what it had inflated of this much is lost: a few hundred rows. */
const INFLATE_STEP_BYTES = 4 * 1024;
const INFLATED_BYTES = 64 * 1024;

const CARRIAGE_RETURN = 0x0d;
const NEW_LINE = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BYTE_ORDER_MARK = 0xfeff;

/** An open CSV file whose header has been read. */
export interface CsvFile {
  /** As given by the caller. */
  readonly name: string;
  /** The header's fields; no two are the same. */
  readonly columns: readonly string[];
  /** The size on disk, in bytes; compressed when the file is. */
  readonly totalBytes: number;
  /** How many of `totalBytes` have been read so far. */
  bytesRead(): number;
  /** The rows after the header, in chunks; can be read once. The loop closes the file, however it ends. */
  readonly rows: AsyncIterable<SourceRow[]>;
  /** Closes a file whose rows were not read; may be repeated. */
  close(): Promise<void>;
}

/**
 * Opens a CSV file, plain or gzip'd, and reads its header.
 * @throws EngineError (`bad_input`) when the file cannot be opened or is not what it should be
 */
export async function openCsv(path: string): Promise<CsvFile> {
  const handle = await openFile(path);
  try {
    const { size } = await handle.stat();
    let bytesRead = 0;
    const pieces = filePieces(handle, path, (bytes) => {
      bytesRead += bytes;
    });
    const rows = readRows(unpacked(pieces), path);
    const first = await rows.next();
    const header = first.done ? undefined : first.value.shift();
    if (first.done || !header) throw badInput(OP, path, "is empty: not even a header line");
    const { fields: columns } = header;
    const twice = columns.find((column, index) => columns.indexOf(column) !== index);
    if (twice !== undefined) throw badInput(OP, `${path} line 1`, `names the column ${JSON.stringify(twice)} twice`);
    return {
      name: path,
      columns,
      totalBytes: size,
      bytesRead: () => bytesRead,
      rows: closing(first.value, rows, handle),
      close: async () => {
        await rows.return(undefined);
        await handle.close();
      },
    };
  } catch (thrown) {
    await handle.close();
    throw thrown;
  }
}

async function* closing(
  first: SourceRow[],
  rest: AsyncGenerator<SourceRow[]>,
  handle: FileHandle,
): AsyncGenerator<SourceRow[]> {
  try {
    if (first.length > 0) yield first;
    yield* rest;
  } finally {
    await rest.return(undefined);
    await handle.close();
  }
}

const OPEN_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file: a part of the path is not a directory",
  EACCES: "there is no permission to read it",
  EPERM: "there is no permission to read it",
  EISDIR: "is a directory, not a file",
};

function unreadable(path: string, thrown: unknown): EngineError {
  const code = (thrown as NodeJS.ErrnoException | undefined)?.code ?? "";
  return badInput(OP, path, OPEN_FAULTS[code] ?? `cannot be read (${messageOf(thrown)})`, thrown);
}

async function openFile(path: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
  const status = await handle.stat();
  if (status.isFile()) return handle;
  await handle.close();
  // A pipe cannot be read again, and a replay must be able to repeat itself.
  throw badInput(OP, path, status.isDirectory() ? "is a directory, not a file" : "is not a regular file");
}

async function* filePieces(
  handle: FileHandle,
  path: string,
  onRead: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const piece = Buffer.allocUnsafe(READ_BYTES);
    let length: number;
    try {
      length = (await handle.read(piece, 0, READ_BYTES)).bytesRead;
    } catch (thrown) {
      throw unreadable(path, thrown);
    }
    if (length === 0) return;
    onRead(length);
    yield piece.subarray(0, length);
  }
}

/** A fault of the packing. Only the row reader knows the line it stands at, so it says where. */
class PackingFault extends Error {}

async function* unpacked(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = pieces[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done) return;
  const all = prepended(first.value, { [Symbol.asyncIterator]: () => source });
  yield* first.value[0] === 0x1f && first.value[1] === 0x8b ? inflated(all) : all;
}

async function* prepended(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

async function* inflated(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: INFLATED_BYTES });
  let ready: Uint8Array[] = [];
  let failure: NodeJS.ErrnoException | undefined;
  let hasEnded = false;
  let wake = () => {};
  gunzip.on("data", (chunk: Uint8Array) => ready.push(chunk));
  gunzip.on("error", (error: NodeJS.ErrnoException) => {
    failure = error;
    wake();
  });
  gunzip.on("end", () => {
    hasEnded = true;
    wake();
  });
  const take = (): Uint8Array[] => {
    const taken = ready;
    ready = [];
    return taken;
  };
  try {
    for await (const piece of pieces) {
      for (let from = 0; from < piece.length && !failure && !hasEnded; from += INFLATE_STEP_BYTES) {
        // Besides the step's own callback, an error or an early end wakes: zlib then never calls back.
        await new Promise<void>((resolve) => {
          wake = resolve;
          gunzip.write(piece.subarray(from, from + INFLATE_STEP_BYTES), () => resolve());
        });
      }
      yield* take();
      if (failure) throw new PackingFault(`the gzip data is damaged (${failure.message})`, { cause: failure });
      if (hasEnded) throw new PackingFault("bytes that are not gzip follow the gzip data");
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
      gunzip.end();
    });
    yield* take();
    if (failure) {
      const what = failure.code === "Z_BUF_ERROR" ? "is cut off" : `is damaged (${failure.message})`;
      throw new PackingFault(`the gzip data ${what}`, { cause: failure });
    }
  } finally {
    gunzip.destroy();
  }
}

/**
 * The rows of CSV bytes, the header among them as the first row, in chunks that follow the pieces of `bytes`.
 * @param bytes in pieces of any length
 * @param name of the file, for errors
 * @throws EngineError (`bad_input`) at the first fault, after every row before it has been handed out
 */
export async function* readRows(bytes: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<SourceRow[]> {
  const parser = new RowParser(name);
  let tail: Uint8Array | undefined;
  let isFirst = true;
  try {
    for await (const piece of bytes) {
      const joined = tail
        ? Buffer.concat([tail, piece])
        : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      const length = wholeCharacters(joined);
      const whole = joined.subarray(0, length);
      tail = length < joined.length ? joined.subarray(length) : undefined;
      const isValid = isUtf8(whole);
      let text = textOf(isValid ? whole : validLines(whole));
      if (isFirst && text.length > 0) {
        isFirst = false;
        if (text.charCodeAt(0) === BYTE_ORDER_MARK) text = text.slice(1);
      }
      const rows = parser.push(text);
      if (rows.length > 0) yield rows;
      if (parser.fault) throw parser.fault;
      if (!isValid) throw notUtf8(name, parser);
    }
  } catch (thrown) {
    if (!(thrown instanceof PackingFault)) throw thrown;
    const lines = parser.currentLine() - 1;
    const place = lines === 0 ? `${name} before the end of line 1` : `${name} after line ${lines}`;
    throw badInput(OP, place, thrown.message, thrown.cause);
  }
  if (tail) throw notUtf8(name, parser);
  const rows = parser.end();
  if (rows.length > 0) yield rows;
  if (parser.fault) throw parser.fault;
}

const notUtf8 = (name: string, parser: RowParser): EngineError =>
  badInput(OP, `${name} line ${parser.currentLine()}`, "is not valid UTF-8; save the file as UTF-8");

const textOf = (bytes: Buffer): string => bytes.toString(isAscii(bytes) ? "latin1" : "utf8");

/** How many bytes of `bytes` come before a last character that is not there in full. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
}

/** The lines before the first that is not UTF-8. A line feed is never a part of a longer character. */
function validLines(bytes: Buffer): Buffer {
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(NEW_LINE, start);
    if (end === -1 || !isUtf8(bytes.subarray(start, end))) return bytes.subarray(0, start);
    start = end + 1;
  }
}

interface QuotedRow {
  fields: string[];
  /** Where the next row starts. */
  next: number;
  lines: number;
}

/** Cuts text into rows. After a fault it takes nothing more. */
class RowParser {
  fault: EngineError | undefined;
  readonly #name: string;
  /** The beginning of a row whose end has not come yet, and the line it starts on. */
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

  /** Says that nothing follows. */
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
    // A row of one field may be empty; of several, an empty line can only be an end that was pressed twice.
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

  /** One row that has quotes, or undefined when its end has not come yet or it has a fault. */
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

  /** Bounds what waits for its end: the row, and its last field. Fields in quotes have been checked on the way. */
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
