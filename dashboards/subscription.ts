/**
 * One feed on one connection: which state of it the client gets, and the frames that it has not acknowledged. A client
 * with too many unacknowledged frames of a feed gets no further ones of it until it has acknowledged all; then it gets
 * one snapshot. Other feeds of the connection are not affected. It stays for the life of its connection, so that
 * unsubscribing does not discard frames that are still to be acknowledged.
 */
import type { FeedStream } from "./feed-stream.js";

/** Totals of a gateway since its start. */
export interface FrameCounters {
  /** At most one delta and one snapshot for each state of a feed and tick. */
  framesEncoded: number;
  /** Frames of all kinds, heartbeats and refusals included. */
  framesSent: number;
  bytesSent: number;
  snapshotsSent: number;
  /** Deltas withheld from clients that were behind. */
  framesSkipped: number;
  resyncs: number;
}

export interface SubscriptionContext {
  counters: FrameCounters;
  /** Frames of the feed that may be unacknowledged. */
  maxUnackedFrames: number;
  nowMs(): number;
  /** Number of the gateway's present tick. */
  tick(): number;
}

export class Subscription {
  readonly #context: SubscriptionContext;
  readonly #send: (bytes: Uint8Array) => void;
  #stream: FeedStream | undefined;
  /** Numbers of the frames sent and not yet acknowledged, oldest first. They may be of two states of the feed. */
  #unacked: number[] = [];
  #highestSeq = -1;
  /** When the oldest of `#unacked` was sent, or the last ack came. */
  #waitingSinceMs = 0;
  #needsSnapshot = false;
  #snapshotTick = -1;

  constructor(context: SubscriptionContext, send: (bytes: Uint8Array) => void) {
    this.#context = context;
    this.#send = send;
  }

  get isActive(): boolean {
    return this.#stream !== undefined;
  }

  /** How long the client has acknowledged nothing of what it has to. */
  unackedMs(nowMs: number): number {
    return this.#unacked.length === 0 ? 0 : nowMs - this.#waitingSinceMs;
  }

  /** Begins with a snapshot of `stream`, in place of the stream before. */
  watch(stream: FeedStream): void {
    this.stop();
    stream.catchUp(this.#context.tick(), this.#context.nowMs());
    stream.subscriptions.add(this);
    this.#stream = stream;
    this.#needsSnapshot = true;
    this.#trySnapshot();
  }

  stop(): void {
    this.#stream?.subscriptions.delete(this);
    this.#stream = undefined;
  }

  /** Once a tick: sends the newest frame, a snapshot, or nothing. `bytes`: the frame, if there is one. */
  deliver(bytes: Uint8Array | undefined): void {
    const { counters, maxUnackedFrames } = this.#context;
    if (this.#needsSnapshot) {
      if (bytes !== undefined) counters.framesSkipped++;
      this.#trySnapshot();
    } else if (bytes !== undefined && this.#unacked.length >= maxUnackedFrames) {
      counters.framesSkipped++;
      this.#needsSnapshot = true;
    } else if (bytes !== undefined) this.#sendNumbered(bytes);
  }

  /** @returns what is wrong with the ack, or undefined */
  acknowledge(seq: number): string | undefined {
    if (seq > this.#highestSeq) return "ack of a frame never sent";
    const acknowledged = this.#unacked.indexOf(seq);
    if (acknowledged >= 0) {
      this.#unacked = this.#unacked.slice(acknowledged + 1);
      this.#waitingSinceMs = this.#context.nowMs();
      if (this.#needsSnapshot) this.#trySnapshot();
    }
    return undefined;
  }

  resync(): void {
    this.#context.counters.resyncs++;
    this.#needsSnapshot = true;
    this.#trySnapshot();
  }

  /** One snapshot a tick at most, and only to a client that has acknowledged everything. */
  #trySnapshot(): void {
    const stream = this.#stream;
    const tick = this.#context.tick();
    if (stream === undefined || this.#unacked.length > 0 || this.#snapshotTick === tick) return;
    this.#needsSnapshot = false;
    this.#snapshotTick = tick;
    this.#context.counters.snapshotsSent++;
    this.#sendNumbered(stream.snapshot());
  }

  #sendNumbered(bytes: Uint8Array): void {
    const seq = this.#stream?.seq ?? 0;
    if (this.#unacked.length === 0) this.#waitingSinceMs = this.#context.nowMs();
    this.#unacked.push(seq);
    this.#highestSeq = Math.max(this.#highestSeq, seq);
    this.#send(bytes);
  }
}
