/**
 * Runs one partition's jobs for as long as the process lives, under the partition's lease (`leased-loop.ts`): each
 * lease is worked by a `PartitionTask`. After a job threw, the next entries are processed in isolated mode, so that
 * what fails becomes a dead letter. State is exactly-once; what leaves does so with the commit or not at all.
 */
import type { LogEvent } from "./job.js";
import { PoisonError } from "./job-calls.js";
import { partitionKeys } from "./keys.js";
import { LeasedLoop } from "./leased-loop.js";
import {
  ISOLATED_ENTRIES,
  PartitionTask,
  type PartitionTaskOptions,
  type RetryBudget,
  type RunnerStats,
  type TaskStats,
} from "./partition-task.js";
import { versionsOf } from "./state-codec.js";

export interface RunnerOptions<Event extends LogEvent> extends PartitionTaskOptions<Event> {
  /** Names this process in the lease. */
  owner: string;
}

export class Runner<Event extends LogEvent> {
  readonly #stats: TaskStats = {
    offset: 0,
    watermarkMs: 0,
    events: 0,
    commits: 0,
    deadLetters: 0,
    lastCommitMs: 0,
    jobs: new Map(),
  };
  readonly #retryBudget: RetryBudget = { isolatedEntries: 0 };
  readonly #loop: LeasedLoop;

  constructor(partition: number, options: RunnerOptions<Event>) {
    const { prefix, topic } = options;
    const keys = partitionKeys(prefix, topic.name, partition);
    this.#loop = new LeasedLoop({
      ...options,
      keys,
      partition,
      versions: versionsOf(options.jobs),
      place: { topic: topic.name, partition },
      work: ({ task, progressed }, signal) =>
        new PartitionTask(partition, options, {
          keys,
          task,
          stats: this.#stats,
          retryBudget: this.#retryBudget,
          signal,
          onProgress: progressed,
        }).run(),
      // In isolated mode there is no such error: the dead letter is reported when it has been written.
      recover: (thrown) => {
        if (!(thrown instanceof PoisonError)) return false;
        this.#retryBudget.isolatedEntries = ISOLATED_ENTRIES;
        return true;
      },
    });
  }

  get stats(): RunnerStats {
    const { isOwned, leaseChanges } = this.#loop;
    return { ...this.#stats, owned: isOwned, leaseChanges };
  }

  start(): void {
    this.#loop.start();
  }

  /** Ends after the current commit, and gives the lease back. */
  stop(): Promise<void> {
    return this.#loop.stop();
  }
}
