/**
 * Rebuilds the index of a partition's states after an owner that did not maintain it, for example of an older release,
 * and after an older version of the job: the index is deleted, then all states are read page by page, and each page's
 * index entries are written with a commit. Only the partition's owner may do it, between its batches: a batch's changes
 * are in its own commit, and a page that writes an existing entry again changes nothing. An owner that dies before the
 * end leaves an index that is marked incomplete.
 */

import type { CommitBody, Task } from "./commit.js";
import type { AnyJob, LogEvent } from "./job.js";
import { type IndexChange, indexChanges } from "./job-index.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";
import { stateOf, versionOf } from "./state-codec.js";

/** States of a page: some 10 ms of work, for which the partition waits. */
const PAGE_STATES = 1_000;

export class Reindex<Event extends LogEvent> {
  readonly #redis: RedisClient;
  readonly #keys: PartitionKeys;
  /** Jobs whose index is complete; the next commit records that this owner maintains it. */
  readonly #kept: string[] = [];
  readonly #lacking: AnyJob<Event>[] = [];
  /** Scan cursor of the first job of `#lacking`; undefined before its first page. */
  #cursor: string | undefined;

  /** @param task as it was acquired: the previous owner had the previous epoch */
  constructor(redis: RedisClient, keys: PartitionKeys, jobs: readonly AnyJob<Event>[], task: Task) {
    this.#redis = redis;
    this.#keys = keys;
    for (const job of jobs) {
      if (!job.index) continue;
      // The index of an older version was made from its states.
      const isOfVersion = (task.versions.get(job.name) ?? 1) >= versionOf(job);
      if (isOfVersion && task.indexed.get(job.name) === task.epoch - 1) this.#kept.push(job.name);
      else this.#lacking.push(job);
    }
  }

  get isDone(): boolean {
    return this.#kept.length === 0 && this.#lacking.length === 0;
  }

  /** The next commit: `idle` with the changes of one page. Write it before any other commit. */
  async next(idle: CommitBody): Promise<CommitBody> {
    const indexed = this.#kept.splice(0);
    const [job] = this.#lacking;
    if (!job) return { ...idle, indexed };
    const isFirst = this.#cursor === undefined;
    const { cursor, index } = await this.#page(job, this.#cursor ?? "0");
    this.#cursor = cursor;
    if (cursor === "0") {
      this.#lacking.shift();
      this.#cursor = undefined;
      indexed.push(job.name);
    }
    return { ...idle, indexed, states: [{ job: job.name, set: [], tombstones: [], index, clearsIndex: isFirst }] };
  }

  async #page(job: AnyJob<Event>, from: string): Promise<{ cursor: string; index: IndexChange[] }> {
    const hash = this.#keys.state(job.name);
    const [next, pairs] = (await this.#redis.hscanBuffer(hash, from, "COUNT", PAGE_STATES)) as [Buffer, Buffer[]];
    const index: IndexChange[] = [];
    for (let i = 0; i < pairs.length; i += 2) {
      const key = (pairs[i] as Buffer).toString("utf8");
      try {
        indexChanges(key, [], job.index?.(stateOf(job, key, pairs[i + 1] as Buffer), key) ?? [], index);
      } catch {
        // An unreadable state is left out; it is reported by the dead letters of its key.
      }
    }
    return { cursor: next.toString("latin1"), index };
  }
}
