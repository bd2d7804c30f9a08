/**
 * The hash that shows whether two replays ended in the same state: over all balances and all jobs' states, in a fixed
 * order. Timers, logs and the number of partitions are not part of it.
 */
import { createHash } from "node:crypto";
import type { Ledger } from "../stock/ledger.js";
import { cellOf } from "../stock/model.js";
import { partitionKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { withoutHeader } from "../stream/state-codec.js";

/**
 * Hashes all balances and all keyed state, in the order of their names: the same however the work was cut into
 * batches. It is also the same on any number of partitions when rows come in the order of time; each partition has a
 * clock of its own, and an old row does not set it back.
 */
export async function stateHash(
  redis: RedisClient,
  prefix: string,
  ledger: Ledger,
  jobs: readonly { name: string }[],
): Promise<string> {
  const entries: [name: string, value: string][] = [];
  for (let partition = 0; partition < ledger.partitions; partition++) {
    for await (const { sku, location, balances } of ledger.cells(partition)) {
      entries.push([`cell ${cellOf(sku, location)}`, JSON.stringify(balances)]);
    }
    const keys = partitionKeys(prefix, "stock", partition);
    for (const { name } of jobs) {
      for (const [key, state] of Object.entries(await redis.hgetallBuffer(keys.state(name)))) {
        entries.push([`${name} ${key}`, withoutHeader(state).toString("base64")]);
      }
    }
  }
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash("sha256");
  for (const [name, value] of entries) hash.update(`${name}\n${value}\n`);
  return hash.digest("hex");
}
