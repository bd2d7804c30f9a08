/**
 * Decides when the page reads stock again and when it shows what: every 5 seconds while something is seen, sooner when
 * the copies in caches are about to end, later after failures. Between two reads it waits for the next number to
 * expire, and looks each second whether the device has slept: then no age is known until the next answer.
 */
import type { KnownStock } from "./known-stock.js";
import type { ReadStock } from "./readers.js";
import { type ServerClock, sleepDetector } from "./server-clock.js";

const REFRESH_MS = 5_000;
const SOONEST_MS = 1_000;
const LATEST_MS = 30_000;
/** Caches have ended what is older. */
const COPY_ENDS_MS = 12_500;
/** Of the pages of one shop, so that they do not ask at the same instant. */
const JITTER = 0.2;
const LOOK_MS = 1_000;
/** Between two reads, however fast a page is scrolled. */
const PAUSE_MS = 300;

export interface RefresherParts {
  readonly clock: ServerClock;
  readonly known: KnownStock;
  readonly read: ReadStock;
  /** All SKUs on the page. */
  all(): Iterable<string>;
  /** Those that are seen now; none while the page is hidden. */
  seen(): readonly string[];
  /** Shows what is known. */
  show(): void;
  /** The device has slept. */
  onSleep(): void;
}

export class Refresher {
  readonly #parts: RefresherParts;
  readonly #hasSlept = sleepDetector();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs = 0;
  #readMs = 0;
  /** Of the last read. */
  #asked = new Set<string>();
  #failures = 0;
  #isReading = false;

  constructor(parts: RefresherParts) {
    this.#parts = parts;
  }

  /** Looks what is to be done now: call it when something is seen, known or awake that was not. */
  look(): void {
    clearTimeout(this.#timer);
    const { clock, known, seen, show, onSleep } = this.#parts;
    if (this.#hasSlept()) {
      clock.forget();
      this.#dueMs = 0;
      onSleep();
    }
    show();
    const skus = seen();
    const waitsMs = [...this.#parts.all()].map((sku) => known.leftMs(sku));
    if (skus.length > 0) {
      const isNew = skus.some((sku) => known.leftMs(sku) <= 0 && !this.#asked.has(sku));
      if (isNew && this.#failures === 0) this.#dueMs = Math.min(this.#dueMs, this.#readMs + PAUSE_MS);
      const dueMs = this.#dueMs - performance.now();
      if (dueMs <= 0 && !this.#isReading) void this.#refresh(skus);
      waitsMs.push(dueMs, LOOK_MS);
    }
    // A number that nobody sees now expires, too: the page may be scrolled to it at any time.
    const aheadMs = waitsMs.filter((ms) => ms > 0);
    if (aheadMs.length > 0) this.#timer = setTimeout(() => this.look(), Math.min(LOOK_MS, ...aheadMs));
  }

  /** Reads now, for example because there is a network again. */
  refresh(): void {
    this.#dueMs = 0;
    this.look();
  }

  async #refresh(skus: readonly string[]): Promise<void> {
    const { clock, known, read, all } = this.#parts;
    this.#isReading = true;
    this.#readMs = performance.now();
    this.#asked = new Set(skus);
    let waitMs: number;
    try {
      const asOfMs = await read(skus, all(), (...numbers) => known.take(...numbers));
      this.#failures = 0;
      const leftMs = asOfMs + COPY_ENDS_MS - clock.latestMs();
      // When answers are much too old, asking more often does not help. Written so that NaN is, too.
      waitMs = leftMs > -REFRESH_MS ? Math.min(Math.max(leftMs, SOONEST_MS), REFRESH_MS) : REFRESH_MS;
    } catch {
      waitMs = Math.min(SOONEST_MS * 2 ** ++this.#failures, LATEST_MS);
    }
    this.#isReading = false;
    this.#dueMs = performance.now() + waitMs * (1 - JITTER * Math.random());
    this.look();
  }
}
