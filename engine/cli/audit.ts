/**
 * `shuiwei audit`: the proof on demand that balances, log and storefront job tell the same units, partition by
 * partition, beside a running engine or without one. It changes nothing. A private Redis that a running engine holds
 * is asked through its socket; one that nobody runs is started for the time of the audit. It ends well only if
 * everything was compared and agrees.
 */
import type { auditOptions } from "../app/config.js";
import { withDeployment } from "../app/deployment.js";
import { PartitionAudit, type PartitionReport } from "../audit/audit.js";
import type { Mismatch } from "../audit/verdict.js";
import { stopwatch } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";
import type { RedisClient } from "../stream/redis.js";

type AuditOptions = OptionValues<typeof auditOptions>;

/** All partitions together; what `--json` prints. */
export interface AuditReport extends Omit<PartitionReport, "fromFirst" | "mismatches"> {
  partitions: number;
  /** Partitions whose log still begins with its first entry. */
  foldedFromFirst: number;
  mismatches: Mismatch[];
  /** Why a partition could not be compared. */
  notCompared: string[];
  seconds: number;
}

/**
 * Audits a deployment and tells the result.
 * @throws EngineError `audit_mismatch` when something differs, `audit_incomplete` when something could not be
 *   compared, `bad_input` when there is
 *   no deployment
 */
export async function runAudit(options: AuditOptions, signal: AbortSignal): Promise<void> {
  await withDeployment("audit", options, async ({ redis, partitions }) => {
    const report = await auditAll(redis, options.prefix, partitions, signal);
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : textOf(report));
    const { mismatches, notCompared } = report;
    if (mismatches.length > 0)
      throw failure(
        "audit_mismatch",
        `${counted(mismatches.length, "mismatch", "es")} in ${counted(report.cells, "cell")}`,
      );
    if (notCompared.length > 0)
      throw failure("audit_incomplete", `nothing differs so far, but not all was compared: ${notCompared.join("; ")}`);
  });
}

async function auditAll(
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

const failure = (code: string, message: string): EngineError =>
  new EngineError(message, { op: "audit", code, retryable: code === "audit_incomplete" });

const figure = (n: number): string => n.toLocaleString("en");
const counted = (n: number, name: string, plural = "s"): string => `${figure(n)} ${name}${n === 1 ? "" : plural}`;

function textOf(report: AuditReport): string {
  const { partitions, skus, cells, units, entries, events, heldLines, foldedFromFirst, mismatches, seconds } = report;
  const later = partitions - foldedFromFirst;
  const lines = [
    `${counted(partitions, "partition")}: ${counted(skus, "SKU")} in ${counted(cells, "cell")} with ${counted(units, "unit")}; ${counted(heldLines, "held line")}`,
    `${figure(entries)} log entries with ${counted(events, "event")} folded anew, in ${seconds.toFixed(1)} s`,
    ...(later > 0
      ? [`the log of ${counted(later, "partition")} has been trimmed: there the storefront job stands for what is gone`]
      : []),
    ...mismatches.map(({ words }) => `MISMATCH ${words}`),
    ...report.notCompared.map((words) => `NOT COMPARED ${words}`),
  ];
  if (mismatches.length + report.notCompared.length === 0)
    lines.push("all agree: ledger, log, storefront job, held lines");
  return `${lines.join("\n")}\n`;
}
