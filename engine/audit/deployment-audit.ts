/**
 * The audit of all partitions of a deployment, one after another. A partition that cannot be compared (its job is far
 * behind, its log is trimmed meanwhile) is reported with the reason and does not stop the others. It changes nothing.
 */
import { stopwatch } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { RedisClient } from "../stream/redis.js";
import { PartitionAudit, type PartitionReport } from "./audit.js";
import type { Mismatch } from "./comparison.js";

/** All partitions together; what `shuiwei audit --json` prints. */
export interface AuditReport extends Omit<PartitionReport, "fromFirst" | "mismatches"> {
  partitions: number;
  /** Partitions whose log still begins with its first entry. */
  foldedFromFirst: number;
  mismatches: Mismatch[];
  /** Why a partition could not be compared. */
  notCompared: string[];
  seconds: number;
}

export async function auditDeployment(
  redis: RedisClient,
  prefix: string,
  partitions: number,
  signal: AbortSignal,
): Promise<AuditReport> {
  const elapsed = stopwatch();
  const sum = { skus: 0, cells: 0, units: 0, entries: 0, events: 0, heldLines: 0 };
  const mismatches: Mismatch[] = [];
  const notCompared: string[] = [];
  let foldedFromFirst = 0;
  for (let partition = 0; partition < partitions; partition++) {
    signal.throwIfAborted();
    try {
      const report = await new PartitionAudit(redis, prefix, partition).whole();
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += report[name];
      if (report.fromFirst) foldedFromFirst++;
      for (const mismatch of report.mismatches) mismatches.push(mismatch);
    } catch (thrown) {
      if (!(thrown instanceof EngineError)) throw thrown;
      notCompared.push(thrown.message);
    }
  }
  return { partitions, ...sum, foldedFromFirst, mismatches, notCompared, seconds: Math.round(elapsed()) / 1_000 };
}
