/** A stock partition with a seeded history of several days, its archive in memory, and the fold of all its events. */
import { expect } from "vitest";
import type { ArchiveStore } from "../../engine/history/archive-objects.js";
import { Archiver } from "../../engine/history/archiver.js";
import { DAY_MS, ManualClock, monotonicClock } from "../../engine/kernel/clock.js";
import type { Random } from "../../engine/kernel/random.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { entryTimeMs, eventsOf } from "../../engine/stock/log-entry.js";
import type { StockEvent } from "../../engine/stock/model.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { CommandStream } from "../sim/commands.js";

export const START_MS = Date.UTC(2026, 5, 17, 16);

/** Objects in memory; a test may change and remove them. */
export class MemoryStore implements ArchiveStore {
  readonly objects = new Map<string, Uint8Array>();
  /** Thrown by each put while it is set. */
  fault: Error | undefined;

  async put(key: string, bytes: Uint8Array): Promise<void> {
    if (this.fault) throw this.fault;
    this.objects.set(key, Uint8Array.from(bytes));
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const found = this.objects.get(key);
    return found && Uint8Array.from(found);
  }

  async delete(key: string): Promise<void> {
    this.objects.delete(key);
  }
}

export interface ArchiveBed {
  readonly ledger: Ledger;
  readonly clock: ManualClock;
  readonly store: MemoryStore;
  /** Sends seeded commands, some days of them. */
  trade(commands: number): Promise<void>;
  /** Every event of a partition's log, also of entries that Redis has no more. */
  events(partition: number): Promise<StockEvent[]>;
  /** Archives until nothing is left that can be archived now. */
  archive(given?: { retentionMs?: number; segmentMs?: number; store?: ArchiveStore }): Promise<void>;
  archiver(given?: { retentionMs?: number; segmentMs?: number; store?: ArchiveStore }): Archiver;
  /** Removes what is archived from Redis' log, except for the newest entries. */
  trim(keep: number): Promise<void>;
}

export async function archiveBed(
  client: RedisClient,
  prefix: string,
  partitions: number,
  random: Random,
): Promise<ArchiveBed> {
  await Ledger.load(client);
  await loadStreamLibrary(client);
  const clock = new ManualClock(START_MS);
  const ledger = new Ledger({ redis: client, prefix, partitions, clock });
  const stream = new CommandStream(random, START_MS, 45);
  const store = new MemoryStore();
  const events = Array.from({ length: partitions }, (): StockEvent[] => []);
  const read = Array.from({ length: partitions }, () => 0);
  const readNew = async (): Promise<void> => {
    for (let partition = 0; partition < partitions; partition++) {
      const entries = await readLog(client, stockKeys(prefix, partition).log, read[partition] as number, 100_000);
      for (const entry of entries) events[partition]?.push(...eventsOf(entry).events);
      read[partition] = entries.at(-1)?.offset ?? (read[partition] as number);
    }
  };
  const bed: ArchiveBed = {
    ...{ ledger, clock, store },
    async trade(commands) {
      for (let sent = 0; sent < commands; ) {
        const batch = stream.take(1 + random.below(12));
        sent += batch.length;
        await ledger.applyMany(batch);
        if (random.below(6) === 0)
          for (let partition = 0; partition < partitions; partition++) await ledger.tick(partition);
        clock.moveTo(clock.now() + random.pick([0, 0, 900, 60_000, 1_800_000, DAY_MS / 4]));
        stream.timeMs = Math.max(stream.timeMs, clock.now());
      }
      await readNew();
    },
    events: async (partition) => {
      await readNew();
      return events[partition] as StockEvent[];
    },
    archiver: (given = {}) =>
      new Archiver({
        ...{ redis: client, prefix, partitions, owner: "test", leaseMs: 10_000, clock: monotonicClock, store },
        ...{
          retentionMs: 0,
          checkEveryMs: 5,
          segmentMs: 0,
          segmentBytes: 3_000,
          onTrouble: () => {},
        },
        topics: [{ name: "stock", timeOf: entryTimeMs, hasClosings: true }],
        ...given,
      }),
    async archive(given) {
      const archiver = bed.archiver(given);
      archiver.start();
      try {
        for (let partition = 0; partition < partitions; partition++) {
          const { head } = stockKeys(prefix, partition);
          const last = Number((await client.hget(head, "offset")) ?? 0);
          const isDone = () => archiver.figures.some((each) => each.partition === partition && each.archived === last);
          await expect.poll(isDone, { interval: 5 }).toBe(true);
        }
      } finally {
        await archiver.stop();
      }
    },
    async trim(keep) {
      for (let partition = 0; partition < partitions; partition++)
        await client.xtrim(stockKeys(prefix, partition).log, "MAXLEN", keep);
    },
  };
  return bed;
}
