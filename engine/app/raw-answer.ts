/**
 * Answers on a bare socket: to bytes that were no valid request, and to upgrades that are refused. Every answer is a
 * problem document, and the connection is closed after it, because the client may never close its side.
 */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { problemOf } from "../../connectors/http/index.js";

/** Time for the answer to leave: it has less than 1 KiB, which the system accepts at once. */
const ANSWER_MS = 2_000;

export type RawProblemCode =
  | "bad_request"
  | "headers_too_large"
  | "request_timeout"
  | "stopping"
  | "misdirected_request"
  | "unauthorized"
  | "forbidden"
  | "forbidden_origin"
  | "overloaded"
  | "unavailable";

/** The problem code for an error of Node's HTTP parser. */
export function parserProblemCode(errorCode: string | undefined): RawProblemCode {
  if (errorCode === "HPE_HEADER_OVERFLOW") return "headers_too_large";
  return errorCode === "ERR_HTTP_REQUEST_TIMEOUT" ? "request_timeout" : "bad_request";
}

/** Sends a problem and closes the connection. */
export function answerRaw(socket: Duplex, code: RawProblemCode): void {
  socket.on("error", () => socket.destroy());
  if (!socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  const problem = problemOf(code, "the request was not accepted");
  const body = JSON.stringify(problem);
  const cut = setTimeout(() => socket.destroy(), ANSWER_MS);
  socket.once("close", () => clearTimeout(cut));
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\nContent-Type: application/problem+json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
