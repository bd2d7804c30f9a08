/**
 * Bodies that are read while they arrive, of any length up to a bound: the route gets the bytes in pieces, inflated
 * when they were sent with gzip. The bound is on inflated bytes, so a small body that inflates without end is refused.
 * A client that sends nothing for some time gets 408, and so does one that takes longer than an hour for all.
 * A body that is refused before its end is answered at once; the rest is read for a moment, so that its client can
 * receive the answer.
 */
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { HOUR_MS, stopwatch } from "../../engine/kernel/clock.js";
import { GzipFault, inflated } from "../mapping/unpack.js";
import { HttpFault } from "./problem.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route reads its body piece by piece: it may be compressed with gzip, and take as long as an hour. */
    streamed?: boolean;
  }
}

/** 5 million rows of 100 bytes. */
export const MAX_STREAMED_BYTES = 512 * 1024 * 1024;
/** A source that reads a slow database between two pieces needs some seconds. */
const IDLE_MS = 30_000;
/** All parts of a report have to come within an hour: a longer one would only keep a place from others. */
const WHOLE_MS = HOUR_MS;

/** A body that has not been read yet. */
export class StreamedBody {
  readonly #raw: Readable;

  constructor(raw: Readable) {
    this.#raw = raw;
  }

  /**
   * Its bytes, inflated; can be read once.
   * @param maxBytes after inflating; MAX_STREAMED_BYTES at most
   * @throws HttpFault 408, 413, or 400 when it is not gzip although it was announced so
   */
  async *pieces(
    request: FastifyRequest,
    maxBytes: number,
    { idleMs = IDLE_MS, wholeMs = WHOLE_MS }: { idleMs?: number; wholeMs?: number } = {},
  ): AsyncGenerator<Buffer> {
    const limit = Math.min(maxBytes, MAX_STREAMED_BYTES);
    const bytes = received(this.#raw, limit, idleMs, wholeMs);
    let left = limit;
    try {
      for await (const piece of isGzip(request) ? inflated(bytes) : bytes) {
        left -= piece.length;
        if (left < 0) throw tooLarge(limit);
        yield piece as Buffer;
      }
    } catch (thrown) {
      throw thrown instanceof GzipFault ? new HttpFault("malformed_body", thrown.message) : thrown;
    }
  }
}

export const isGzip = ({ headers }: Pick<FastifyRequest, "headers">): boolean =>
  headers["content-encoding"]?.toLowerCase() === "gzip";

/** A body as it is sent. With many small blocks gzip data is longer than what it inflates to; never twice as long. */
const sentLimit = (limit: number): number => 2 * limit + 64 * 1024;

const tooLate = (detail: string): HttpFault =>
  new HttpFault("request_timeout", detail, { headers: { connection: "close" } });

const tooLarge = (limit: number): HttpFault =>
  new HttpFault("body_too_large", `at most ${limit} bytes are read of this body, counted after inflating`);

/** Reads bodies of these content types as a StreamedBody. */
export function streamBodies(server: FastifyInstance, types: readonly string[]): void {
  server.addContentTypeParser([...types], (request, raw, done) => {
    if (Number(request.headers["content-length"] ?? 0) > MAX_STREAMED_BYTES) done(tooLarge(MAX_STREAMED_BYTES));
    else done(null, new StreamedBody(raw));
  });
}

/** The pieces of a body as they are sent; the end of the loop leaves the rest unread. */
async function* received(raw: Readable, limit: number, idleMs: number, wholeMs: number): AsyncGenerator<Buffer> {
  const pieces = raw.iterator({ destroyOnReturn: false });
  const takenMs = stopwatch();
  // Counted here, too: gzip data may have any number of blocks that inflate to nothing.
  let left = sentLimit(limit);
  try {
    for (;;) {
      const next = await within(pieces.next(), idleMs);
      if (next.done) return;
      left -= (next.value as Buffer).length;
      if (left < 0) throw tooLarge(limit);
      if (takenMs() > wholeMs) throw tooLate(`the body was not complete within ${wholeMs / 60_000} minutes`);
      yield next.value as Buffer;
    }
  } finally {
    // Not awaited: while a piece is awaited it ends only with that piece.
    void pieces.return?.().catch(() => {});
  }
}

function within<T>(piece: Promise<T>, idleMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(tooLate(`no byte of the body came for ${idleMs / 1_000} s`));
    }, idleMs);
    piece.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Whether the client has left before its body was complete: no answer is read. */
export const hasLeft = ({ raw }: { raw: IncomingMessage }): boolean => raw.destroyed && !raw.complete;
