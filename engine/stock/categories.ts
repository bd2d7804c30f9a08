/**
 * The settings of each category, so that a SKU that joins one later gets them, too. This is only a table: a SKU uses
 * the settings that its log has brought (settings.ts). The caller must send a change of a category to all of its SKUs.
 */
import { categoriesKey } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { SkuSettings } from "./model.js";

export class Categories {
  readonly #redis: RedisClient;
  readonly #key: string;

  constructor(redis: RedisClient, prefix: string) {
    this.#redis = redis;
    this.#key = categoriesKey(prefix);
  }

  /** A category's settings; empty when it has none. */
  async get(category: string): Promise<SkuSettings> {
    const text = await this.#redis.hget(this.#key, category);
    return text === null ? {} : (JSON.parse(text) as SkuSettings);
  }

  /** Replaces all settings of a category. */
  async set(category: string, settings: SkuSettings): Promise<void> {
    await this.#redis.hset(this.#key, category, JSON.stringify(settings));
  }
}
