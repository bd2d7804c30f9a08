/**
 * Archives the logs of a deployment: one leased loop for each partition of each archived topic, of which one process
 * at a time works. An object storage that does not answer delays the archive and nothing else: the log keeps its
 * entries for some retentions, then they are lost to the archive, which records the gap.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import { archiveKeys } from "../stream/keys.js";
import { LeasedLoop } from "../stream/leased-loop.js";
import type { LogEntry } from "../stream/log.js";
import type { RedisClient } from "../stream/redis.js";
import { ArchiveObjects, type ArchiveStore } from "./archive-objects.js";
import { type ArchiveFigures, ArchiveTask, SEGMENT_MS } from "./archive-task.js";

/** A topic whose log is archived. */
export interface ArchivedTopic {
  readonly name: string;
  timeOf(entry: LogEntry): number;
  readonly hasClosings: boolean;
  /** Whether an entry must not be archived. Left out: none. */
  isPrivate?(entry: LogEntry): boolean;
  /** Why it may not be archived now; undefined: it may. */
  refusal?(): string | undefined;
}

export interface ArchiverOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  store: ArchiveStore;
  topics: readonly ArchivedTopic[];
  /** Names this process in leases. */
  owner: string;
  leaseMs: number;
  clock: Scheduler;
  serverClock?: Clock;
  /** How long segments are kept, by the log's clock; 0: without end. */
  retentionMs: number;
  onTrouble: OnTrouble;
  checkEveryMs?: number;
  segmentMs?: number;
  segmentBytes?: number;
}

/** How far an archive may be behind before it is a warning: the time of some segments. */
const BEHIND_MS = 4 * SEGMENT_MS;

interface Owned {
  readonly topic: string;
  readonly partition: number;
  readonly loop: LeasedLoop;
  readonly figures: ArchiveFigures;
}

export class Archiver {
  readonly #options: ArchiverOptions;
  readonly #owned: readonly Owned[];

  constructor(options: ArchiverOptions) {
    this.#options = options;
    this.#owned = options.topics.flatMap((topic) =>
      Array.from({ length: options.partitions }, (_, partition) => this.#owner(topic, partition)),
    );
  }

  start(): void {
    for (const { loop } of this.#owned) loop.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#owned.map(({ loop }) => loop.stop()));
  }

  /** Since this process began, of every partition that it may archive. */
  get figures(): readonly (ArchiveFigures & { topic: string; partition: number })[] {
    return this.#owned.map(({ topic, partition, figures }) => ({ topic, partition, ...figures }));
  }

  /** What an operator should look into. */
  warnings(): string[] {
    const refusals = this.#options.topics.flatMap(({ name, refusal }) => {
      const why = refusal?.();
      return why === undefined ? [] : [`the log of ${name} is not archived: ${why}`];
    });
    return [
      ...refusals,
      ...this.figures.flatMap(({ topic, partition, behindMs, lostEntries }) => [
        ...(behindMs > BEHIND_MS
          ? [`the archive of ${topic}, partition ${partition}, is ${Math.round(behindMs / 60_000)} minutes behind`]
          : []),
        ...(lostEntries > 0
          ? [`${lostEntries} entries of ${topic}, partition ${partition}, were removed before they were archived`]
          : []),
      ]),
    ];
  }

  #owner(topic: ArchivedTopic, partition: number): Owned {
    const { redis, prefix, store } = this.#options;
    const place = { prefix, topic: topic.name, partition };
    const figures: ArchiveFigures = {
      ...{ segments: 0, entries: 0, bytes: 0, lostEntries: 0, archived: 0, logged: 0, behindMs: 0 },
    };
    const objects = new ArchiveObjects(store, place);
    const loop = new LeasedLoop({
      ...this.#options,
      keys: archiveKeys(prefix, topic.name, partition),
      partition,
      place: { topic: topic.name, partition },
      // Its owner reports it.
      away: () => Object.assign(figures, { behindMs: 0 }),
      work: async ({ task, askedMs, progressed, waitAfter }, signal) => {
        if (topic.refusal?.() !== undefined) return waitAfter(this.#options.leaseMs);
        const { timeOf, hasClosings, isPrivate } = topic;
        const options = { ...this.#options, redis, place, objects, timeOf, hasClosings, isPrivate };
        await new ArchiveTask(options, task, figures, askedMs).run(signal, progressed);
      },
    });
    return { topic: topic.name, partition, loop, figures };
  }
}
