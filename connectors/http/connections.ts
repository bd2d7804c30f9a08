/**
 * Limits of one connection. Pipelined requests are served one after the other, each when the answer before it has been
 * sent (RFC 9112, 9.3.2, requires this as soon as one of them is not safe). So a connection has one request in
 * progress and the bytes of one answer. A connection with too many waiting requests, or whose client does not read
 * answers, is closed. An upgrade that is not supported is ignored and the request served (RFC 9110, 7.8). The number
 * of connections is limited in connection-limit.ts.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Counter, type Registry } from "prom-client";
import { stopwatch } from "../../engine/kernel/clock.js";

/**
 * Requests of one connection that may be unanswered. A request is about 3 KB of objects: 100 KB, and 1 GB for 10,000
 * connections. No browser and no proxy pipelines; one read of 64 KiB may hold 2,600 requests.
 */
const MAX_UNANSWERED = 32;
/** The longest time without a byte accepted by the system, however large the write is. */
const UNREAD_MS = 10_000;
/** The largest page, 1.5 MB, at 200 kbit/s: a client that reads a few bytes now and then is closed, too. */
const ANSWER_MS = 60_000;
const SWEEP_MS = 1_000;
/** Answers of this type have no end: only the time without progress is limited. */
export const EVENT_STREAM = "text/event-stream";
/** Would end the header line. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it must find
const BREAKS_LINE = /[\r\n\u0000]/;

/** Node keeps the first 1,000 headers and drops the rest without an error, also those with the body's length. */
const MAX_HEADERS = 1_000;

/** Whether Node may have dropped headers of a request; such a request cannot be interpreted and is refused. */
export const hasTruncatedHeaders = ({ rawHeaders }: IncomingMessage): boolean => rawHeaders.length >= 2 * MAX_HEADERS;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const CLOSE_REASONS = ["pipelined", "unread"] as const;
type CloseReason = (typeof CLOSE_REASONS)[number];

interface Connection {
  socket: Socket;
  /** Requests that wait for the one in progress. */
  waiting: (() => void)[];
  /** Whether a request is in progress. */
  isBusy: boolean;
  /** Ends the request in progress and begins the next one. */
  end: () => void;
  /** The answer in progress. */
  answer: ServerResponse | undefined;
  /** Bytes that the system had accepted at its last progress, and the time of that. */
  acceptedBytes: number;
  /** Bytes of the write in progress that it had not accepted then. */
  queuedBytes: number;
  acceptedAtMs: number;
  /** Since when the answer has been waiting for the client to read; undefined: it has not. */
  unreadSinceMs: number | undefined;
}

export interface PerConnectionLimits {
  maxUnanswered?: number;
  unreadMs?: number;
  answerMs?: number;
}

export class Connections {
  readonly #limits: Required<PerConnectionLimits>;
  readonly #connections = new WeakMap<Duplex, Connection>();
  readonly #busy = new Set<Connection>();
  readonly #closed: Counter<"reason">;
  readonly #nowMs = stopwatch();

