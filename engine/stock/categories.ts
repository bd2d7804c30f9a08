/**
 * What is set for each category, so that a SKU that joins one later gets its settings, too. Only a table: what holds
 * for a SKU is what the log has told it (settings.ts), and telling all SKUs of a category is the work of whoever
 * changes it.
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

  /** A category's settings; empty when nothing is set. */
  async get(category: string): Promise<SkuSettings> {
    const text = await this.#redis.hget(this.#key, category);
    return text === null ? {} : (JSON.parse(text) as SkuSettings);
  }

  /** Sets a category's settings as a whole. */
  async set(category: string, settings: SkuSettings): Promise<void> {
    await this.#redis.hset(this.#key, category, JSON.stringify(settings));
  }
}
