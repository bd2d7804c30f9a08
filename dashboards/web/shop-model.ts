/**
 * What every page shows: the engine, its breakers, and how far the stock figures part. Put together from the copies of
 * three feeds; before the first snapshot of `engine` and `breakers` there is no model.
 */
import type { BreakerBody, BreakersBody } from "../feeds/breakers.js";
import type { ConsistencyBody } from "../feeds/consistency.js";
import type { EngineBody } from "../feeds/engine.js";
import type { FeedRequest } from "../protocol.js";
import { FeedCopy, wholeStore } from "./feed-copy.js";

export interface ShopModel {
  engine: EngineBody;
  /** When `engine` came, on `performance.now`'s scale. */
  engineAtMs: number;
  breakers: readonly BreakerBody[];
  /** Undefined before its first snapshot, and with a server of the previous release. */
  consistency: ConsistencyBody | undefined;
}

export const SHOP_FEEDS: readonly FeedRequest[] = [{ name: "engine" }, { name: "breakers" }, { name: "consistency" }];

export const OPTIONAL_FEEDS: ReadonlySet<string> = new Set(["consistency"]);

export class ShopCopies {
  readonly #engine = new FeedCopy(wholeStore<EngineBody>());
  readonly #breakers = new FeedCopy(wholeStore<BreakersBody>());
  readonly #consistency = new FeedCopy(wholeStore<ConsistencyBody>());
  readonly byName: ReadonlyMap<string, FeedCopy<unknown>> = new Map<string, FeedCopy<unknown>>([
    ["engine", this.#engine],
    ["breakers", this.#breakers],
    ["consistency", this.#consistency],
  ]);
  readonly optional = OPTIONAL_FEEDS;

  model(): ShopModel | undefined {
    const [engine, breakers, consistency] = [this.#engine.model, this.#breakers.model, this.#consistency.model];
    if (engine === undefined || breakers === undefined) return undefined;
    return { engine, engineAtMs: this.#engine.atMs, breakers: breakers.breakers, consistency };
  }
}
