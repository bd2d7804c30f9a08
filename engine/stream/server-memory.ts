/** How full Redis is, as Redis itself compares it with `maxmemory`. */
import { primaries, type RedisClient } from "./redis.js";

export interface RedisMemory {
  usedBytes: number;
  /** 0: no limit is set. */
  limitBytes: number;
}

/** The fullest primary's memory, or undefined when Redis does not report it: a managed one may refuse to. */
export async function readMemory(redis: RedisClient): Promise<RedisMemory | undefined> {
  let fullest: RedisMemory | undefined;
  try {
    for (const text of await Promise.all(primaries(redis).map((node) => node.info("memory")))) {
      const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(text)?.[1] ?? 0);
      const memory = {
        // As Redis compares it with maxmemory: without the replicas' buffers.
        usedBytes: field("used_memory") - field("mem_not_counted_for_evict"),
        limitBytes: field("maxmemory"),
      };
      if (fullest === undefined || shareOf(memory) > shareOf(fullest)) fullest = memory;
    }
  } catch {
    return undefined;
  }
  return fullest;
}

/** Used, of the limit; 0 without a limit. */
export const shareOf = ({ usedBytes, limitBytes }: RedisMemory): number =>
  limitBytes > 0 ? usedBytes / limitBytes : 0;
