/**
 * Pushes feeds to screens over WebSocket. On every tick each state that has clients is compared once, and the same
 * bytes go to all of them (feed-stream.ts); a state without clients costs nothing. A client that leaves a few frames of
 * a feed unacknowledged is skipped and gets one snapshot when it has caught up (subscription.ts), so a slow phone
 * neither fills memory nor delays others. It does not deliver every intermediate value; what a screen shows is always
 * one state that the engine had. It does not authenticate: the caller of `handleUpgrade` has done so, and says which
 * roles the viewer has.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { type Feed, feedFault, resolveParameters } from "./feed.js";
import { FeedStream } from "./feed-stream.js";
import {
  CLOSE_GRACE_MS,
  type ClientContext,
  type GatewayCounters,
  LiveClient,
  MAX_CLIENT_FRAME_BYTES,
  type Viewer,
} from "./live-client.js";
import { type FeedRequest, LIVE_PATH, type RefusalReason } from "./protocol.js";
import { hasForeignOrigin, type Refusal, refuseUpgrade } from "./upgrade.js";

/** The clients' timeouts are checked and their rate limits begin anew once in this time. */
const CHECK_MS = 1_000;
const CLOSE_GOING_AWAY = 1001;

export interface GatewayOptions {
  /** What clients can subscribe to; names must be different. */
  feeds: readonly Feed[];
  /** Real time that is not set back: paces feeds, heartbeats and timeouts. */
  clock: Clock;
  /** How often feeds are compared and sent, in ms. */
  tickMs: number;
  /** Further upgrades are answered 503; default 500. */
  maxClients?: number;
  /** The same limit for the clients of one group; default a fifth of all. */
  maxClientsPerGroup?: number;
  /**
   * Frames of one feed that a client may leave unacknowledged before it is skipped; default 4: a second of delay at
   * 250 ms a tick.
   */
  maxUnackedFrames?: number;
  /**
   * After this time without a frame a client gets a heartbeat; default 500 ms. A page reports stale data after three of
   * them, and so within 2 s.
   */
  heartbeatMs?: number;
  /** A client that answers no ping within this time is closed; default 15 s. */
  pingMs?: number;
  /** A client that acknowledges nothing of a feed for this long is closed; default 30 s. */
  ackTimeoutMs?: number;
  /** A client must subscribe within this time; default 10 s. */
  subscribeTimeoutMs?: number;
}

const ZERO_COUNTERS: Readonly<GatewayCounters> = {
  framesEncoded: 0,
  framesSent: 0,
  bytesSent: 0,
  snapshotsSent: 0,
  framesSkipped: 0,
  resyncs: 0,
  clientsAccepted: 0,
  clientsRefused: 0,
  clientsExpelled: 0,
  subscriptionsRefused: 0,
};

