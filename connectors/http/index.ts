/**
 * The HTTP API as one Fastify plugin: routes, checks, problems and metrics. It uses the ledger, the order service and
 * the views that it gets, keeps no state of its own, and may run in any number of processes. It does not listen, serve
 * pages or speak TLS: engine/app/server.ts and a proxy do.
 */
import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  FastifyServerOptions,
  HTTPMethods,
} from "fastify";
import { assert } from "../../engine/kernel/errors.js";
import { valuesOf } from "../../engine/kernel/options.js";
import { freshnessBudget } from "../../engine/publication/freshness.js";
import { publicationOptions } from "../../engine/publication/options.js";
import type { CallbackLimits } from "../connector.js";
import { Access } from "./access.js";
import { bodyWithin, type ClientShare, ConcurrencyLimit } from "./admission.js";
import { alertRoutes } from "./alerts.js";
import { BreakerWatch, breakerRoutes } from "./breaker.js";
import { quotaClientOf } from "./client.js";
import { commandRoutes, MAX_BULK_REQUESTS } from "./commands.js";
import { comparisonRoutes } from "./comparisons.js";
import { continueBody } from "./continue.js";
import { deliveryRoutes } from "./deliveries.js";
import type { HttpDeps } from "./deps.js";
import { divergenceRoutes } from "./divergence.js";
import { FastEntry } from "./fast-entry.js";
import { entryGuard, tokensOf } from "./guard.js";
import { historyRoutes } from "./history.js";
import type { Role } from "./identity.js";
import { idRoutes } from "./ids.js";
import { inboundRoutes } from "./inbound.js";
import { readJson } from "./json.js";
import { countRoutes, type HttpMetrics, httpMetrics, operationsRoutes } from "./operations.js";
import { orderRoutes } from "./orders.js";
import { ownSettingsRoutes } from "./own-settings.js";
import { peopleRoutes } from "./people.js";
import { personalDataRoutes } from "./personal-data.js";
import { badInputFault, errorHandler, HttpFault, problemOf, sendProblem } from "./problem.js";
import { publicationRoutes } from "./publication.js";
import { pushRoutes } from "./push.js";
import { replenishmentRoutes } from "./replenishment.js";
import { BODY_LIMIT, type RouteContext, type RouteGroup } from "./route-context.js";
import { ProblemSchema } from "./schemas/problem.js";
import { seriesRoutes } from "./series.js";
import { MAX_SESSION_REQUESTS, MAX_SESSION_REQUESTS_EACH, sessionRoutes } from "./session-routes.js";
import { settingsRoutes } from "./settings.js";
import { settlementRoutes } from "./settlements.js";
import { silenceRoutes } from "./silences.js";
import { snapshotRoutes } from "./snapshots.js";
import { sourceRoutes } from "./sources.js";
import { stepRoutes } from "./steps.js";
import { stockFastRoute, stockRoutes } from "./stock.js";
import { StockAnswers } from "./stock-answers.js";
import { stockStreamRoutes } from "./stock-stream.js";

export { ConcurrencyLimit } from "./admission.js";
export { allowedHostCheck } from "./client.js";
export { ConnectionLimit } from "./connection-limit.js";
export { Connections, hasTruncatedHeaders, type PerConnectionLimits, serveWithoutUpgrade } from "./connections.js";
export type { HttpDeps } from "./deps.js";
export { hostOrOriginFault } from "./guard.js";
export { DEMO_IDENTITY, type Identity, mayDo } from "./identity.js";
export { apiDocument } from "./openapi.js";
export { httpOptions } from "./options.js";
export { pairingPage } from "./pairing-page.js";
export { faultOf, problemOf, sendProblem } from "./problem.js";
export type { RouteGroup } from "./route-context.js";
export { Sessions } from "./sessions.js";
export { TokenFile } from "./token-file.js";

declare module "fastify" {
  interface FastifyInstance {
    /** Answers some requests before the server's routes do. */
    fastEntry: FastEntry;
    /** Ends the streams of stock, whose clients connect again one after the other within seconds. */
    endStreams(): void;
    /** Authentication for pages and upgrades, which are not routes of the connector. */
    access: Access;
  }
}

/**
 * The options that Fastify must be created with for this plugin: values are not converted, completed or removed, and
 * all faults are reported.
 */
export const serverOptions = {
  bodyLimit: BODY_LIMIT,
  ajv: {
    customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: true, verbose: true },
  },
  // A SKU of 64 characters of 4 bytes is 768 characters percent-encoded.
  routerOptions: { maxParamLength: 1_024 },
} as const satisfies FastifyServerOptions;

