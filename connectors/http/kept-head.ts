/**
 * Sends an answer that is the same for many requests, without making its head anew: Node checks and joins a dozen
 * headers for each answer, which takes longer than everything else that is done for one. The head is kept as Node has
 * written it for the first of them, for connections that stay open; so its form is Node's own, and others get a head
 * of their own. The field that holds it is not in Node's types; where it is missing, every head is made anew.
 */
import type { ServerResponse } from "node:http";

/** An answer with status 200 whose headers, Date included, may be sent for as long as it is used. */
export interface KeptHeadAnswer {
  /** Names and values in turn. */
  readonly head: readonly string[];
  readonly body: string;
  /** Set by `sendKept`. */
  sentHead: string | undefined;
}

interface NodeResponse {
  /** The head as bytes of Latin-1, from `writeHead` on; null before. */
  _header?: string | null;
}

export function sendKept(response: ServerResponse, answer: KeptHeadAnswer): void {
  const internal = response as NodeResponse;
  const { req } = response;
  const isKept = response.shouldKeepAlive && req.httpVersionMinor === 1 && internal._header === null;
  if (isKept && answer.sentHead !== undefined) internal._header = answer.sentHead;
  else {
    response.writeHead(200, answer.head as string[]);
    if (isKept && typeof internal._header === "string") answer.sentHead = internal._header;
  }
  response.end(answer.body);
}
