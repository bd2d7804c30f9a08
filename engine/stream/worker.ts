/**
 * Runs the jobs of a topic in this process: one runner for each partition, of which as many work as this worker's
 * share allows. Several processes may do so at once. Leases ensure that each partition has one owner; a new worker gets
 * its partitions from the others after a commit, and the partitions of a dead worker are taken over when its leases
 * have expired.
 */

import { checkClosings } from "./closings.js";
import { newerVersionIn } from "./commit.js";
import { LATEST_FORMAT } from "./format.js";
import type { LogEvent } from "./job.js";
import { partitionKeys, workersKey } from "./keys.js";
import type { RunnerStats } from "./partition-task.js";
import { Runner, type RunnerOptions } from "./runner.js";
import { Share } from "./share.js";
import { checkJobs, versionsOf } from "./state-codec.js";

export class Worker<Event extends LogEvent> {
  readonly #options: Omit<RunnerOptions<Event>, "share">;
  readonly #share: Share;
  readonly #runners: Runner<Event>[];

  constructor(options: Omit<RunnerOptions<Event>, "share">) {
    const { topic, prefix } = options;
    const { partitions } = topic;
    this.#options = options;
    const readOutdated = () => this.#readOutdated();
    const share = new Share({ ...options, key: workersKey(prefix, topic.name), partitions, readOutdated });
    this.#share = share;
    this.#runners = Array.from({ length: partitions }, (_, partition) => new Runner(partition, { ...options, share }));
  }

  /** @throws EngineError `format_too_old` when the deployment's format does not allow a job, `bad_closings` */
  start(): void {
    const { jobs, format } = this.#options;
    checkJobs(jobs, format?.() ?? LATEST_FORMAT);
    for (const job of jobs) checkClosings(job);
    this.#share.start();
    for (const runner of this.#runners) runner.start();
  }

  /** Ends every runner after its current commit. */
  async stop(): Promise<void> {
    // First release the share, so that the others take each partition as soon as it is given back.
    await this.#share.leave();
    await Promise.all(this.#runners.map((runner) => runner.stop()));
  }

  /** What an operator should do although the process works. */
  warnings(): string[] {
    const { outdated } = this.#share;
    if (outdated === undefined) return [];
    return [
      `jobs of ${this.#options.topic.name}: this process takes over no more partitions (${outdated}): replace it`,
    ];
  }

  /** Figures of every partition, in order. */
  stats(): readonly RunnerStats[] {
    return this.#runners.map((runner) => runner.stats);
  }

  /** Why one of the partitions cannot be this worker's; undefined when all can. */
  async #readOutdated(): Promise<string | undefined> {
    const { redis, prefix, topic, jobs } = this.#options;
    const versions = versionsOf(jobs);
    const keys = Array.from({ length: topic.partitions }, (_, i) => partitionKeys(prefix, topic.name, i));
    const found = await Promise.all(keys.map((each) => newerVersionIn(redis, each, versions)));
    return found.find((each) => each !== undefined)?.message;
  }
}
