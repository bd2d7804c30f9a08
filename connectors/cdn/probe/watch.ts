/**
 * `shuiwei edge watch`: watches edges for ever, each on its own, and serves their metrics at /metrics and its own
 * health at /healthz. It has no token: it tells only how old public answers are, and listens on loopback unless told
 * otherwise. What it saw is lost when it ends; Prometheus keeps it.
 */
import { once, setMaxListeners } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { EdgeReader } from "./reader.js";
import { EdgeWatch, type WatchedEdge, type WatchSettings } from "./watch-edge.js";
import { WatchMetrics } from "./watch-metrics.js";

export interface WatchServer {
  readonly host: string;
  /** 0 chooses a free one. */
  readonly port: number;
  /** Called when it serves. */
  onListening(url: string): void;
}

/** A body that takes longer is too old in any case. */
const READ_TIMEOUT_MS = 10_000;
/** Of the process and the reader. */
const OTHER_LISTENERS = 10;
const MAX_SCRAPERS = 32;
const SCRAPE_TIMEOUT_MS = 10_000;
/** Readings that may be missing before it is not healthy. */
const SILENT_READS = 3;

/** Until the signal aborts. @throws the error of listening */
export async function watchEdges(
  edges: readonly WatchedEdge[],
  settings: WatchSettings,
  { host, port, onListening }: WatchServer,
  signal: AbortSignal,
): Promise<void> {
  // Each waits for it, between two readings.
  setMaxListeners(edges.length + OTHER_LISTENERS, signal);
  const metrics = new WatchMetrics(edges.map(({ name }) => name));
  const reader = new EdgeReader({ connections: edges.length, timeoutMs: READ_TIMEOUT_MS, signal });
  const watches = edges.map((edge) => new EdgeWatch(edge, settings, reader, metrics));
  // Of a reading and one for the clock, both of which may wait for their time limits.
  const longestMs = SILENT_READS * settings.everyMs + 2 * READ_TIMEOUT_MS;
  const isHealthy = () => watches.every(({ silentMs }) => silentMs <= longestMs);
  const server = scrapeServer(metrics, isHealthy);
  try {
    server.listen(port, host);
    await once(server, "listening");
    onListening(urlOf(server, host));
    await Promise.all(watches.map((watch) => watch.run(signal)));
  } finally {
    server.close();
    server.closeAllConnections();
    await reader.close();
  }
}

function scrapeServer(metrics: WatchMetrics, isHealthy: () => boolean): Server {
  const server = createServer({ requestTimeout: SCRAPE_TIMEOUT_MS }, async (request, reply) => {
    const path = request.url?.split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD") reply.writeHead(405).end();
    else if (path === "/healthz") reply.writeHead(isHealthy() ? 200 : 503).end(isHealthy() ? "ok\n" : "no readings\n");
    else if (path !== "/metrics") reply.writeHead(404).end();
    else {
      const text = await metrics.registry.metrics();
      reply.writeHead(200, { "content-type": metrics.registry.contentType }).end(text);
    }
  });
  server.maxConnections = MAX_SCRAPERS;
  return server;
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
