/**
 * The one HTTP server: the HTTP surface, its documentation at /docs, the built web pages at /, and the live view's
 * WebSocket, which is handed to the gateway. It bounds what a client may send and how long it may take, and closes
 * without cutting off a request that has begun. TLS, compression and rate limits are a proxy's work.
 */
import { existsSync } from "node:fs";
import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import fastifyStatic from "@fastify/static";
import fastifySwagger from "@fastify/swagger";
import fastifySwaggerUi from "@fastify/swagger-ui";
import Fastify, { type FastifyInstance, type onRequestHookHandler } from "fastify";
import { Registry } from "prom-client";
import {
  allowedHostCheck,
  apiDocument,
  ConcurrencyLimit,
  ConnectionLimit,
  Connections,
  faultOf,
  type HttpDeps,
  hasTruncatedHeaders,
  hostOrOriginFault,
  httpConnector,
  type PerConnectionLimits,
  pairingPage,
  problemOf,
  sendProblem,
  serverOptions,
  serveWithoutUpgrade,
} from "../../connectors/http/index.js";
import type { Gateway } from "../../dashboards/gateway.js";
import { LIVE_PATH } from "../../dashboards/protocol.js";
import { EngineError } from "../kernel/errors.js";
import { addAcceptors } from "./extra-acceptors.js";

export interface ServerOptions extends HttpDeps {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Names beside `host` and localhost that this server is asked under; addresses are always taken. */
  allowedHosts?: readonly string[];
  /** Folder of the built web pages; without it, or when it is not there, `/` is not served. */
  webRoot?: string;
  /** Takes WebSocket upgrades; without it they are refused. */
  gateway?: Pick<Gateway, "handleUpgrade" | "close">;
  /**
   * Connections taken in a turn of the event loop at most; 1 when left out. More cost a short-lived process at the
   * start.
   */
  accepts?: number;
  connectionLimits?: PerConnectionLimits;
  /** Connections at most; 10,000 when left out. */
  maxConnections?: number;
  /** How long requests under way may take when the server closes; 10 s when left out. */
  closeGraceMs?: number;
}

export interface RunningServer {
  readonly server: FastifyInstance;
  /** For example `http://127.0.0.1:8618`. */
  readonly url: string;
  readonly port: number;
  /**
   * Lets `/readyz` say that this process stops, and connections end with their next answer; everything is served on.
   */
  drain(): void;
  /** Takes no new request, lets those under way end, then closes every connection. May be repeated. */
  close(): Promise<void>;
}

/** The largest request head: a query of 100 SKUs of 150 bytes each. Longer ones get 431. */
const MAX_HEADER_BYTES = 16 * 1024;
/** 8 MiB at 3 Mbit/s. Slower senders get 408. */
const REQUEST_TIMEOUT_MS = 25_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** How late the two limits above may be noticed. */
const CHECK_EVERY_MS = 5_000;
/** Longer than the 60 s after which most proxies give up a connection, so that the proxy is always the one to close. */
const KEEP_ALIVE_MS = 75_000;
const CLOSE_GRACE_MS = 10_000;
/**
 * Further ones are closed at once, or idle ones of an address that has more than its share. With a full head each, and
 * as much again for the socket, these take 320 MiB.
 */
const MAX_CONNECTIONS = 10_000;
/**
 * Connections that wait to be taken in. In a rush thousands come at once; one that finds no room tries again after 1,
 * 3, 7 and more seconds.
 */
const BACKLOG = 4_096;
const IDLE_SWEEP_MS = 50;
/** How long the answer to what was no request may take to leave: less than 1 KiB, which the system takes at once. */
const BROKEN_ANSWER_MS = 2_000;
/**
 * Pages and documentation are large, and a client may ask for them and not read: they never take the places that
 * orders need. Anybody may ask for the documentation, so it does not take those of the pages.
 */
const MAX_PAGES = 256;
const MAX_DOCS = 64;
/** How soon a screen ends when its session is revoked. */
const RECHECK_MS = 10_000;

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

/** What a browser may do with the pages: load from here, talk to here, and be framed by nobody. */
const PAGE_POLICY =
  "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** The documentation's own script sets styles inline. */
const DOCS_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE_HEADERS = {
  "content-security-policy": PAGE_POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "x-frame-options": "DENY",
};
const PAGE_PATH = /^\/(index\.html)?(\?|$)/;
/** Built files carry a hash of their content in their name. */
const HASHED_FILE = /[\\/]assets[\\/][^\\/]+-[\w-]{8,}\.\w+$/;