  constructor(
    registry: Registry,
    { maxUnanswered = MAX_UNANSWERED, unreadMs = UNREAD_MS, answerMs = ANSWER_MS }: PerConnectionLimits = {},
  ) {
    this.#limits = { maxUnanswered, unreadMs, answerMs };
    this.#closed = new Counter({
      name: "shuiwei_http_connections_cut_total",
      help: "Connections closed because too many requests were pipelined, or because answers were not read",
      labelNames: ["reason"],
      registers: [registry],
    });
    for (const reason of CLOSE_REASONS) this.#closed.inc({ reason }, 0);
  }

  /** Applies the limits to a server, in front of its request handler, until the server is closed. */
  guard(server: Server, handler: Handler): void {
    const serve: Handler = (request, response) => {
      const connection = this.#of(request.socket);
      if (connection.isBusy) this.#wait(connection, () => this.#begin(connection, handler, request, response));
      else this.#begin(connection, handler, request, response);
    };
    server.removeAllListeners("request");
    server.on("request", serve);
    // The 100 is written when the body is needed: see `continueBody`.
    server.on("checkContinue", serve);
    const { unreadMs, answerMs } = this.#limits;
    const sweep = setInterval(() => this.sweep(), Math.min(SWEEP_MS, unreadMs / 4, answerMs / 4));
    sweep.unref();
    server.once("close", () => clearInterval(sweep));
  }

  /** Calls `takeOver` when every earlier request of this connection has been answered; the connection is idle then. */
  handOver(socket: Duplex, takeOver: () => void): void {
    const connection = this.#of(socket as Socket);
    const begin = (): void => {
      if (connection.socket.destroyed) return;
      takeOver();
      connection.waiting.shift()?.();
    };
    if (connection.isBusy) this.#wait(connection, begin);
    else begin();
  }

  /** Whether no request of a connection is being answered. */
  isIdle(socket: Socket): boolean {
    return this.#connections.get(socket)?.isBusy !== true;
  }

  /** Closes connections that have not read for too long; the guard calls it. */
  sweep(): void {
    const nowMs = this.#nowMs();
    for (const connection of this.#busy) {
      const { socket } = connection;
      const unreadBytes = socket.writableLength;
      const acceptedBytes = socket.bytesWritten - unreadBytes;
      const queuedBytes = queuedBytesOf(socket);
      if (unreadBytes === 0 || acceptedBytes !== connection.acceptedBytes || queuedBytes !== connection.queuedBytes) {
        connection.acceptedBytes = acceptedBytes;
        connection.queuedBytes = queuedBytes;
        connection.acceptedAtMs = nowMs;
      }
      if (unreadBytes > 0) connection.unreadSinceMs ??= nowMs;
      else if (connection.answer?.getHeader("content-type") === EVENT_STREAM) connection.unreadSinceMs = undefined;
      const { acceptedAtMs, unreadSinceMs = nowMs } = connection;
      // The time to make the answer does not count.
      const unreadMs = nowMs - Math.max(acceptedAtMs, unreadSinceMs);
      if (unreadMs > this.#limits.unreadMs || nowMs - unreadSinceMs > this.#limits.answerMs)
        this.#close(connection, "unread");
    }
  }

  #of(socket: Socket): Connection {
    return this.#connections.get(socket) ?? this.#add(socket);
  }

  #add(socket: Socket): Connection {
    const connection: Connection = {
      socket,
      waiting: [],
      isBusy: false,
      end: () => {
        connection.isBusy = false;
        connection.answer = undefined;
        this.#busy.delete(connection);
        if (!socket.destroyed) connection.waiting.shift()?.();
      },
      answer: undefined,
      acceptedBytes: 0,
      queuedBytes: 0,
      acceptedAtMs: 0,
      unreadSinceMs: undefined,
    };
    this.#connections.set(socket, connection);
    socket.once("close", () => {
      connection.waiting = [];
      this.#busy.delete(connection);
    });
    return connection;
  }

  #wait(connection: Connection, begin: () => void): void {
    if (connection.socket.destroyed) return;
    if (connection.waiting.length + 1 < this.#limits.maxUnanswered) connection.waiting.push(begin);
    else this.#close(connection, "pipelined");
  }

  #begin(connection: Connection, handler: Handler, request: IncomingMessage, response: ServerResponse): void {
    // The request was read before the connection was closed.
    if (connection.socket.destroyed) return;
    connection.isBusy = true;
    connection.answer = response;
    connection.acceptedAtMs = this.#nowMs();
    connection.unreadSinceMs = undefined;
    this.#busy.add(connection);
    // Emitted once only.
    response.on("close", connection.end);
    handler(request, response);
  }

  #close(connection: Connection, reason: CloseReason): void {
    this.#closed.inc({ reason });
    connection.waiting = [];
    this.#busy.delete(connection);
    stopParsing(connection.socket);
    connection.socket.destroy();
  }
}

/**
 * Bytes of the write in progress that the system has not accepted yet. A socket's own counters count a write only when
 * it is complete; Node reads this field, too, before it reports a socket as idle. It is not in Node's types; where it
 * is missing, a write counts as a whole.
 */
function queuedBytesOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? 0;
}

/**
 * Stops the parsing of bytes that have been read already: Node would parse up to 64 KiB of a destroyed connection, 20
 * ms of work. The parser is not in Node's types; it stops at a request whose handler returns 2. Where the field is
 * missing, the rest is parsed for nothing.
 */
function stopParsing(socket: Socket): void {
  const { parser } = socket as { parser?: { onIncoming?: unknown } | null };
  if (parser?.onIncoming) parser.onIncoming = () => 2;
}

/**
 * Serves a request as if it had not asked for an upgrade: its head is put back into the connection without the upgrade
 * headers, before the bytes that followed it, and the server reads it again. For requests of Node's `upgrade` event,
 * where nothing reads the connection any more.
 * @returns false when the head cannot be written again; the caller then closes the connection
 */
export function serveWithoutUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
  const { method, url, httpVersion, rawHeaders } = request;
  // Without its length header, its body would be read as further requests.
  if (hasTruncatedHeaders(request)) return false;
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    if (BREAKS_LINE.test(name) || BREAKS_LINE.test(value)) return false;
    const kept = withoutUpgrade(name.toLowerCase(), value);
    if (kept !== undefined) text += `${name}: ${kept}\r\n`;
  }
  socket.unshift(Buffer.concat([Buffer.from(`${text}\r\n`, "latin1"), head]));
  server.emit("connection", socket);
  return true;
}

/** A header's value without its upgrade parts; undefined when nothing is left. */
function withoutUpgrade(name: string, value: string): string | undefined {
  if (name === "upgrade" || name === "http2-settings") return undefined;
  if (name !== "connection") return value;
  const kept = value.split(",").filter((each) => !/^\s*(upgrade|http2-settings)?\s*$/i.test(each));
  return kept.length > 0 ? kept.join(",") : undefined;
}
