/**
 * A dispatcher of purges in virtual time, with a CDN that a test steers and limits that allow everything unless the
 * test says otherwise. It keeps what became of each SKU.
 */
import type { PurgeOutcome, PurgeTarget } from "../../../connectors/purger.js";
import {
  PurgeDispatcher,
  type PurgeDispatcherOptions,
  type PurgeResult,
} from "../../../connectors/purges/dispatcher.js";
import { tagOf } from "../../../connectors/purges/tag.js";
import { VirtualTimer } from "./virtual-timer.js";

export const START_MS = Date.UTC(2026, 5, 18, 12);

export const targetOf = (sku: string): PurgeTarget => ({
  ...{ sku, tag: tagOf(sku) },
  url: `https://stock.shop.example/v1/stock/${encodeURIComponent(sku)}`,
});

export class DispatcherBed {
  readonly timer: VirtualTimer;
  readonly dispatcher: PurgeDispatcher;
  readonly results: Record<PurgeResult, number> = {
    ...{ purged: 0, repeated: 0, dropped_late: 0, dropped_limit: 0, failed: 0 },
  };
  /** Milliseconds from change to acceptance. */
  readonly afterMs: number[] = [];
  readonly troubles: string[] = [];

  constructor(options: Partial<PurgeDispatcherOptions> & Pick<PurgeDispatcherOptions, "purger">, timer?: VirtualTimer) {
    this.timer = timer ?? new VirtualTimer(START_MS);
    this.dispatcher = new PurgeDispatcher({
      ...{ name: "main", vendor: "edge", repeatAfterMs: undefined, secrets: [], timer: this.timer },
      limits: {
        take: async (skus) => ({ skus, waitMs: 0, isDayOver: false }),
        hold: async () => {},
      },
      ...options,
      onTrouble: (message) => this.troubles.push(message),
      onResult: (result, skus) => {
        this.results[result] += skus;
      },
      onPurged: (afterMs) => this.afterMs.push(afterMs),
    });
    this.dispatcher.start();
  }

  add(sku: string, { isSoldOut = true, ageMs = 0 } = {}): void {
    this.dispatcher.add(targetOf(sku), isSoldOut, ageMs);
  }

  async stop(): Promise<void> {
    const stopped = this.dispatcher.stop();
    await this.timer.advance(5_000);
    await stopped;
  }
}

/** A CDN whose answers a test sets, and the requests that it got. */
export class SteeredPurger {
  readonly limits = { batch: 10, perSecond: 10 };
  readonly requests: { readonly atMs: number; readonly skus: readonly string[] }[] = [];
  answer: () => PurgeOutcome | Promise<PurgeOutcome> = () => ({ outcome: "purged" });
  now: () => number = () => 0;

  async purge(targets: readonly PurgeTarget[]): Promise<PurgeOutcome> {
    this.requests.push({ atMs: this.now(), skus: targets.map(({ sku }) => sku) });
    return this.answer();
  }
}
