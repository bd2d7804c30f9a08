/**
 * A server that may lose its newest writes: `save` is what reaches its disk or its replica, and `restore` puts that in
 * the place of all later writes, as when the server restarts or another one takes over.
 */
import type { RedisClient } from "../../engine/stream/redis.js";

export class SavedRedis {
  readonly #client: RedisClient;
  readonly #pattern: string;
  #saved = new Map<string, Buffer>();

  /** @param prefix of the keys that are saved */
  constructor(client: RedisClient, prefix: string) {
    this.#client = client;
    this.#pattern = `${prefix}:*`;
  }

  async save(): Promise<void> {
    const keys = await this.#client.keys(this.#pattern);
    const values = await Promise.all(keys.map((key) => this.#client.dumpBuffer(key)));
    this.#saved = new Map(keys.map((key, i) => [key, values[i] as Buffer]));
  }

  async restore(): Promise<void> {
    const client = this.#client;
    const keys = await client.keys(this.#pattern);
    if (keys.length > 0) await client.del(keys);
    for (const [key, value] of this.#saved) await client.restore(key, 0, value);
    // Becoming a primary gives the server a new run id without a restart.
    await client.call("REPLICAOF", "127.0.0.1", "1");
    await client.call("REPLICAOF", "NO", "ONE");
  }
}
