/**
 * What one connection may do. Requests that a client pipelines are served one after the other, each when the answer
 * before it has left (RFC 9112, 9.3.2, asks for that as soon as one of them is not safe), so a connection has one
 * request under way and the bytes of one answer. One that has too many requests waiting, or does not read its
 * answers, is closed. A request that asks for an upgrade which is not ours is served as if it had not asked (RFC
 * 9110, 7.8). It does not bound how many connections there are: connection-limit.ts does.
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
/** Without a byte taken by the system, however large what is written. */
const UNREAD_MS = 10_000;
/** The largest page, 1.5 MB, at 200 kbit/s: a client that takes a few bytes now and then is closed, too. */
const ANSWER_MS = 60_000;
const SWEEP_MS = 1_000;
/** Ends a head, or would begin a new one. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not pass
const BREAKS_LINE = /[\r\n\u0000]/;

/** Node keeps the first 1,000 and drops the rest without a word, those that say how long the body is included. */
const MAX_HEADERS = 1_000;

/** Whether a request may have had headers that are not in it: nothing can be told of it, and it is refused. */
export const hasTruncatedHeaders = ({ rawHeaders }: IncomingMessage): boolean => rawHeaders.length >= 2 * MAX_HEADERS;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
type CutReason = "pipelined" | "unread";

interface Connection {
  socket: Socket;
  /** What has come and waits for its turn. */
  waiting: (() => void)[];
  /** One at a time. */
  isBusy: boolean;
  /** Bytes that the system had taken when it took some last, and when that was. */
  takenBytes: number;
  /** Of what is being written, the bytes that it had not taken then. */
  queuedBytes: number;
  takenAtMs: number;
  /** Since when the answer under way has been waiting for its client; undefined: it has not. */
  owedSinceMs: number | undefined;
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
  readonly #cut: Counter<"reason">;
  readonly #nowMs = stopwatch();

