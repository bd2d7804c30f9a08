/**
 * One connected screen on the gateway's side: its WebSocket, the frames it has not acknowledged, and its limits. A
 * client with too many unacknowledged frames gets no further ones until it has acknowledged all; then it gets one
 * snapshot. Bad frames, floods, missing acks and missing pongs close the connection; nothing here throws.
 */
import type { Duplex } from "node:stream";
import type { RawData, WebSocket } from "ws";
import type { Clock } from "../engine/kernel/clock.js";
import { type ClientFrame, decodeClientFrame, type ServerFrame, type ViewName } from "./protocol.js";
import type { ViewFeed } from "./view-feed.js";

/** The largest client frame is an ack: about 30 bytes. */
export const MAX_CLIENT_FRAME_BYTES = 256;
/** One ack a frame at the fastest useful tick (50 ms) is 20 a second; twice that and some room. */
const MAX_CLIENT_FRAMES_PER_SECOND = 50;
/** As many frames of the largest size, with their headers. Fragments are counted in the bytes alone. */
const MAX_CLIENT_BYTES_PER_SECOND = MAX_CLIENT_FRAMES_PER_SECOND * (MAX_CLIENT_FRAME_BYTES + 14);
/** How long a closing client may take to answer before its socket is destroyed. */
export const CLOSE_GRACE_MS = 500;

const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_POLICY_VIOLATION = 1008;

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

export interface ClientLimits {
  maxUnackedFrames: number;
  pingMs: number;
  ackTimeoutMs: number;
  subscribeTimeoutMs: number;
}

/** What all clients of one gateway share. */
export interface ClientContext {
  clock: Clock;
  limits: ClientLimits;
  counters: GatewayCounters;
  /** The connected clients. A client removes itself; frames that arrive after that are ignored. */
  clients: Set<LiveClient>;
  /** The feed of a view, up to date for a client that begins to watch it. */
  feedFor(view: ViewName): ViewFeed;
  encode(frame: ServerFrame): Uint8Array;
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

export class LiveClient {
  /** Clients with the same group share a limit of connections; undefined: none. */
  readonly group: string | undefined;
  readonly #socket: WebSocket;
  readonly #context: ClientContext;
  readonly #connectedAtMs: number;
  #feed: ViewFeed | undefined;
  /** Numbers of the frames sent and not yet acknowledged, ascending. */
  #unacked: number[] = [];
  /** When the oldest of `#unacked` was sent, or the last ack came. */
  #waitingSinceMs: number;
  #needsSnapshot = false;
  #snapshotSeq = -1;
  #framesThisSecond = 0;
  #bytesThisSecond = 0;
  #pingedAtMs: number;
  #hasPonged = true;

