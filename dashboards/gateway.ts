/**
 * Pushes the live view to screens over WebSocket: the sockets, what each client still owes, and the limits. On every
 * tick each watched view is asked once what has changed (view-feed.ts), and the same bytes go to all its clients; a
 * view that nobody watches costs nothing. A client that leaves a few frames unacknowledged is skipped and gets one
 * fresh snapshot when it has caught up, so a slow phone holds neither memory nor the others back. Bad frames, dead
 * peers and strangers' web pages are turned away and never raise. It does not promise every intermediate value, only
 * that what a screen shows is one state the engine had; and it does not authenticate: whoever hands it an upgrade
 * has.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../engine/kernel/clock.js";
import type { LiveSource } from "./live-source.js";
import {
  decodeClientFrame,
  encodeServerFrame,
  LIVE_PATH,
  type ServerFrame,
  VIEW_LIMITS,
  type ViewLimits,
  type ViewName,
} from "./protocol.js";
import { ViewFeed } from "./view-feed.js";

/** The largest client frame is an ack: about 30 bytes. */
const MAX_CLIENT_FRAME_BYTES = 256;
/** One ack a frame at the fastest useful tick (50 ms) is 20 a second; twice that and some room. */
const MAX_CLIENT_FRAMES_PER_SECOND = 50;
/** As many frames of the largest size, with their heads. Fragments are seen in the bytes alone. */
const MAX_CLIENT_BYTES_PER_SECOND = MAX_CLIENT_FRAMES_PER_SECOND * (MAX_CLIENT_FRAME_BYTES + 14);
const SWEEP_MS = 1_000;
/** How long a closing client may take to answer before its socket is cut. */
const CLOSE_GRACE_MS = 500;

const CLOSE_GOING_AWAY = 1001;
const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_POLICY_VIOLATION = 1008;

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
  /** The same of those that came under one seat; default a fifth of all. */
  maxClientsPerSeat?: number;
  /** Frames a client may leave unacknowledged before it is skipped; default 4: a second of delay at 250 ms a tick. */
  maxUnackedFrames?: number;
  /** Rows keep their places at least this long, so that a reader can follow them; default 3 s. */
  rerankMs?: number;
  /** A frame is sent at least this often; default 1 s, a third of what a page takes for stale. */
  heartbeatMs?: number;
  /** A peer that answers no ping within this time is dead; default 15 s. */
  pingMs?: number;
  /** A client that acknowledges nothing for this long is closed; default 30 s. */
  ackTimeoutMs?: number;
  /** A client must subscribe within this time; default 10 s. */
  subscribeTimeoutMs?: number;
}

/** Totals since the start, for /metrics. */
export interface GatewayCounters {
  /** Frames encoded: at most one delta or heartbeat, and one snapshot, per view and tick. */
  framesEncoded: number;
  framesSent: number;
  bytesSent: number;
  snapshotsSent: number;
  /** Deltas and heartbeats withheld from clients that were behind. */
  framesSkipped: number;
  resyncs: number;
  clientsAccepted: number;
  /** Upgrades refused: wrong path or origin, or too many clients. */
  clientsRefused: number;
  /** Clients closed for bad frames, floods, or missing subscribe, ack or pong. */
  clientsExpelled: number;
}

export interface Gateway {
  /**
   * For `server.on("upgrade", …)`; answers by itself whatever is not a good request for LIVE_PATH. Never throws.
   * `seat`: what several connections of one client have in common, so that none takes every place; left out, they
   * have nothing.
   */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, seat?: string): void;
  /** Compares, encodes and sends now; the gateway's own interval calls it. */
  tick(): void;
  readonly clients: number;
  readonly counters: Readonly<GatewayCounters>;
  /** Ends the timer and every socket; resolves when all are gone. May be repeated. */
  close(): Promise<void>;
}

/** One connected screen and what it still owes. */
interface Client {
  socket: WebSocket;
  seat: string | undefined;
  feed: ViewFeed | undefined;
  connectedAtMs: number;
  /** Numbers of the frames sent and not yet acknowledged, ascending. */
  unacked: number[];
  /** When the oldest of `unacked` was sent, or the last ack came. */
  waitingSinceMs: number;
  owesSnapshot: boolean;
  snapshotSeq: number;
  framesThisSecond: number;
  bytesThisSecond: number;
  pingedAtMs: number;
  ponged: boolean;
}

