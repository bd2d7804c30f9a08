/**
 * What Redis keeps for the publication's owner, under its lease: when the next publication is due, and which objects
 * are to be deleted. Every write is fenced by the lease's epoch, applied once, and extends the lease. What is published
 * is in the store; of two owners, the one whose writes are refused here has lost.
 */
import { type Clock, type Scheduler, systemClock } from "../kernel/clock.js";
import { commitWithRetries, renewTask, type Task } from "../stream/commit.js";
import { publicationKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { nowArgument } from "../stream/server-clock.js";
import type { Discard } from "./discards.js";

export interface PublicationRecord {
  /** @throws EngineError */
  read(): Promise<{ dueMs: number; discards: Discard[] }>;
  /**
   * Writes a change, and repeats it while its result is unknown.
   * @throws EngineError `stale_epoch` or `stale_run` when another owner may have taken over; others after a lease
   */
  commit(change: { dueMs: number; set: readonly Discard[]; removed: string[] }, signal: AbortSignal): Promise<void>;
  /** Extends the lease. @throws as commit, at once */
  renew(): Promise<void>;
}

export interface RecordSettings {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly leaseMs: number;
  /** Of the lease; left out: the Redis server's. */
  readonly serverClock?: Clock;
}

/** The field of the task that holds the time of the next publication. */
const DUE = "due";
const NOTHING = { states: [], out: undefined, deadLetters: [], resolvedDeadLetters: [], cursors: new Map() };

export class RedisPublicationRecord implements PublicationRecord {
  readonly #settings: RecordSettings;
  readonly #task: Task;
  readonly #clock: Scheduler;
  #commit: number;

  /** @param task whose lease this process has @param clock for pauses */
  constructor(settings: RecordSettings, task: Task, clock: Scheduler = systemClock) {
    this.#settings = settings;
    this.#task = task;
    this.#clock = clock;
    this.#commit = task.commit;
  }

  async read(): Promise<{ dueMs: number; discards: Discard[] }> {
    const { redis, prefix } = this.#settings;
    const { task, timers } = publicationKeys(prefix);
    const [due, flat] = await Promise.all([redis.hget(task, DUE), redis.zrange(timers, "0", "-1", "WITHSCORES")]);
    const discards: Discard[] = [];
    for (let i = 0; i < flat.length; i += 2) discards.push([flat[i] as string, Number(flat[i + 1])]);
    return { dueMs: Number(due ?? 0), discards };
  }

  async commit(
    { dueMs, set, removed }: { dueMs: number; set: readonly Discard[]; removed: string[] },
    signal: AbortSignal,
  ): Promise<void> {
    const { redis, prefix, leaseMs, serverClock } = this.#settings;
    const { epoch, run } = this.#task;
    const body = {
      ...NOTHING,
      ...{ watermarkMs: dueMs, events: 0, fields: { [DUE]: dueMs } },
      timersSet: set.map(([member, atMs]): [number, string] => [atMs, member]),
      timersRemoved: removed,
    };
    await commitWithRetries(
      redis,
      publicationKeys(prefix),
      { epoch, run, number: this.#commit + 1, leaseMs, lastOut: 0 },
      body,
      {
        clock: this.#clock,
        serverClock,
        untilMs: this.#clock.now() + leaseMs,
        mayRepeat: () => !signal.aborted,
        signal,
      },
    );
    this.#commit++;
  }

  renew(): Promise<void> {
    const { redis, prefix, leaseMs, serverClock } = this.#settings;
    return renewTask(redis, publicationKeys(prefix), this.#task, leaseMs, nowArgument(serverClock));
  }
}
