/**
 * What the publisher reads, from the storefront's view in memory. Which SKUs have changed is collected only while this
 * process is the publication's owner, and only up to MAX_CHANGED: beyond that all SKUs are read again. As of when the
 * displays are complete is told in real time, also where the shop's clock runs faster.
 */
import type { StorefrontView } from "../jobs/storefront/view.js";
import { systemClock } from "../kernel/clock.js";
import type { ChangeCollection, DisplaySource } from "../publication/display-source.js";
import type { Follower } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";

/** Between two publications; 100 bytes each are 10 MB. Reading all of a million takes about as long as these. */
const MAX_CHANGED = 100_000;

export class PublishedDisplays implements DisplaySource {
  readonly #view: StorefrontView;
  readonly #follower: Pick<Follower<LogEvent>, "oldestAgeMs" | "provenOffset">;
  readonly #partitions: number;
  readonly #maxChanged: number;

  constructor(
    view: StorefrontView,
    follower: Pick<Follower<LogEvent>, "oldestAgeMs" | "provenOffset">,
    partitions: number,
    maxChanged = MAX_CHANGED,
  ) {
    this.#view = view;
    this.#follower = follower;
    this.#partitions = partitions;
    this.#maxChanged = maxChanged;
  }

  get skus(): number {
    return this.#view.size;
  }

  *all(): Generator<readonly [sku: string, displayUnits: number]> {
    for (const [sku, { total, locations }] of this.#view.all()) if (locations.size > 0) yield [sku, total.display];
  }

  displayOf(sku: string): number | undefined {
    return this.#view.displayOf(sku);
  }

  collectChanges(): ChangeCollection {
    let changed: Set<string> | "all" = new Set();
    const end = this.#view.onDisplay((sku) => {
      if (changed === "all") return;
      changed.add(sku);
      if (changed.size > this.#maxChanged) changed = "all";
    });
    return {
      take() {
        const taken = changed;
        changed = new Set();
        return taken;
      },
      end,
    };
  }

  asOfMs(): number {
    return systemClock.now() - this.#follower.oldestAgeMs();
  }

  ageMs(): number {
    return this.#follower.oldestAgeMs();
  }

  positions(): readonly number[] {
    return Array.from({ length: this.#partitions }, (_, partition) => this.#follower.provenOffset(partition));
  }
}