/** 8,200 orders a second that take 100 ms each are 820; as many bodies of 128 KiB are 512 MiB. */
const MAX_UNDER_WAY = 4_096;

/**
 * 100 SKUs, their options, and some more. Each unknown parameter is a fault that is found in the same turn of the event
 * loop.
 */
const MAX_PARAMETERS = 128;

/** 8 MiB at 3 Mbit/s. A slower sender gets 408; a body that streams has other limits. */
const BODY_WITHIN_MS = 25_000;

/** Of systems that call back, such as WeCom: some a second at most. */
const MAX_CALLBACKS = 64;
const MAX_CALLBACKS_EACH = MAX_CALLBACKS / 4;
/** 16 KiB from another data centre. */
const CALLBACK_BODY_WITHIN_MS = 3_000;

const METHODS: readonly HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
const CHARSET = /;\s*charset\s*=\s*"?([^";]*)/i;

/** The groups of routes that need nothing but the context. */
const ROUTES: readonly RouteGroup[] = [
  stepRoutes,
  personalDataRoutes,
  commandRoutes,
  publicationRoutes,
  historyRoutes,
  seriesRoutes,
  divergenceRoutes,
  settingsRoutes,
  idRoutes,
  alertRoutes,
  silenceRoutes,
  deliveryRoutes,
  replenishmentRoutes,
  inboundRoutes,
  peopleRoutes,
  ownSettingsRoutes,
  pushRoutes,
  breakerRoutes,
  comparisonRoutes,
  settlementRoutes,
  snapshotRoutes,
  sourceRoutes,
  sessionRoutes,
];

/**
 * The plugin. Register it before anything else, so that its checks apply to everything after it.
 * @throws EngineError `bad_option` (on registration) when no token protects writing and the server is not open
 */
export function httpConnector(deps: HttpDeps): FastifyPluginAsync {
  const plugin: FastifyPluginAsync = async (server) => {
    const tokens = tokensOf(deps);
    assert(server.initialConfig.bodyLimit === BODY_LIMIT, "the server was created without serverOptions");
    server.decorateRequest("identity", undefined);
    const metrics = httpMetrics();
    const access = new Access(deps, tokens, (what) => metrics.failedLogins.inc({ with: what }));
    server.decorate("access", access);
    const authorize = (role: Role) => access.authorize(role);
    const authorizePerson = (role?: Role) => access.authorizePerson(role);
    const limits = limitsOf(deps);
    const freshness = deps.freshness ?? freshnessBudget(valuesOf(publicationOptions, {}));
    const answers = new StockAnswers(deps, freshness);
    const context: RouteContext = {
      deps,
      access,
      defaultLocation: deps.defaultLocation ?? "main",
      freshness,
      authorize,
      authorizePerson,
      limits,
      callbacks: callbackLimits(deps),
    };
    addGauges(metrics, context);

    server.setErrorHandler(errorHandler(deps.onTrouble));
    server.addHook("onRequest", entryGuard(deps));
    server.addHook("onRequest", (request, reply, done) => {
      if (request.routeOptions.config.ownLimit === true) done();
      else limits.requests.guard.call(server, request, reply, done);
    });
    limitBodyTime(server);
    server.addHook("preParsing", continueBody);
    readJsonBodies(server);
    countRoutes(server, metrics);
    const observeUnknownPath = metrics.observer("any", "none");
    const answerUnknownPath = (request: FastifyRequest, reply: FastifyReply): void => {
      reply.raw.once("finish", () => observeUnknownPath.call(server, request, reply, () => {}));
      sendProblem(reply, problemOf("not_found", "no route has this path"));
    };
    // Before the body is read. Missing files reach the handler below.
    server.addHook("onRequest", (request, reply, done) => {
      if (request.is404) answerUnknownPath(request, reply);
      else if (hasManyParameters(request.raw.url))
        sendProblem(reply, problemOf("bad_request", `the query has more than ${MAX_PARAMETERS} parameters`));
      else done();
    });
    server.setNotFoundHandler(answerUnknownPath);
    server.addSchema(ProblemSchema);

    const methods = knownMethods(server);
    const fastParts = { deps, limit: context.limits.requests, metrics, paths: methods };
    server.decorate("fastEntry", new FastEntry(fastParts, [stockFastRoute(answers)]));
    const groups = [
      orderRoutes(new BreakerWatch(deps)),
      stockRoutes(answers),
      ...ROUTES,
      stockStreamRoutes(answers, metrics),
      operationsRoutes(metrics),
      ...(deps.routes ?? []),
    ];
    for (const group of groups) group(server, context);
    // After all routes are registered, also those in scopes of their own.
    server.register(async (scope) => refuseOtherMethods(scope, methods));
  };
  // Hooks and handlers apply to the whole server, not only to a scope of this plugin.
  return Object.assign(plugin, { [Symbol.for("skip-override")]: true });
}

