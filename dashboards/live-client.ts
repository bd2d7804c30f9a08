/**
 * One connected screen on the gateway's side: its WebSocket, its subscriptions and its limits. A subscription that is
 * not possible is answered with the reason, and the connection stays. Bad frames, floods, missing acks, missing pongs
 * and frames that are not read close the connection; nothing here throws.
 */
import type { Duplex } from "node:stream";
import type { RawData, WebSocket } from "ws";
import type { Clock } from "../engine/kernel/clock.js";
import type { FeedRole } from "./feed.js";
import type { FeedStream } from "./feed-stream.js";
import {
  type ClientFrame,
  decodeClientFrame,
  encodeServerFrame,
  type FeedRequest,
  FrameError,
  MAX_SUBSCRIPTIONS,
  type RefusalReason,
} from "./protocol.js";
import { type FrameCounters, Subscription, type SubscriptionContext } from "./subscription.js";

/** A subscription to 16 feeds with one parameter each is about 700 bytes; everything else is smaller. */
export const MAX_CLIENT_FRAME_BYTES = 1_024;
/** One ack a feed and tick: 16 feeds at 4 ticks a second are 64 a second; twice that and some room. */
const MAX_CLIENT_FRAMES_PER_SECOND = 150;
/** A ping counts as so many frames. It has to be answered, and no screen needs one: the gateway sends them. */
const PING_COST = 3;
/** 150 acks of the longest name are 10 KB, and some room. Fragments are counted in the bytes alone. */
const MAX_CLIENT_BYTES_PER_SECOND = 16_384;
/**
 * What may wait to be sent to one client; a client with more does not read. One that acknowledges only what it has read
 * stays below it: 4 unacknowledged frames of each feed, at most 136 KB of `stock-heat` (180 rows with 60 minutes each),
 * 32 KB of `alerts`, 24 KB of `consistency` and 0.5 KB of `engine`, are 770 KB; the rest is for 4 lists of 67 open
 * breakers with 1,030 bytes each, evidence included, and for heartbeats. A larger frame is sent when less than this is
 * waiting, and ends the connection unless the client has read it down to this within a second.
 */
export const MAX_UNSENT_BYTES = 1_048_576;
/** How long a closing client may take to answer before its socket is destroyed. */
export const CLOSE_GRACE_MS = 500;

const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_POLICY_VIOLATION = 1008;

const HEARTBEAT = encodeServerFrame({ t: "heartbeat" });

/** Totals since the start, for /metrics. */
export interface GatewayCounters extends FrameCounters {
  clientsAccepted: number;
  /** Upgrades refused: wrong path or origin, or too many clients. */
  clientsRefused: number;
  /** Clients closed for bad frames, floods, missing subscribe, ack or pong, or because they do not read. */
  clientsExpelled: number;
  subscriptionsRefused: number;
}

export interface ClientLimits {
  pingMs: number;
  ackTimeoutMs: number;
  subscribeTimeoutMs: number;
  heartbeatMs: number;
}

/** Who has opened a connection. */
export interface Viewer {
  /** Connections with the same group (of a session or an address) share a limit; undefined: none. */
  readonly group?: string | undefined;
  /** Whether the viewer has a role. */
  may(role: FeedRole): boolean;
}

/** What all clients of one gateway share. */
export interface ClientContext {
  clock: Clock;
  limits: ClientLimits;
  counters: GatewayCounters;
  subscriptions: SubscriptionContext;
  /** The connected clients. A client removes itself; frames that arrive after that are ignored. */
  clients: Set<LiveClient>;
  /** The state that a viewer asks for, or why it is refused. */
  streamFor(request: FeedRequest, viewer: Viewer): FeedStream | RefusalReason;
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

export class LiveClient {
  readonly viewer: Viewer;
  readonly #socket: WebSocket;
  readonly #context: ClientContext;
  readonly #connectedAtMs: number;
  /** By feed; also those that have ended, because their frames may still be unacknowledged. */
  readonly #subscriptions = new Map<string, Subscription>();
  #hasSubscribed = false;
  #sentAtMs: number;
  #framesThisSecond = 0;
  #bytesThisSecond = 0;
  #pingedAtMs: number;
  #hasPonged = true;

