/**
 * How much is let in: requests under way at once, new work while the engine and its store have room, and new orders while those before them move on.
 * Whoever is not let in is told so at once, with the time to come back.
 */
import type { onRequestHookHandler } from "fastify";
import { systemClock } from "../../engine/kernel/clock.js";
import type { HttpDeps } from "./kit.js";
import { HttpFault, problemOf, retryAfter, sendProblem } from "./problem.js";

/** A client waits this long at most before it asks again. */
const LONGEST_RETURN_S = 10;

/** Throws when new work is not taken at the moment. */
export function assertTakesNew({ refuseNew }: Pick<HttpDeps, "refuseNew">): void {
  const refusal = refuseNew?.();
  if (!refusal) return;
  throw new HttpFault(refusal.code, refusal.reason, { headers: retryAfter(refusal.retryAfterMs / 1_000) });
}

/**
 * Lets new work in only while what came before moves on: when the oldest has waited too long, whoever comes now is told to come back, the later the
 * more are told so. So a rush meets a quick no instead of a slow yes, nobody sends again for want of an answer, and payments do not stand in line
 * behind it.
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

/** Lets at most so many requests be under way at once; for `onRequest`, so that no body is read before. Further ones are told to come back. */
export function atMost(limit: number, what: string): onRequestHookHandler {
  let underWay = 0;
  return (request, reply, done) => {
    if (request.routeOptions.config.whenStopping === true) {
      done();
      return;
    }
    if (underWay >= limit) {
      sendProblem(
        reply,
        problemOf("overloaded", `${limit} ${what} are under way already; this one was not read`),
        retryAfter(1),
      );
      return;
    }
    underWay++;
    // However it ends: answered, or left by its client.
    reply.raw.once("close", () => {
      underWay--;
    });
    done();
  };
}
