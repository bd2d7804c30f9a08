/**
 * Runs the jobs of a topic in this process: one runner for each partition. Several processes may do so at once; the leases see to it that each
 * partition has one owner, and a partition whose owner is gone is taken over when its lease has ended.
 */
import type { LogEvent } from "./job.js";
import { Runner, type RunnerOptions, type RunnerStats } from "./runner.js";

export class Worker<Event extends LogEvent> {
  readonly #runners: Runner<Event>[];

  constructor(options: RunnerOptions<Event>) {
    this.#runners = Array.from({ length: options.topic.partitions }, (_, partition) => new Runner(partition, options));
  }

  start(): void {
    for (const runner of this.#runners) runner.start();
  }

  /** Ends every runner after the commit it is at. */
  async stop(): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.stop()));
  }

  /** Figures of every partition, in order. */
  stats(): readonly RunnerStats[] {
    return this.#runners.map((runner) => runner.stats);
  }
}
