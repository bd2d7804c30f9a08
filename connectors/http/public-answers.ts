/**
 * What all answers for the pages of shops share: pages of any site may read them and see how old they are, caches read
 * their headers in a certain order, and a client that has an answer already gets 304. What they say is the routes'.
 */
import type { FastifyReply, onRequestHookHandler } from "fastify";

export const SHARED_HEADERS = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "Age, Date",
};

/** For a route's `onRequest`: its answers, refusals too, may be read by pages of any site. */
export const shareWithPages: onRequestHookHandler = (_request, reply, done) => {
  reply.headers(SHARED_HEADERS);
  done();
};

/**
 * Sets headers in their order: `x-accel-expires` comes before the `cache-control` that every answer has.
 * @param head names and values in turn
 */
export function setHead(reply: FastifyReply, head: readonly string[]): void {
  reply.removeHeader("cache-control");
  for (let i = 0; i < head.length; i += 2) reply.header(head[i] as string, head[i + 1]);
}

/** Whether a client has the answer with this ETag, by its If-None-Match. */
export function isKnown(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((each) => each.trim() === "*" || each.trim().replace(/^W\//, "") === etag);
}
