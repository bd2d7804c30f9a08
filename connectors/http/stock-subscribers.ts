/**
 * The open streams of the storefront's pages: which SKUs each has subscribed to, and what is sent to whom. An event is
 * encoded once for all its subscribers. Events are sent in slices, so that a SKU that everybody watches does not hold
 * up orders. A client that does not read is disconnected; it then gets the present state when it connects again. Of a
 * SKU that changes twice before its event is sent, only the newest state is sent. A state that is too old to be shown
 * is sent when a newer one is known, so that what changes while the engine catches up is not lost.
 */
import type { ServerResponse } from "node:http";

/** Of an answer that is being sent. */
export type EventStream = Pick<ServerResponse, "write" | "end" | "destroy" | "writableLength">;

export const EVENT_KINDS = ["stock", "time"] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export interface SubscribersOptions {
  /** A SKU's present state as an event; undefined when it has none, or one that is too old to be shown. */
  stockEvent(sku: string): string | undefined;
  /** Whether what is known of a SKU is new enough to be shown. */
  isFresh(sku: string): boolean;
  timeEvent(): string;
  /** Calls `publish` with every SKU that sells out or is back, until what it returns is called. */
  listen(publish: (sku: string) => void): () => void;
  onSent(kind: EventKind): void;
  /** A stream was ended because its client does not read. */
  onSlow(): void;
}

/** From one `time` event to the next of a stream. */
const TIME_EVERY_MS = 5_000;
/** The streams are divided into as many groups, which get their `time` events one after the other. */
const TIME_GROUPS = 20;
/** After this many groups, a second, what was too old to be shown is looked at again. */
const LOOK_AGAIN_GROUPS = 4;
/** Writes in one turn of the event loop: 2 ms. */
const SENDS_A_TURN = 256;
/** What may wait for a client: 400 events. With 5,000 streams 160 MiB at most. */
export const MAX_UNSENT_BYTES = 32 * 1024;

export class StockSubscribers {
  readonly #options: SubscribersOptions;
  readonly #skusOf = new Map<EventStream, ReadonlySet<string>>();
  readonly #bySku = new Map<string, Set<EventStream>>();
  readonly #groups = Array.from({ length: TIME_GROUPS }, () => new Set<EventStream>());
  #nextGroup = 0;
  /** SKUs whose event has not been sent to all. */
  readonly #changed = new Set<string>();
  /** SKUs whose state was too old to be shown when it was to be sent. */
  readonly #stale = new Set<string>();
  #sending: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;
  #timeGroup = 0;

  constructor(options: SubscribersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#skusOf.size;
  }

  /** Sends the present time and states to a stream, and from now on what changes, until it is removed. */
  add(stream: EventStream, skus: ReadonlySet<string>): void {
    this.#skusOf.set(stream, skus);
    for (const sku of skus) {
      const streams = this.#bySku.get(sku) ?? new Set();
      streams.add(stream);
      this.#bySku.set(sku, streams);
    }
    this.#groups[this.#nextGroup++ % TIME_GROUPS]?.add(stream);
    this.#timer ??= setInterval(() => this.#sendTime(), TIME_EVERY_MS / TIME_GROUPS).unref();
    this.#stopListening ??= this.#options.listen((sku) => this.#publish(sku));
    const states = [...skus].map((sku) => this.#eventOf(sku) ?? "");
    stream.write(this.#options.timeEvent() + states.join(""));
  }

  /** May be repeated. */
  remove(stream: EventStream): void {
    for (const sku of this.#skusOf.get(stream) ?? []) {
      const streams = this.#bySku.get(sku);
      streams?.delete(stream);
      if (streams?.size === 0) this.#bySku.delete(sku);
    }
    this.#skusOf.delete(stream);
    for (const group of this.#groups) group.delete(stream);
    if (this.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#stopListening?.();
    this.#stopListening = undefined;
    this.#stale.clear();
  }

  /** Ends every stream: the clients connect again, to another server. */
  close(): void {
    for (const stream of [...this.#skusOf.keys()]) {
      this.remove(stream);
      stream.end();
    }
  }

  #publish(sku: string): void {
    if (!this.#bySku.has(sku)) return;
    this.#changed.add(sku);
    this.#sendChanged();
  }

  /** What is to be sent of a SKU now; one that is too old to be shown is sent later. */
  #eventOf(sku: string): string | undefined {
    const { stockEvent, isFresh } = this.#options;
    const event = stockEvent(sku);
    // Asked after it: what was too old a moment ago still is.
    if (event === undefined && !isFresh(sku)) this.#stale.add(sku);
    return event;
  }

  #sendChanged(): void {
    if (this.#sending !== undefined || this.#changed.size === 0) return;
    const sends = this.#sends();
    const sendSlice = (): void => {
      for (let i = 0; i < SENDS_A_TURN; i++) {
        if (sends.next().done !== true) continue;
        this.#sending = undefined;
        return;
      }
      this.#sending = setImmediate(sendSlice);
    };
    this.#sending = setImmediate(sendSlice);
  }

  /** Each step is one write at most. SKUs that change meanwhile come at the end. */
  *#sends(): Generator<void> {
    for (const sku of this.#changed) {
      this.#changed.delete(sku);
      const streams = this.#bySku.get(sku);
      const event = streams && this.#eventOf(sku);
      if (event === undefined) {
        yield;
        continue;
      }
      const bytes = Buffer.from(event);
      for (const stream of streams ?? []) {
        this.#send(stream, bytes, "stock");
        yield;
      }
    }
  }

  #sendTime(): void {
    if (this.#timeGroup % LOOK_AGAIN_GROUPS === 0) this.#lookAgain();
    const group = this.#groups[this.#timeGroup++ % TIME_GROUPS];
    if (!group || group.size === 0) return;
    const bytes = Buffer.from(this.#options.timeEvent());
    for (const stream of group) this.#send(stream, bytes, "time");
  }

  #lookAgain(): void {
    for (const sku of this.#stale) this.#changed.add(sku);
    this.#stale.clear();
    this.#sendChanged();
  }

  #send(stream: EventStream, bytes: Buffer, kind: EventKind): void {
    if (stream.writableLength > MAX_UNSENT_BYTES) {
      this.remove(stream);
      stream.destroy();
      this.#options.onSlow();
      return;
    }
    stream.write(bytes);
    this.#options.onSent(kind);
  }
}
