/**
 * Decompresses a file's bytes: gzip data, detected by its first two bytes, is inflated as a stream; other bytes pass
 * unchanged. Bytes before a fault of the gzip data are returned first, except those of the last 4 KiB given to zlib.
 * A fault is a GzipFault without a place, because only the row reader has the line number.
 */
import { createGunzip } from "node:zlib";

/** What zlib is given at a time. At a fault, what it had inflated of this much is lost: a few hundred rows. */
const INFLATE_STEP_BYTES = 4 * 1024;
const INFLATED_BYTES = 64 * 1024;

/** The gzip data is damaged, cut off, or followed by other bytes. */
export class GzipFault extends Error {}

/** The bytes, decompressed when they begin as gzip data does. */
export async function* unpacked(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = pieces[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done) return;
  try {
    const all = prepended(first.value, { [Symbol.asyncIterator]: () => source });
    yield* first.value[0] === 0x1f && first.value[1] === 0x8b ? inflated(all) : all;
  } finally {
    // A reader that ends at the first piece has not begun the rest, which would stay open.
    await source.return?.();
  }
}

async function* prepended(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

export async function* inflated(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
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
        // After an error or an early end zlib never calls back, so these two events end the wait as well.
        await new Promise<void>((resolve) => {
          wake = resolve;
          gunzip.write(piece.subarray(from, from + INFLATE_STEP_BYTES), () => resolve());
        });
        // After each step: 4 KiB may inflate to 4 MiB, and a piece has many steps.
        yield* take();
      }
      if (failure) throw new GzipFault(`the gzip data is damaged (${failure.message})`, { cause: failure });
      if (hasEnded) throw new GzipFault("bytes that are not gzip follow the gzip data");
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
      gunzip.end();
    });
    yield* take();
    if (failure) {
      const what = failure.code === "Z_BUF_ERROR" ? "is cut off" : `is damaged (${failure.message})`;
      throw new GzipFault(`the gzip data ${what}`, { cause: failure });
    }
  } finally {
    gunzip.destroy();
  }
}
