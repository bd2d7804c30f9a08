/**
 * How many partitions this worker may own, so that all workers of a topic have the same number or one more. Each worker
 * registers itself in one sorted set and reads all names from it; its share follows from its rank among them. Shares
 * add up to all partitions, so every partition gets an owner and none moves without need. Leases decide which worker
 * owns a partition, so two workers that see different names for a moment do no harm. A worker that runs an older
 * version of a job than a partition has been written by gives its share to the others: it keeps what it owns, and gets
 * more only while no other worker is registered.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { callFunction } from "./functions.js";
import type { RedisClient } from "./redis.js";
import { nowArgument } from "./server-clock.js";

export interface ShareOptions {
  redis: RedisClient;
  /** Sorted set of the topic's workers. */
  key: string;
  /** This worker's name. */
  owner: string;
  partitions: number;
  /** How long a worker that does not register itself is counted, like its leases. */
  leaseMs: number;
  clock: Scheduler;
  /** Left out: the Redis server's clock. */
  serverClock?: Clock;
  /** Why this worker must not take part, if so: read before it registers for the first time. */
  readOutdated?: () => Promise<string | undefined>;
  onTrouble: OnTrouble;
}

/**
 * Within this time the others get the name of a new worker and give partitions back. A worker that has not registered
 * itself for the time of a lease is not counted any more: by default, ten missed registrations.
 */
const REGISTER_EVERY_MS = 1_000;

export class Share {
  readonly #options: ShareOptions;
  readonly #owned = new Set<number>();
  /** Partitions whose lease is being acquired: they count towards the share. */
  readonly #reserved = new Set<number>();
  /** Callers that wait until one of those is settled. */
  #waiting: (() => void)[] = [];
  readonly #stop = new AbortController();
  /** Undefined until the names of all workers have been read. */
  #quota: number | undefined;
  /** Why this worker has no share any more. */
  #outdated: string | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ShareOptions) {
    this.#options = options;
  }

  /** Partitions that this worker may own now; 0 until the names of all workers have been read. */
  get quota(): number {
    return this.#quota ?? 0;
  }

  /** Why this worker has given its share up; undefined while it has one. */
  get outdated(): string | undefined {
    return this.#outdated;
  }

  /**
   * Gives the share up for as long as this worker runs, because a newer version has written a partition that it might
   * get. The others then take that partition and every other that is not owned. Reported once.
   */
  giveUp(reason: string): void {
    if (this.#outdated !== undefined) return;
    this.#outdated = reason;
    this.#quota = this.#owned.size + this.#reserved.size;
    const { key, onTrouble } = this.#options;
    onTrouble(`${key}: this worker takes over no more partitions, because its release is too old: ${reason}`);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Removes this worker's name, so that the others get its share at once. Runners give its partitions back. */
  async leave(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { redis, key, owner, onTrouble } = this.#options;
    await redis.zrem(key, owner).catch((thrown) => onTrouble(`${key}: ${messageOf(thrown)}`));
  }

  /** Whether this worker may own one more partition, as soon as that is certain; if so, it counts until `settle`. */
  async reserve(partition: number): Promise<boolean> {
    while (this.#owned.size < this.quota) {
      if (this.#owned.size + this.#reserved.size < this.quota) {
        this.#reserved.add(partition);
        return true;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return false;
  }

  /** Ends a reservation: the lease was acquired, or not. */
  settle(partition: number, isOwned: boolean): void {
    this.#reserved.delete(partition);
    if (isOwned) this.#owned.add(partition);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  release(partition: number): void {
    this.#owned.delete(partition);
  }

  /** Whether this partition is above the share and must be given back: the highest numbers first. */
  isSurplus(partition: number): boolean {
    const surplus = this.#owned.size - (this.#quota ?? this.#owned.size);
    if (surplus <= 0) return false;
    let higher = 0;
    for (const other of this.#owned) if (other > partition) higher++;
    return higher < surplus;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { clock, leaseMs, key, onTrouble } = this.#options;
    while (!signal.aborted) {
      try {
        this.#quota = await this.#readQuota();
      } catch (thrown) {
        // The last share stays valid: without Redis no lease can change its owner either.
        if (!signal.aborted) onTrouble(`${key}: ${messageOf(thrown)}`);
      }
      await clock.sleep(Math.min(REGISTER_EVERY_MS, leaseMs / 4), signal);
    }
  }

  async #readQuota(): Promise<number> {
    const { redis, key, owner, leaseMs, serverClock, partitions, readOutdated } = this.#options;
    const now = nowArgument(serverClock);
    if (this.#quota === undefined) {
      const outdated = await readOutdated?.();
      if (outdated !== undefined) this.giveUp(outdated);
    }
    if (this.#outdated === undefined) {
      const names = (await callFunction(redis, "workers_join", [key], [owner, leaseMs, now])) as string[];
      if (this.#outdated === undefined) return this.#quotaOf(names);
    }
    const others = (await callFunction(redis, "workers_leave", [key], [owner, now])) as string[];
    return others.length === 0 ? partitions : this.#owned.size + this.#reserved.size;
  }

  #quotaOf(names: string[]): number {
    const { owner, partitions } = this.#options;
    const rank = names.sort().indexOf(owner);
    return Math.floor(partitions / names.length) + (rank < partitions % names.length ? 1 : 0);
  }
}
