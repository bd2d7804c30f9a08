/**
 * The frames of one state of a feed: numbered without gaps, encoded once however many clients get them. It holds the
 * subscriptions that get its frames; while there are none, the state is not read.
 */
import type { FeedState } from "./feed.js";
import { encodeServerFrame } from "./protocol.js";
import type { Subscription } from "./subscription.js";

export class FeedStream {
  readonly subscriptions = new Set<Subscription>();
  readonly #name: string;
  readonly #state: FeedState;
  readonly #onEncoded: () => void;
  #seq = 0;
  #tick = -1;
  #snapshot: Uint8Array | undefined;

  /** @param onEncoded called for every frame that is encoded */
  constructor(name: string, state: FeedState, onEncoded: () => void) {
    this.#name = name;
    this.#state = state;
    this.#onEncoded = onEncoded;
  }

  /** Number of the last frame; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  /** Reads the state, at most once a tick, and sends the changes to all subscriptions. */
  advance(tick: number, nowMs: number): void {
    const bytes = this.#read(tick, nowMs);
    for (const subscription of this.subscriptions) subscription.deliver(bytes);
  }

  /** Before the first subscription after a time without: the state has not been read meanwhile. */
  catchUp(tick: number, nowMs: number): void {
    if (this.subscriptions.size === 0) this.#read(tick, nowMs);
  }

  /** The whole state as of frame `seq`; encoded at most once a tick. */
  snapshot(): Uint8Array {
    if (this.#snapshot === undefined) {
      this.#onEncoded();
      const body = this.#state.snapshot();
      this.#snapshot = encodeServerFrame({ t: "snapshot", feed: this.#name, seq: this.#seq, body });
    }
    return this.#snapshot;
  }

  /** @returns the encoded changes, if there are any */
  #read(tick: number, nowMs: number): Uint8Array | undefined {
    if (this.#tick === tick) return undefined;
    this.#tick = tick;
    this.#snapshot = undefined;
    const body = this.#state.advance(nowMs);
    if (body === undefined) return undefined;
    this.#seq++;
    if (this.subscriptions.size === 0) return undefined;
    this.#onEncoded();
    return encodeServerFrame({ t: "delta", feed: this.#name, seq: this.#seq, body });
  }
}
