/**
 * How many partitions this worker may own, so that all workers of a topic have the same number or one more. Each
 * worker tells that it lives in one sorted set; whoever reads it knows all names, and its own share by its place
 * among them. Shares add up to all partitions: no partition stays without an owner, and none moves that need not. It
 * decides nothing about who owns what: the leases do, and two workers that see different names for a moment do no
 * harm.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { callFunction } from "./functions.js";
import type { RedisClient } from "./redis.js";

export interface ShareOptions {
  redis: RedisClient;
  /** The set of the topic's workers. */
  key: string;
  /** This worker's name. */
  owner: string;
  partitions: number;
  /** How long a silent worker is counted, like its leases. */
  leaseMs: number;
  clock: Scheduler;
  /** Left out: the Redis server's clock. */
  serverClock?: Clock;
  onTrouble: OnTrouble;
}

/**
 * A new worker is noticed, and its share made free, within a second; a silent one has missed four of these before it
 * is counted out.
 */
const TELL_EVERY_MS = 1_000;

export class Share {
  readonly #options: ShareOptions;
  readonly #owned = new Set<number>();
  /** Partitions being asked for: counted, so that no more are asked for than there is room. */
  readonly #asked = new Set<number>();
  /** Told when one of them has been answered. */
  #waiting: (() => void)[] = [];
  readonly #stop = new AbortController();
  /** Undefined until the others have been seen. */
  #quota: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ShareOptions) {
    this.#options = options;
  }

  /** Partitions that this worker may own now; 0 until it has seen the others. */
  get quota(): number {
    return this.#quota ?? 0;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Leaves the others this worker's share at once. Owned partitions are given back by whoever works on them. */
  async leave(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { redis, key, owner, onTrouble } = this.#options;
    await redis.zrem(key, owner).catch((thrown) => onTrouble(`${key}: ${messageOf(thrown)}`));
  }

  /** Whether there is room for one more, as soon as that is known; if so, the partition is counted until `settle`. */
  async reserve(partition: number): Promise<boolean> {
    while (this.#owned.size < this.quota) {
      if (this.#owned.size + this.#asked.size < this.quota) {
        this.#asked.add(partition);
        return true;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return false;
  }

  /** What became of asking. */
  settle(partition: number, isOwned: boolean): void {
    this.#asked.delete(partition);
    if (isOwned) this.#owned.add(partition);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  release(partition: number): void {
    this.#owned.delete(partition);
  }

  /** Whether this partition is one of those above the share: the highest numbers go first. */
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
        this.#quota = this.#quotaOf(await this.#join());
      } catch (thrown) {
        // The last share holds on: leases are taken and lost by the same Redis.
        if (!signal.aborted) onTrouble(`${key}: ${messageOf(thrown)}`);
      }
      await clock.sleep(Math.min(TELL_EVERY_MS, leaseMs / 4), signal);
    }
  }

  async #join(): Promise<string[]> {
    const { redis, key, owner, leaseMs, serverClock } = this.#options;
    const now = serverClock ? serverClock.now() : "";
    return (await callFunction(redis, "workers_join", [key], [owner, leaseMs, now])) as string[];
  }

  #quotaOf(names: string[]): number {
    const { owner, partitions } = this.#options;
    const place = names.sort().indexOf(owner);
    return Math.floor(partitions / names.length) + (place < partitions % names.length ? 1 : 0);
  }
}