  constructor(
    registry: Registry,
    { maxUnanswered = MAX_UNANSWERED, unreadMs = UNREAD_MS, answerMs = ANSWER_MS }: PerConnectionLimits = {},
  ) {
    this.#limits = { maxUnanswered, unreadMs, answerMs };
    this.#cut = new Counter({
      name: "shuiwei_http_connections_cut_total",
      help: "Connections closed because too many requests were pipelined, or because answers were not read",
      labelNames: ["reason"],
      registers: [registry],
    });
  }

  /** Puts the limits between a server and the handler of its requests; they hold until the server is closed. */
  guard(server: Server, handler: Handler): void {
    const serve: Handler = (request, response) => {
      this.#inTurn(request.socket, (end) => {
        response.once("close", end);
        handler(request, response);
      });
    };
    server.removeAllListeners("request");
    server.on("request", serve);
    // The 100 is written when the body is wanted: see `continueBody`.
    server.on("checkContinue", serve);
    const { unreadMs, answerMs } = this.#limits;
    const sweep = setInterval(() => this.sweep(), Math.min(SWEEP_MS, unreadMs / 4, answerMs / 4));
    sweep.unref();
    server.once("close", () => clearInterval(sweep));
  }

  /**
   * Runs `take` when every request that came before on this connection has been answered; the connection is its own
   * then.
   */
  handOver(socket: Duplex, take: () => void): void {
    this.#inTurn(socket as Socket, (end) => {
      end();
      take();
    });
  }

  /** Whether no request of a connection is being answered. */
  isIdle(socket: Socket): boolean {
    return this.#connections.get(socket)?.isBusy !== true;
  }

  /** Closes those that have not read for too long; the guard calls it. */
  sweep(): void {
    const nowMs = this.#nowMs();
    for (const connection of this.#busy) {
      const { socket } = connection;
      const owedBytes = socket.writableLength;
      const takenBytes = socket.bytesWritten - owedBytes;
      const queuedBytes = queuedBytesOf(socket);
      if (owedBytes === 0 || takenBytes !== connection.takenBytes || queuedBytes !== connection.queuedBytes) {
        connection.takenBytes = takenBytes;
        connection.queuedBytes = queuedBytes;
        connection.takenAtMs = nowMs;
      }
      if (owedBytes > 0) connection.owedSinceMs ??= nowMs;
      const { takenAtMs, owedSinceMs = nowMs } = connection;
      // How long the answer took to make is not the client's fault.
      const unreadMs = nowMs - Math.max(takenAtMs, owedSinceMs);
      if (unreadMs > this.#limits.unreadMs || nowMs - owedSinceMs > this.#limits.answerMs)
        this.#close(connection, "unread");
    }
  }

  #of(socket: Socket): Connection {
    let connection = this.#connections.get(socket);
    if (!connection) {
      connection = {
        socket,
        waiting: [],
        isBusy: false,
        takenBytes: 0,
        queuedBytes: 0,
        takenAtMs: 0,
        owedSinceMs: undefined,
      };
      this.#connections.set(socket, connection);
      const ended = connection;
      socket.once("close", () => {
        ended.waiting = [];
        this.#busy.delete(ended);
      });
    }
    return connection;
  }

  #inTurn(socket: Socket, work: (end: () => void) => void): void {
    const connection = this.#of(socket);
    // The rest of what was read before it was closed.
    if (socket.destroyed) return;
    if (!connection.isBusy) this.#begin(connection, work);
    else if (connection.waiting.length + 1 < this.#limits.maxUnanswered)
      connection.waiting.push(() => this.#begin(connection, work));
    else this.#close(connection, "pipelined");
  }

  #begin(connection: Connection, work: (end: () => void) => void): void {
    connection.isBusy = true;
    connection.takenAtMs = this.#nowMs();
    connection.owedSinceMs = undefined;
    this.#busy.add(connection);
    work(() => {
      connection.isBusy = false;
      this.#busy.delete(connection);
      if (!connection.socket.destroyed) connection.waiting.shift()?.();
    });
  }

  #close(connection: Connection, reason: CutReason): void {
    this.#cut.inc({ reason });
    connection.waiting = [];
    this.#busy.delete(connection);
    skipRest(connection.socket);
    connection.socket.destroy();
  }
}

/**
 * What the system has not taken yet of the write under way. A socket's own figures count a write when all of it is
 * taken; Node looks here, too, before it calls a socket idle. It is left out of Node's types; where it is missing, a
 * write counts as a whole.
 */
function queuedBytesOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? 0;
}

/**
 * Ends the parsing of what has been read already: a destroyed connection's 64 KiB would be made into objects all the
 * same, 20 ms of work. The parser is left out of Node's types; it stops at a request that is taken over (2). Where it
 * has no such place, the rest is parsed in vain.
 */
function skipRest(socket: Socket): void {
  const { parser } = socket as { parser?: { onIncoming?: unknown } | null };
  if (parser?.onIncoming) parser.onIncoming = () => 2;
}

/**
 * Serves a request again as if it had not asked for an upgrade: its head goes back to the connection without the
 * upgrade, before what followed it, and the server reads on. For what Node gives to `upgrade`, where the connection
 * has no reader any more.
 * @returns false when the head cannot be said again; the connection is the caller's to end
 */
export function serveWithoutUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
  const { method, url, httpVersion, rawHeaders } = request;
  // Said again without its length, its body would be read as further requests.
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

/** A header's value without what is about an upgrade; undefined: nothing is left of it. */
function withoutUpgrade(name: string, value: string): string | undefined {
  if (name === "upgrade" || name === "http2-settings") return undefined;
  if (name !== "connection") return value;
  const kept = value.split(",").filter((each) => !/^\s*(upgrade|http2-settings)?\s*$/i.test(each));
  return kept.length > 0 ? kept.join(",") : undefined;
}
