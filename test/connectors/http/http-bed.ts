/**
 * The HTTP surface of a whole engine on a real Redis, listening on a free port of the loopback interface. One bed for
 * each test file; everything that it starts stops after the file's last test.
 */
import { Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { afterAll, beforeAll } from "vitest";
import { type HttpDeps, Sessions } from "../../../connectors/http/index.js";
import type { Engine } from "../../../engine/app/engine.js";
import { servedPartsOf } from "../../../engine/app/serve.js";
import { type RunningServer, type ServerOptions, startServer } from "../../../engine/app/server.js";
import type { DepletionView } from "../../../engine/jobs/depletion/view.js";
import type { StorefrontView } from "../../../engine/jobs/storefront/view.js";
import { chainId } from "../../../engine/kernel/chain-id.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import type { OrderService } from "../../../engine/orders/order-service.js";
import type { Ledger } from "../../../engine/stock/ledger.js";
import type { StockCommand } from "../../../engine/stock/model.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withEngines } from "../../app/engine-builder.js";
import { withRedis } from "../../redis/with-redis.js";

export const TOKEN = "a-token-of-the-tests-0123456789";
const PREFIX = "t";
/** A label is late after a moment. */
const DEADLINES = { labelled: 300, waybill: 60_000, outbound: 60_000, reported: 60_000 };

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  bytes: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
  json: any;
}

export interface Sending {
  /** Sent as JSON, unless it is bytes or a string. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Without a token; sent with TOKEN otherwise. */
  anonymous?: boolean;
  agent?: Agent;
}

export interface HttpBed {
  readonly url: string;
  readonly port: number;
  readonly ledger: Ledger;
  readonly orderService: OrderService;
  readonly redis: RedisClient;
  readonly depletionView: DepletionView;
  readonly storefrontView: StorefrontView;
  readonly running: RunningServer;
  /** The process of the file's Redis; tests of an outage kill it. */
  readonly redisPid: number;
  /** What the engine and its servers reported to the operator after the start. */
  readonly troubles: string[];
  send(method: string, path: string, sending?: Sending): Promise<Answer>;
  /** Adds sellable units. */
  receive(sku: string, units: number, location?: string): Promise<void>;
  /** Another server on the same engine. */
  another(changes: Partial<ServerOptions>): Promise<RunningServer>;
  deps(): HttpDeps;
}

export const freshId = (channel = "TE"): string => chainId(channel, systemClock.now());

/** Sends one request and reads its answer. */
export function send(
  port: number,
  method: string,
  path: string,
  { body, headers = {}, anonymous, agent }: Sending = {},
): Promise<Answer> {
  const raw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const payload = raw ? (body as string | Uint8Array | undefined) : JSON.stringify(body);
  const sent: Record<string, string> = {
    ...(payload === undefined ? {} : { "content-type": "application/json" }),
    ...(payload === undefined || "transfer-encoding" in headers
      ? {}
      : { "content-length": String(Buffer.byteLength(payload)) }),
    ...(anonymous ? {} : { authorization: `Bearer ${TOKEN}` }),
    ...headers,
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { host: "127.0.0.1", port, method, path, headers: sent, ...(agent ? { agent } : {}) },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString("utf8");
          const isJson =
            response.headers["content-encoding"] === undefined &&
            /json\b/.test(response.headers["content-type"] ?? "") &&
            !/ndjson/.test(response.headers["content-type"] ?? "");
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            bytes,
            json: isJson && text !== "" ? JSON.parse(text) : undefined,
          });
        });
      },
    );
    request.on("error", reject);
    request.end(payload);
  });
}

export function httpBed(changes: Partial<ServerOptions> = {}): HttpBed {
  const server = withRedis();
  const engines = withEngines();
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const troubles: string[] = [];
  const onTrouble = (message: string): void => {
    // A change of a breaker is reported to operators, whoever made it; it is no fault. Neither is it one of a request
    // that the machine stood still for so long that a loop of the engine began again.
    if (!/^the breaker |^Command timed out; starting over/.test(message)) troubles.push(message);
  };
  let engine: Engine;
  let running: RunningServer;

  const deps = (): HttpDeps => ({
    ...servedPartsOf(engine),
    channel: "WB",
    tokens: [TOKEN],
    open: false,
    stopping: () => false,
    readiness: () => [],
    sessions: new Sessions(engine.redis, PREFIX),
    metrics: async () => "shuiwei_test_figure 1\n",
    onTrouble,
  });
  const start = async (changed: Partial<ServerOptions>): Promise<RunningServer> => {
    const started = await startServer({ ...deps(), host: "127.0.0.1", port: 0, ...changed });
    engines.onStop(() => started.close());
    return started;
  };

  beforeAll(async () => {
    const redisUrl = server.url;
    engine = await engines.start({ redisUrl, prefix: PREFIX, leaseMs: 10_000, deadlines: DEADLINES, onTrouble });
    // The start warns that this Redis stores nothing on disk.
    troubles.length = 0;
    running = await start(changes);
  });
  afterAll(() => agent.destroy());

  return {
    get url() {
      return running.url;
    },
    get port() {
      return running.port;
    },
    get ledger() {
      return engine.stock.ledger;
    },
    get orderService() {
      return engine.orders.service;
    },
    get redis() {
      return engine.redis;
    },
    get depletionView() {
      return engine.stock.depletionView;
    },
    get storefrontView() {
      return engine.stock.storefrontView;
    },
    get running() {
      return running;
    },
    get redisPid() {
      return server.pid;
    },
    troubles,
    deps,
    send: (method, path, sending) => send(running.port, method, path, { agent, ...sending }),
    async receive(sku, units, location = "main") {
      const command: StockCommand = { kind: "receive", id: freshId(), sku, location, units };
      const { outcome } = await engine.stock.ledger.apply(command);
      if (outcome !== "accepted") throw new Error(outcome);
    },
    another: start,
  };
}
