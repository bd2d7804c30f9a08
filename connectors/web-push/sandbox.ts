/**
 * A sandbox of a browser vendor's push service over real HTTPS: it gives subscriptions, verifies the sender of every
 * push (VAPID), refuses what the vendors refuse, and decrypts each message as the browser of the subscription would.
 * A later push with the topic of one that waits replaces it. A test can answer the next pushes itself. It keeps the
 * newest pushes, in memory only.
 *
 *   POST /sandbox/subscriptions   201 {endpoint, keys}: a subscription as a browser gives it
 *   GET  /sandbox/pushes          200 [{…}]: what arrived, the oldest first
 *   POST /push/{id}               201 taken, 400, 401, 403, 404 unknown, 410 ended, 413, and what a test sets
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { SandboxBrowser } from "./sandbox/browser.js";
import { type Certificate, selfSigned } from "./sandbox/certificate.js";
import { vapidSenderOf } from "./sandbox/vapid.js";
import type { PushSubscription } from "./subscription.js";

/** One push that was taken. */
export interface ReceivedPush {
  readonly subscription: string;
  /** When it arrived, in real milliseconds since the epoch. */
  readonly atMs: number;
  readonly topic: string | undefined;
  readonly urgency: string | undefined;
  readonly ttlSeconds: number;
  /** The sender's public key and contact. */
  readonly sender: string;
  readonly subject: string;
  /** Decrypted. */
  readonly text: string;
  readonly bytes: number;
}

/** Answers a push instead of the service: a status with headers and a body, or no answer at all. */
export interface PushAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}
export type PushFault = PushAnswer | "silence";

export interface PushSandboxSettings {
  /** 0 chooses a free port. */
  readonly port?: number;
  /** The name in its address; `127.0.0.1` when left out. */
  readonly host?: string;
  /** Pushes that are kept. */
  readonly kept?: number;
}

interface Subscribed {
  readonly browser: SandboxBrowser;
  /** The sender's key that it is bound to: the first one that pushes, unless it was given. */
  sender: string | undefined;
  isEnded: boolean;
}

const KEPT = 10_000;
const MAX_SUBSCRIPTIONS = 10_000;
/** RFC 8030 §7.2: a push service takes 4,096 bytes at least, and vendors no more. */
const MAX_BODY_BYTES = 4_096;
const READ_BYTES = 64 * 1_024;
const PUSH = /^\/push\/([A-Za-z0-9_-]{22})$/;

export class PushSandbox {
  /** PEM: clients need it as a certificate authority. */
  readonly certificate: string;
  /** In the order of their arrival. */
  readonly pushes: ReceivedPush[] = [];
  /** Called for each push before it is checked; returns its answer, or undefined to let the service answer. */
  fault: ((id: string) => PushFault | undefined) | undefined;
  /** Called for each push that was taken. */
  onPush: ((push: ReceivedPush) => void) | undefined;
  /** Requests for pushes, and why those that were refused were. */
  requests = 0;
  readonly refusals: string[] = [];
  readonly #settings: PushSandboxSettings;
  readonly #subscriptions = new Map<string, Subscribed>();
  readonly #server: Server;
  #port: number;

  constructor(settings: PushSandboxSettings = {}) {
    this.#settings = settings;
    this.#port = settings.port ?? 0;
    const { key, cert }: Certificate = selfSigned(["127.0.0.1", "localhost", this.#host], systemClock.now());
    this.certificate = cert;
    this.#server = createServer({ key, cert }, (request, response) => {
      request.on("error", () => {});
      void this.#answer(request, response);
    });
  }