const REFUSALS = { 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable" } as const;
type Refusal = keyof typeof REFUSALS;

function refuse(socket: Duplex, status: Refusal, reason: string): void {
  socket.once("finish", () => socket.destroy()); // the peer may never close its half
  const retry = status === 503 ? "Retry-After: 5\r\n" : "";
  socket.end(
    `HTTP/1.1 ${status} ${REFUSALS[status]}\r\n${retry}Content-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(reason)}\r\nConnection: close\r\n\r\n${reason}`,
  );
}

/** A browser names the page's origin; only the page this server itself delivered may listen. */
function strangeOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return false;
  try {
    return new URL(origin).host !== host?.toLowerCase();
  } catch {
    return true;
  }
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** Starts a gateway; it ticks by itself until it is closed, and its timer keeps no process alive. */
export function createGateway(options: GatewayOptions): Gateway {
  const {
    source,
    clock,
    tickMs,
    zone = "Asia/Shanghai",
    views,
    maxClients = 500,
    maxClientsPerSeat = Math.ceil(maxClients / 5),
    maxUnackedFrames = 4,
    rerankMs = 3_000,
    heartbeatMs = 1_000,
    pingMs = 15_000,
    ackTimeoutMs = 30_000,
    subscribeTimeoutMs = 10_000,
  } = options;
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_CLIENT_FRAME_BYTES });
  const clients = new Set<Client>();
  const feedOf = (view: ViewName) =>
    new ViewFeed(view, { ...VIEW_LIMITS[view], ...views?.[view] }, { source, zone, rerankMs, heartbeatMs });
  const feeds: Record<ViewName, ViewFeed> = { wall: feedOf("wall"), phone: feedOf("phone") };
  const counters: GatewayCounters = {
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
  let sweptAtMs = clock.now();
  let closing: Promise<void> | undefined;

  const encode = (frame: ServerFrame): Uint8Array => {
    counters.framesEncoded++;
    return encodeServerFrame(frame);
  };

  const expel = (client: Client, code: number, reason: string) => {
    if (!clients.delete(client)) return;
    counters.clientsExpelled++;
    const cut = setTimeout(() => client.socket.terminate(), CLOSE_GRACE_MS);
    cut.unref();
    client.socket.once("close", () => clearTimeout(cut));
    client.socket.close(code, reason);
  };

  const expelFlood = (client: Client, reason: string) => {
    expel(client, CLOSE_POLICY_VIOLATION, reason);
    // Whoever floods does not stop for that: what else it sends stays unread until its socket is cut.
    client.socket.pause();
  };

  const send = (client: Client, seq: number, bytes: Uint8Array) => {
    if (client.unacked.length === 0) client.waitingSinceMs = clock.now();
    client.unacked.push(seq);
    counters.framesSent++;
    counters.bytesSent += bytes.byteLength;
    client.socket.send(bytes, { binary: true }, () => {}); // a failed write is followed by `close`
  };

  /** One snapshot per tick at most, and only to a client that has nothing left to read. */
  const offerSnapshot = (client: Client, feed: ViewFeed) => {
    if (client.unacked.length > 0 || client.snapshotSeq === feed.seq) return;
    client.owesSnapshot = false;
    client.snapshotSeq = feed.seq;
    counters.snapshotsSent++;
    send(client, feed.seq, feed.snapshot(encode));
  };

  const subscribe = (client: Client, view: ViewName) => {
    const feed = feeds[view];
    let watched = false;
    for (const other of clients) if (other.feed === feed) watched = true;
    // Nobody ticks an unwatched view, so its state may be old; with no other client, no delta is lost by moving on.
    if (!watched) feed.advance(clock.now());
    client.feed = feed;
    client.owesSnapshot = true;
    offerSnapshot(client, feed);
  };

  const acknowledge = (client: Client, feed: ViewFeed, seq: number) => {
    if (seq > feed.seq) return expel(client, CLOSE_POLICY_VIOLATION, "ack of a frame never sent");
    client.unacked = client.unacked.filter((sent) => sent > seq);
    client.waitingSinceMs = clock.now();
    if (client.owesSnapshot) offerSnapshot(client, feed);
  };

  /** Counts a frame of any kind: a ping has to be answered, and a pong costs as much as an ack. */
  const countFrame = (client: Client): boolean => {
    if (++client.framesThisSecond <= MAX_CLIENT_FRAMES_PER_SECOND) return true;
    expelFlood(client, "too many frames");
    return false;
  };

  const receive = (client: Client, data: RawData, isBinary: boolean) => {
    if (!clients.has(client)) return;
    if (!isBinary) return expel(client, CLOSE_UNSUPPORTED_DATA, "binary frames only");
    if (!countFrame(client)) return;
    let frame: ReturnType<typeof decodeClientFrame>;
    try {
      frame = decodeClientFrame(bytesOf(data));
    } catch {
      return expel(client, CLOSE_POLICY_VIOLATION, "unreadable frame");
    }
    const { feed } = client;
    if (frame.t === "subscribe") {
      if (feed !== undefined) return expel(client, CLOSE_POLICY_VIOLATION, "already subscribed");
      return subscribe(client, frame.view);
    }
    if (feed === undefined) return expel(client, CLOSE_POLICY_VIOLATION, "subscribe first");
    if (frame.t === "ack") return acknowledge(client, feed, frame.seq);
    counters.resyncs++;
    client.owesSnapshot = true;
    offerSnapshot(client, feed);
  };

  const accept = (socket: WebSocket, connection: Duplex, seat: string | undefined) => {
    const nowMs = clock.now();
    const client: Client = {
      socket,
      seat,
      feed: undefined,
      connectedAtMs: nowMs,
      unacked: [],
      waitingSinceMs: nowMs,
      owesSnapshot: false,
      snapshotSeq: -1,
      framesThisSecond: 0,
      bytesThisSecond: 0,
      pingedAtMs: nowMs,
      ponged: true,
    };
    clients.add(client);
    counters.clientsAccepted++;
    socket.on("message", (data, isBinary) => receive(client, data, isBinary));
    socket.on("ping", () => countFrame(client));
    socket.on("pong", () => {
      client.ponged = true;
      countFrame(client);
    });
    connection.on("data", (bytes: Buffer) => {
      client.bytesThisSecond += bytes.length;
      if (client.bytesThisSecond > MAX_CLIENT_BYTES_PER_SECOND) expelFlood(client, "too many bytes");
    });
    socket.on("error", () => {}); // an oversized or broken frame: ws closes by itself, `close` follows
    socket.on("close", () => clients.delete(client));
  };

  const sweep = (nowMs: number) => {
    for (const client of clients) {
      client.framesThisSecond = 0;
      client.bytesThisSecond = 0;
      if (client.feed === undefined) {
        if (nowMs - client.connectedAtMs >= subscribeTimeoutMs) expel(client, CLOSE_POLICY_VIOLATION, "no subscribe");
      } else if (client.unacked.length > 0 && nowMs - client.waitingSinceMs >= ackTimeoutMs) {
        expel(client, CLOSE_POLICY_VIOLATION, "no ack");
      }
      if (nowMs - client.pingedAtMs < pingMs || !clients.has(client)) continue;
      if (!client.ponged) {
        clients.delete(client);
        counters.clientsExpelled++;
        client.socket.terminate();
        continue;
      }
      client.ponged = false;
      client.pingedAtMs = nowMs;
      client.socket.ping(() => {});
    }
  };

  const tick = () => {
    const nowMs = clock.now();
    if (nowMs - sweptAtMs >= SWEEP_MS) {
      sweptAtMs = nowMs;
      sweep(nowMs);
    }
    for (const feed of Object.values(feeds)) {
      const watching: Client[] = [];
      for (const client of clients) if (client.feed === feed) watching.push(client);
      if (watching.length === 0) continue;
      const frame = feed.advance(nowMs);
      const bytes = frame === undefined ? undefined : encode(frame);
      for (const client of watching) {
        if (client.owesSnapshot) {
          if (bytes !== undefined) counters.framesSkipped++;
          offerSnapshot(client, feed);
        } else if (bytes !== undefined && client.unacked.length >= maxUnackedFrames) {
          counters.framesSkipped++;
          client.owesSnapshot = true;
        } else if (bytes !== undefined) {
          send(client, feed.seq, bytes);
        }
      }
    }
  };

  const timer = setInterval(tick, tickMs);
  timer.unref();

  const taken = (seat: string): number => {
    let places = 0;
    for (const client of clients) if (client.seat === seat) places++;
    return places;
  };

  const handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer, seat?: string) => {
    socket.on("error", () => socket.destroy());
    const turnAway = (status: Refusal, reason: string) => {
      counters.clientsRefused++;
      refuse(socket, status, reason);
    };
    if (request.url?.split("?", 1)[0] !== LIVE_PATH) return turnAway(404, "no such live view");
    if (strangeOrigin(request)) return turnAway(403, "this page's origin is not this server");
    if (closing !== undefined) return turnAway(503, "closing");
    if (clients.size >= maxClients) return turnAway(503, "too many screens");
    if (seat !== undefined && taken(seat) >= maxClientsPerSeat) return turnAway(503, "too many screens of one client");
    server.handleUpgrade(request, socket, head, (webSocket) => accept(webSocket, socket, seat));
  };

  const shut = async (): Promise<void> => {
    clearInterval(timer);
    const sockets = Array.from(server.clients);
    clients.clear();
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<void>((resolve) => {
            const cut = setTimeout(() => socket.terminate(), CLOSE_GRACE_MS);
            socket.once("close", () => {
              clearTimeout(cut);
              resolve();
            });
            socket.close(CLOSE_GOING_AWAY, "server stops");
          }),
      ),
    );
    server.close();
  };

  return {
    handleUpgrade,
    tick,
    get clients() {
      return clients.size;
    },
    counters,
    close() {
      closing ??= shut();
      return closing;
    },
  };
}
