/**
 * The shop's edge towards its servers: keep-alive connections over which requests go out the moment they are due,
 * however many are unanswered (open loop). It is a lean HTTP/1.1 client over raw sockets, because the generator
 * shares two cores with what it measures: requests are written as prepared bytes, of an answer only the status,
 * Retry-After and length are read. It expects answers with a Content-Length, and supports no chunks and no redirects.
 * Each lane is used by one buyer at a time, who may send again on it before he is answered.
 */
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";

/** A server's answer; `status` 0: the connection broke before one came. */
export interface Answer {
  status: number;
  retryAfterMs: number | undefined;
}

const HEAD_END = Buffer.from("\r\n\r\n");
const STATUS_AT = "HTTP/1.1 ".length;
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const RETRY_AFTER = /\r\nretry-after: *(\d+)/i;
const WARM_AT_ONCE = 200;
const NOTHING = Buffer.alloc(0);

/** Asks for an answer over HTTP/1.1, as bytes. */
export function requestBytes(host: string, path: string, token: string, body: unknown): Buffer {
  const json = body === undefined ? "" : JSON.stringify(body);
  const type = body === undefined ? "" : "content-type: application/json\r\n";
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\n${type}content-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
}

/** One connection; answers come in the order of the requests. */
export class Lane {
  readonly #socket: Socket;
  #waiting: ((answer: Answer) => void)[] = [];
  #rest: Buffer = NOTHING;
  /** Bytes of the present answer's body that are still to come. */
  #bodyLeft = 0;
  #isBroken = false;

  constructor(port: number, onIdle: (lane: Lane) => void) {
    this.#socket = createConnection({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (bytes) => {
      this.#read(bytes);
      if (this.#waiting.length === 0) onIdle(this);
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.#break());
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  async connected(): Promise<void> {
    if (this.#socket.connecting) await once(this.#socket, "connect");
  }

  /** Not to be asked of a broken lane. */
  send(request: Buffer, onAnswer: (answer: Answer) => void): void {
    this.#waiting.push(onAnswer);
    this.#socket.write(request);
  }

  close(): void {
    this.#socket.destroy();
  }

  #break(): void {
    this.#isBroken = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const onAnswer of waiting) onAnswer({ status: 0, retryAfterMs: undefined });
  }

  #read(bytes: Buffer): void {
    let left = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#rest = NOTHING;
    while (left.length > 0) {
      if (this.#bodyLeft > 0) {
        const taken = Math.min(this.#bodyLeft, left.length);
        this.#bodyLeft -= taken;
        left = left.subarray(taken);
        continue;
      }
      const end = left.indexOf(HEAD_END);
      if (end < 0) {
        this.#rest = left;
        return;
      }
      const head = left.toString("latin1", 0, end);
      const length = LENGTH.exec(head);
      if (!head.startsWith("HTTP/1.1 ") || length === null) {
        this.close();
        return;
      }
      const wait = RETRY_AFTER.exec(head);
      this.#bodyLeft = Number(length[1]);
      left = left.subarray(end + HEAD_END.length);
      // A server that closes after this answer announces it; the next request goes over another connection.
      if (/\r\nconnection: *close/i.test(head)) this.#isBroken = true;
      this.#waiting.shift()?.({
        status: Number(head.slice(STATUS_AT, STATUS_AT + 3)),
        retryAfterMs: wait === null ? undefined : Number(wait[1]) * 1_000,
      });
    }
  }
}

/** All lanes to one server; a buyer takes one and it comes back by itself when nothing on it is unanswered. */
export class Edge {
  readonly #port: number;
  readonly #idle: Lane[] = [];
  readonly #idleSet = new Set<Lane>();
  readonly #all = new Set<Lane>();

  constructor(port: number) {
    this.#port = port;
  }

  /**
   * Opens so many connections before the rush, as an edge keeps them; not more at once than a server's backlog holds.
   */
  async warm(lanes: number): Promise<void> {
    for (let left = lanes; left > 0; left -= WARM_AT_ONCE) {
      const opened = Array.from({ length: Math.min(left, WARM_AT_ONCE) }, () => this.#open());
      await Promise.all(opened.map((lane) => lane.connected()));
      for (const lane of opened) this.#giveBack(lane);
    }
  }

  take(): Lane {
    for (;;) {
      const lane = this.#idle.pop();
      if (lane === undefined) return this.#open();
      this.#idleSet.delete(lane);
      if (!lane.isBroken) return lane;
      this.#all.delete(lane);
    }
  }

  close(): void {
    for (const lane of this.#all) lane.close();
  }

  #open(): Lane {
    const lane = new Lane(this.#port, (idle) => this.#giveBack(idle));
    this.#all.add(lane);
    return lane;
  }

  #giveBack(lane: Lane): void {
    if (lane.isBroken) this.#all.delete(lane);
    else if (!this.#idleSet.has(lane)) {
      this.#idle.push(lane);
      this.#idleSet.add(lane);
    }
  }
}