  get #host(): string {
    return this.#settings.host ?? "127.0.0.1";
  }

  /** Host and port, as `--push-hosts` has them; valid once it has started. */
  get host(): string {
    return `${this.#host}:${this.#port}`;
  }

  get url(): string {
    return `https://${this.host}`;
  }

  async start(): Promise<void> {
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** A new subscription. @param sender the public key that it is bound to */
  subscribe(sender?: string): PushSubscription {
    const id = secureBytes(16).toString("base64url");
    const browser = new SandboxBrowser();
    this.#subscriptions.set(id, { browser, sender, isEnded: false });
    for (const oldest of this.#subscriptions.keys()) {
      if (this.#subscriptions.size <= MAX_SUBSCRIPTIONS) break;
      this.#subscriptions.delete(oldest);
    }
    return { endpoint: `${this.url}/push/${id}`, keys: browser.keys };
  }

  /** Ends a subscription, as a browser does: further pushes get 410. */
  unsubscribe({ endpoint }: PushSubscription): void {
    const subscribed = this.#subscriptions.get(endpoint.slice(endpoint.lastIndexOf("/") + 1));
    if (subscribed) subscribed.isEnded = true;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request);
    const { method = "", url = "" } = request;
    const [, id] = PUSH.exec(url) ?? [];
    if (method === "POST" && id !== undefined) return this.#push(id, request, body, response);
    if (method === "POST" && url === "/sandbox/subscriptions") return sendJson(response, 201, this.subscribe());
    if (method === "GET" && url === "/sandbox/pushes") return sendJson(response, 200, this.pushes);
    sendJson(response, 404, { reason: "unknown path" });
  }

  #push(id: string, request: IncomingMessage, body: Buffer | undefined, response: ServerResponse): void {
    this.requests++;
    const fault = this.fault?.(id);
    if (fault === "silence") return;
    if (fault !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    const taken = this.#take(id, request, body);
    if (typeof taken === "string") {
      this.refusals.push(taken);
      if (this.refusals.length > KEPT) this.refusals.shift();
      const [status = "400", reason] = taken.split(/ (.*)/s);
      sendJson(response, Number(status), { reason });
      return;
    }
    this.pushes.push(taken);
    if (this.pushes.length > (this.#settings.kept ?? KEPT)) this.pushes.shift();
    this.onPush?.(taken);
    response.writeHead(201, { location: `${this.url}/messages/${secureBytes(8).toString("hex")}` }).end();
  }

  /** The push, or the status and reason with which it is refused. */
  #take(id: string, { headers }: IncomingMessage, body: Buffer | undefined): ReceivedPush | string {
    const subscribed = this.#subscriptions.get(id);
    if (subscribed === undefined) return "404 no such subscription";
    if (subscribed.isEnded) return "410 the subscription has ended";
    const sender = vapidSenderOf(headers.authorization ?? "", this.url, systemClock.now());
    if (typeof sender === "string") return `403 ${sender}`;
    subscribed.sender ??= sender.publicKey;
    if (subscribed.sender !== sender.publicKey) return "403 the subscription is bound to another sender";
    if (body === undefined || body.length > MAX_BODY_BYTES) return "413 the message is too large";
    const { ttl = "", topic, urgency = "normal" } = headers as Record<string, string | undefined>;
    if (!/^\d{1,10}$/.test(ttl)) return "400 no TTL";
    if (topic !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(topic)) return "400 the topic is not valid";
    if (!["very-low", "low", "normal", "high"].includes(urgency)) return "400 the urgency is not valid";
    if (headers["content-encoding"] !== "aes128gcm") return "400 the content encoding is not aes128gcm";
    try {
      const text = subscribed.browser.decrypt(body);
      const { publicKey, subject } = sender;
      const atMs = systemClock.now();
      const of = { subscription: id, atMs, topic, urgency, ttlSeconds: Number(ttl), sender: publicKey, subject };
      return { ...of, text, bytes: body.length };
    } catch {
      return "400 the message cannot be decrypted";
    }
  }
}

/** Undefined: it is longer than what is read. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of request) {
      bytes += (part as Buffer).length;
      if (bytes <= READ_BYTES) parts.push(part as Buffer);
    }
  } catch {
    // The sender has closed the connection.
  }
  return bytes <= READ_BYTES ? Buffer.concat(parts) : undefined;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
