/**
 * A warehouse system to send orders to: a real HTTP server with the incident's behaviour. It takes at most so many
 * requests in any sliding second (429 with Retry-After over it), parses free text slowly (see parser.ts), answers 503
 * while its gate is closed, makes one picking order per idempotency key, and can be dead for a time: connections are
 * then refused and what was under way is gone. It keeps exact books, so that a test can say what arrived, when, and
 * what was made twice.
 *
 *   POST /v1/picking-orders                     201 made, 200 had it already (same Idempotency-Key), 400, 409 already_withdrawn, 429, 503
 * POST /v1/picking-orders/{order}/cancellation 200, 404 unknown_order, 409 already_picked or already_withdrawn, 429,
 * 503
 *
 * Refusals of its own are JSON with a `code`, as connectors/wms/README.md asks for. A gateway that a test puts before
 * it answers with a page.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { freeTextOf, INCIDENT, Parser, type ParserSettings, type ParserTime } from "./sandbox/parser.js";
import { PickingBook } from "./sandbox/picking-book.js";
import { SlidingSecond } from "./sandbox/sliding-second.js";

export interface WmsSettings {
  /** 0 takes a free one. */
  port?: number;
  /** Requests that it takes in any sliding second of real time. */
  limitPerSecond?: number;
  parser?: Partial<ParserSettings>;
  /** The time that the parser and the books work by; real when left out. */
  time?: ParserTime;
  /** Instants that the limit goes by, in milliseconds that never go back; real ones when left out. */
  instantMs?(): number;
}

/** What stands between the callers and the warehouse. */
export interface Gateway {
  status: number;
  body?: string;
}

/**
 * What came in and what became of it. Instants are real milliseconds since the epoch, seconds those of the given
 * time.
 */
export interface WmsReport {
  /** Requests that arrived, whatever they were answered. */
  arrived: number;
  /** The most of them in any sliding second. */
  arrivedPerSecondMost: number;
  /** Turned away: over the limit, and by the closed gate. */
  throttled: number;
  gated: number;
  /** Parsed for nobody: the caller had given up. */
  rolledBack: number;
  /** Requests with a key whose picking order was there or in the making. */
  repeats: number;
  cancellations: number;
  /** Picking orders beyond an order's first. */
  duplicates: number;
  orders: [order: string, firstMs: number][];
  arrivedBySecond: number[];
  /** Picking orders made. */
  madeBySecond: number[];
}

const LIMIT_PER_SECOND = 5_000;
/** Seconds that the books are kept for: four hours. What comes later counts in the last one. */
const MAX_SECONDS = 4 * 3_600;
const BACKLOG = 4_096;
const MAX_BODY_BYTES = 256 * 1024;
const PATH = /^\/v1\/picking-orders(?:\/([^/]+)\/cancellation)?$/;

const sinceStart = stopwatch();
const realTime: ParserTime = {
  nowMs: sinceStart,
  at: (ms, call) => setTimeout(call, Math.max(0, ms - sinceStart())),
};

/** A picking order in the making, and who waits for it. */
interface Making {
  callers: Set<ServerResponse>;
}

export class WmsSandbox {
  readonly #limitPerSecond: number;
  readonly #time: ParserTime;
  readonly #originMs: number;
  readonly #instantMs: () => number;
  readonly #parser: Parser;
  readonly #book = new PickingBook();
  /** By idempotency key: in the making, or made. */
  readonly #keys = new Map<string, Making | "made">();
  readonly #arrivals = new SlidingSecond();
  readonly #taken = new SlidingSecond();
  readonly #arrivedBySecond: number[] = [];
  readonly #madeBySecond: number[] = [];
  readonly #counts = { arrived: 0, throttled: 0, gated: 0, rolledBack: 0, repeats: 0, cancellations: 0 };
  #gateway: ((path: string) => Gateway | undefined) | undefined;
  #server: Server | undefined;
  #port: number;

  constructor({ port = 0, limitPerSecond = LIMIT_PER_SECOND, parser, time = realTime, instantMs }: WmsSettings = {}) {
    this.#port = port;
    this.#limitPerSecond = limitPerSecond;
    this.#time = time;
    this.#instantMs = instantMs ?? sinceStart;
    // Real time begins when the system does; another says itself when it began.
    this.#originMs = time === realTime ? time.nowMs() : 0;
    this.#parser = new Parser({ ...INCIDENT, ...parser }, time);
  }