function limitsOf(deps: HttpDeps): RouteContext["limits"] {
  return {
    requests: new ConcurrencyLimit(deps.maxUnderWay ?? MAX_UNDER_WAY, "requests"),
    bulk: new ConcurrencyLimit(MAX_BULK_REQUESTS, "bulk requests"),
    sessions: new ConcurrencyLimit(
      MAX_SESSION_REQUESTS,
      "requests for a session",
      shareOf(MAX_SESSION_REQUESTS_EACH, deps),
    ),
  };
}

function addGauges(metrics: HttpMetrics, { limits, freshness }: RouteContext): void {
  metrics.gauge(
    "shuiwei_http_requests_under_way",
    "Requests being answered; not those for health and figures",
    () => limits.requests.inFlight,
  );
  metrics.gauge(
    "shuiwei_edge_lifetime_seconds",
    "How long after its instant caches may serve a stock answer",
    () => freshness.lifetimeMs / 1_000,
  );
  metrics.gauge("shuiwei_http_bulk_requests_under_way", "Bulk requests among them", () => limits.bulk.inFlight);
}

/** Of each client by its address. */
const shareOf = (requests: number, { trustProxy = false }: HttpDeps): ClientShare => ({
  requests,
  clientOf: (request) => quotaClientOf(request, trustProxy),
});

/** Their bodies are read before a signature can be verified. */
function callbackLimits(deps: HttpDeps): CallbackLimits {
  const limit = new ConcurrencyLimit(MAX_CALLBACKS, "callbacks", shareOf(MAX_CALLBACKS_EACH, deps));
  return {
    config: { ownLimit: true, anyHost: true },
    onRequest: [limit.guard, bodyWithin(CALLBACK_BODY_WITHIN_MS)],
  };
}

/** JSON must be UTF-8 and is read exactly; every other content type is refused. */
function readJsonBodies(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, bytes, done) => {
    const type = request.headers["content-type"] as string;
    const charset = type.length > "application/json".length ? CHARSET.exec(type)?.[1]?.trim().toLowerCase() : undefined;
    if (charset !== undefined && charset !== "utf-8" && charset !== "utf8") {
      done(new HttpFault("unsupported_media_type", "JSON must be UTF-8"), undefined);
      return;
    }
    if (bytes.length === 0) {
      done(null, undefined);
      return;
    }
    const reading = readJson(bytes as Buffer);
    if ("value" in reading) done(null, reading.value);
    else if (reading.fault.field !== "") done(badInputFault([reading.fault]), undefined);
    else
      done(
        new HttpFault("malformed_body", `the body ${reading.fault.message}`, { errors: [reading.fault] }),
        undefined,
      );
  });
}

function limitBodyTime(server: FastifyInstance): void {
  const inTime = bodyWithin(BODY_WITHIN_MS);
  server.addHook("onRequest", (request, reply, done) => {
    if (request.routeOptions.config.streamed === true || hasNoBody(request)) done();
    else inTime.call(server, request, reply, done);
  });
}

const hasNoBody = ({ headers }: FastifyRequest): boolean =>
  headers["transfer-encoding"] === undefined && (headers["content-length"] ?? "0") === "0";

function hasManyParameters(url = ""): boolean {
  let at = url.indexOf("?");
  for (let parameters = 1; at >= 0; parameters++) {
    if (parameters > MAX_PARAMETERS) return true;
    at = url.indexOf("&", at + 1);
  }
  return false;
}

/** Remembers the methods of every route from now on, by its pattern. */
function knownMethods(server: FastifyInstance): Map<string, Set<HTTPMethods>> {
  const known = new Map<string, Set<HTTPMethods>>();
  server.addHook("onRoute", ({ url, method }) => {
    const methods = known.get(url) ?? new Set();
    known.set(url, methods);
    for (const each of [method].flat()) methods.add(each as HTTPMethods);
  });
  return known;
}

/** Answers 405 with `Allow` when a path has no route for the method; before the body is read. */
function refuseOtherMethods(server: FastifyInstance, known: ReadonlyMap<string, ReadonlySet<HTTPMethods>>): void {
  for (const [url, methods] of [...known]) {
    const allow = [...methods].join(", ");
    server.route({
      url,
      method: METHODS.filter((method) => !methods.has(method)),
      schema: { hide: true },
      onRequest: (_request, reply) => {
        sendProblem(reply, problemOf("method_not_allowed", `this path allows ${allow}`), { allow });
      },
      handler: (_request, reply) => reply,
    });
  }
}
