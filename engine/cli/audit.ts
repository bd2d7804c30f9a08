/**
 * `shuiwei audit`: checks on demand that balances, log and storefront job agree, partition by partition, beside a
 * running engine or without one. It changes nothing. A private Redis of a running engine is reached through its
 * socket; otherwise it is started for the time of the audit. The status is 0 only if everything was compared and
 * agrees.
 */
import { objectsOptions } from "../../connectors/objects/options.js";
import type { AuditReport } from "../audit/deployment-audit.js";
import { EngineError } from "../kernel/errors.js";
import { defineOptions, joinOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { deploymentOptions } from "./deployment-options.js";
import { counted, figure } from "./text.js";

export const command = defineCommand({
  name: "audit",
  about: "check that balances, log and jobs agree to the unit; status 1 if they do not",
  options: joinOptions(
    deploymentOptions,
    objectsOptions,
    defineOptions({
      archive: {
        type: "boolean",
        about: "check the archive instead: hashes, chain, continuity with the log, closings",
      },
      json: { type: "boolean", about: "one line of JSON instead of text" },
    }),
  ),
  /**
   * @throws EngineError `audit_mismatch` when something differs, `audit_incomplete` when not all was compared,
   *   `archive_damaged` when the archive is not what was written
   */
  async run({ values, signal }) {
    if (values.archive) return runArchive(values, signal);
    const [{ withDeployment }, { auditDeployment }] = await Promise.all([
      import("../app/deployment.js"),
      import("../audit/deployment-audit.js"),
    ]);
    await withDeployment("audit", values, async ({ redis, partitions }) => {
      const report = await auditDeployment(redis, values.prefix, partitions, signal);
      process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : textOf(report));
      throwUnlessEqual(report);
    });
  },
});

async function runArchive(values: ArchiveValues, signal: AbortSignal): Promise<void> {
  const [{ withDeployment }, { auditArchive, findingText }, { openObjectStore }] = await Promise.all([
    import("../app/deployment.js"),
    import("../audit/archive-audit.js"),
    import("../../connectors/objects/index.js"),
  ]);
  await withDeployment("audit", values, async ({ redis, partitions }) => {
    const store = openObjectStore(values);
    const report = await auditArchive({ redis, prefix: values.prefix, partitions, store, signal });
    const { findings, notes, manifests, entries, closings, live } = report;
    const lines = [
      `archive of ${counted(report.partitions, "partition")}: ${counted(manifests, "manifest")} in a chain, ${figure(entries)} entries, ${counted(closings, "closing")}; ${figure(live)} entries compared with the log`,
      ...notes.map((note) => `NOTE ${note}`),
      ...findings.map((finding) => `DAMAGED ${findingText(finding)}`),
      ...(findings.length === 0 ? ["the archive is as it was written"] : []),
    ];
    process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${lines.join("\n")}\n`);
    if (report.partitions === 0) throw failure("audit_incomplete", "nothing has been archived");
    if (findings.length > 0) throw failure("archive_damaged", counted(findings.length, "finding"));
  });
}

type ArchiveValues = OptionValues<typeof deploymentOptions & typeof objectsOptions> & { readonly json: boolean };

function throwUnlessEqual({ mismatches, notCompared, cells }: AuditReport): void {
  if (mismatches.length > 0)
    throw failure("audit_mismatch", `${counted(mismatches.length, "mismatch", "es")} in ${counted(cells, "cell")}`);
  if (notCompared.length > 0)
    throw failure("audit_incomplete", `nothing differs so far, but not all was compared: ${notCompared.join("; ")}`);
}

const failure = (code: string, message: string): EngineError =>
  new EngineError(message, { op: "audit", code, retryable: code === "audit_incomplete" });

function textOf(report: AuditReport): string {
  const { partitions, skus, cells, units, entries, events, heldLines, foldedFromFirst, mismatches, seconds } = report;
  const trimmed = partitions - foldedFromFirst;
  const lines = [
    `${counted(partitions, "partition")}: ${counted(skus, "SKU")} in ${counted(cells, "cell")} with ${counted(units, "unit")}; ${counted(heldLines, "held line")}`,
    `${figure(entries)} log entries with ${counted(events, "event")} folded again, in ${seconds.toFixed(1)} s`,
    ...(trimmed > 0
      ? [
          `the log of ${counted(trimmed, "partition")} has been trimmed: its removed part is taken from the storefront job`,
        ]
      : []),
    ...mismatches.map(({ words }) => `MISMATCH ${words}`),
    ...report.notCompared.map((words) => `NOT COMPARED ${words}`),
  ];
  if (mismatches.length + report.notCompared.length === 0)
    lines.push("all agree: ledger, log, storefront job, held lines");
  return `${lines.join("\n")}\n`;
}
