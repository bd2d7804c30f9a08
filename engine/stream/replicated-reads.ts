/**
 * What a sink or a forwarder has read from a primary, it may pass on only when replicas have it, too, if a replication
 * barrier is set: otherwise a failover could lose what a receiver already has. It holds the lease of the task that it
 * reads for; a process that has lost it gets an error.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { Task } from "./commit.js";
import type { ReplicationBarrier } from "./replication-barrier.js";
import { nowArgument } from "./server-clock.js";

export interface ReplicatedReads {
  /** Left out: there is nothing to wait for. */
  replicas: ReplicationBarrier | undefined;
  /** The key and the lease of the task that reads; it is renewed. */
  taskKey: string;
  task: Pick<Task, "epoch" | "run">;
  leaseMs: number;
  serverClock: Clock | undefined;
  /** For the pause between two attempts. */
  clock: Scheduler;
  /** How long it tries, once at least; left out: until the task ends. */
  patienceMs?: number;
  isEnding(): boolean;
  signal: AbortSignal;
  /** Called at each attempt at which too few replicas have it. */
  onMissing(reason: string): void;
}

const RETRY_AFTER_MS = 1_000;

/**
 * Waits until the replicas have everything that has been read. A write after the read proves it, because it comes later
 * in replication, too. Returns false when the task ends meanwhile, or after `patienceMs`.
 * @throws EngineError `stale_epoch` or `stale_run`, or an error of Redis
 */
export async function areReplicated(reads: ReplicatedReads): Promise<boolean> {
  const { replicas, taskKey, task, leaseMs, serverClock, clock, signal } = reads;
  if (!replicas) return true;
  const untilMs = clock.now() + (reads.patienceMs ?? Number.POSITIVE_INFINITY);
  while (!reads.isEnding()) {
    try {
      await replicas.call("task_renew", [taskKey], [task.epoch, task.run, leaseMs, nowArgument(serverClock)]);
      return true;
    } catch (thrown) {
      if (!(thrown instanceof EngineError && thrown.code === "not_replicated")) throw thrown;
      reads.onMissing(thrown.message);
      if (clock.now() >= untilMs) return false;
      await clock.sleep(thrown.retryAfterMs ?? RETRY_AFTER_MS, signal);
    }
  }
  return false;
}
