/**
 * What operators and their machines ask: is the process alive, may it get traffic, and its figures in Prometheus' text format. Requests are
 * counted by the route's pattern, never by what a client put into the URL, so the number of series is bounded. None of the three
 * needs a token; what faces the internet should not forward them.
 */
import type { FastifyInstance, onResponseHookHandler } from "fastify";
import { Gauge, Histogram, Registry } from "prom-client";
import { NO_TOKEN_NEEDED, type RouteGroup } from "./kit.js";
import { refuse, retryAfter } from "./problem.js";
import { problems, Readiness, requestFaults, Status } from "./schemas.js";

/** From half a millisecond (an order on an idle engine) to 2.5 s, in seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

export interface HttpMetrics {
  readonly registry: Registry;
  /** Counts an answer of a route. */
  observer(method: string, route: string): onResponseHookHandler;
  /** A figure that is read when it is asked for. */
  gauge(name: string, help: string, read: () => number): void;
}

export function httpMetrics(): HttpMetrics {
  const registry = new Registry();
  const seconds = new Histogram({
    name: "shuiwei_http_request_seconds",
    help: "Time from a request's head to the end of its answer, by route, method and class of status",
    labelNames: ["method", "route", "status"],
    buckets: BUCKETS,
    registers: [registry],
  });
  return {
    registry,
    observer(method, route) {
      const classes = CLASSES.map((status) => seconds.labels(method, route, status));
      return (_request, reply, done) => {
        classes[Math.floor(reply.statusCode / 100) - 1]?.observe(reply.elapsedTime / 1_000);
        done();
      };
    },
    gauge(name, help, read) {
      new Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(read());
        },
      });
    },
  };
}

/** Counts the answers of every route that is registered after this. */
export function countRoutes(server: FastifyInstance, metrics: HttpMetrics): void {
  const ours = new WeakSet<onResponseHookHandler>();
  server.addHook("onRoute", (route) => {
    const method = Array.isArray(route.method) ? "other" : route.method;
    const observer = metrics.observer(method, route.url);
    ours.add(observer);
    // A HEAD route is made from its GET route and brings that one's observer.
    const before = [route.onResponse ?? []].flat().filter((hook) => !ours.has(hook as onResponseHookHandler));
    route.onResponse = [...before, observer] as onResponseHookHandler[];
  });
}

export const operationsRoutes =
  (metrics: HttpMetrics): RouteGroup =>
  (server, { deps, places }) => {
    const config = { whenStopping: true };

    server.get(
      "/healthz",
      {
        config,
        schema: {
          tags: ["operations"],
          operationId: "health",
          summary: "The process is alive",
          description: "Does not ask the store: 200 also while that cannot be reached.",
          security: NO_TOKEN_NEEDED,
          response: { 200: Status, ...requestFaults },
        },
      },
      (_request, reply) => {
        reply.send({ status: "alive" });
      },
    );

    server.get(
      "/readyz",
      {
        config,
        schema: {
          tags: ["operations"],
          operationId: "readiness",
          summary: "The process may get traffic; 503 says in words why not",
          description: "`warnings` says what an operator should look into although the process works.",
          security: NO_TOKEN_NEEDED,
          response: { 200: Readiness, ...problems },
        },
      },
      (_request, reply) => {
        const wrong = [...(deps.stopping() ? ["stopping"] : []), ...deps.readiness(), ...places.requests.wrong()];
        if (wrong.length === 0) {
          const warnings = deps.warnings?.() ?? [];
          reply.send({ status: "ready", ...(warnings.length > 0 ? { warnings } : {}) });
        } else refuse(reply, "not_ready", wrong.join("; "), { headers: retryAfter(1) });
      },
    );

    server.get(
      "/metrics",
      {
        config,
        schema: {
          tags: ["operations"],
          operationId: "metrics",
          summary: "Figures in Prometheus' text format",
          description: "Of this process and of what it reads; to be scraped.",
          security: NO_TOKEN_NEEDED,
          response: {
            200: { description: "The figures", content: { "text/plain": { schema: { type: "string" } } } },
            ...problems,
          },
        },
      },
      async (_request, reply) => {
        const [own, given] = await Promise.all([metrics.registry.metrics(), deps.metrics()]);
        return reply.type(metrics.registry.contentType).send(`${own.trimEnd()}\n${given}`);
      },
    );
  };
