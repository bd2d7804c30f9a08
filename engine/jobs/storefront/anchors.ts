/**
 * The closings of the storefront job as anchors for balances in the past (engine/stock/as-of.ts): what a SKU had before
 * its first change of a UTC day. With them an instant is at most a day's part of the log away from stored balances.
 * They are as correct as the job's state, which the shadow fold compares with the ledger all the time. While the
 * partition has dead letters there are none: closings written since then lack those events. When a dead letter is
 * removed instead of replayed, they are used although they lack it, as the job's state does. It reads only.
 */
import { DAY_MS } from "../../kernel/clock.js";
import type { BalanceAnchor, BalanceAnchors } from "../../stock/as-of.js";
import { closingOf } from "../../stream/closings.js";
import type { StockKeys } from "../../stream/keys.js";
import { readFields } from "../../stream/reads.js";
import type { RedisClient } from "../../stream/redis.js";
import { CLOSINGS_KEPT_MS, storefrontJob } from "./job.js";

/** The day before the instant's, in which its first change may be nearer than the present, and as many as are kept. */
const DAYS_BEFORE = 1;
const DAYS_AFTER = CLOSINGS_KEPT_MS / DAY_MS;

export class StorefrontAnchors implements BalanceAnchors {
  readonly #redis: RedisClient;

  constructor(redis: RedisClient) {
    this.#redis = redis;
  }

  async read(keys: StockKeys, skus: readonly string[], atMs: number): Promise<readonly (readonly BalanceAnchor[])[]> {
    const day = Math.floor(atMs / DAY_MS);
    const days = Array.from({ length: DAYS_BEFORE + 1 + DAYS_AFTER }, (_, i) => day - DAYS_BEFORE + i);
    // The count is asked for first: a dead letter that is replayed in between has taken wrong closings with it.
    const [deadLetters, ...stored] = await Promise.all([
      this.#redis.xlen(keys.deadLetters),
      ...days.map((period) => readFields(this.#redis, keys.closings(storefrontJob.name, period), skus)),
    ]);
    if (deadLetters > 0) return skus.map(() => []);
    return skus.map((sku, i) =>
      days.flatMap((period, d) => {
        const bytes = stored[d]?.[i];
        if (!bytes) return [];
        const { offset, index, state } = closingOf(storefrontJob, sku, period, bytes);
        return [{ offset, index, locations: new Map(state?.locations) }];
      }),
    );
  }
}
