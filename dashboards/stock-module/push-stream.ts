/**
 * Listens to the engine for SKUs that sell out or are back in stock, and for its time. It opens every stream itself,
 * because only so it knows when the engine was asked at the earliest, which bounds what time the first event proves. It
 * is never the only way: without a stream the page is as fresh as its reads.
 */
import type { KnownStock } from "./known-stock.js";
import { MAX_CHARACTERS, MAX_SKUS } from "./limits.js";
import type { ServerClock } from "./server-clock.js";

/** Three of the engine's `time` events. */
const SILENCE_MS = 15_000;
/** Before it opens another stream because other SKUs are seen, however fast a page is scrolled. */
const CHANGE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** Only a stream's first event bounds the time from above; a bound that is older than this is of little use. */
const LONGEST_MS = 1_800_000;

export class PushStream {
  readonly #url: string;
  readonly #clock: ServerClock;
  readonly #known: KnownStock;
  readonly #onNews: () => void;
  #source: EventSource | undefined;
  #skus: readonly string[] = [];
  #askedMs = 0;
  #heardMs = 0;
  #pausedUntilMs = 0;
  #failures = 0;
  /** Whether the clock has its time from here. */
  isTimed = false;

  constructor(base: string, clock: ServerClock, known: KnownStock, onNews: () => void) {
    this.#url = `${base}/v1/stock/stream`;
    this.#clock = clock;
    this.#known = known;
    this.#onNews = onNews;
  }

  /** Opens or closes the stream, so that it has the SKUs that are seen; to be called often. */
  keep(seen: readonly string[]): void {
    const nowMs = performance.now();
    if (seen.length === 0) {
      this.close();
      return;
    }
    if (this.#source) {
      const lacks = seen.slice(0, MAX_SKUS).some((sku) => !this.#skus.includes(sku));
      const isSilent = nowMs - this.#heardMs > SILENCE_MS;
      if (!isSilent && nowMs - this.#askedMs < (lacks ? CHANGE_MS : LONGEST_MS)) return;
      this.close();
    }
    if (nowMs >= this.#pausedUntilMs) this.#open(seen, nowMs);
  }

  close(): void {
    this.#source?.close();
    this.#source = undefined;
    this.isTimed = false;
  }

  #open(seen: readonly string[], nowMs: number): void {
    // Those of before as well, so that scrolling back and forth opens no new stream.
    this.#skus = [...new Set([...seen, ...this.#skus])].slice(0, MAX_SKUS);
    let query = "";
    for (const sku of this.#skus) {
      const longer = `${query}&sku=${encodeURIComponent(sku)}`;
      if (longer.length <= MAX_CHARACTERS) query = longer;
    }
    this.#askedMs = this.#heardMs = nowMs;
    const source = new EventSource(`${this.#url}?${query.slice(1)}`);
    this.#source = source;
    const on = (name: string, take: (content: { now: string; sku: string; display: number; asOf: string }) => void) =>
      source.addEventListener(name, (event) => {
        this.#heardMs = performance.now();
        take(JSON.parse((event as MessageEvent).data));
        this.#onNews();
      });
    on("time", ({ now }) => {
      const atMs = Date.parse(now);
      if (this.isTimed) return this.#clock.observe(atMs);
      // The engine's own time is better than what was derived from headers.
      this.#clock.forget();
      this.#clock.observe(atMs, atMs + this.#heardMs - this.#askedMs);
      this.isTimed = true;
      this.#failures = 0;
    });
    on("stock", ({ sku, display, asOf }) => this.#known.take(sku, display, Date.parse(asOf), true));
    source.onerror = () => {
      this.close();
      const pauseMs = Math.min(1_000 * 2 ** this.#failures++, LONGEST_PAUSE_MS);
      this.#pausedUntilMs = performance.now() + pauseMs * (0.5 + Math.random());
    };
  }
}