  /** Adds itself to the context's clients. `connection` is the stream below the WebSocket. */
  constructor(socket: WebSocket, connection: Duplex, viewer: Viewer, context: ClientContext) {
    const nowMs = context.clock.now();
    this.viewer = viewer;
    this.#socket = socket;
    this.#context = context;
    this.#connectedAtMs = nowMs;
    this.#sentAtMs = nowMs;
    this.#pingedAtMs = nowMs;
    context.clients.add(this);
    context.counters.clientsAccepted++;
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("ping", () => this.#countFrames(PING_COST));
    socket.on("pong", () => {
      this.#hasPonged = true;
      this.#countFrames(1);
    });
    connection.on("data", (bytes: Buffer) => this.#countBytes(bytes.length));
    socket.on("error", () => {}); // an oversized or broken frame: ws closes by itself, `close` follows
    socket.on("close", () => this.leave());
  }

  /** Ends its subscriptions; the gateway sends it nothing further. @returns whether it was connected */
  leave(): boolean {
    for (const subscription of this.#subscriptions.values()) subscription.stop();
    return this.#context.clients.delete(this);
  }

  /** Once a tick, after the feeds: shows that the connection works when nothing else has been sent for a while. */
  sendHeartbeat(nowMs: number): void {
    if (this.#hasSubscribed && nowMs - this.#sentAtMs >= this.#context.limits.heartbeatMs) this.#send(HEARTBEAT);
  }

  /** Once a second: starts a new second of the rate limits, checks the timeouts and pings. */
  checkTimeouts(nowMs: number): void {
    const { clients, limits } = this.#context;
    this.#framesThisSecond = 0;
    this.#bytesThisSecond = 0;
    let unackedMs = 0;
    for (const subscription of this.#subscriptions.values())
      unackedMs = Math.max(unackedMs, subscription.unackedMs(nowMs));
    if (!this.#hasSubscribed && nowMs - this.#connectedAtMs >= limits.subscribeTimeoutMs)
      this.#expel(CLOSE_POLICY_VIOLATION, "no subscribe");
    else if (unackedMs >= limits.ackTimeoutMs) this.#expel(CLOSE_POLICY_VIOLATION, "no ack");
    // Also here, because the answers to its pings are not sent by `#send`.
    else this.#canReceive();
    if (nowMs - this.#pingedAtMs < limits.pingMs || !clients.has(this)) return;
    if (!this.#hasPonged) {
      this.#terminate();
      return;
    }
    this.#hasPonged = false;
    this.#pingedAtMs = nowMs;
    this.#socket.ping(() => {});
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (!this.#context.clients.has(this)) return;
    if (!isBinary) {
      this.#expel(CLOSE_UNSUPPORTED_DATA, "binary frames only");
      return;
    }
    let frame: ClientFrame;
    try {
      frame = decodeClientFrame(bytesOf(data));
    } catch (error) {
      const isOther = error instanceof FrameError && error.code === "other_version";
      // Pages reload when they receive a frame of another version; this one is readable in every version.
      if (isOther) this.#send(HEARTBEAT);
      this.#expel(CLOSE_POLICY_VIOLATION, isOther ? "another version" : "unreadable frame");
      return;
    }
    // Each feed of a subscription may be answered, so it counts like a frame of its own.
    if (!this.#countFrames(frame.t === "subscribe" ? frame.feeds.length : 1)) return;
    const fault = this.#apply(frame);
    if (fault !== undefined) this.#expel(CLOSE_POLICY_VIOLATION, fault);
  }

  /** @returns what is wrong with the frame, or undefined */
  #apply(frame: ClientFrame): string | undefined {
    if (frame.t === "subscribe") {
      this.#hasSubscribed = true;
      for (const request of frame.feeds) this.#subscribe(request);
      return undefined;
    }
    if (frame.t === "unsubscribe") {
      for (const name of frame.feeds) this.#subscriptions.get(name)?.stop();
      return undefined;
    }
    const subscription = this.#subscriptions.get(frame.feed);
    if (subscription === undefined) return "subscribe first";
    if (frame.t === "ack") return subscription.acknowledge(frame.seq);
    subscription.resync();
    return undefined;
  }

  #subscribe(request: FeedRequest): void {
    // The answer to an earlier feed of the same frame may have been too much for it.
    if (!this.#context.clients.has(this)) return;
    const { name } = request;
    const subscription = this.#subscriptions.get(name);
    const stream =
      subscription?.isActive !== true && this.#countActive() >= MAX_SUBSCRIPTIONS
        ? "too_many"
        : this.#context.streamFor(request, this.viewer);
    if (typeof stream === "string") {
      this.#context.counters.subscriptionsRefused++;
      this.#send(encodeServerFrame({ t: "refused", feed: name, reason: stream }));
      return;
    }
    const active = subscription ?? new Subscription(this.#context.subscriptions, (bytes) => this.#send(bytes));
    this.#subscriptions.set(name, active);
    active.watch(stream);
  }

  #countActive(): number {
    let active = 0;
    for (const subscription of this.#subscriptions.values()) if (subscription.isActive) active++;
    return active;
  }

  #send(bytes: Uint8Array): void {
    if (!this.#canReceive()) return;
    const { clock, counters } = this.#context;
    this.#sentAtMs = clock.now();
    counters.framesSent++;
    counters.bytesSent += bytes.byteLength;
    this.#socket.send(bytes, { binary: true }, () => {}); // a failed write is followed by `close`
  }

  /**
   * Acks alone do not show that a client reads: numbers can be acknowledged unread, and refusals, heartbeats and pongs
   * need no ack. Ends the connection when too much is waiting.
   */
  #canReceive(): boolean {
    if (!this.#context.clients.has(this)) return false;
    if (this.#socket.bufferedAmount <= MAX_UNSENT_BYTES) return true;
    this.#terminate();
    return false;
  }

  /** Counts frames of any kind: a pong costs as much as an ack. */
  #countFrames(frames: number): boolean {
    this.#framesThisSecond += frames;
    if (this.#framesThisSecond <= MAX_CLIENT_FRAMES_PER_SECOND) return true;
    this.#expelFlood("too many frames");
    return false;
  }

  #countBytes(length: number): void {
    this.#bytesThisSecond += length;
    if (this.#bytesThisSecond > MAX_CLIENT_BYTES_PER_SECOND) this.#expelFlood("too many bytes");
  }

  #expelFlood(reason: string): void {
    this.#expel(CLOSE_POLICY_VIOLATION, reason);
    // A flood may go on after the close frame; it stays unread until the socket is destroyed.
    this.#socket.pause();
  }

  /** Ends the connection of a client that would not read a close frame. */
  #terminate(): void {
    if (!this.leave()) return;
    this.#context.counters.clientsExpelled++;
    this.#socket.terminate();
  }

  /** Closes the connection, once. */
  #expel(code: number, reason: string): void {
    if (!this.leave()) return;
    this.#context.counters.clientsExpelled++;
    const terminate = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    terminate.unref();
    this.#socket.once("close", () => clearTimeout(terminate));
    this.#socket.close(code, reason);
  }
}
