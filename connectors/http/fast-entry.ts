/**
 * A short way for the most frequent requests, in front of Fastify: of a route with an entry here, a request of the
 * plain form is answered by the same code as the ordinary route, with the same bytes, counts and limits, but without
 * routing, hooks and validation. Everything unusual is left to the ordinary route: queries, bodies, other methods,
 * unknown keys, refusals. So nothing is decided here twice, and a route works the same without its entry.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { stopwatch } from "../../engine/kernel/clock.js";
import type { ConcurrencyLimit } from "./admission.js";
import { hasTruncatedHeaders } from "./connections.js";
import type { HttpDeps } from "./deps.js";
import { hostOrOriginFault } from "./guard.js";
import type { HttpMetrics } from "./operations.js";

/** One part of a path in characters that need no thought; anything else is left to the router. */
const PLAIN_PART = /^[\w\-.~%]*$/;

export interface FastRoute {
  readonly method: string;
  /** What the path begins with; what follows is one part of a path, or nothing. */
  readonly prefix: string;
  /** The path of the ordinary route, as it is registered. */
  readonly path: string;
  /**
   * Answers, now or later.
   * @param part what follows the prefix, decoded
   * @returns false when the ordinary route must answer; then it has changed nothing
   */
  answer(request: IncomingMessage, response: ServerResponse, part: string): boolean;
}

interface Parts {
  readonly deps: Pick<HttpDeps, "open" | "isAllowedHost" | "stopping">;
  readonly limit: ConcurrencyLimit;
  readonly metrics: Pick<HttpMetrics, "counter">;
  /** Paths of ordinary routes; one that is there without a parameter is not the part of another. */
  readonly paths: { has(path: string): boolean };
}

type CountedRoute = FastRoute & { readonly count: ReturnType<HttpMetrics["counter"]> };

export class FastEntry {
  readonly #parts: Parts;
  readonly #routes: readonly CountedRoute[];
  readonly #nowMs = stopwatch();

  constructor(parts: Parts, routes: readonly FastRoute[]) {
    this.#parts = parts;
    this.#routes = routes.map((route) => ({ ...route, count: parts.metrics.counter(route.method, route.path) }));
  }

  /** Answers a request, or returns false: then it is for the server's routes. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const route = this.#routeOf(request);
    if (!route || !this.#isPlain(request)) return false;
    const part = partOf(request.url as string, route.prefix);
    if (part === undefined) return false;
    const path = route.prefix + part;
    if (path !== route.path && this.#parts.paths.has(path)) return false;
    const startMs = this.#nowMs();
    if (!route.answer(request, response, part)) return false;
    // Mostly the system has accepted the answer by now, and the request was never under way between two turns.
    if (response.writableEnded && request.socket.writableLength === 0)
      route.count(response.statusCode, this.#nowMs() - startMs);
    else {
      this.#parts.limit.hold(request, response);
      response.once("finish", () => route.count(response.statusCode, this.#nowMs() - startMs));
    }
    return true;
  }

  #routeOf({ method, url }: IncomingMessage): CountedRoute | undefined {
    for (const route of this.#routes) if (method === route.method && url?.startsWith(route.prefix)) return route;
    return undefined;
  }

  /** Whether no check of the ordinary way would refuse or delay it: see guard.ts, admission.ts and continue.ts. */
  #isPlain(request: IncomingMessage): boolean {
    const { deps, limit } = this.#parts;
    const { headers } = request;
    return (
      !limit.isFull &&
      !deps.stopping() &&
      !hasTruncatedHeaders(request) &&
      headers["content-encoding"] === undefined &&
      headers.expect === undefined &&
      (!deps.open || hostOrOriginFault(request, deps) === undefined)
    );
  }
}

/** What follows the prefix, decoded; undefined when it is not a single plain part. */
function partOf(url: string, prefix: string): string | undefined {
  const raw = url.slice(prefix.length);
  if (!PLAIN_PART.test(raw)) return undefined;
  if (!raw.includes("%")) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    return undefined;
  }
}
