/**
 * The HTTP server of a sandbox: it listens on loopback, takes a limited number of requests in any second, and on
 * command fails, or ends an answer half-way. What an answer is, and how a refusal looks, is the sandbox's own.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { stopwatch } from "../../../engine/kernel/clock.js";
import { messageOf } from "../../../engine/kernel/errors.js";

export interface SandboxAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SandboxRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface SandboxServerSettings {
  /** 0 chooses a free one. */
  readonly port?: number;
  /** Requests that it takes in any second; left out: any number. */
  readonly perSecond?: number;
  /** False: answers have no `Date`, as of a system whose clock cannot be compared. Left out: they have. */
  readonly isDated?: boolean;
}

export interface SandboxFigures {
  readonly requests: number;
  readonly throttled: number;
  readonly failed: number;
}

const MAX_BODY_BYTES = 4 * 1024 * 1024;

export abstract class SandboxServer {
  readonly #settings: SandboxServerSettings;
  readonly #since = stopwatch();
  readonly figures = { requests: 0, throttled: 0, failed: 0 };
  #taken: number[] = [];
  /** What happens to the next answers, the next first. */
  #trouble: ("fail" | "cut" | undefined)[] = [];
  #server: Server | undefined;
  #port: number;

  constructor(settings: SandboxServerSettings) {
    this.#settings = settings;
    this.#port = settings.port ?? 0;
  }

  /** The answer to a request that it takes. */
  protected abstract answer(request: SandboxRequest): SandboxAnswer;
  /** The answer to a request too many. */
  protected abstract throttled(): SandboxAnswer;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, reply) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      request.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes <= MAX_BODY_BYTES) parts.push(part);
      });
      request.on("error", () => {});
      request.on("end", () => {
        const { status = 200, headers = {}, body } = this.#answer(request, Buffer.concat(parts).toString("utf8"));
        reply.sendDate = this.#settings.isDated ?? true;
        const isCut = status === 200 && this.#trouble.shift() === "cut";
        reply.writeHead(status, { ...headers, "content-length": String(Buffer.byteLength(body)) });
        if (!isCut) {
          reply.end(body);
          return;
        }
        this.figures.failed++;
        reply.write(body.slice(0, Math.floor(body.length / 2)), () => reply.destroy());
      });
    });
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  /**
   * After `after` good answers, this many fail: with status 503, or cut off half-way.
   * @param how replaces what was ordered before
   */
  fail(how: "fail" | "cut", times: number, after = 0): void {
    this.#trouble = [...new Array<undefined>(after).fill(undefined), ...new Array<"fail" | "cut">(times).fill(how)];
  }

  #answer(request: IncomingMessage, body: string): SandboxAnswer {
    this.figures.requests++;
    const { perSecond } = this.#settings;
    const nowMs = this.#since();
    this.#taken = this.#taken.filter((ms) => nowMs - ms < 1_000);
    if (perSecond !== undefined && this.#taken.length >= perSecond) {
      this.figures.throttled++;
      return this.throttled();
    }
    this.#taken.push(nowMs);
    if (this.#trouble[0] === "fail") {
      this.#trouble.shift();
      this.figures.failed++;
      return { status: 503, body: "out of service" };
    }
    try {
      const url = new URL(request.url ?? "/", this.url);
      return this.answer({ method: request.method ?? "GET", url, headers: request.headers, body });
    } catch (thrown) {
      return { status: 400, body: messageOf(thrown) };
    }
  }
}
