/**
 * Runs one partition's jobs for as long as the process lives: take the lease, work under it (`partition-task.ts`),
 * give it back. It is the only place that recovers: after an error it waits and starts again from the last commit;
 * after a job threw, the next entries are processed in isolated mode, so that what fails becomes a dead letter. State
 * is exactly-once; what leaves does so with the commit or not at all.
 */
import { messageOf } from "../kernel/errors.js";
import { PoisonError } from "./batch-processor.js";
import { acquireTask, releaseTask, type Task } from "./commit.js";
import type { LogEvent } from "./job.js";
import { type PartitionKeys, partitionKeys } from "./keys.js";
import {
  ISOLATED_ENTRIES,
  PartitionTask,
  type PartitionTaskOptions,
  type RetryBudget,
  type RunnerStats,
} from "./partition-task.js";

export interface RunnerOptions<Event extends LogEvent> extends PartitionTaskOptions<Event> {
  /** Names this process in the lease. */
  owner: string;
}

/** How often a worker with room asks for a lease that another worker has to give back: the pause when one moves. */
const ACQUIRE_EVERY_MS = 200;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

export class Runner<Event extends LogEvent> {
  readonly stats: RunnerStats = {
    owned: false,
    offset: 0,
    watermarkMs: 0,
    events: 0,
    commits: 0,
    late: 0,
    deadLetters: 0,
    leaseChanges: 0,
    lastCommitMs: 0,
  };
  readonly partition: number;
  readonly #options: RunnerOptions<Event>;
  readonly #keys: PartitionKeys;
  readonly #stop = new AbortController();
  readonly #retryBudget: RetryBudget = { isolatedEntries: 0 };
  #backoffMs = BACKOFF_FIRST_MS;
  #current: PartitionTask<Event> | undefined;
  #running: Promise<void> | undefined;

  constructor(partition: number, options: RunnerOptions<Event>) {
    this.partition = partition;
    this.#options = options;
    this.#keys = partitionKeys(options.prefix, options.topic.name, partition);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends after the current commit, and gives the lease back. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#current?.disconnect();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const task = await this.#acquire();
        if (task) await this.#work(task);
      } catch (thrown) {
        // In isolated mode there is no such error: the dead letter is reported when it has been written.
        if (thrown instanceof PoisonError) {
          this.#retryBudget.isolatedEntries = ISOLATED_ENTRIES;
          continue;
        }
        if (signal.aborted) break;
        const { topic, onTrouble, clock } = this.#options;
        const fields = { topic: topic.name, partition: this.partition };
        onTrouble(`${messageOf(thrown)}; starting over in ${this.#backoffMs} ms`, fields);
        await clock.sleep(this.#backoffMs, signal);
        this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MAX_MS);
      } finally {
        this.#options.share?.release(this.partition);
        this.stats.owned = false;
        this.#current?.disconnect();
        this.#current = undefined;
      }
    }
  }

  /** Takes the lease if there is room for it and it is free; otherwise waits a while and returns undefined. */
  async #acquire(): Promise<Task | undefined> {
    const { redis, owner, leaseMs, clock, serverClock, share } = this.#options;
    const { signal } = this.#stop;
    if (share && !(await share.reserve(this.partition))) {
      await clock.sleep(ACQUIRE_EVERY_MS, signal);
      return undefined;
    }
    let task: Task | { heldForMs: number } | undefined;
    try {
      task = await acquireTask(redis, this.#keys, owner, leaseMs, serverClock ? String(serverClock.now()) : "");
    } finally {
      share?.settle(this.partition, task !== undefined && !("heldForMs" in task));
    }
    if (!("heldForMs" in task)) return task;
    await clock.sleep(Math.min(task.heldForMs, share ? ACQUIRE_EVERY_MS : leaseMs / 2), signal);
    return undefined;
  }

  /** Works under a lease, and gives it back when the work ended without an error or the runner is stopped. */
  async #work(task: Task): Promise<void> {
    const { signal } = this.#stop;
    this.stats.leaseChanges++;
    this.stats.owned = true;
    let isComplete = false;
    try {
      this.#current = new PartitionTask(this.partition, this.#options, {
        keys: this.#keys,
        task,
        stats: this.stats,
        retryBudget: this.#retryBudget,
        signal,
        onProgress: () => {
          this.#backoffMs = BACKOFF_FIRST_MS;
        },
      });
      await this.#current.run();
      isComplete = true;
    } finally {
      // Stopping ends the waiting read with an error; the lease is given back all the same. After another error this
      // process acquires it again.
      if (isComplete || signal.aborted) await releaseTask(this.#options.redis, this.#keys, task.epoch);
    }
  }
}
