/**
 * The archive of a deployment for readers: each partition's log as far back as log and archive go, and the archive's
 * closings as anchors. Readers need no lease and no running archiver, only Redis and the object storage.
 */
import type { BalanceAnchors } from "../stock/as-of.js";
import { entryTimeMs } from "../stock/log-entry.js";
import { partitionKeys } from "../stream/keys.js";
import type { LogEntry } from "../stream/log.js";
import type { LogSource } from "../stream/log-source.js";
import type { RedisClient } from "../stream/redis.js";
import { ArchiveAnchors, type ReadArchive } from "./archive-anchors.js";
import type { ArchiveStore } from "./archive-objects.js";
import { ArchiveCache, ArchivedLog, ArchiveReader } from "./archived-log.js";

export interface ArchiveOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  store: ArchiveStore;
}

export class Archive {
  readonly #options: ArchiveOptions;
  readonly #cache = new ArchiveCache();
  /** By the key of the log. */
  readonly #logs = new Map<string, ReadArchive>();

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  /** The logs of a topic, by partition. @param timeOf the clock before an entry */
  logOf(topic: string, timeOf: (entry: LogEntry) => number): (partition: number) => LogSource {
    return (partition) => this.#at(topic, partition, timeOf).log;
  }

  /** Anchors of the archive beside others. */
  anchors(nearer: BalanceAnchors): BalanceAnchors {
    const { prefix, partitions } = this.#options;
    const stock = new Map(
      Array.from({ length: partitions }, (_, partition) => [
        partitionKeys(prefix, "stock", partition).log,
        this.#at("stock", partition, entryTimeMs),
      ]),
    );
    return new ArchiveAnchors((log) => stock.get(log), partitions, nearer);
  }

  #at(topic: string, partition: number, timeOf: (entry: LogEntry) => number): ReadArchive {
    const { redis, prefix, store } = this.#options;
    const key = partitionKeys(prefix, topic, partition).log;
    const found = this.#logs.get(key);
    if (found) return found;
    const reader = new ArchiveReader(redis, store, { prefix, topic, partition }, this.#cache);
    const made = { reader, log: new ArchivedLog(redis, key, reader, timeOf) };
    this.#logs.set(key, made);
    return made;
  }
}
