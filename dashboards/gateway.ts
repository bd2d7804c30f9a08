/**
 * Pushes the live view to screens over WebSocket. On every tick each watched view is compared once (view-feed.ts), and
 * the same bytes go to all its clients; a view without clients costs nothing. A client that leaves a few frames
 * unacknowledged is skipped and gets one snapshot when it has caught up (live-client.ts), so a slow phone neither
 * fills memory nor delays others. It does not deliver every intermediate value; what a screen shows is always one
 * state that the engine had. It does not authenticate: the caller of `handleUpgrade` has done so.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../engine/kernel/clock.js";
import {
  CLOSE_GRACE_MS,
  type ClientContext,
  type GatewayCounters,
  LiveClient,
  MAX_CLIENT_FRAME_BYTES,
} from "./live-client.js";
import type { LiveSource } from "./live-source.js";
import {
  encodeServerFrame,
  LIVE_PATH,
  type ServerFrame,
  VIEW_LIMITS,
  type ViewLimits,
  type ViewName,
} from "./protocol.js";
import { hasForeignOrigin, type Refusal, refuseUpgrade } from "./upgrade.js";
import { ViewFeed } from "./view-feed.js";

/** The clients' timeouts are checked and their rate limits begin anew once in this time. */
const CHECK_MS = 1_000;
const CLOSE_GOING_AWAY = 1001;

export interface GatewayOptions {
  source: LiveSource;
  /** Real time: paces re-ranking, heartbeats and timeouts. */
  clock: Clock;
  /** How often views are compared and sent, in ms. */
  tickMs: number;
  /** IANA name of the shop's time zone; default Asia/Shanghai. */
  zone?: string;
  /** Overrides of VIEW_LIMITS. */
  views?: Partial<Record<ViewName, Partial<ViewLimits>>>;
  /** Further upgrades are answered 503; default 500. */
  maxClients?: number;
  /** The same limit for the clients of one group; default a fifth of all. */
  maxClientsPerGroup?: number;
  /** Frames a client may leave unacknowledged before it is skipped; default 4: a second of delay at 250 ms a tick. */
  maxUnackedFrames?: number;
  /** Rows keep their places at least this long, so that a reader can follow them; default 3 s. */
  rerankMs?: number;
  /** A frame is sent at least this often; default 1 s, a third of the silence after which a page reports stale data. */
  heartbeatMs?: number;
  /** A client that answers no ping within this time is closed; default 15 s. */
  pingMs?: number;
  /** A client that acknowledges nothing for this long is closed; default 30 s. */
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
  readonly #feeds: Readonly<Record<ViewName, ViewFeed>>;
  readonly #context: ClientContext;
  readonly #timer: NodeJS.Timeout;
  #checkedAtMs: number;
  #closing: Promise<void> | undefined;

  constructor(options: GatewayOptions) {
    const { source, clock, tickMs, zone = "Asia/Shanghai", views, maxClients = 500 } = options;
    const { maxUnackedFrames = 4, pingMs = 15_000, ackTimeoutMs = 30_000, subscribeTimeoutMs = 10_000 } = options;
    const { rerankMs = 3_000, heartbeatMs = 1_000 } = options;
    const feedOf = (view: ViewName) =>
      new ViewFeed(view, { ...VIEW_LIMITS[view], ...views?.[view] }, { source, zone, rerankMs, heartbeatMs });
    this.#clock = clock;
    this.#maxClients = maxClients;
    this.#maxClientsPerGroup = options.maxClientsPerGroup ?? Math.ceil(maxClients / 5);
    this.#feeds = { wall: feedOf("wall"), phone: feedOf("phone") };
    this.#context = {
      clock,
      limits: { maxUnackedFrames, pingMs, ackTimeoutMs, subscribeTimeoutMs },
      counters: this.#counters,
      clients: this.#clients,
      feedFor: (view) => this.#feedFor(view),
      encode: (frame) => this.#encode(frame),
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
   * never throws. `group`: connections with the same one (of a session or an address) share a limit; undefined: none.
   */
  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer, group?: string): void => {
    socket.on("error", () => socket.destroy());
    const refusal = this.#refusalOf(request, group);
    if (refusal !== undefined) {
      this.#counters.clientsRefused++;
      refuseUpgrade(socket, refusal);
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      new LiveClient(webSocket, socket, group, this.#context);
    });
  };

  /** Compares, encodes and sends now; the gateway's own interval calls it. */
  tick(): void {
    const nowMs = this.#clock.now();
    if (nowMs - this.#checkedAtMs >= CHECK_MS) {
      this.#checkedAtMs = nowMs;
      for (const client of this.#clients) client.checkTimeouts(nowMs);
    }
    for (const feed of Object.values(this.#feeds)) {
      const watching: LiveClient[] = [];
      for (const client of this.#clients) if (client.feed === feed) watching.push(client);
      if (watching.length === 0) continue;
      const frame = feed.advance(nowMs);
      const bytes = frame === undefined ? undefined : this.#encode(frame);
      for (const client of watching) client.deliver(feed, bytes);
    }
  }

  /** Ends the timer and closes every socket; resolves when all are closed. May be repeated. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    const sockets = Array.from(this.#server.clients);
    this.#clients.clear();
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

  #feedFor(view: ViewName): ViewFeed {
    const feed = this.#feeds[view];
    let isWatched = false;
    for (const client of this.#clients) if (client.feed === feed) isWatched = true;
    // An unwatched view is not ticked, so its state may be old. Without other clients no delta is lost by advancing it.
    if (!isWatched) feed.advance(this.#clock.now());
    return feed;
  }

  #encode(frame: ServerFrame): Uint8Array {
    this.#counters.framesEncoded++;
    return encodeServerFrame(frame);
  }

  #countGroup(group: string): number {
    let clients = 0;
    for (const client of this.#clients) if (client.group === group) clients++;
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
