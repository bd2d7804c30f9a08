/**
 * Records series in a process that runs jobs: one leased loop for each partition's SKUs and one for the engine's
 * figures, of which one process at a time works. It reads from views in memory and writes once a minute; what it cannot
 * write delays no job and no order. A stretch that nobody has recorded is stored as a gap.
 */
import type { Clock, Scheduler } from "../../kernel/clock.js";
import type { OnTrouble } from "../../kernel/logger.js";
import { seriesKeys } from "../../stream/keys.js";
import { LeasedLoop } from "../../stream/leased-loop.js";
import type { RedisClient } from "../../stream/redis.js";
import type { SeriesOwner, SeriesStore } from "./series-store.js";
import { type MinuteSource, type SeriesFigures, SeriesTask } from "./series-task.js";

export interface SeriesRecorderOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  store: SeriesStore;
  /** Makes what is recorded by an owner; a new one for each lease. */
  source(owner: SeriesOwner): MinuteSource;
  /** Names this process in leases. */
  owner: string;
  leaseMs: number;
  clock: Scheduler;
  serverClock?: Clock;
  pollMs?: number;
  onTrouble: OnTrouble;
}

/** How far the recorded minutes may be behind before it is a warning, in the shop's time. */
const BEHIND_MS = 10 * 60_000;

interface Owned {
  readonly owner: SeriesOwner;
  readonly loop: LeasedLoop;
  readonly figures: SeriesFigures;
}

export class SeriesRecorder {
  readonly #options: SeriesRecorderOptions;
  readonly #owned: readonly Owned[];

  constructor(options: SeriesRecorderOptions) {
    this.#options = options;
    const owners: SeriesOwner[] = [...Array.from({ length: options.partitions }, (_, each) => each), "figures"];
    this.#owned = owners.map((owner) => this.#own(owner));
  }

  start(): void {
    for (const { loop } of this.#owned) loop.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#owned.map(({ loop }) => loop.stop()));
  }

  /** Of every owner that this process may be. */
  get figures(): readonly (SeriesFigures & { owner: SeriesOwner })[] {
    return this.#owned.map(({ owner, figures }) => ({ owner, ...figures }));
  }

  /** What an operator should look into. */
  warnings(): string[] {
    return this.figures.flatMap(({ owner, behindMs }) =>
      behindMs > BEHIND_MS
        ? [
            `the history of ${owner === "figures" ? "the engine's figures" : `the SKUs of partition ${owner}`} is ${Math.round(behindMs / 60_000)} minutes behind`,
          ]
        : [],
    );
  }

  #own(owner: SeriesOwner): Owned {
    const { prefix, source } = this.#options;
    const figures: SeriesFigures = { points: 0, recordedToMs: 0, behindMs: 0 };
    const loop = new LeasedLoop({
      ...this.#options,
      keys: seriesKeys(prefix, owner),
      partition: owner === "figures" ? 0 : owner,
      place: owner === "figures" ? {} : { topic: "stock", partition: owner },
      // Its owner reports it.
      away: () => Object.assign(figures, { behindMs: 0 }),
      work: (lease, signal) =>
        new SeriesTask(this.#options, owner, source(owner), lease, figures).run(signal, lease.progressed),
    });
    return { owner, loop, figures };
  }
}
