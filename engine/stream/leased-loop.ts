/**
 * One loop for all work that one process at a time may do: acquire a task's lease, work under it, release it, and begin
 * again until stopped. It is the only place that recovers: after an error it waits, twice as long each time, and starts
 * again; progress resets the wait. Two loops may act as owners of the same task for a moment (a frozen process, a
 * lost answer): every write must be fenced by the lease's epoch and run. Renewing the lease is the work's part.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { LogFields, OnTrouble } from "../kernel/logger.js";
import { acquireTask, isSameRun, readTask, releaseTask, type Task } from "./commit.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";
import { nowArgument } from "./server-clock.js";
import type { Share } from "./share.js";
import { isNewerVersion } from "./state-codec.js";

export interface LeasedLoopOptions {
  redis: RedisClient;
  /** Of the task whose lease is acquired: a partition's, a sink's. */
  keys: PartitionKeys;
  /** Its number, for the share. */
  partition: number;
  /** Names this process in the lease. */
  owner: string;
  leaseMs: number;
  /** For pauses. */
  clock: Scheduler;
  /** For the lease; left out: the Redis server's own clock. */
  serverClock?: Clock;
  /** How many partitions this process may own; left out: all that are free. */
  share?: Share;
  /** Of the jobs that the work runs, by name: a task that a newer version has written is not this process's. */
  versions?: ReadonlyMap<string, number>;
  /** Called before the first lease is acquired, and again after an error in it. */
  prepare?(): Promise<void>;
  /**
   * Works under a lease, until the signal aborts or the lease is to be given back. It renews the lease itself. When it
   * returns, the lease is released; when it throws, the loop waits and acquires the lease anew.
   */
  work(lease: Lease, signal: AbortSignal): Promise<void>;
  /** Called, again and again, while the lease or its place in the share is another process's. */
  away?(): void;
  /** Handles an error after which the work starts again at once, without a message; returns false for all others. */
  recover?(thrown: unknown): boolean;
  /** Where: part of every message. */
  place: LogFields;
  onTrouble: OnTrouble;
}

/** A lease that has been acquired. */
export interface Lease {
  readonly task: Task;
  /** When it was requested, by the loop's clock: it is valid from then at the earliest. */
  readonly askedMs: number;
  /** The work has progressed: the wait after the next error is the shortest again. */
  progressed(): void;
  /** When the work returns, the loop waits this long before it acquires the lease again; another may meanwhile. */
  waitAfter(waitMs: number): void;
}

/** How often a worker with room asks for a lease that another worker has to give back: the pause when one moves. */
const ACQUIRE_EVERY_MS = 200;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

export class LeasedLoop {
  readonly #options: LeasedLoopOptions;
  readonly #stop = new AbortController();
  #isPrepared: boolean;
  #isOwned = false;
  #leaseChanges = 0;
  #backoffMs = BACKOFF_FIRST_MS;
  #waitMs = 0;
  #running: Promise<void> | undefined;

  constructor(options: LeasedLoopOptions) {
    this.#options = options;
    this.#isPrepared = options.prepare === undefined;
  }

  /** Whether this process works under the lease now. */
  get isOwned(): boolean {
    return this.#isOwned;
  }

  /** How often this process has acquired the lease. */
  get leaseChanges(): number {
    return this.#leaseChanges;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Aborts the work's signal, waits for its end and releases the lease. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { clock, share, partition, place, onTrouble, recover } = this.#options;
    while (!signal.aborted) {
      this.#waitMs = 0;
      try {
        await this.#prepare();
        const lease = await this.#acquire();
        if (lease) await this.#work(lease);
      } catch (thrown) {
        if (recover?.(thrown)) continue;
        if (signal.aborted) break;
        onTrouble(`${messageOf(thrown)}; starting over in ${this.#backoffMs} ms`, place);
        await clock.sleep(this.#backoffMs, signal);
        this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MAX_MS);
      } finally {
        share?.release(partition);
        this.#isOwned = false;
      }
      if (this.#waitMs > 0) await clock.sleep(this.#waitMs, signal);
    }
  }

  async #prepare(): Promise<void> {
    if (this.#isPrepared) return;
    await this.#options.prepare?.();
    this.#isPrepared = true;
  }

  /** Acquires the lease if there is room for it and it is free; otherwise waits a while and returns undefined. */
  async #acquire(): Promise<Lease | undefined> {
    const { redis, keys, partition, owner, leaseMs, clock, serverClock, share, versions, away } = this.#options;
    const { signal } = this.#stop;
    if (share && !(await share.reserve(partition))) {
      away?.();
      await clock.sleep(ACQUIRE_EVERY_MS, signal);
      return undefined;
    }
    let task: Task | { heldForMs: number } | undefined;
    const askedMs = clock.now();
    try {
      task = await acquireTask(redis, keys, owner, leaseMs, nowArgument(serverClock), versions);
    } catch (thrown) {
      if (!share || !isNewerVersion(thrown)) throw thrown;
      share.giveUp(messageOf(thrown));
      task = { heldForMs: ACQUIRE_EVERY_MS };
    } finally {
      share?.settle(partition, task !== undefined && !("heldForMs" in task));
    }
    if (!("heldForMs" in task)) return this.#leaseOf(task, askedMs);
    away?.();
    await clock.sleep(Math.min(task.heldForMs, share ? ACQUIRE_EVERY_MS : leaseMs / 2), signal);
    return undefined;
  }

  #leaseOf(task: Task, askedMs: number): Lease {
    return {
      task,
      askedMs,
      progressed: () => {
        this.#backoffMs = BACKOFF_FIRST_MS;
      },
      waitAfter: (waitMs) => {
        this.#waitMs = waitMs;
      },
    };
  }

  /**
   * Works. Releases the lease when the work ended without an error or the loop is stopped, and after errors that do not
   * cease: what waits for the work may then be bounded by another (`EmitKeeper`).
   */
  async #work(lease: Lease): Promise<void> {
    const { redis, keys, work } = this.#options;
    const { signal } = this.#stop;
    this.#leaseChanges++;
    this.#isOwned = true;
    let isComplete = false;
    try {
      await work(lease, signal);
      isComplete = true;
    } finally {
      // Stopping may end a waiting read with an error; the lease is released all the same. After a first error this
      // process acquires it again.
      if (isComplete || signal.aborted) await releaseTask(redis, keys, lease.task.epoch);
      else if (this.#backoffMs === BACKOFF_MAX_MS) await releaseTask(redis, keys, lease.task.epoch).catch(() => {});
    }
  }
}

/**
 * Opens the connection that waits for new entries of a task's log, and checks that it reads from the server that has
 * given the lease. The caller closes it.
 * @throws EngineError `stale_run` when it is another server's
 */
export async function openLeasedReader(
  open: (log: string) => RedisClient | Promise<RedisClient>,
  keys: PartitionKeys,
  task: Task,
): Promise<RedisClient> {
  const reader = await open(keys.log);
  try {
    const { run } = await readTask(reader, keys);
    if (isSameRun(task.run, run)) return reader;
  } catch (thrown) {
    reader.disconnect();
    throw thrown;
  }
  reader.disconnect();
  throw new EngineError(`${keys.log}: the reader is connected to another server than the one of the lease`, {
    op: "lease.read",
    code: "stale_run",
    retryable: true,
    input: keys.log,
  });
}
