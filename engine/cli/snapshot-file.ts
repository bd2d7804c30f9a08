/**
 * A file of rows as the parts of a snapshot: CSV with a header, or one JSON object a line, plain or gzip'd. It is read
 * twice, once to count the rows and once to send them, so that memory is one part whatever the size. It checks nothing
 * but that the file can be read: the server checks each row and names it.
 */
import { createReadStream } from "node:fs";
import { gzip } from "node:zlib";
import { badInput, messageOf } from "../kernel/errors.js";

export interface FilePart {
  /** From 1. */
  readonly part: number;
  readonly rows: number;
  /** With gzip. */
  readonly body: Buffer;
}

export interface SnapshotFile {
  readonly contentType: string;
  readonly rows: number;
  parts(rowsAPart: number): AsyncIterable<FilePart>;
}

const OP = "snapshots";
const NEWLINE = 0x0a;
const TYPES: readonly (readonly [pattern: RegExp, contentType: string])[] = [
  [/\.csv(\.gz)?$/i, "text/csv"],
  [/\.(ndjson|jsonl)(\.gz)?$/i, "application/x-ndjson"],
];

/** @throws EngineError `bad_input` when the file cannot be read, has no rows, or another kind of name */
export async function openSnapshotFile(path: string): Promise<SnapshotFile> {
  const contentType = TYPES.find(([pattern]) => pattern.test(path))?.[1];
  if (contentType === undefined)
    throw badInput(OP, "FILE", "its name must end in .csv, .ndjson or .jsonl, and .gz when it is compressed");
  const isCsv = contentType === "text/csv";
  let lines = 0;
  for await (const _ of linesOf(path)) lines++;
  const rows = isCsv ? lines - 1 : lines;
  if (rows < 1) throw badInput(OP, path, "has no rows");
  return {
    contentType,
    rows,
    async *parts(rowsAPart) {
      let header: Buffer | undefined;
      let held: Buffer[] = [];
      let part = 0;
      const take = async (): Promise<FilePart> => {
        const whole = Buffer.concat(header ? [header, ...held] : held);
        const own = { part: ++part, rows: held.length, body: await compressed(whole) };
        held = [];
        return own;
      };
      for await (const line of linesOf(path)) {
        if (isCsv && header === undefined) header = line;
        else held.push(line);
        if (held.length >= rowsAPart) yield await take();
      }
      if (held.length > 0) yield await take();
    },
  };
}

/** Lines with their line feeds, without empty ones. */
async function* linesOf(path: string): AsyncGenerator<Buffer> {
  const { unpacked } = await import("../../connectors/mapping/unpack.js");
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const piece of unpacked(createReadStream(path))) {
      const all = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece]);
      let from = 0;
      for (let to = all.indexOf(NEWLINE); to >= 0; to = all.indexOf(NEWLINE, from)) {
        const line = all.subarray(from, to + 1);
        if (!isBlank(line)) yield line;
        from = to + 1;
      }
      rest = Buffer.from(all.subarray(from));
    }
  } catch (thrown) {
    throw badInput(OP, path, `cannot be read: ${messageOf(thrown)}`);
  }
  if (!isBlank(rest)) yield Buffer.concat([rest, Buffer.of(NEWLINE)]);
}

const isBlank = (line: Buffer): boolean => line.length <= 2 && line.toString("latin1").trim() === "";

const compressed = (bytes: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    gzip(bytes, { level: 1 }, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    }),
  );
