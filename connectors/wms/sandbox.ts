/**
 * A sandbox of the warehouse system: a real HTTP server with the incident's behaviour. It accepts a limited number of
 * requests in any sliding second (429 with Retry-After above it), parses free text slowly (see parser.ts), answers 503
 * while it is out of service, makes one picking order per idempotency key, and can be stopped and started again:
 * requests under way are then lost. It reports exactly what arrived, when, and what was made twice. It keeps nothing
 * on disk, and only the newest orders in memory.
 *
 *   POST /v1/picking-orders                       201 made, 200 made before (same Idempotency-Key), 400,
 *                                                 409 already_withdrawn, 429, 503
 *   POST /v1/picking-orders/{order}/cancellation  200, 404 unknown_order, 409 already_picked or already_withdrawn,
 *                                                 429, 503
 *
 * Its own refusals are JSON with a `code`, as connectors/wms/README.md asks for. A proxy that a test sets in front of
 * it answers with an HTML page.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { freeTextOf, INCIDENT, Parser, type ParserSettings, type ParserTime } from "./sandbox/parser.js";
import { PickingOrders } from "./sandbox/picking-orders.js";
import { SlidingSecond } from "./sandbox/sliding-second.js";

export interface WmsSandboxSettings {
  /** 0 chooses a free port. */
  port?: number;
  /** Requests that it accepts in any sliding second of real time. */
  limitPerSecond?: number;
  parser?: Partial<ParserSettings>;
  /** Orders that are kept in memory; past this the oldest are dropped. */
  ordersKept?: number;
  /** The clock of the parser and of the counts by second; real when left out. */
  time?: ParserTime;
  /** Instants for the limit, in milliseconds that never go back; real ones when left out. */
  instantMs?(): number;
}

/** An answer of a proxy in front of the warehouse. */
export interface ProxyAnswer {
  status: number;
  body?: string;
}

/** What arrived and how it ended. Instants are real milliseconds since the epoch, seconds those of the given clock. */
export interface WmsReport {
  /** Requests that arrived, whatever the answer. */
  arrived: number;
  /** The most of them in any sliding second. */
  arrivedPerSecondMost: number;
  /** Refused with 429: above the limit. */
  throttled: number;
  /** Refused with 503: out of service. */
  unavailable: number;
  /** Parsed and rolled back, because the caller had given up. */
  rolledBack: number;
  /** Requests with a key whose picking order was made or being made. */
  repeats: number;
  cancellations: number;
  /** Picking orders beyond an order's first. */
  duplicates: number;
  /** The orders that are kept. */
  orders: [order: string, firstMs: number][];
  arrivedBySecond: number[];
  /** Picking orders made. */
  madeBySecond: number[];
}

const LIMIT_PER_SECOND = 5_000;
/** Four hours. Everything later counts in the last second. */
const ORDERS_KEPT = 1_000_000;
const MAX_SECONDS = 4 * 3_600;
const BACKLOG = 4_096;
const MAX_BODY_BYTES = 256 * 1024;
const PATH = /^\/v1\/picking-orders(?:\/([^/]+)\/cancellation)?$/;

const sinceStart = stopwatch();
const realTime: ParserTime = {
  nowMs: sinceStart,
  at: (ms, call) => setTimeout(call, Math.max(0, ms - sinceStart())),
};

/** A picking order that is being made, and the callers that wait for it. */
interface Making {
  callers: Set<ServerResponse>;
}

export class WmsSandbox {
  readonly #limitPerSecond: number;
  readonly #time: ParserTime;
  readonly #originMs: number;
  readonly #instantMs: () => number;
  readonly #parser: Parser;
  readonly #ordersKept: number;
  readonly #pickingOrders: PickingOrders;
  /** By idempotency key, the oldest first: being made, or made. */
  readonly #keys = new Map<string, Making | "made">();
  readonly #arrivals = new SlidingSecond();
  readonly #taken = new SlidingSecond();
  readonly #arrivedBySecond: number[] = [];
  readonly #madeBySecond: number[] = [];
  readonly #counts = { arrived: 0, throttled: 0, unavailable: 0, rolledBack: 0, repeats: 0, cancellations: 0 };
  #proxy: ((path: string) => ProxyAnswer | undefined) | undefined;
  #server: Server | undefined;
  #port: number;

  constructor(settings: WmsSandboxSettings = {}) {
    const { port = 0, limitPerSecond = LIMIT_PER_SECOND, ordersKept = ORDERS_KEPT, parser, instantMs } = settings;
    const { time = realTime } = settings;
    this.#port = port;
    this.#ordersKept = ordersKept;
    this.#pickingOrders = new PickingOrders(ordersKept);
    this.#limitPerSecond = limitPerSecond;
    this.#time = time;
    this.#instantMs = instantMs ?? sinceStart;
    // Seconds of real time count from here; another clock has its own start.
    this.#originMs = time === realTime ? time.nowMs() : 0;
    this.#parser = new Parser({ ...INCIDENT, ...parser }, time);
  }

  /** Base address; valid once it has started. */
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

