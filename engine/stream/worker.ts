/**
 * Runs the jobs of a topic in this process: one runner for each partition, of which as many work as this worker's
 * share allows. Several processes may do so at once. Leases ensure that each partition has one owner; a new worker gets
 * its partitions from the others after a commit, and the partitions of a dead worker are taken over when its leases
 * have expired.
 */

import type { LogEvent } from "./job.js";
import { workersKey } from "./keys.js";
import type { RunnerStats } from "./partition-task.js";
import { Runner, type RunnerOptions } from "./runner.js";
import { Share } from "./share.js";

export class Worker<Event extends LogEvent> {
  readonly #share: Share;
  readonly #runners: Runner<Event>[];

  constructor(options: Omit<RunnerOptions<Event>, "share">) {
    const { topic, prefix } = options;
    const { partitions } = topic;
    const share = new Share({ ...options, key: workersKey(prefix, topic.name), partitions });
    this.#share = share;
    this.#runners = Array.from({ length: partitions }, (_, partition) => new Runner(partition, { ...options, share }));
  }

  start(): void {
    this.#share.start();
    for (const runner of this.#runners) runner.start();
  }

  /** Ends every runner after its current commit. */
  async stop(): Promise<void> {
    // First release the share, so that the others take each partition as soon as it is given back.
    await this.#share.leave();
    await Promise.all(this.#runners.map((runner) => runner.stop()));
  }

  /** Figures of every partition, in order. */
  stats(): readonly RunnerStats[] {
    return this.#runners.map((runner) => runner.stats);
  }
}
