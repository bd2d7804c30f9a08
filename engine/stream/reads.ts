/**
 * Reads of many fields: any number of them from one hash, and reads of several keys that all see the same moment.
 * They write nothing and work also when Redis is full.
 */
import { readFileSync } from "node:fs";
import type { RedisClient } from "./redis.js";

/** The client's calls with lists, which it flattens; spreading them here would overflow the stack at about 100,000. */
interface ListReads {
  hmgetBuffer(key: string, fields: readonly string[]): Promise<(Buffer | null)[]>;
  evalBuffer(script: string, keyCount: number, keys: string[], args: (string | number)[]): Promise<unknown[]>;
}

/** Any number of a hash's fields, as buffers. */
export const readFields = (client: RedisClient, key: string, fields: readonly string[]): Promise<(Buffer | null)[]> =>
  (client as unknown as ListReads).hmgetBuffer(key, fields);

/** A read of `readTogether`; one whose name ends in `Buffer` returns buffers instead of texts. */
export type ReadCommand =
  | [name: "hget" | "hgetBuffer" | "zscore", key: string, field: string]
  | [name: "hmget" | "hmgetBuffer" | "zmscore", key: string, fields: readonly string[]];

const READ_TOGETHER = readFileSync(new URL("./read-together.lua", import.meta.url), "utf8");

/**
 * Reads that see one and the same moment, whatever is written meanwhile. All keys are of one partition; a command of
 * several fields returns a list.
 */
export async function readTogether(client: RedisClient, commands: readonly ReadCommand[]): Promise<unknown[]> {
  const keys = [...new Set(commands.map(([, key]) => key))];
  const args: (string | number)[] = [];
  for (const [name, key, what] of commands) {
    const fields = typeof what === "string" ? [what] : what;
    args.push(name.replace("Buffer", ""), keys.indexOf(key) + 1, fields.length);
    for (const field of fields) args.push(field);
  }
  const replies = await (client as unknown as ListReads).evalBuffer(READ_TOGETHER, keys.length, keys, args);
  const textOf = (bytes: unknown): unknown => (Buffer.isBuffer(bytes) ? bytes.toString("utf8") : bytes);
  return commands.map(([name], i) => {
    const reply = replies[i];
    if (name.endsWith("Buffer")) return reply;
    return Array.isArray(reply) ? reply.map(textOf) : textOf(reply);
  });
}
