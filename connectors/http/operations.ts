/**
 * Health, readiness, and metrics in Prometheus' text format. Requests are counted by the route's pattern, never by the
 * URL, so the number of series is limited. Health and readiness are public; the reasons for not being ready, and the
 * metrics, need the role read.
 */
import type { FastifyInstance, onResponseHookHandler } from "fastify";
import { Counter, Gauge, Registry } from "prom-client";
import { refuse as refuseClient } from "./access.js";
import { AnswerTimes, type CountAnswer } from "./answer-times.js";
import { refuse, retryAfter } from "./problem.js";
import { NO_TOKEN_NEEDED, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { Readiness, Status } from "./schemas/operations.js";
import { problems, requestFaults } from "./schemas/problem.js";

export interface HttpMetrics {
  readonly registry: Registry;
  readonly failedLogins: Counter<"with">;
  /** Counts an answer of a route. */
  counter(method: string, route: string): CountAnswer;
  /** The same as a hook. */
  observer(method: string, route: string): onResponseHookHandler;
  /** A gauge whose value is read when the metrics are read. */
  gauge(name: string, help: string, read: () => number): void;
}

export function httpMetrics(): HttpMetrics {
  const registry = new Registry();
  const times = new AnswerTimes(registry);
  const failedLogins = new Counter({
    name: "shuiwei_http_failed_logins_total",
    help: "Requests with a wrong token or pairing code",
    labelNames: ["with"],
    registers: [registry],
  });
  for (const what of ["token", "pairing code"]) failedLogins.inc({ with: what }, 0);
  return {
    registry,
    failedLogins,
    counter: (method, route) => times.counter(method, route),
    observer(method, route) {
      const count = times.counter(method, route);
      return (_request, reply, done) => {
        count(reply.statusCode, reply.elapsedTime);
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
    // Fastify makes a HEAD route from its GET route, with that one's observer.
    const before = [route.onResponse ?? []].flat().filter((hook) => !ours.has(hook as onResponseHookHandler));
    route.onResponse = [...before, observer] as onResponseHookHandler[];
  });
}

const HEALTH = { whenStopping: true, anyHost: true };

export const operationsRoutes =
  (metrics: HttpMetrics): RouteGroup =>
  (server, context) => {
    const { deps, access, authorize } = context;

    server.get(
      "/healthz",
      {
        config: HEALTH,
        schema: {
          tags: ["operations"],
          operationId: "getHealth",
          summary: "Whether the process is alive",
          description: "Does not call the store: 200 also while the store cannot be reached.",
          security: NO_TOKEN_NEEDED,
          response: { 200: Status, ...requestFaults },
        },
      },
      (_request, reply) => {
        reply.send({ status: "alive" });
      },
    );

    readinessRoute(server, context);

    server.get(
      "/metrics",
      {
        config: { whenStopping: true },
        ...(access.isOpen("metrics") ? {} : { onRequest: authorize("read") }),
        schema: {
          tags: ["operations"],
          operationId: "getMetrics",
          summary: "Metrics in Prometheus' text format",
          description:
            "Of this process and of the logs that it reads. Scraping needs a bearer token unless metrics are public.",
          security: TOKEN_NEEDED,
          response: {
            200: { description: "The metrics", content: { "text/plain": { schema: { type: "string" } } } },
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

function readinessRoute(server: FastifyInstance, { deps, access, limits, freshness }: RouteContext): void {
  server.get(
    "/readyz",
    {
      config: HEALTH,
      schema: {
        tags: ["operations"],
        operationId: "getReadiness",
        summary: "Whether the process may get traffic; 503 gives the reason",
        description:
          "`freshness` states how the 15 s of stock answers are divided among caches; `warnings` lists problems for an operator although the process works. Without a token neither these nor the reason are sent.",
        security: NO_TOKEN_NEEDED,
        response: { 200: Readiness, ...problems },
      },
    },
    async (request, reply) => {
      // A wrong token must not be answered faster here than elsewhere.
      const client = access.hasCredentials(request.raw) ? await access.authenticate(request.raw) : undefined;
      if (client && "code" in client) return refuseClient(reply, client);
      const showsDetails = client !== undefined || access.isOpen("metrics");
      const problemTexts = [
        ...(deps.stopping() ? ["stopping"] : []),
        ...deps.readiness(),
        ...limits.requests.problems(),
      ];
      if (problemTexts.length > 0) {
        const why = showsDetails ? problemTexts.join("; ") : "the reason is shown to clients with the role read";
        return refuse(reply, "not_ready", why, { headers: retryAfter(1) });
      }
      if (!showsDetails) return reply.send({ status: "ready" });
      const warnings = deps.warnings?.() ?? [];
      return reply.send({
        status: "ready",
        freshness: freshness.text,
        ...(warnings.length > 0 ? { warnings } : {}),
      });
    },
  );
}
