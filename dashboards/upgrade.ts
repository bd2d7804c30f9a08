/**
 * Checks and refusals of WebSocket upgrades, before there is a WebSocket: the answer is a plain HTTP response, and the
 * connection is closed. A refusal never throws.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

const STATUS_TEXTS = { 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable" } as const;

export interface Refusal {
  status: keyof typeof STATUS_TEXTS;
  reason: string;
}

/** Answers an upgrade with an error status and closes its connection. */
export function refuseUpgrade(socket: Duplex, { status, reason }: Refusal): void {
  socket.once("finish", () => socket.destroy()); // the peer may never close its half
  const retry = status === 503 ? "Retry-After: 5\r\n" : "";
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_TEXTS[status]}\r\n${retry}Content-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(reason)}\r\nConnection: close\r\n\r\n${reason}`,
  );
}

/** Whether a page of another site asks. A browser sends the page's origin; other clients send none. */
export function hasForeignOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return false;
  try {
    return new URL(origin).host !== host?.toLowerCase();
  } catch {
    return true;
  }
}
