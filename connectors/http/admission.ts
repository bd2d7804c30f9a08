/**
 * Admission control: a limit of concurrent requests, new work only while the engine and its store have capacity, and
 * new orders only while earlier ones are answered in time. A refused request is answered at once, with Retry-After.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { onRequestHookHandler } from "fastify";
import { stopwatch, systemClock } from "../../engine/kernel/clock.js";
import type { HttpDeps } from "./deps.js";
import { HttpFault, problemOf, retryAfter, sendProblem } from "./problem.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Not counted in the limit of all requests: the route has its own limit. */
    ownLimit?: boolean;
  }
}

/** The largest Retry-After. */
const MAX_RETRY_SECONDS = 10;

/** Throws when new work is not accepted at the moment. */
export function assertAcceptsNewWork({ refuseNew }: Pick<HttpDeps, "refuseNew">): void {
  const refusal = refuseNew?.();
  if (!refusal) return;
  throw new HttpFault(refusal.code, refusal.reason, { headers: retryAfter(refusal.retryAfterMs / 1_000) });
}

/**
 * Refuses new work while the oldest request under way has waited too long. Retry-After grows with the number of
 * refusals. In a rush, clients get a fast refusal instead of a slow answer, so they do not time out and resend, and
 * payments do not wait behind new orders.
 */
export class WaitingTimeLimit {
  readonly #maxWaitMs: number;
  readonly #started = new Set<{ atMs: number }>();
  #second = 0;
  /** Counts of this second and of the one before. */
  #accepted: [now: number, before: number] = [0, 0];
  #refused: [now: number, before: number] = [0, 0];

  constructor(maxWaitMs = Number.POSITIVE_INFINITY) {
    this.#maxWaitMs = maxWaitMs;
  }

  /** For `onRequest`: the body of a refused request is not read. */
  readonly guard: onRequestHookHandler = (_request, reply, done) => {
    const nowMs = systemClock.now();
    const [oldest] = this.#started;
    if (!oldest || nowMs - oldest.atMs <= this.#maxWaitMs) {
      done();
      return;
    }
    this.#startSecond(nowMs);
    this.#refused[0]++;
    const seconds = Math.min(MAX_RETRY_SECONDS, Math.ceil((1 + this.#refused[1]) / (1 + this.#accepted[1])));
    sendProblem(
      reply,
      problemOf("overloaded", "earlier orders have waited too long; send the order again with the same id"),
      retryAfter(seconds),
    );
  };

  /** Runs accepted work and measures how long it waits. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const own = { atMs: systemClock.now() };
    this.#startSecond(own.atMs);
    this.#accepted[0]++;
    this.#started.add(own);
    try {
      return await work();
    } finally {
      this.#started.delete(own);
    }
  }

  #startSecond(nowMs: number): void {
    const second = Math.floor(nowMs / 1_000);
    if (second === this.#second) return;
    const isNext = second === this.#second + 1;
    this.#second = second;
    this.#accepted = [0, isNext ? this.#accepted[0] : 0];
    this.#refused = [0, isNext ? this.#refused[0] : 0];
  }
}

/** Being full is reported only after this time: the load balancer sees a short rush by its 429. */
const REPORT_FULL_AFTER_MS = 5_000;
/** Full until a tenth is free: a single free slot is used at once and changes nothing. */
const FREE_SHARE = 0.1;

/** How many requests one client may have; a client for which `clientOf` returns undefined has no limit of its own. */
export interface ClientShare {
  requests: number;
  clientOf(request: IncomingMessage): string | undefined;
}

/** Limits concurrent requests. Further ones get 429, and their body is not read. */
export class ConcurrencyLimit {
  readonly #limit: number;
  readonly #what: string;
  readonly #share: ClientShare | undefined;
  readonly #byClient = new Map<string, number>();
  #inFlight = 0;
  #full: (() => number) | undefined;

  constructor(limit: number, what: string, share?: ClientShare) {
    this.#limit = limit;
    this.#what = what;
    this.#share = share;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get isFull(): boolean {
    return this.#inFlight >= this.#limit;
  }

  /** What is wrong: the limit has been reached for a long time. Empty otherwise. */
  problems(): string[] {
    const fullMs = this.#full?.() ?? 0;
    if (fullMs < REPORT_FULL_AFTER_MS) return [];
    return [
      `the limit of ${this.#limit} concurrent ${this.#what} has been reached for ${Math.round(fullMs / 1_000)} s`,
    ];
  }

  /** For `onRequest`. */
  readonly guard: onRequestHookHandler = (request, reply, done) => {
    if (request.routeOptions.config.whenStopping === true) {
      done();
      return;
    }
    if (request.raw.socket.destroyed) {
      // It has left while an earlier hook waited: no further `close` would release its place.
      sendProblem(reply, problemOf("request_timeout", "the connection was closed"));
      return;
    }
    if (this.isFull) {
      sendProblem(
        reply,
        problemOf(
          "overloaded",
          `the limit of ${this.#limit} concurrent ${this.#what} is reached; this request was not read`,
        ),
        retryAfter(1),
      );
      return;
    }
    const client = this.#share?.clientOf(request.raw);
    if (client !== undefined && this.#share) {
      const own = this.#byClient.get(client) ?? 0;
      if (own >= this.#share.requests) {
        const detail = `${client} has ${own} ${this.#what} in progress, which is its limit; this request was not read`;
        sendProblem(reply, problemOf("overloaded", detail), retryAfter(1));
        return;
      }
      this.#byClient.set(client, own + 1);
    }
    this.hold(request.raw, reply.raw, client);
    done();
  };

  /**
   * Counts a request until it has been answered.
   * @param client of which a request was counted; left out: of none
   */
  hold({ socket }: IncomingMessage, response: ServerResponse, client?: string): void {
    this.#inFlight++;
    if (this.isFull) this.#full ??= stopwatch();
    // The request ends with its answer, or with the connection while the answer was still queued there.
    let isCounted = true;
    const release = (): void => {
      // When the connection closes, both events occur.
      if (!isCounted) return;
      isCounted = false;
      response.off("close", release);
      socket.off("close", release);
      this.#inFlight--;
      if (client !== undefined) this.#releaseClient(client);
      if (this.#inFlight <= this.#limit * (1 - FREE_SHARE)) this.#full = undefined;
    };
    response.once("close", release);
    socket.once("close", release);
  }

  #releaseClient(client: string): void {
    const left = (this.#byClient.get(client) ?? 0) - 1;
    if (left > 0) this.#byClient.set(client, left);
    else this.#byClient.delete(client);
  }
}

/** For `onRequest`: a body that is not complete in time is answered 408, and the connection is closed. */
export function bodyWithin(limitMs: number): onRequestHookHandler {
  return (request, reply, done) => {
    const timer = setTimeout(() => {
      if (request.raw.complete || reply.sent) return;
      const problem = problemOf("request_timeout", `the body was not complete within ${limitMs / 1_000} s`);
      sendProblem(reply, problem, { connection: "close" });
    }, limitMs);
    timer.unref();
    reply.raw.once("close", () => clearTimeout(timer));
    done();
  };
}
