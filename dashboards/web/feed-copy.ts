/**
 * A screen's copy of one feed: it applies the feed's frames in their order and finds out when some are missing. Pure:
 * no socket, no clock, no DOM. What a body means is the store's matter.
 */
import type { BodyFrame } from "../protocol.js";

/** How a model is made and changed from the bodies of a feed. */
export interface FeedStore<Model> {
  snapshot(body: unknown, before: Model | undefined): Model;
  delta(model: Model, body: unknown): Model;
}

/** For feeds whose every body is the whole state. */
export const wholeStore = <Body>(): FeedStore<Body> => ({
  snapshot: (body) => body as Body,
  delta: (_, body) => body as Body,
});

export class FeedCopy<Model> {
  readonly #store: FeedStore<Model>;
  #model: Model | undefined;
  #seq = 0;
  #isFollowing = false;
  #atMs = 0;

  constructor(store: FeedStore<Model>) {
    this.#store = store;
  }

  /** Undefined before the first snapshot; old while not following. */
  get model(): Model | undefined {
    return this.#model;
  }

  /** When the last frame came, as it was passed to `apply`. */
  get atMs(): number {
    return this.#atMs;
  }

  /** Whether the model is of the present connection. */
  get isFollowing(): boolean {
    return this.#isFollowing;
  }

  /** A new connection has begun: its numbers are others. The model stays, as the old one. */
  restart(): void {
    this.#isFollowing = false;
  }

  /** @returns whether frames are missing before this one: then a snapshot is needed */
  apply({ t, seq, body }: BodyFrame, atMs: number): boolean {
    if (t === "snapshot") {
      this.#model = this.#store.snapshot(body, this.#model);
      this.#isFollowing = true;
    } else {
      if (!this.#isFollowing || this.#model === undefined) return true;
      if (seq <= this.#seq) return false; // older than the snapshot received before it
      // Values are absolute, so a frame after a gap is still valid; only the changes of the missing frames are missing.
      this.#model = this.#store.delta(this.#model, body);
    }
    const isGap = t === "delta" && seq > this.#seq + 1;
    this.#seq = seq;
    this.#atMs = atMs;
    return isGap;
  }
}
