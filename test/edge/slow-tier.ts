/**
 * A proxy between two tiers: it counts the requests and lets some answers wait on their way, as a congested network
 * does. It keeps nothing and changes nothing else; an origin that does not answer is a closed connection, as without
 * it.
 */
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sleep } from "../../engine/kernel/clock.js";
import type { Random } from "../../engine/kernel/random.js";

/** Hop by hop: of one connection, not of the answer. */
const OF_THE_CONNECTION = new Set(["connection", "keep-alive", "transfer-encoding"]);

export class SlowTier {
  /** Requests so far. */
  requests = 0;
  readonly address: string;
  readonly #origin: string;
  readonly #delayMs: () => number;
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(server: Server, origin: string, delayMs: () => number) {
    this.#server = server;
    this.#origin = origin;
    this.#delayMs = delayMs;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response) => this.#pass(request, response));
  }

  /** @param origin HOST:PORT */
  static async start(origin: string, delayMs: () => number): Promise<SlowTier> {
    const server = createServer().listen(0, "127.0.0.1");
    server.keepAliveTimeout = 60_000;
    await once(server, "listening");
    return new SlowTier(server, origin, delayMs);
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  #pass(asked: IncomingMessage, response: ServerResponse): void {
    this.requests++;
    const { method, headers, url } = asked;
    const passed = request(`http://${this.#origin}${url}`, { method, headers, agent: this.#agent });
    passed.on("error", () => response.destroy());
    passed.on("response", (answer) => void this.#answer(answer, response));
    response.on("close", () => passed.destroy());
    asked.pipe(passed);
  }

  /** The whole answer has left the origin before it waits. */
  async #answer(answer: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    answer.on("error", () => response.destroy());
    answer.on("data", (part: Buffer) => parts.push(part));
    await once(answer, "end").catch(() => response.destroy());
    await sleep(this.#delayMs());
    if (response.destroyed) return;
    // In the order in which they were sent: a cache may read one before the other.
    for (let i = 0; i < answer.rawHeaders.length; i += 2) {
      const [name = "", value = ""] = answer.rawHeaders.slice(i, i + 2);
      if (!OF_THE_CONNECTION.has(name.toLowerCase())) response.appendHeader(name, value);
    }
    response.writeHead(answer.statusCode ?? 502).end(Buffer.concat(parts));
  }
}

/** Every so-manieth answer waits, up to `maxMs`. */
export const sometimesSlow =
  (random: Random, oneIn: number, maxMs: number): (() => number) =>
  () =>
    random.below(oneIn) === 0 ? random.below(maxMs) : 0;
