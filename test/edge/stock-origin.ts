/**
 * A stand-in for the engine behind a cache: it answers with the engine's headers (freshness.ts) and counts who asks.
 * How late its view is, how long an answer takes and whether it answers at all can be set, which a real engine does
 * not do on demand. The age of bodies is measured with a real engine instead.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { cacheHeaders, freshnessBudget } from "../../engine/publication/freshness.js";

const BUDGET = freshnessBudget({ edgeTiers: 2, edgeRevalidateMs: 2_000, browserCacheMs: 0 });
export const UNKNOWN = "UNKNOWN";
export const OBJECT = "/v1/publication/0123456789abcdef.json";

export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
}

export class StockOrigin {
  /** By how much `asOf` is behind. */
  lagMs = 0;
  /** How long an answer takes. */
  delayMs = 0;
  /** Answers that its view is too old. */
  isStale = false;
  display = 7;
  readonly received: Received[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request, response) => void this.#answer(request, response));
  }

  static async start(port = 0): Promise<StockOrigin> {
    const server = createServer();
    server.keepAliveTimeout = 60_000;
    server.listen(port, "127.0.0.1", 4_096);
    await once(server, "listening");
    return new StockOrigin(server);
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests so far of addresses that contain the text. */
  requestsOf(text: string): number {
    return this.received.filter(({ url }) => url.includes(text)).length;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    this.received.push({ method, url, headers });
    request.resume();
    // As the demo does, which answers to loopback names only.
    if (headers.host !== this.address && /^\/v1\/(?:stock|publication)/.test(url))
      return send(response, 421, { "cache-control": "no-store" }, { code: "misdirected_request" });
    if (url === "/v1/stock/stream") return void this.#stream(response);
    // The instant is the one at which it was read, before the answer is under way.
    const asOfMs = Math.floor((systemClock.now() - this.lagMs) / 1_000) * 1_000;
    const fresh = cacheHeaders(BUDGET, asOfMs, systemClock.now());
    await sleep(this.delayMs);
    if (url.startsWith("/v1/stock") && method === "GET") {
      if (this.isStale) return send(response, 503, { "cache-control": "no-store" }, { code: "stale_view" });
      const sku = decodeURIComponent(url.split(/[/?]/)[3] ?? "");
      const asOf = new Date(asOfMs).toISOString();
      if (sku === UNKNOWN) return send(response, 404, { ...fresh }, { code: "unknown_sku", asOf });
      const locations = url.endsWith("?by=location") ? { locations: [] } : {};
      const answer = { sku, display: this.display, available: this.display > 0, asOf, ...locations };
      const etag = `"${createHash("sha256").update(JSON.stringify(answer)).digest("base64url").slice(0, 22)}"`;
      const tag = `stock-${sku}`;
      const sent = { ...fresh, etag, "cache-tag": tag, "surrogate-key": tag };
      if (headers["if-none-match"] === etag) return void response.writeHead(304, sent).end();
      return send(response, 200, sent, answer);
    }
    if (url === OBJECT) {
      const form = headers["accept-encoding"] ?? "identity";
      return send(
        response,
        200,
        { "cache-control": "public, max-age=31536000, immutable", vary: "Accept-Encoding" },
        { form },
      );
    }
    send(response, 200, { "cache-control": "no-store" }, { method, authorization: headers.authorization ?? "" });
  }

  #stream(response: ServerResponse): void {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write("event: time\ndata: {}\n\n");
  }
}

function send(response: ServerResponse, status: number, headers: Record<string, string>, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
