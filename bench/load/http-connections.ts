/**
 * The lean side of HTTP/1.1 that a load generator needs: requests that were made ready before go out on keep-alive
 * connections, one under way on each; of an answer only status and length are read. A full client (fetch, node:http)
 * costs several times as much as the server under test may, and on a shared machine that is taken from the server.
 * When every connection is busy a request waits here, and its latency goes on counting. Connections speak in turn: a
 * server closes one that stays silent, and what it does to a silent connection is no figure of its answers. One that
 * it closes is replaced.
 */
import { createConnection, type Socket } from "node:net";

export interface HttpTarget {
  host: string;
  port: number;
}

/** The status, or `broken` when the connection ended before the answer was whole. */
export type Answered = (answer: string) => void;

/** As many as a proxy would hold when the server falls behind: a queue is then the server's to see and to refuse. */
const MOST_CONNECTIONS = 2_048;
/** How soon each speaks again: servers close a connection that has not spoken for 10 s and more (`headersTimeout`). */
const TURN_SECONDS = 4;

/** How many connections a load holds, of so many requests a second. */
export const connectionsFor = (rate: number): number => Math.min(MOST_CONNECTIONS, Math.ceil(rate * TURN_SECONDS));

interface Waiting {
  request: Buffer;
  answered: Answered;
}

export class HttpConnections {
  readonly #target: HttpTarget;
  /** The one that has been silent longest first. */
  readonly #idle = new Set<Connection>();
  readonly #all = new Set<Connection>();
  #waiting: Waiting[] = [];
  #first = 0;
  #longestQueue = 0;
  #isClosed = false;

  constructor(target: HttpTarget) {
    this.#target = target;
  }

  /** Requests that waited for a free connection at the same time, at most. */
  get longestQueue(): number {
    return this.#longestQueue;
  }

  /** Opens connections; rejects when one is refused. */
  async open(connections: number): Promise<void> {
    await Promise.all(Array.from({ length: connections }, () => this.#connect()));
  }

  send(request: Buffer, answered: Answered): void {
    const [connection] = this.#idle;
    if (connection) {
      this.#idle.delete(connection);
      connection.send(request, answered);
    } else {
      this.#waiting.push({ request, answered });
      this.#longestQueue = Math.max(this.#longestQueue, this.#waiting.length - this.#first);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#all) connection.close();
  }

  #connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(this.#target);
      socket.setNoDelay(true);
      const connection = new Connection(
        socket,
        () => this.#next(connection),
        () => {
          this.#idle.delete(connection);
          // Replaced once it had been open; a server that takes none any more is left alone.
          if (this.#all.delete(connection) && !this.#isClosed) this.#connect().catch(() => {});
        },
      );
      socket.once("error", reject);
      socket.once("connect", () => {
        if (this.#isClosed) {
          connection.close();
          resolve();
          return;
        }
        this.#all.add(connection);
        this.#next(connection);
        resolve();
      });
    });
  }

  #next(connection: Connection): void {
    const waiting = this.#waiting[this.#first];
    if (!waiting) {
      this.#idle.add(connection);
      return;
    }
    // The queue is moved up once in a while instead of with every request.
    if (++this.#first > 1_024) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    connection.send(waiting.request, waiting.answered);
  }
}

const HEAD_END = "\r\n\r\n";
const LENGTH = /\r\ncontent-length: *(\d+)/i;

/** Where an answer that begins a text ends and what its status is; undefined while its head is not whole. */
export function readAnswer(text: string): { status: string; length: number } | undefined {
  const headEnd = text.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const length = LENGTH.exec(text.slice(0, headEnd))?.[1];
  const status = text.slice("HTTP/1.1 ".length, "HTTP/1.1 200".length);
  if (length === undefined && status !== "204") throw new Error(`an answer has no length: ${text.slice(0, headEnd)}`);
  return { status, length: headEnd + HEAD_END.length + Number(length ?? 0) };
}

class Connection {
  readonly #socket: Socket;
  readonly #onIdle: () => void;
  readonly #onGone: () => void;
  #answered: Answered | undefined;
  #text = "";

  constructor(socket: Socket, onIdle: () => void, onGone: () => void) {
    this.#socket = socket;
    this.#onIdle = onIdle;
    this.#onGone = onGone;
    // Latin-1: a character is a byte, so lengths are bytes.
    socket.setEncoding("latin1");
    socket.on("data", (part: string) => this.#read(part));
    socket.on("error", () => socket.destroy());
    socket.on("end", () => this.#leave());
    socket.on("close", () => this.#leave());
  }

  send(request: Buffer, answered: Answered): void {
    this.#answered = answered;
    this.#socket.write(request);
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(part: string): void {
    if (this.#answered === undefined) {
      // Said to nothing that was asked: that the server gives the connection up (408).
      this.#leave();
      return;
    }
    this.#text = this.#text === "" ? part : this.#text + part;
    const answer = readAnswer(this.#text);
    if (answer === undefined || this.#text.length < answer.length) return;
    this.#text = "";
    this.#end(answer.status);
    if (!this.#socket.destroyed) this.#onIdle();
  }

  /** Is not used from now on; may be called again. */
  #leave(): void {
    this.#socket.destroy();
    this.#onGone();
    this.#end("broken");
  }

  #end(answer: string): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(answer);
  }
}