  /** Refuses connections and drops what is under way; made orders stay. `start` uses the same address again. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    this.#parser.reset();
    for (const [key, state] of this.#keys) if (state !== "made") this.#keys.delete(key);
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  /** Sets a proxy in front, which answers a request or returns undefined to pass it on; undefined removes it. */
  setProxy(proxy: ((path: string) => ProxyAnswer | undefined) | undefined): void {
    this.#proxy = proxy;
  }

  /** Records that the goods of an order were taken from the shelf: it cannot be withdrawn any more. */
  markPicked(order: string): void {
    this.#pickingOrders.pick(order);
  }

  isWithdrawn(order: string): boolean {
    return this.#pickingOrders.isWithdrawn(order);
  }

  report(): WmsReport {
    return {
      ...this.#counts,
      arrivedPerSecondMost: this.#arrivals.most,
      duplicates: this.#pickingOrders.duplicates,
      orders: this.#pickingOrders.orders,
      arrivedBySecond: Array.from(this.#arrivedBySecond, (n) => n ?? 0),
      madeBySecond: Array.from(this.#madeBySecond, (n) => n ?? 0),
    };
  }

  /** How many orders got a picking order. */
  get accepted(): number {
    return this.#pickingOrders.accepted;
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
    const refusal = this.#proxy?.(request.url ?? "");
    if (refusal) {
      const { status, body: page = "<html><body>nginx</body></html>" } = refusal;
      reply.writeHead(status, { "content-type": "text/html" });
      reply.end(page);
      return;
    }
    const [matched, cancelled] = PATH.exec(request.url ?? "") ?? [];
    if (matched === undefined || request.method !== "POST") send(reply, 404, "nothing here");
    else if (this.#parser.admission === "out of service") this.#refuse(reply);
    else if (cancelled !== undefined) {
      this.#counts.cancellations++;
      this.#withdraw(reply, cancelled);
    } else this.#take(reply, body, request.headers["idempotency-key"] as string | undefined);
  }

  #withdraw(reply: ServerResponse, order: string): void {
    const isBeingMade = this.#keys.get(order) !== undefined && this.#keys.get(order) !== "made";
    if (isBeingMade) {
      send(reply, 409, "is being made", { retryAfterSeconds: 1 });
      return;
    }
    const code = this.#pickingOrders.withdraw(order);
    if (code === "withdrawn") send(reply, 200, "withdrawn");
    else send(reply, code === "unknown_order" ? 404 : 409, "not withdrawn", { code });
  }

  #take(reply: ServerResponse, body: Buffer, key: string | undefined): void {
    const payload = parsed(body);
    const order = payload === undefined ? undefined : orderOf(payload);
    const known = key === undefined ? undefined : this.#keys.get(key);
    if (order === undefined) send(reply, 400, "not a picking order", { code: "invalid_order" });
    else if (this.#pickingOrders.isWithdrawn(order)) send(reply, 409, "was withdrawn", { code: "already_withdrawn" });
    else if (known !== undefined) {
      this.#counts.repeats++;
      if (known === "made") send(reply, 200, "was made before");
      else wait(known, reply);
    } else this.#begin(reply, order, freeTextOf(payload), key);
  }

  #begin(reply: ServerResponse, order: string, freeText: number, key: string | undefined): void {
    const making: Making = { callers: new Set() };
    const isAccepted = this.#parser.offer({
      freeText,
      parsed: () => this.#made(order, key, making),
      cutOff: () => {
        for (const caller of making.callers) this.#refuse(caller);
        making.callers.clear();
      },
    });
    if (!isAccepted) {
      this.#refuse(reply);
      return;
    }
    wait(making, reply);
    if (key !== undefined) this.#remember(key, making);
  }

  #made(order: string, key: string | undefined, { callers }: Making): void {
    if (callers.size === 0) {
      this.#counts.rolledBack++;
      if (key !== undefined) this.#keys.delete(key);
      return;
    }
    this.#pickingOrders.make(order, systemClock.now());
    this.#count(this.#madeBySecond);
    if (key !== undefined) this.#keys.set(key, "made");
    for (const caller of callers) send(caller, 201, "made");
  }

  #remember(key: string, making: Making): void {
    this.#keys.set(key, making);
    for (const [oldest, state] of this.#keys) {
      // One that is being made is dropped later; the parser's queue bounds how many these are.
      if (this.#keys.size <= this.#ordersKept || state !== "made") return;
      this.#keys.delete(oldest);
    }
  }

  #refuse(reply: ServerResponse): void {
    this.#counts.unavailable++;
    send(reply, 503, "out of service");
  }

  #count(bySecond: number[]): void {
    const second = Math.floor((this.#time.nowMs() - this.#originMs) / 1_000);
    // Requests before the start of the given clock are in no series.
    if (second < 0) return;
    const index = Math.min(second, MAX_SECONDS - 1);
    bySecond[index] = (bySecond[index] ?? 0) + 1;
  }
}

/** Answers a caller once the picking order is made, unless the caller gives up before. */
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

/** The order's id, in the field of today's contract or of the previous one. */
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
