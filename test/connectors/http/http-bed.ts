/**
 * The HTTP surface on a real Redis, whole: ledger, order desk, jobs and views, listening on a free loopback port. One
 * bed a test file; every server, worker and connection it starts ends with the file.
 */
import { Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { afterAll, beforeAll } from "vitest";
import { type HttpDeps, Sessions } from "../../../connectors/http/index.js";
import { PersonalData } from "../../../engine/app/personal-data.js";
import { type RunningServer, type ServerOptions, startServer } from "../../../engine/app/server.js";
import { DepletionView } from "../../../engine/jobs/depletion/view.js";
import { orderJobs, stockJobs } from "../../../engine/jobs/index.js";
import { ExceptionList } from "../../../engine/jobs/order-flow/exceptions.js";
import { OrderTracker } from "../../../engine/jobs/order-flow/track.js";
import { StorefrontView } from "../../../engine/jobs/storefront/view.js";
import { chainId } from "../../../engine/kernel/chain-id.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import type { OrderEvent } from "../../../engine/orders/model.js";
import { OrderService } from "../../../engine/orders/order-service.js";
import { OrderStore } from "../../../engine/orders/order-store.js";
import { orderTopic } from "../../../engine/orders/topic.js";
import { Categories } from "../../../engine/stock/categories.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import type { StockCommand, StockEvent } from "../../../engine/stock/model.js";
import { stockTopic } from "../../../engine/stock/topic.js";
import { loadStreamLibrary } from "../../../engine/stream/commit.js";
import { Follower } from "../../../engine/stream/follower.js";
import { connect, type RedisClient } from "../../../engine/stream/redis.js";
import { Worker } from "../../../engine/stream/worker.js";
import { withRedis } from "../../redis/with-redis.js";

export const TOKEN = "a-token-of-the-tests-0123456789";
const PARTITIONS = 4;
const PREFIX = "t";
/** The label is late almost at once. */
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
  /** Sent as JSON unless it is bytes or a text. */
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
  /** The test's own Redis, to be ended by tests of an outage. */
  readonly redisPid: number;
  /** What the server told its operator. */
  readonly troubles: string[];
  send(method: string, path: string, sending?: Sending): Promise<Answer>;
  /** Puts units on a shelf. */
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
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const troubles: string[] = [];
  const others: RunningServer[] = [];
  let redis: RedisClient;
  let ledger: Ledger;
  let orderService: OrderService;
  let orderStore: OrderStore;
  let worker: Worker<StockEvent>;
  let follower: Follower<StockEvent>;
  let running: RunningServer;
  let orderWorker: Worker<OrderEvent>;
  let orderFollower: Follower<OrderEvent>;
  const storefrontView = new StorefrontView();
  const depletionView = new DepletionView();

  const deps = (): HttpDeps => ({
    ledger,
    orderService,
    storefrontView,
    categories: new Categories(redis, PREFIX),
    eraseBuyer: (id) => new PersonalData({ orderStore, redis, prefix: PREFIX, onTrouble: () => {} }).erase(id),
    depletionView,
    tracker: new OrderTracker(redis, PREFIX, PARTITIONS),
    exceptions: new ExceptionList(redis, PREFIX, PARTITIONS),
    asOf: (sku) => follower.freshAsOf(ledger.partitionOf(sku)),
    ageMs: (sku) => follower.ageMs(ledger.partitionOf(sku)),
    clock: systemClock,
    channel: "WB",
    tokens: [TOKEN],
    open: false,
    stopping: () => false,
    readiness: () => [],
    sessions: new Sessions(redis, PREFIX),
    metrics: async () => "shuiwei_test_figure 1\n",
    onTrouble: (message) => troubles.push(message),
  });

  beforeAll(async () => {
    const address = { url: server.url };
    redis = connect(address);
    await Promise.all([Ledger.load(redis), OrderStore.load(redis), loadStreamLibrary(redis)]);
    ledger = new Ledger({ redis, prefix: PREFIX, partitions: PARTITIONS });
    orderStore = new OrderStore({ redis, prefix: PREFIX, partitions: PARTITIONS, keepSeconds: 86_400 });
    orderService = new OrderService(ledger, orderStore);
    const jobs = stockJobs(zoneOf("UTC"));
    const clock = systemClock;
    const onTrouble = (message: string) => void troubles.push(message);
    const work = {
      prefix: PREFIX,
      redis,
      openReader: () => connect(address, true),
      owner: "test",
      clock,
      leaseMs: 10_000,
      tickMs: 200,
      retentionMs: 0,
      withViews: true,
      onTrouble,
    };
    worker = new Worker({ ...work, topic: stockTopic(ledger), jobs });
    const flows = orderJobs(() => DEADLINES);
    orderWorker = new Worker({ ...work, topic: orderTopic(orderStore), jobs: flows });
    const views = { partitions: PARTITIONS, prefix: PREFIX, redis, clock, pollMs: 20, onTrouble };
    follower = new Follower({ ...views, topic: "stock", jobs, views: [storefrontView, depletionView] });
    orderFollower = new Follower({ ...views, topic: "orders", jobs: flows, views: [] });
    orderWorker.start();
    worker.start();
    await Promise.all([follower.start(), orderFollower.start()]);
    running = await startServer({ ...deps(), host: "127.0.0.1", port: 0, ...changes });
  });

  afterAll(async () => {
    agent.destroy();
    await Promise.all([running, ...others].map((each) => each?.close()));
    await Promise.all([follower?.stop(), orderFollower?.stop()]);
    await Promise.all([worker?.stop(), orderWorker?.stop()]);
    redis?.disconnect();
  });

  return {
    get url() {
      return running.url;
    },
    get port() {
      return running.port;
    },
    get ledger() {
      return ledger;
    },
    get orderService() {
      return orderService;
    },
    get redis() {
      return redis;
    },
    get running() {
      return running;
    },
    get redisPid() {
      return server.pid;
    },
    depletionView,
    storefrontView,
    troubles,
    deps,
    send: (method, path, sending) => send(running.port, method, path, { agent, ...sending }),
    async receive(sku, units, location = "main") {
      const command: StockCommand = { kind: "receive", id: freshId(), sku, location, units };
      const { outcome } = await ledger.apply(command);
      if (outcome !== "accepted") throw new Error(outcome);
    },
    async another(changed) {
      const other = await startServer({ ...deps(), host: "127.0.0.1", port: 0, ...changed });
      others.push(other);
      return other;
    },
  };
}
