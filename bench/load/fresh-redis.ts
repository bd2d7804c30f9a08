/** A Redis of its own for one side of a benchmark, AOF everysec, and everything that was started on it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RedisServer, startRedis } from "../../engine/redis/embedded.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";

export interface Bed {
  /** For files; deleted at the end. */
  directory: string;
  server: RedisServer;
  redis: RedisClient;
  /** Ends what was started on it, the last first, however the work ends. */
  ends: (() => Promise<unknown> | unknown)[];
}

export async function onFreshRedis<T>(work: (bed: Bed) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-bench-"));
  const server = await startRedis({ dir: directory, appendfsync: "everysec" });
  const redis = connect({ url: server.socketPath });
  const ends: Bed["ends"] = [];
  try {
    return await work({ directory, server, redis, ends });
  } finally {
    try {
      for (const end of ends.reverse()) await end();
    } finally {
      redis.disconnect();
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    }
  }
}
