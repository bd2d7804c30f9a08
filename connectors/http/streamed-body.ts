/**
 * Bodies that are read while they arrive, of any length up to a bound: the route gets the bytes in pieces, inflated
 * when they were sent with gzip. The bound is on inflated bytes, so a small body that inflates without end is refused.
 * Instead of a time for the whole body there is one for each piece; a client that sends nothing for so long gets 408.
 * A route that answers before the end of a body reads on for a moment, so that its client can receive the answer.
 */
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { GzipFault, inflated } from "../mapping/unpack.js";
import { HttpFault } from "./problem.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route reads its body piece by piece: it may be compressed with gzip, and has no time limit as a whole. */
    streamed?: boolean;
  }
}

/** 5 million rows of 100 bytes. */
export const MAX_STREAMED_BYTES = 512 * 1024 * 1024;
/** A source that reads a slow database between two pieces needs some seconds. */
const IDLE_MS = 30_000;

/** A body that nobody has read yet. */
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
  async *pieces(request: FastifyRequest, maxBytes: number, idleMs = IDLE_MS): AsyncGenerator<Buffer> {
    const bytes = received(this.#raw, idleMs);
    const limit = Math.min(maxBytes, MAX_STREAMED_BYTES);
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

const tooLarge = (limit: number): HttpFault =>
  new HttpFault("body_too_large", `at most ${limit} bytes are read of this body, counted after inflating`);

/** Reads bodies of these content types as a StreamedBody. */
export function streamBodies(server: FastifyInstance, types: readonly string[]): void {
  server.addContentTypeParser([...types], (request, raw, done) => {
    if (Number(request.headers["content-length"] ?? 0) > MAX_STREAMED_BYTES) done(tooLarge(MAX_STREAMED_BYTES));
    else done(null, new StreamedBody(raw));
  });
}

/** The pieces of a body; the end of the loop leaves the rest unread. */
async function* received(raw: Readable, idleMs: number): AsyncGenerator<Buffer> {
  const pieces = raw.iterator({ destroyOnReturn: false });
  try {
    for (;;) {
      const next = await within(pieces.next(), idleMs);
      if (next.done) return;
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
      const detail = `no byte of the body came for ${idleMs / 1_000} s`;
      reject(new HttpFault("request_timeout", detail, { headers: { connection: "close" } }));
    }, idleMs);
    piece.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Whether the client has left before its body was complete: nobody reads an answer. */
export const hasLeft = ({ raw }: { raw: IncomingMessage }): boolean => raw.destroyed && !raw.complete;
