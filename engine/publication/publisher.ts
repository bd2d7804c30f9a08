/**
 * Publishes what customers see of every SKU, from one process at a time: whoever holds the lease. Every process that
 * has the views may be that one. It publishes at multiples of an interval, so it is known when the next publication is
 * due whoever makes it. A process whose views stay too old leaves it to another. It promises no publication while no
 * process has fresh views or the store does not answer: then the newest one grows old, which `stats` tells.
 */
import { type Clock, monotonicClock, type Scheduler, systemClock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import { loadStreamLibrary } from "../stream/commit.js";
import { publicationKeys } from "../stream/keys.js";
import { LeasedLoop } from "../stream/leased-loop.js";
import type { RedisClient } from "../stream/redis.js";
import type { DisplaySource } from "./display-source.js";
import { newFigures, type PublicationFigures } from "./publication-figures.js";
import { RedisPublicationRecord } from "./publication-record.js";
import type { PublicationStore } from "./publication-store.js";
import { PublicationTask } from "./publication-task.js";

export interface PublisherOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly store: PublicationStore;
  readonly source: DisplaySource;
  readonly everyMs: number;
  /** How long shared caches may keep a manifest that the store serves by itself. */
  readonly cacheSeconds: number;
  /** Names this process in the lease. */
  readonly owner: string;
  readonly leaseMs: number;
  readonly serverClock?: Clock;
  /** Real time; left out: the machine's. */
  readonly clock?: Scheduler;
  readonly onTrouble: OnTrouble;
}

export class Publisher {
  readonly #loop: LeasedLoop;
  readonly #figures = newFigures();

  constructor(options: PublisherOptions) {
    const { redis, prefix, owner, leaseMs, serverClock, onTrouble, clock = systemClock } = options;
    this.#loop = new LeasedLoop({
      ...{ redis, owner, leaseMs, onTrouble },
      keys: publicationKeys(prefix),
      partition: 0,
      clock: monotonicClock,
      ...(serverClock ? { serverClock } : {}),
      prepare: () => loadStreamLibrary(redis),
      work: async ({ task, askedMs, progressed, waitAfter }, signal) => {
        const record = new RedisPublicationRecord(options, task);
        const taskOptions = { ...options, record, epoch: task.epoch, clock };
        const stepsBack = await new PublicationTask(taskOptions, this.#figures, askedMs).run(signal, progressed);
        // Others ask for the lease twice in its time.
        if (stepsBack) waitAfter(leaseMs);
      },
      place: {},
    });
  }

  /** Whether this process publishes now. */
  get isOwned(): boolean {
    return this.#loop.isOwned;
  }

  start(): void {
    this.#loop.start();
  }

  /** Ends the publication under way, which leaves the one before. */
  stop(): Promise<void> {
    return this.#loop.stop();
  }

  stats(): Readonly<PublicationFigures> {
    return this.#figures;
  }
}
