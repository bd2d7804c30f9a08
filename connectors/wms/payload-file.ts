/**
 * Reads payloads from a file: NDJSON, a JSON array, or objects over several text lines, one after the other. The format
 * is detected from the beginning. The file is read as a stream, so memory is limited by the largest payload, not by the
 * file. An unreadable payload is returned with its line number and the reason, and reading continues after it.
 */
import { createReadStream } from "node:fs";
import { badInput, messageOf } from "../../engine/kernel/errors.js";

/** Far above any order: the HTTP API accepts 128 KiB. */
export const MAX_PAYLOAD_BYTES = 1_048_576;
/** Read to detect the format: the first line, or as much of it. */
const HEAD_BYTES = 65_536;
const MEBIBYTE = 1_048_576;

export interface Payload {
  /** The line where it begins, from 1. */
  line: number;
  /** Its length in the file. */
  bytes: number;
  value: unknown;
}
export interface UnreadablePayload {
  line: number;
  bytes: number;
  /** Why, such as `is not JSON: …`. */
  fault: string;
}

/** Bytes of one payload; undefined when there are too many to keep. */
interface Piece {
  line: number;
  bytes: number;
  text: Buffer | undefined;
}

const [
  LINE_FEED,
  CARRIAGE_RETURN,
  BLANK,
  TAB,
  QUOTE,
  BACKSLASH,
  COMMA,
  OPEN_LIST,
  CLOSE_LIST,
  OPEN_OBJECT,
  CLOSE_OBJECT,
] = Buffer.from('\n\r \t"\\,[]{}');
const isBlank = (byte: number | undefined): boolean =>
  byte === BLANK || byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === TAB;

/**
 * @throws EngineError (`bad_input`) when the file cannot be read
 */
export async function* readPayloads(file: string): AsyncGenerator<Payload | UnreadablePayload> {
  try {
    yield* payloadsIn(createReadStream(file));
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === undefined) throw thrown;
    const what =
      code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "is a folder" : `cannot be read (${code})`;
    throw badInput("wms.payloads", file, what, thrown);
  }
}

/** The payloads in a file's bytes, in order. */
export async function* payloadsIn(chunks: AsyncIterable<Buffer>): AsyncGenerator<Payload | UnreadablePayload> {
  const input = chunks[Symbol.asyncIterator]();
  try {
    let head = Buffer.alloc(0);
    let isEnd = false;
    while (!isEnd && head.length < HEAD_BYTES && !head.toString("latin1").trimStart().includes("\n")) {
      const next = await input.next();
      if (next.done) isEnd = true;
      else head = Buffer.concat([head, next.value]);
    }
    if (head.subarray(0, 3).equals(Buffer.from("\ufeff"))) head = head.subarray(3);
    async function* whole(): AsyncGenerator<Buffer> {
      yield head;
      for (let next = isEnd ? undefined : await input.next(); next && !next.done; next = await input.next())
        yield next.value;
    }
    const start = head.toString("latin1").trimStart();
    // A text line with a whole object never ends like this. A damaged one may; it is then reported as unreadable.
    const isSpread = /^\{(?:[^\n]*[[{,:])?[ \t\r]*\n/.test(start);
    const pieces = start.startsWith("[") || isSpread ? valuesIn(whole()) : linesIn(whole());
    for await (const piece of pieces) yield read(piece);
  } finally {
    await input.return?.();
  }
}

function read({ line, bytes, text }: Piece): Payload | UnreadablePayload {
  if (text === undefined) return { line, bytes, fault: `is longer than ${MAX_PAYLOAD_BYTES / MEBIBYTE} MiB` };
  try {
    return { line, bytes, value: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text)) };
  } catch (thrown) {
    const what = thrown instanceof SyntaxError ? `is not JSON: ${withoutText(messageOf(thrown))}` : "is not UTF-8";
    return { line, bytes, fault: what };
  }
}

/** Removes what the parser quotes, which may be a buyer's text. */
const withoutText = (message: string): string => message.replace(/,? "[\s\S]*$| in JSON[\s\S]*$/u, "");

/** Collects a payload's bytes up to the limit. */
class Collector {
  #parts: Buffer[] = [];
  bytes = 0;

  add(part: Buffer): void {
    this.bytes += part.length;
    if (this.bytes <= MAX_PAYLOAD_BYTES) this.#parts.push(part);
    else this.#parts = [];
  }

  take(line: number): Piece {
    const { bytes } = this;
    const text = bytes <= MAX_PAYLOAD_BYTES ? Buffer.concat(this.#parts) : undefined;
    this.#parts = [];
    this.bytes = 0;
    return { line, bytes, text };
  }
}

async function* linesIn(chunks: AsyncIterable<Buffer>): AsyncGenerator<Piece> {
  const collector = new Collector();
  let line = 1;
  const isEmpty = ({ text }: Piece): boolean => text?.every(isBlank) === true;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", from)) {
      collector.add(chunk.subarray(from, end));
      const piece = collector.take(line++);
      if (!isEmpty(piece)) yield piece;
      from = end + 1;
    }
    collector.add(chunk.subarray(from));
  }
  const last = collector.take(line);
  if (!isEmpty(last)) yield last;
}

/**
 * The values of an array, or of a sequence without separators. Only brackets and strings are read here; the rest is
 * checked by the parser.
 */
async function* valuesIn(chunks: AsyncIterable<Buffer>): AsyncGenerator<Piece> {
  const collector = new Collector();
  let line = 1;
  let startLine = 0;
  let depth = 0;
  let isInString = false;
  let isEscaped = false;
  let isList: boolean | undefined;
  for await (const chunk of chunks) {
    // Where the value's part in this chunk begins: 0 when the value began in an earlier chunk.
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      if (byte === LINE_FEED) line++;
      if (isInString) {
        if (isEscaped) isEscaped = false;
        else if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) isInString = false;
        continue;
      }
      if (isList === undefined && !isBlank(byte)) {
        isList = byte === OPEN_LIST;
        if (isList) continue;
      }
      const isOpen = startLine > 0;
      const isSeparator = isList === true && depth === 0 && (byte === COMMA || byte === CLOSE_LIST);
      if (isSeparator) {
        if (isOpen) {
          collector.add(chunk.subarray(from, i));
          yield collector.take(startLine);
          startLine = 0;
        }
        // Text after the list's end is reported as unreadable, value by value.
        if (byte === CLOSE_LIST) isList = false;
        continue;
      }
      if (!isOpen) {
        if (isBlank(byte)) continue;
        startLine = line;
        from = i;
      }
      if (byte === QUOTE) isInString = true;
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++;
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth = Math.max(0, depth - 1);
      if (isList !== true && depth === 0 && (byte === CLOSE_LIST || byte === CLOSE_OBJECT)) {
        collector.add(chunk.subarray(from, i + 1));
        yield collector.take(startLine);
        startLine = 0;
      }
    }
    if (startLine > 0) collector.add(chunk.subarray(from));
  }
  if (startLine > 0) yield collector.take(startLine);
  // A list that was cut off after a whole value: reported as ending too early.
  if (isList && depth === 0 && !isInString) yield { line, bytes: 0, text: Buffer.alloc(0) };
}
