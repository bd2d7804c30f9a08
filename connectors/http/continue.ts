/**
 * `Expect: 100-continue`: the client is told to go on only when its body is wanted. Who is refused (no token, too
 * large, too busy, nothing here) gets the refusal instead, and Node closes the connection after it, because the body
 * that was announced may or may not follow.
 */
import type { preParsingHookHandler } from "fastify";

const CONTINUE = /^100-continue$/i;

/** For `preParsing`: everything before it has let the request in. The server must not write the 100 by itself. */
export const continueBody: preParsingHookHandler = (request, reply, payload, done) => {
  const { expect, "content-length": length = "0" } = request.headers;
  // A body that is too large is refused by its length, without a byte of it.
  const { bodyLimit = Number.POSITIVE_INFINITY } = request.routeOptions;
  if (typeof expect === "string" && CONTINUE.test(expect) && Number(length) <= bodyLimit) reply.raw.writeContinue();
  done(null, payload);
};
