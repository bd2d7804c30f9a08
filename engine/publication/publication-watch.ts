/**
 * How old the newest publication is, whoever publishes: the manifest is read from the store again and again. While the
 * store cannot be read, the age of the last one that was read goes on.
 */
import { DEFAULT_CLOCK_BOUND_MS, sleep, systemClock } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import { parseManifest } from "./manifest.js";
import type { PublicationStore } from "./publication-store.js";

/** Beside the interval: the views' age, making it, and reading it. */
const LATE_MS = 5_000;

export interface PublicationWatchOptions {
  readonly store: Pick<PublicationStore, "place" | "readManifest">;
  /** Between two publications. */
  readonly everyMs: number;
}

export class PublicationWatch {
  readonly #options: PublicationWatchOptions;
  readonly #stop = new AbortController();
  readonly #startedMs = systemClock.now();
  #asOfMs: number | undefined;
  #skus = 0;
  #fault: string | undefined;
  #running: Promise<void> | undefined;

  constructor(options: PublicationWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** How long ago the newest publication was complete, in milliseconds; before the first: this process's age. */
  get ageMs(): number {
    return Math.max(0, systemClock.now() - (this.#asOfMs ?? this.#startedMs));
  }

  /** SKUs of the newest publication. */
  get skus(): number {
    return this.#skus;
  }

  /** What an operator should look into. */
  warnings(): string[] {
    const { store, everyMs } = this.#options;
    const { ageMs } = this;
    if ((this.#asOfMs ?? 0) > systemClock.now() + DEFAULT_CLOCK_BOUND_MS)
      return [
        `the newest publication in ${store.place} is as of the future: this machine's clock or its publisher's is wrong`,
      ];
    if (ageMs <= 2 * everyMs + LATE_MS) return [];
    const seconds = Math.round(ageMs / 1_000);
    const late =
      this.#asOfMs === undefined
        ? `there is no publication in ${store.place} ${seconds} s after the start`
        : `the newest publication in ${store.place} is ${seconds} s old`;
    return [this.#fault === undefined ? late : `${late}: ${this.#fault}`];
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { store, everyMs } = this.#options;
    while (!signal.aborted) {
      try {
        const stored = await store.readManifest(signal);
        const manifest = stored && parseManifest(stored.json, store.place);
        this.#asOfMs = manifest?.asOfMs;
        this.#skus = manifest?.skus ?? 0;
        this.#fault = undefined;
      } catch (thrown) {
        // The warning tells it.
        this.#fault = messageOf(thrown);
      }
      await sleep(everyMs, signal);
    }
  }
}
