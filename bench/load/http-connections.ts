/**
 * The lean side of HTTP/1.1 that a load generator needs: requests that were made ready before go out on keep-alive connections, one under way
 * on each; of an answer only status and length are read. A full client (fetch, node:http) costs several times as much as the server under
 * test may, and on a shared machine that is taken from the server. When every connection is busy a request waits here, and its
 * latency goes on counting.
 */
import { createConnection, type Socket } from "node:net";

export interface HttpTarget {
  host: string;
  port: number;
}

/** The status, or `broken` when the connection ended before the answer was whole. */
export type Answered = (answer: string) => void;

interface Waiting {
  request: Buffer;
  answered: Answered;
}

export class HttpConnections {
  readonly #target: HttpTarget;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  #waiting: Waiting[] = [];
  #first = 0;
  #longestQueue = 0;

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
    const connection = this.#idle.pop();
    if (connection) connection.send(request, answered);
    else {
      this.#waiting.push({ request, answered });
      this.#longestQueue = Math.max(this.#longestQueue, this.#waiting.length - this.#first);
    }
  }

  close(): void {
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
          this.#all.delete(connection);
          const at = this.#idle.indexOf(connection);
          if (at >= 0) this.#idle.splice(at, 1);
        },
      );
      socket.once("error", reject);
      socket.once("connect", () => {
        this.#all.add(connection);
        this.#next(connection);
        resolve();
      });
    });
  }

  #next(connection: Connection): void {
    const waiting = this.#waiting[this.#first];
    if (!waiting) {
      this.#idle.push(connection);
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
  if (length === undefined && status !== "204")
    throw new Error(`an answer does not say how long it is: ${text.slice(0, headEnd)}`);
  return { status, length: headEnd + HEAD_END.length + Number(length ?? 0) };
}

class Connection {
  readonly #socket: Socket;
  readonly #onIdle: () => void;
  #answered: Answered | undefined;
  #text = "";

  constructor(socket: Socket, onIdle: () => void, onGone: () => void) {
    this.#socket = socket;
    this.#onIdle = onIdle;
    // Latin-1: a character is a byte, so lengths are bytes.
    socket.setEncoding("latin1");
    socket.on("data", (part: string) => this.#read(part));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      onGone();
      this.#end("broken");
    });
  }

  send(request: Buffer, answered: Answered): void {
    this.#answered = answered;
    this.#socket.write(request);
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(part: string): void {
    this.#text = this.#text === "" ? part : this.#text + part;
    const answer = readAnswer(this.#text);
    if (answer === undefined || this.#text.length < answer.length) return;
    this.#text = "";
    this.#end(answer.status);
    if (!this.#socket.destroyed) this.#onIdle();
  }

  #end(answer: string): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(answer);
  }
}
