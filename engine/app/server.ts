/**
 * The one HTTP server: the API, its documentation at /docs, the web pages at /, and the WebSocket of the live view,
 * which the gateway handles. It limits what a client may send and how long it may take, and closes without cutting
 * off a request that has begun. TLS, compression and rate limits are left to a proxy.
 */
import type { Server } from "node:http";
import fastifySwagger from "@fastify/swagger";
import Fastify, { type FastifyInstance } from "fastify";
import { Registry } from "prom-client";
import {
  allowedHostCheck,
  apiDocument,
  ConnectionLimit,
  Connections,
  faultOf,
  type HttpDeps,
  httpConnector,
  type PerConnectionLimits,
  sendProblem,
  serverOptions,
} from "../../connectors/http/index.js";
import type { Gateway } from "../../dashboards/gateway.js";
import { EngineError } from "../kernel/errors.js";
import { addAcceptors } from "./extra-acceptors.js";
import { registerPages } from "./pages.js";
import { answerRaw, parserProblemCode } from "./raw-answer.js";
import { ScreenUpgrades } from "./screen-upgrades.js";

export interface ServerOptions extends HttpDeps {
  host: string;
  /** 0 chooses a free port. */
  port: number;
  /** Host names beside `host` and localhost that requests may name; addresses are always accepted. */
  allowedHosts?: readonly string[];
  /** Folder of the built web pages; without it, or when it does not exist, `/` is not served. */
  webRoot?: string;
  /** Whether `/shop`, the demo's storefront, is one of them. */
  storefrontPage?: boolean;
  /** Accepts WebSocket upgrades; without it they are refused. */
  gateway?: Pick<Gateway, "handleUpgrade" | "close">;
  /**
   * Connections accepted in a turn of the event loop at most; 1 when left out. More need a short-lived process at
   * the start.
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
   * From now on `/readyz` reports that this process is stopping, and every connection closes after its next answer.
   * Streams of stock end. Requests are still served.
   */
  drain(): void;
  /** Accepts no new request, waits for those under way, then closes every connection. May be repeated. */
  close(): Promise<void>;
}

/** The largest request head: a query of 100 SKUs of 150 bytes each. A longer one gets 431. */
const MAX_HEADER_BYTES = 16 * 1024;
/** The longest that a body may stream; the connector has shorter limits for other bodies. */
const REQUEST_TIMEOUT_MS = 3_600_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** How late the two limits above may be noticed. */
const CHECK_EVERY_MS = 5_000;
/** Longer than the 60 s after which most proxies close an idle connection, so that the proxy always closes first. */
const KEEP_ALIVE_MS = 75_000;
const CLOSE_GRACE_MS = 10_000;
/**
 * Past it, a new connection or an idle one of an address with more than its share is closed. With a full head each,
 * and as much again for the socket, these take 320 MiB.
 */
const MAX_CONNECTIONS = 10_000;
/**
 * Connections that wait to be accepted. In a rush thousands come at once; one that finds the queue full tries again
 * after 1, 3, 7 and more seconds.
 */
const BACKLOG = 4_096;
const IDLE_SWEEP_MS = 50;

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

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
    // The connector answers with a problem instead.
    return503OnClosing: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
    },
    clientErrorHandler: (error, socket) => answerRaw(socket, parserProblemCode((error as NodeJS.ErrnoException).code)),
    frameworkErrors: (error, _request, reply) => {
      const { problem, headers } = faultOf(error, options.onTrouble);
      sendProblem(reply, problem, headers);
    },
  });
  const registry = new Registry();
  const connections = new Connections(registry, options.connectionLimits);
  connections.guard(server.server, (request, response) => {
    if (draining() || !server.fastEntry.answer(request, response)) server.routing(request, response);
  });
  const metrics = async () => `${await registry.metrics()}${await options.metrics()}`;
  server.addHook("onRequest", (_request, reply, done) => {
    if (draining()) reply.header("connection", "close");
    done();
  });
  await server.register(fastifySwagger, apiDocument);
  await server.register(httpConnector({ ...options, metrics }));
  await server.register((scope) => registerPages(scope, options));
  await server.ready();
  return { server, connections };
}

/**
 * Builds the server and listens.
 * @throws EngineError `not_loopback` when an open demo would be reached from elsewhere, `port_in_use`, `bad_option`
 */
export async function startServer(given: ServerOptions): Promise<RunningServer> {
  const { host, gateway, accepts = 1, closeGraceMs = CLOSE_GRACE_MS } = given;
  if (given.open) checkLoopback(host);
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
  const upgrades = new ScreenUpgrades({ server: server.server, connections, access, gateway, deps: options });
  const limit = limitConnections(server.server, {
    limit: given.maxConnections ?? MAX_CONNECTIONS,
    isIdle: (socket) => connections.isIdle(socket) && !upgrades.isScreen(socket),
    trustProxy: given.trustProxy,
  });
  upgrades.start();
  const url = await listen(server, given);
  const address = server.server.address();
  const acceptors = await addAcceptors(server.server, accepts - 1);

  const close = async (): Promise<void> => {
    upgrades.stop();
    // Connections become idle as their requests end and are closed then; at the end of the grace all others are cut.
    const sweep = setInterval(() => server.server.closeIdleConnections(), IDLE_SWEEP_MS);
    const cut = setTimeout(() => {
      for (const socket of limit.all) socket.destroy();
    }, closeGraceMs);
    try {
      await Promise.all([gateway?.close(), server.close(), acceptors.close()]);
    } finally {
      clearInterval(sweep);
      clearTimeout(cut);
    }
  };
  return {
    server,
    url,
    port: typeof address === "object" && address !== null ? address.port : given.port,
    drain() {
      draining = true;
      // They have the whole delay to come back, to another server, and not all at its end.
      server.endStreams();
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function checkLoopback(host: string): void {
  if (LOOPBACK.has(host)) return;
  throw new EngineError(`without tokens only a loopback address is served, not ${host}`, {
    op: "server.listen",
    code: "not_loopback",
    retryable: false,
    input: "host",
  });
}

/** Counts all open connections, upgraded ones included: Node's own list does not contain those. */
function limitConnections(server: Server, options: ConstructorParameters<typeof ConnectionLimit>[0]): ConnectionLimit {
  const limit = new ConnectionLimit(options);
  // Emitted a second time when a request for an upgrade is served as a plain one.
  server.on("connection", (socket) => {
    // Without a listener an error of the socket would end the process; the socket closes by itself.
    if (!limit.all.has(socket)) socket.on("error", () => {});
    limit.add(socket);
  });
  return limit;
}

async function listen(server: FastifyInstance, { host, port }: ServerOptions): Promise<string> {
  try {
    return await server.listen({ host, port, backlog: BACKLOG });
  } catch (cause) {
    await server.close();
    const inUse = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
    throw new EngineError(
      inUse ? `port ${port} of ${host} is used by another program` : `cannot listen on ${host}:${port}`,
      {
        op: "server.listen",
        code: inUse ? "port_in_use" : "cannot_listen",
        retryable: false,
        input: "port",
      },
      { cause },
    );
  }
}