/** Ticks by itself from its creation until it is closed; its timer does not keep the process alive. */
export class Gateway {
  readonly #clock: Clock;
  readonly #maxClients: number;
  readonly #maxClientsPerGroup: number;
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_CLIENT_FRAME_BYTES,
  });
  readonly #clients = new Set<LiveClient>();
  readonly #counters: GatewayCounters = { ...ZERO_COUNTERS };
  readonly #feeds = new Map<string, Feed>();
  /** By feed and parameters: at most MAX_STATES for each feed. */
  readonly #streams = new Map<string, FeedStream>();
  readonly #context: ClientContext;
  readonly #timer: NodeJS.Timeout;
  #tick = 0;
  #checkedAtMs: number;
  #closing: Promise<void> | undefined;

  constructor(options: GatewayOptions) {
    const { feeds, clock, tickMs, maxClients = 500, maxUnackedFrames = 4, heartbeatMs = 500 } = options;
    const { pingMs = 15_000, ackTimeoutMs = 30_000, subscribeTimeoutMs = 10_000 } = options;
    for (const feed of feeds) {
      const fault = feedFault(feed) ?? (this.#feeds.has(feed.name) ? `two feeds are called ${feed.name}` : undefined);
      assert(fault === undefined, fault ?? "");
      this.#feeds.set(feed.name, feed);
    }
    this.#clock = clock;
    this.#maxClients = maxClients;
    this.#maxClientsPerGroup = options.maxClientsPerGroup ?? Math.ceil(maxClients / 5);
    this.#context = {
      clock,
      limits: { pingMs, ackTimeoutMs, subscribeTimeoutMs, heartbeatMs },
      counters: this.#counters,
      subscriptions: {
        counters: this.#counters,
        maxUnackedFrames,
        nowMs: () => clock.now(),
        tick: () => this.#tick,
      },
      clients: this.#clients,
      streamFor: (request, viewer) => this.#streamFor(request, viewer),
    };
    this.#checkedAtMs = clock.now();
    this.#timer = setInterval(() => this.tick(), tickMs);
    this.#timer.unref();
  }

  get clients(): number {
    return this.#clients.size;
  }

  get counters(): Readonly<GatewayCounters> {
    return this.#counters;
  }

  /**
   * For `server.on("upgrade", …)`. A request that is not a good upgrade of LIVE_PATH is answered with an error; it
   * never throws. What the viewer may see is checked when it subscribes; a viewer whose roles end must be disconnected.
   */
  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer, viewer: Viewer): void => {
    socket.on("error", () => socket.destroy());
    const refusal = this.#refusalOf(request, viewer.group);
    if (refusal !== undefined) {
      this.#counters.clientsRefused++;
      refuseUpgrade(socket, refusal);
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      new LiveClient(webSocket, socket, viewer, this.#context);
    });
  };

  /** Compares, encodes and sends now; the gateway's own interval calls it. */
  tick(): void {
    const nowMs = this.#clock.now();
    this.#tick++;
    if (nowMs - this.#checkedAtMs >= CHECK_MS) {
      this.#checkedAtMs = nowMs;
      for (const client of this.#clients) client.checkTimeouts(nowMs);
    }
    for (const stream of this.#streams.values()) if (stream.subscriptions.size > 0) stream.advance(this.#tick, nowMs);
    for (const client of this.#clients) client.sendHeartbeat(nowMs);
  }

  /** Ends the timer and closes every socket; resolves when all are closed. May be repeated. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    const sockets = Array.from(this.#server.clients);
    for (const client of this.#clients) client.leave();
    await Promise.all(sockets.map(closeSocket));
    this.#server.close();
  }

  #refusalOf(request: IncomingMessage, group: string | undefined): Refusal | undefined {
    if (request.url?.split("?", 1)[0] !== LIVE_PATH)
      return { status: 404, reason: "there is no live view at this path" };
    if (hasForeignOrigin(request)) return { status: 403, reason: "the page is not from this server" };
    if (this.#closing !== undefined) return { status: 503, reason: "the server is closing" };
    if (this.#clients.size >= this.#maxClients) return { status: 503, reason: "too many screens" };
    if (group !== undefined && this.#countGroup(group) >= this.#maxClientsPerGroup)
      return { status: 503, reason: "too many screens of one session or address" };
    return undefined;
  }

  #streamFor({ name, ...given }: FeedRequest, viewer: Viewer): FeedStream | RefusalReason {
    const feed = this.#feeds.get(name);
    if (feed === undefined) return "unknown";
    if (!viewer.may(feed.role)) return "forbidden";
    const parameters = resolveParameters(feed, given);
    if (parameters === undefined) return "bad_parameters";
    const key = JSON.stringify([name, ...Object.values(parameters)]);
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      stream = new FeedStream(name, feed.open(parameters), () => this.#counters.framesEncoded++);
      this.#streams.set(key, stream);
    }
    return stream;
  }

  #countGroup(group: string): number {
    let clients = 0;
    for (const client of this.#clients) if (client.viewer.group === group) clients++;
    return clients;
  }
}

function closeSocket(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    const terminate = setTimeout(() => socket.terminate(), CLOSE_GRACE_MS);
    socket.once("close", () => {
      clearTimeout(terminate);
      resolve();
    });
    socket.close(CLOSE_GOING_AWAY, "server stops");
  });
}
