/**
 * `Expect: 100-continue`: the server sends 100 only when it will read the body. A refused request (no token, too
 * large, overload, unknown path) gets the refusal instead, and Node then closes the connection, because the announced
 * body may or may not follow.
 */
import type { preParsingHookHandler } from "fastify";

const CONTINUE = /^100-continue$/i;

/** For `preParsing`: all earlier checks have accepted the request. The server must not write the 100 by itself. */
export const continueBody: preParsingHookHandler = (request, reply, payload, done) => {
  const { expect, "content-length": length = "0" } = request.headers;
  // A body that is too large is refused by its length header, before it is sent.
  const { bodyLimit = Number.POSITIVE_INFINITY } = request.routeOptions;
  if (typeof expect === "string" && CONTINUE.test(expect) && Number(length) <= bodyLimit) reply.raw.writeContinue();
  done(null, payload);
};