  /** Base address; known once it has started. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, reply) => this.#answer(request, reply));
    server.keepAliveTimeout = 3_600_000;
    server.listen(this.#port, "127.0.0.1", BACKLOG);
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /**
   * Refuses connections and drops what is under way; what was made stays made. `start` brings it back under the same
   * address.
   */
  async die(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    this.#parser.reset();
    for (const [key, state] of this.#keys) if (state !== "made") this.#keys.delete(key);
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  /** Has a gateway answer in the warehouse's place, where it says something; undefined takes it away. */
  behind(gateway: ((path: string) => Gateway | undefined) | undefined): void {
    this.#gateway = gateway;
  }

  /** Somebody has taken the goods of an order from the shelf. */
  takeFromShelf(order: string): void {
    this.#book.pick(order);
  }

  isWithdrawn(order: string): boolean {
    return this.#book.isWithdrawn(order);
  }

  report(): WmsReport {
    return {
      ...this.#counts,
      arrivedPerSecondMost: this.#arrivals.most,
      duplicates: this.#book.duplicates,
      orders: this.#book.orders,
      arrivedBySecond: Array.from(this.#arrivedBySecond, (n) => n ?? 0),
      madeBySecond: Array.from(this.#madeBySecond, (n) => n ?? 0),
    };
  }

  /** How many orders have a picking order. */
  get picked(): number {
    return this.#book.size;
  }

  #answer(request: IncomingMessage, reply: ServerResponse): void {
    const nowMs = this.#instantMs();
    this.#counts.arrived++;
    this.#arrivals.add(nowMs);
    this.#count(this.#arrivedBySecond);
    const isOver = this.#taken.countAt(nowMs) >= this.#limitPerSecond;
    if (!isOver) this.#taken.add(nowMs);
    const parts: Buffer[] = [];
    let bytes = 0;
    request.on("data", (part: Buffer) => {
      bytes += part.length;
      if (bytes <= MAX_BODY_BYTES) parts.push(part);
    });
    request.on("error", () => {});
    request.on("end", () => {
      if (isOver) {
        this.#counts.throttled++;
        send(reply, 429, "too many requests in this second", { retryAfterSeconds: 1 });
      } else if (bytes > MAX_BODY_BYTES) send(reply, 413, "too large");
      else this.#route(request, reply, Buffer.concat(parts));
    });
  }

  #route(request: IncomingMessage, reply: ServerResponse, body: Buffer): void {
    const refusal = this.#gateway?.(request.url ?? "");
    if (refusal) {
      const { status, body: page = "<html><body>nginx</body></html>" } = refusal;
      reply.writeHead(status, { "content-type": "text/html" });
      reply.end(page);
      return;
    }
    const [matched, cancelled] = PATH.exec(request.url ?? "") ?? [];
    if (matched === undefined || request.method !== "POST") send(reply, 404, "nothing here");
    else if (this.#parser.gate === "out") this.#turnAway(reply);
    else if (cancelled !== undefined) {
      this.#counts.cancellations++;
      this.#withdraw(reply, cancelled);
    } else this.#take(reply, body, request.headers["idempotency-key"] as string | undefined);
  }

  #withdraw(reply: ServerResponse, order: string): void {
    const isInTheMaking = this.#keys.get(order) !== undefined && this.#keys.get(order) !== "made";
    if (isInTheMaking) {
      send(reply, 409, "is being made", { retryAfterSeconds: 1 });
      return;
    }
    const code = this.#book.withdraw(order);
    if (code === "withdrawn") send(reply, 200, "withdrawn");
    else send(reply, code === "unknown_order" ? 404 : 409, "not withdrawn", { code });
  }

  #take(reply: ServerResponse, body: Buffer, key: string | undefined): void {
    const payload = parsed(body);
    const order = payload === undefined ? undefined : orderOf(payload);
    const known = key === undefined ? undefined : this.#keys.get(key);
    if (order === undefined) send(reply, 400, "not a picking order", { code: "invalid_order" });
    else if (this.#book.isWithdrawn(order)) send(reply, 409, "was withdrawn", { code: "already_withdrawn" });
    else if (known !== undefined) {
      this.#counts.repeats++;
      if (known === "made") send(reply, 200, "had it already");
      else wait(known, reply);
    } else if (this.#book.isFull) this.#turnAway(reply);
    else this.#begin(reply, order, freeTextOf(payload), key);
  }

  #begin(reply: ServerResponse, order: string, freeText: number, key: string | undefined): void {
    const making: Making = { callers: new Set() };
    const isIn = this.#parser.offer({
      freeText,
      parsed: () => this.#made(order, key, making),
      cutOff: () => {
        for (const caller of making.callers) this.#turnAway(caller);
        making.callers.clear();
      },
    });
    if (!isIn) {
      this.#turnAway(reply);
      return;
    }
    wait(making, reply);
    if (key !== undefined) this.#keys.set(key, making);
  }

  #made(order: string, key: string | undefined, { callers }: Making): void {
    if (callers.size === 0) {
      this.#counts.rolledBack++;
      if (key !== undefined) this.#keys.delete(key);
      return;
    }
    this.#book.make(order, systemClock.now());
    this.#count(this.#madeBySecond);
    if (key !== undefined) this.#keys.set(key, "made");
    for (const caller of callers) send(caller, 201, "made");
  }

  #turnAway(reply: ServerResponse): void {
    this.#counts.gated++;
    send(reply, 503, "out of service");
  }

  #count(bySecond: number[]): void {
    const second = Math.floor((this.#time.nowMs() - this.#originMs) / 1_000);
    // What comes before the time given begins is in no series.
    if (second < 0) return;
    const place = Math.min(second, MAX_SECONDS - 1);
    bySecond[place] = (bySecond[place] ?? 0) + 1;
  }
}

/** Lets a caller wait until the picking order is made, or until it gives up. */
function wait({ callers }: Making, reply: ServerResponse): void {
  callers.add(reply);
  reply.on("close", () => callers.delete(reply));
}

function parsed(body: Buffer): Record<string, unknown> | undefined {
  try {
    const payload: unknown = JSON.parse(body.toString("utf8"));
    return typeof payload === "object" && payload !== null ? (payload as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** The order's id, under the name of today's contract or of the one before. */
function orderOf(payload: Record<string, unknown>): string | undefined {
  const order = payload["orderNo"] ?? payload["order_no"];
  return typeof order === "string" && order.length > 0 ? order : undefined;
}

function send(
  reply: ServerResponse,
  status: number,
  message: string,
  { code, retryAfterSeconds }: { code?: string; retryAfterSeconds?: number } = {},
): void {
  if (reply.destroyed || reply.writableEnded) return;
  const body = JSON.stringify({ message, ...(code === undefined ? {} : { code }) });
  reply.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
  });
  reply.end(body);
}
