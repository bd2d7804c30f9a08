/** Bodies that stream: a client that sends nothing more, and bounds that count inflated bytes. */
import { PassThrough } from "node:stream";
import { gzipSync } from "node:zlib";
import type { FastifyRequest } from "fastify";
import { describe, expect, it } from "vitest";
import { StreamedBody } from "../../../connectors/http/streamed-body.js";

const plain = { headers: {} } as FastifyRequest;
const gzip = { headers: { "content-encoding": "gzip" } } as unknown as FastifyRequest;

async function read(
  body: PassThrough,
  request: FastifyRequest,
  maxBytes = 1_000_000,
  times: { idleMs?: number; wholeMs?: number } = {},
) {
  const pieces: Buffer[] = [];
  for await (const piece of new StreamedBody(body).pieces(request, maxBytes, times)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

describe("a body that streams", () => {
  it("is read to its end, plain or inflated", async () => {
    expect(await read(new PassThrough().end("abc"), plain)).toBe("abc");
    expect(await read(new PassThrough().end(gzipSync("abc")), gzip)).toBe("abc");
  });

  it("ends with 408 when nothing more comes", async () => {
    const body = new PassThrough();
    body.write("abc");
    await expect(read(body, plain, 1_000, { idleMs: 10 })).rejects.toMatchObject({
      problem: { code: "request_timeout" },
    });
  });

  it("ends with 408 when it takes too long in all, although something comes again and again", async () => {
    const body = new PassThrough();
    const sending = setInterval(() => body.write("a"), 1);
    await expect(read(body, plain, 1_000_000, { wholeMs: 10 })).rejects.toMatchObject({
      problem: { code: "request_timeout" },
    });
    clearInterval(sending);
  });

  it("ends with 413 when it goes on without inflating to anything", async () => {
    const emptyBlock = Buffer.from([0, 0, 0, 0xff, 0xff]);
    const [header, blocks] = [gzipSync("").subarray(0, 10), Buffer.alloc(5 * 1_000, emptyBlock)];
    const body = new PassThrough();
    body.write(header);
    const sending = setInterval(() => body.write(blocks), 1);
    await expect(read(body, gzip, 10_000)).rejects.toMatchObject({ problem: { code: "body_too_large" } });
    clearInterval(sending);
  });

  it("ends with 413 when it is longer than allowed, counted after inflating", async () => {
    const tooLarge = { problem: { code: "body_too_large" } };
    await expect(read(new PassThrough().end("abcd"), plain, 3)).rejects.toMatchObject(tooLarge);
    await expect(read(new PassThrough().end(gzipSync(Buffer.alloc(9_000))), gzip, 8_999)).rejects.toMatchObject(
      tooLarge,
    );
    expect(await read(new PassThrough().end(gzipSync("abc")), gzip, 3)).toBe("abc");
  });

  it("ends with 400 when it is not the gzip that was announced", async () => {
    await expect(read(new PassThrough().end("abc"), gzip)).rejects.toMatchObject({
      problem: { code: "malformed_body" },
    });
  });
});