  /** Adds itself to the context's clients. `connection` is the stream below the WebSocket. */
  constructor(socket: WebSocket, connection: Duplex, group: string | undefined, context: ClientContext) {
    const nowMs = context.clock.now();
    this.group = group;
    this.#socket = socket;
    this.#context = context;
    this.#connectedAtMs = nowMs;
    this.#waitingSinceMs = nowMs;
    this.#pingedAtMs = nowMs;
    context.clients.add(this);
    context.counters.clientsAccepted++;
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("ping", () => this.#countFrame());
    socket.on("pong", () => {
      this.#hasPonged = true;
      this.#countFrame();
    });
    connection.on("data", (bytes: Buffer) => this.#countBytes(bytes.length));
    socket.on("error", () => {}); // an oversized or broken frame: ws closes by itself, `close` follows
    socket.on("close", () => context.clients.delete(this));
  }

  /** The view it has subscribed to. */
  get feed(): ViewFeed | undefined {
    return this.#feed;
  }

  /** Once a tick: sends the feed's newest frame, a snapshot, or nothing. `bytes`: the frame, if there is one. */
  deliver(feed: ViewFeed, bytes: Uint8Array | undefined): void {
    const { counters, limits } = this.#context;
    if (this.#needsSnapshot) {
      if (bytes !== undefined) counters.framesSkipped++;
      this.#trySnapshot(feed);
    } else if (bytes !== undefined && this.#unacked.length >= limits.maxUnackedFrames) {
      counters.framesSkipped++;
      this.#needsSnapshot = true;
    } else if (bytes !== undefined) {
      this.#send(feed.seq, bytes);
    }
  }

  /** Once a second: starts a new second of the rate limits, checks the timeouts and pings. */
  checkTimeouts(nowMs: number): void {
    const { clients, limits, counters } = this.#context;
    this.#framesThisSecond = 0;
    this.#bytesThisSecond = 0;
    if (this.#feed === undefined) {
      if (nowMs - this.#connectedAtMs >= limits.subscribeTimeoutMs) this.#expel(CLOSE_POLICY_VIOLATION, "no subscribe");
    } else if (this.#unacked.length > 0 && nowMs - this.#waitingSinceMs >= limits.ackTimeoutMs) {
      this.#expel(CLOSE_POLICY_VIOLATION, "no ack");
    }
    if (nowMs - this.#pingedAtMs < limits.pingMs || !clients.has(this)) return;
    if (!this.#hasPonged) {
      clients.delete(this);
      counters.clientsExpelled++;
      this.#socket.terminate();
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
    if (!this.#countFrame()) return;
    const fault = this.#apply(data);
    if (fault !== undefined) this.#expel(CLOSE_POLICY_VIOLATION, fault);
  }

  /** @returns what is wrong with the frame, or undefined */
  #apply(data: RawData): string | undefined {
    let frame: ClientFrame;
    try {
      frame = decodeClientFrame(bytesOf(data));
    } catch {
      return "unreadable frame";
    }
    if (frame.t === "subscribe") {
      if (this.#feed !== undefined) return "already subscribed";
      this.#feed = this.#context.feedFor(frame.view);
      this.#needsSnapshot = true;
    } else if (this.#feed === undefined) {
      return "subscribe first";
    } else if (frame.t === "resync") {
      this.#context.counters.resyncs++;
      this.#needsSnapshot = true;
    } else {
      if (frame.seq > this.#feed.seq) return "ack of a frame never sent";
      const { seq } = frame;
      this.#unacked = this.#unacked.filter((sent) => sent > seq);
      this.#waitingSinceMs = this.#context.clock.now();
    }
    if (this.#needsSnapshot) this.#trySnapshot(this.#feed);
    return undefined;
  }

  /** One snapshot per tick at most, and only to a client that has acknowledged everything. */
  #trySnapshot(feed: ViewFeed): void {
    if (this.#unacked.length > 0 || this.#snapshotSeq === feed.seq) return;
    this.#needsSnapshot = false;
    this.#snapshotSeq = feed.seq;
    this.#context.counters.snapshotsSent++;
    this.#send(feed.seq, feed.snapshot(this.#context.encode));
  }

  #send(seq: number, bytes: Uint8Array): void {
    const { clock, counters } = this.#context;
    if (this.#unacked.length === 0) this.#waitingSinceMs = clock.now();
    this.#unacked.push(seq);
    counters.framesSent++;
    counters.bytesSent += bytes.byteLength;
    this.#socket.send(bytes, { binary: true }, () => {}); // a failed write is followed by `close`
  }

  /** Counts a frame of any kind: a ping has to be answered, and a pong costs as much as an ack. */
  #countFrame(): boolean {
    if (++this.#framesThisSecond <= MAX_CLIENT_FRAMES_PER_SECOND) return true;
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

  /** Closes the connection, once. */
  #expel(code: number, reason: string): void {
    const { clients, counters } = this.#context;
    if (!clients.delete(this)) return;
    counters.clientsExpelled++;
    const terminate = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    terminate.unref();
    this.#socket.once("close", () => clearTimeout(terminate));
    this.#socket.close(code, reason);
  }
}
