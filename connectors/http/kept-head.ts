/**
 * Sends answers whose heads differ in few lines, without making each head anew: Node checks and joins a dozen headers
 * for each answer, which takes longer than everything else that is done for one. The lines that all have in common are
 * kept as Node has written them for the first of them, for connections that stay open; so their form is Node's own, and
 * other connections get a head of their own. The field that holds the head is not in Node's types; where it is missing,
 * every head is made anew.
 */
import type { ServerResponse } from "node:http";

/** What Node has written around an answer's own lines, its Date included. */
export interface KeptHead {
  readonly before: string;
  readonly after: string;
}

interface NodeResponse {
  /** The head as bytes of Latin-1, from `writeHead` on; null before. */
  _header?: string | null;
}

/** Whether a kept head may be sent: Node has not written one for this answer, and would write the same. */
export const takesKeptHead = (response: ServerResponse): boolean =>
  response.shouldKeepAlive && response.req.httpVersionMinor === 1 && (response as NodeResponse)._header === null;

/**
 * Sends an answer with status 200 in one write.
 * @param ownLines of the head, each with its line end
 * @param body bytes of Latin-1
 */
export function sendWithKeptHead(response: ServerResponse, head: KeptHead, ownLines: string, body: string): void {
  // Node writes what it takes for the head as it is.
  (response as NodeResponse)._header = head.before + ownLines + head.after + body;
  response.end();
}

/**
 * What Node has written around an answer's own lines; undefined when they are not found.
 * @param response one that took a kept head, after `writeHead`
 */
export function keptHeadOf(response: ServerResponse, ownLines: string): KeptHead | undefined {
  const { _header: head } = response as NodeResponse;
  const at = head?.indexOf(ownLines) ?? -1;
  if (!head || at < 0) return undefined;
  return { before: head.slice(0, at), after: head.slice(at + ownLines.length) };
}