/** Builds the server without listening; `inject` works on it. */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  return (await buildServer(options, () => false)).server;
}

async function buildServer(
  options: ServerOptions,
  draining: () => boolean,
): Promise<{ server: FastifyInstance; connections: Connections }> {
  const server = Fastify({
    ...serverOptions,
    logger: false,
    forceCloseConnections: "idle",
    // The connector's own check answers, as a problem.
    return503OnClosing: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
    },
    clientErrorHandler: (error, socket) => answerBroken(socket, brokenCode((error as NodeJS.ErrnoException).code)),
    frameworkErrors: (error, _request, reply) => {
      const { problem, headers } = faultOf(error, options.onTrouble);
      sendProblem(reply, problem, headers);
    },
  });
  const registry = new Registry();
  const connections = new Connections(registry, options.connectionLimits);
  connections.guard(server.server, server.routing);
  const metrics = async () => `${await registry.metrics()}${await options.metrics()}`;
  server.addHook("onRequest", (_request, reply, done) => {
    if (draining()) reply.header("connection", "close");
    done();
  });
  await server.register(fastifySwagger, apiDocument);
  await server.register(httpConnector({ ...options, metrics }));
  await server.register((scope) => registerPages(scope, options.webRoot));
  await server.ready();
  return { server, connections };
}

async function registerPages(scope: FastifyInstance, webRoot: string | undefined): Promise<void> {
  await scope.register(async (docs) => {
    docs.addHook("onRequest", new ConcurrencyLimit(MAX_DOCS, "pages of the documentation").guard);
    await docs.register(fastifySwaggerUi, {
      routePrefix: "/docs",
      staticCSP: DOCS_POLICY,
      uiConfig: { validatorUrl: null },
    });
  });
  if (webRoot === undefined || !existsSync(webRoot)) return;
  await scope.register(async (pages) => {
    if (!scope.access.isOpen("screens")) pages.addHook("onRequest", pageGuard(scope));
    // After it: whoever is not let in, or is shown how to pair, takes none.
    pages.addHook("onRequest", new ConcurrencyLimit(MAX_PAGES, "pages").guard);
    await pages.register(fastifyStatic, {
      root: webRoot,
      dotfiles: "ignore",
      cacheControl: false,
      setHeaders: (reply, path) => {
        reply.headers({
          ...PAGE_HEADERS,
          "cache-control": HASHED_FILE.test(path) ? "public, max-age=31536000, immutable" : "no-cache",
        });
      },
    });
  });
}

/** Lets those see the pages who may read; a browser that comes for the page itself is shown how to pair. */
function pageGuard({ access }: FastifyInstance): onRequestHookHandler {
  return (request, reply, done) => {
    access.authenticate(request.raw).then((asker) => {
      if (!("code" in asker)) done();
      else if (asker.code === "unauthorized" && PAGE_PATH.test(request.url))
        reply.code(401).headers(pairingPage.headers).send(pairingPage.html);
      else sendProblem(reply, problemOf(asker.code, asker.detail), asker.headers);
    }, done);
  };
}

/**
 * Builds the server and listens.
 * @throws EngineError `not_loopback` when an open demo would be reached from elsewhere, `port_in_use`, `bad_option`
 */
