/**
 * Indexes a partition's states anew after an owner that did not keep their index, an older release's for example:
 * everything goes, then all states are read page by page and what they are found by is written, each page with a
 * commit. Only the partition's owner may do it, between its steps: whatever a step changes meanwhile is in the commit
 * of that step, and a page adds what is there already once more, which changes nothing. An owner that dies half-way
 * leaves an index that is known to be incomplete.
 */

import type { CommitBody, Task } from "./commit.js";
import type { AnyJob, LogEvent } from "./job.js";
import { type IndexChange, indexChanges } from "./job-index.js";
import type { PartitionKeys } from "./keys.js";
import { decodeState } from "./pack.js";
import type { RedisClient } from "./redis.js";

/** States of a page: some 10 ms of work, during which the partition waits. */
const PAGE_STATES = 1_000;

export class Reindex<Event extends LogEvent> {
  readonly #redis: RedisClient;
  readonly #keys: PartitionKeys;
  /** Jobs whose index this owner has yet to vouch for. */
  readonly #kept: string[] = [];
  readonly #lacking: AnyJob<Event>[] = [];
  /** Of the first one that lacks it; undefined before its first page. */
  #cursor: string | undefined;

  /** @param task as it was taken: the owner before it had the epoch before */
  constructor(redis: RedisClient, keys: PartitionKeys, jobs: readonly AnyJob<Event>[], task: Task) {
    this.#redis = redis;
    this.#keys = keys;
    for (const job of jobs) {
      if (!job.index) continue;
      if (task.indexed.get(job.name) === task.epoch - 1) this.#kept.push(job.name);
      else this.#lacking.push(job);
    }
  }

  get isDone(): boolean {
    return this.#kept.length === 0 && this.#lacking.length === 0;
  }

  /** The next commit: `idle` with the changes of one page. To be written before anything else is. */
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
        indexChanges(key, [], job.index?.(decodeState(pairs[i + 1] as Buffer), key) ?? [], index);
      } catch {
        // The others are found all the same; what is to be done about this one its dead letters tell.
      }
    }
    return { cursor: next.toString("latin1"), index };
  }
}
