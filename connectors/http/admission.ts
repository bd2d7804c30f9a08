/**
 * How much is let in: requests under way at once, new work while the engine and its store have room, and new orders
 * while those before them move on. Whoever is not let in is told so at once, with the time to come back.
 */
import type { IncomingMessage } from "node:http";
import type { onRequestHookHandler } from "fastify";
import { stopwatch, systemClock } from "../../engine/kernel/clock.js";
import type { HttpDeps } from "./deps.js";
import { HttpFault, problemOf, retryAfter, sendProblem } from "./problem.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Not counted with the other requests: the route has a guard of its own. */
    ownPlaces?: boolean;
  }
}

/** A client waits this long at most before it asks again. */
const LONGEST_RETURN_S = 10;

/** Throws when new work is not taken at the moment. */
export function assertTakesNew({ refuseNew }: Pick<HttpDeps, "refuseNew">): void {
  const refusal = refuseNew?.();
  if (!refusal) return;
  throw new HttpFault(refusal.code, refusal.reason, { headers: retryAfter(refusal.retryAfterMs / 1_000) });
}

/**
 * Lets new work in only while what came before moves on: when the oldest has waited too long, whoever comes now is
 * told to come back, the later the more are told so. So a rush meets a quick no instead of a slow yes, nobody sends
 * again for want of an answer, and payments do not stand in line behind it.
 */
export class Queue {
  readonly #maxWaitMs: number;
  readonly #since = new Set<{ atMs: number }>();
  #second = 0;
  /** In this second and in the one before. */
  #passed: [now: number, before: number] = [0, 0];
  #refused: [now: number, before: number] = [0, 0];

  constructor(maxWaitMs = Number.POSITIVE_INFINITY) {
    this.#maxWaitMs = maxWaitMs;
  }

  /** For `onRequest`: a refusal costs no reading of the body. */
  readonly guard: onRequestHookHandler = (_request, reply, done) => {
    const nowMs = systemClock.now();
    const [oldest] = this.#since;
    if (!oldest || nowMs - oldest.atMs <= this.#maxWaitMs) {
      done();
      return;
    }
    this.#turn(nowMs);
    this.#refused[0]++;
    const seconds = Math.min(LONGEST_RETURN_S, Math.ceil((1 + this.#refused[1]) / (1 + this.#passed[1])));
    sendProblem(
      reply,
      problemOf("overloaded", "those who came before wait too long already; send it again with the same id"),
      retryAfter(seconds),
    );
  };

  /** Does the work that was let in. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    const own = { atMs: systemClock.now() };
    this.#turn(own.atMs);
    this.#passed[0]++;
    this.#since.add(own);
    try {
      return await work();
    } finally {
      this.#since.delete(own);
    }
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1_000);
    if (second === this.#second) return;
    const isNext = second === this.#second + 1;
    this.#second = second;
    this.#passed = [0, isNext ? this.#passed[0] : 0];
    this.#refused = [0, isNext ? this.#refused[0] : 0];
  }
}

/** Full is told when it has lasted: a rush that moves on is the load balancer's to see by its 429. */
const LONG_FULL_MS = 5_000;
/** Not full any more when a tenth of the places is free: where each free one is taken at once, nothing has changed. */
const FREE_SHARE = 0.1;

/** How many of the places one client may have; a client that is not named has no bound of its own. */
export interface PlacesShare {
  places: number;
  clientOf(request: IncomingMessage): string | undefined;
}

/**
 * Lets at most so many requests be under way at once. Further ones are told to come back, and no body of theirs is
 * read.
 */
export class Places {
  readonly #limit: number;
  readonly #what: string;
  readonly #share: PlacesShare | undefined;
  readonly #byClient = new Map<string, number>();
  #underWay = 0;
  #full: (() => number) | undefined;

  constructor(limit: number, what: string, share?: PlacesShare) {
    this.#limit = limit;
    this.#what = what;
    this.#share = share;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** Why there is no getting in, when that has been so for long. */
  wrong(): string[] {
    const fullMs = this.#full?.() ?? 0;
    if (fullMs < LONG_FULL_MS) return [];
    return [`all ${this.#limit} places for ${this.#what} have been taken for ${Math.round(fullMs / 1_000)} s`];
  }

  /** For `onRequest`. */
  readonly guard: onRequestHookHandler = (request, reply, done) => {
    if (request.routeOptions.config.whenStopping === true) {
      done();
      return;
    }
    if (this.#underWay >= this.#limit) {
      sendProblem(
        reply,
        problemOf("overloaded", `${this.#limit} ${this.#what} are under way already; this one was not read`),
        retryAfter(1),
      );
      return;
    }
    const client = this.#share?.clientOf(request.raw);
    if (client !== undefined && this.#share) {
      const own = this.#byClient.get(client) ?? 0;
      if (own >= this.#share.places) {
        const detail = `${own} ${this.#what} of ${client} are under way already; this one was not read`;
        sendProblem(reply, problemOf("overloaded", detail), retryAfter(1));
        return;
      }
      this.#byClient.set(client, own + 1);
    }
    this.#underWay++;
    if (this.#underWay >= this.#limit) this.#full ??= stopwatch();
    // However it ends: answered, left by its client, or with its connection while the answer still stood in line there.
    const { socket } = request.raw;
    let isIn = true;
    const leave = (): void => {
      // The end of the connection is the end of its answer, too: both are told in one turn.
      if (!isIn) return;
      isIn = false;
      reply.raw.off("close", leave);
      socket.off("close", leave);
      this.#underWay--;
      if (client !== undefined) this.#giveBack(client);
      if (this.#underWay <= this.#limit * (1 - FREE_SHARE)) this.#full = undefined;
    };
    reply.raw.once("close", leave);
    socket.once("close", leave);
    done();
  };

  #giveBack(client: string): void {
    const left = (this.#byClient.get(client) ?? 0) - 1;
    if (left > 0) this.#byClient.set(client, left);
    else this.#byClient.delete(client);
  }
}

/** For `onRequest`: a body that has not come whole by then is answered 408, and its connection is closed. */
export function bodyWithin(limitMs: number): onRequestHookHandler {
  return (request, reply, done) => {
    const timer = setTimeout(() => {
      if (request.raw.complete || reply.sent) return;
      const problem = problemOf("request_timeout", `the body did not come within ${limitMs / 1_000} s`);
      sendProblem(reply, problem, { connection: "close" });
    }, limitMs);
    timer.unref();
    reply.raw.once("close", () => clearTimeout(timer));
    done();
  };
}