export async function startServer(given: ServerOptions): Promise<RunningServer> {
  const { host, port, open, gateway, accepts = 1, closeGraceMs = CLOSE_GRACE_MS } = given;
  if (open && !LOOPBACK.has(host)) {
    throw new EngineError(`without tokens only a loopback address is served, not ${host}`, {
      op: "server.listen",
      code: "not_loopback",
      retryable: false,
      input: "host",
    });
  }
  let closing: Promise<void> | undefined;
  let draining = false;
  const options: ServerOptions = {
    isAllowedHost: allowedHostCheck(host, given.allowedHosts),
    ...given,
    stopping: () => closing !== undefined || given.stopping(),
    readiness: () => [...(draining ? ["this process is about to stop"] : []), ...given.readiness()],
  };
  const { server, connections } = await buildServer(options, () => draining);
  const { access } = server;
  /** Screens that are not open to everybody, with the request that they came by. */
  const watched = new Map<Duplex, IncomingMessage>();
  const screens = new WeakSet<Duplex>();
  /** All connections that are open, those that were upgraded included: Node's own list does not hold them. */
  const connectionLimit = new ConnectionLimit({
    limit: given.maxConnections ?? MAX_CONNECTIONS,
    isIdle: (socket) => connections.isIdle(socket) && !screens.has(socket),
    trustProxy: given.trustProxy,
  });
  // Told again when a request that asked for an upgrade is served without it.
  server.server.on("connection", (socket) => {
    // An error of one that no reader listens to any more would end the process; it closes by itself.
    if (!connectionLimit.all.has(socket)) socket.on("error", () => {});
    connectionLimit.add(socket);
  });
  server.server.on("upgrade", (request, socket, head) => {
    connections.handOver(socket, () => {
      if (hasTruncatedHeaders(request)) {
        answerBroken(socket, "headers_too_large");
        return;
      }
      if (!gateway || !asksForLiveView(request)) {
        if (!serveWithoutUpgrade(server.server, request, socket, head)) answerBroken(socket, "bad_request");
        return;
      }
      const refusal = options.stopping() ? "stopping" : hostOrOriginFault(request, options);
      if (refusal) answerBroken(socket, refusal);
      else if (access.isOpen("screens")) {
        screens.add(socket);
        gateway.handleUpgrade(request, socket, head, access.quotaKeyOf(request));
      } else showScreen(gateway, request, socket, head);
    });
  });
  const showScreen = (to: Pick<Gateway, "handleUpgrade">, request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    access.authenticate(request, { needsOrigin: true }).then(
      (asker) => {
        // Its `close` has been told already, so it would be watched for ever.
        if (socket.destroyed) return;
        if ("code" in asker) {
          answerBroken(socket, asker.code);
          return;
        }
        screens.add(socket);
        to.handleUpgrade(request, socket, head, asker.quotaKey);
        watched.set(socket, request);
        socket.once("close", () => watched.delete(socket));
      },
      () => answerBroken(socket, "unavailable"),
    );
  };
  // Whose session or token has ended sees no further frame.
  const recheck = setInterval(() => {
    for (const [socket, request] of watched)
      access.authenticate(request, { needsOrigin: true }).then(
        (asker) => {
          if ("code" in asker) socket.destroy();
        },
        () => {}, // Redis is away: what is shown is old anyway, and says so
      );
  }, RECHECK_MS);
  recheck.unref();
  let url: string;
  try {
    url = await server.listen({ host, port, backlog: BACKLOG });
  } catch (cause) {
    await server.close();
    const inUse = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
    throw new EngineError(
      inUse ? `port ${port} of ${host} is taken by another program` : `cannot listen on ${host}:${port}`,
      {
        op: "server.listen",
        code: inUse ? "port_in_use" : "cannot_listen",
        retryable: false,
        input: "port",
      },
      { cause },
    );
  }
  const address = server.server.address();
  const further = await addAcceptors(server.server, accepts - 1);

  const shut = async (): Promise<void> => {
    clearInterval(recheck);
    // Connections fall idle as their requests end; each is closed then, and those that do not end are cut.
    const sweep = setInterval(() => server.server.closeIdleConnections(), IDLE_SWEEP_MS);
    const cut = setTimeout(() => {
      for (const socket of connectionLimit.all) socket.destroy();
    }, closeGraceMs);
    try {
      await Promise.all([gateway?.close(), server.close(), further.close()]);
    } finally {
      clearInterval(sweep);
      clearTimeout(cut);
    }
  };
  return {
    server,
    url,
    port: typeof address === "object" && address !== null ? address.port : port,
    drain() {
      draining = true;
    },
    close() {
      closing ??= shut();
      return closing;
    },
  };
}

const asksForLiveView = ({ headers, url }: IncomingMessage): boolean =>
  headers.upgrade?.toLowerCase() === "websocket" && url?.split("?", 1)[0] === LIVE_PATH;

type BrokenCode =
  | "bad_request"
  | "headers_too_large"
  | "request_timeout"
  | "stopping"
  | "misdirected_request"
  | "unauthorized"
  | "forbidden"
  | "forbidden_origin"
  | "overloaded"
  | "unavailable";

function brokenCode(code: string | undefined): BrokenCode {
  if (code === "HPE_HEADER_OVERFLOW") return "headers_too_large";
  return code === "ERR_HTTP_REQUEST_TIMEOUT" ? "request_timeout" : "bad_request";
}

/** Answers on the bare socket, where no request came to be, and closes it: its client may never close its half. */
function answerBroken(socket: Duplex, code: BrokenCode): void {
  socket.on("error", () => socket.destroy());
  if (!socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  const problem = problemOf(code, "the request was not taken");
  const body = JSON.stringify(problem);
  const cut = setTimeout(() => socket.destroy(), BROKEN_ANSWER_MS);
  socket.once("close", () => clearTimeout(cut));
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\nContent-Type: application/problem+json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
