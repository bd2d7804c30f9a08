/**
 * Reads CSV (RFC 4180) as a stream, from a plain or gzip'd file, detected by its first bytes. Every returned row is
 * exactly as in the file: strict UTF-8, as many fields as the header, closed quotes, a correct gzip checksum;
 * anything else is an EngineError with the file and the line number. Rows before a fault of the text are returned
 * first; before a fault of the gzip data, those that could be decompressed. Memory is limited by a chunk and a row.
 * It does not guess separators or encodings, trim blanks, or detect a plain file that was cut off at a row's end or
 * inside its last field.
 */
import { isAscii, isUtf8 } from "node:buffer";
import { type FileHandle, open } from "node:fs/promises";
import { badInput, type EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { SourceRow } from "../mapping/mapping.js";
import { GzipFault, unpacked } from "../mapping/unpack.js";
import { NEW_LINE, OP, RowParser } from "./row-parser.js";

/** One read of the file: small enough for a steady progress bar, large enough to keep the number of reads low. */
const READ_BYTES = 64 * 1024;

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
  // A pipe cannot be read again, and a replay must be repeatable.
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

/**
 * The rows of CSV bytes, the header among them as the first row, in chunks that follow the pieces of `bytes`.
 * @param bytes in pieces of any length
 * @param name of the file, for errors
 * @throws EngineError (`bad_input`) at the first fault, after every row before it has been returned
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
    if (!(thrown instanceof GzipFault)) throw thrown;
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

/** The number of bytes before a last character that is incomplete. */
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
