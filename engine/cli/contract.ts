/**
 * `shuiwei contract check FILE`: checks payloads that were collected from an interface against its contract (R23) and
 * reports which fields are redundant, missing, mistyped or oversized, how often, and the bytes that they cost. It
 * needs no Redis and sends nothing. The status is 0 only if every payload could be read and fits.
 */
import type { ContractReport } from "../../connectors/wms/contract-report.js";
import { badInput, EngineError } from "../kernel/errors.js";
import { defineOptions } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { counted, escapeControls, figure } from "./text.js";

const OP = "contract";
const RULE_SHOWN = 60;

export const command = defineCommand({
  name: "contract",
  about: "find the fields of collected payloads that break a contract, and the bytes they cost; status 1 if any",
  operands: "check FILE",
  more: `  check FILE  FILE has one payload a line (NDJSON), a JSON array of them, or one object

`,
  options: defineOptions({
    contract: {
      type: "string",
      default: "wms-inbound",
      about: "what payloads may have: a known contract (wms-inbound) or a JSON Schema file",
    },
    json: { type: "boolean", about: "one line of JSON instead of a table" },
  }),
  /**
   * @throws EngineError `contract_findings` when something does not fit or cannot be read, `bad_input` when the file
   *   or the contract does not exist
   */
  async run({ values, operands, signal }) {
    const [action, file, ...more] = operands;
    if (action !== "check") throw badInput(OP, "ACTION", "must be check");
    if (file === undefined || more.length > 0) throw badInput(OP, "FILE", "name one file of payloads");
    const report = await checkFile(file, values.contract, signal);
    if (report.payloads + report.unreadable === 0) throw badInput(OP, file, "has no payload");
    process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : textOf(report));
    const { payloads, withFindings, unreadable } = report;
    if (withFindings + unreadable === 0) return;
    const faults = [
      ...(withFindings > 0 ? [`${figure(withFindings)} of ${counted(payloads, "payload")} do not fit`] : []),
      ...(unreadable > 0 ? [`${figure(unreadable)} cannot be read`] : []),
    ];
    throw new EngineError(faults.join("; "), { op: OP, code: "contract_findings", retryable: false });
  },
});

async function checkFile(file: string, contract: string, signal: AbortSignal): Promise<ContractReport> {
  const [{ loadContract }, { ContractTally }, { readPayloads }] = await Promise.all([
    import("../../connectors/wms/contract.js"),
    import("../../connectors/wms/contract-report.js"),
    import("../../connectors/wms/payload-file.js"),
  ]);
  const { name, check } = await loadContract(contract);
  const tally = new ContractTally(name);
  for await (const payload of readPayloads(file)) {
    signal.throwIfAborted();
    if ("fault" in payload) {
      tally.addUnreadable(payload);
      continue;
    }
    try {
      tally.add(payload, check(payload.value));
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown;
      tally.addUnreadable({ ...payload, fault: "is nested too deeply" });
    }
  }
  return tally.report();
}

function textOf(report: ContractReport): string {
  const { contract, payloads, withFindings, unreadable, bytes, costBytes, findings, otherFields } = report;
  const fits = withFindings === 0 ? "all fit" : `${figure(withFindings)} do not fit`;
  const lines = [
    `${contract}: ${counted(payloads, "payload")} in ${counted(bytes, "byte")}, ${fits}${unreadable > 0 ? `; ${figure(unreadable)} cannot be read` : ""}`,
  ];
  if (findings.length > 0) {
    const rows = findings.map((row) => [
      row.path === "" ? "(the payload)" : row.path,
      row.kind,
      figure(row.payloads),
      figure(row.fields),
      figure(row.bytes),
      row.longestCharacters === undefined ? "" : figure(row.longestCharacters),
      figure(row.line),
      row.rule.length > RULE_SHOWN ? `${row.rule.slice(0, RULE_SHOWN)}…` : row.rule,
    ]);
    lines.push(
      "",
      ...table([["FIELD", "KIND", "PAYLOADS", "FIELDS", "BYTES", "LONGEST", "LINE", "CONTRACT"], ...rows]),
    );
    if (otherFields > 0) lines.push(`and ${counted(otherFields, "finding")} in other fields`);
    const share = bytes === 0 ? 0 : Math.round((100 * costBytes) / bytes);
    const each = payloads === 0 ? 0 : Math.round(costBytes / payloads);
    lines.push("", `${counted(costBytes, "byte")} need not be sent: ${share} % of all, ${figure(each)} a payload`);
  }
  for (const { line, reason } of report.unreadableLines) lines.push(`line ${figure(line)}: ${escapeControls(reason)}`);
  const unlisted = unreadable - report.unreadableLines.length;
  if (unlisted > 0) lines.push(`and ${figure(unlisted)} more that cannot be read`);
  return `${lines.join("\n")}\n`;
}

/** Columns of figures stand to the right. */
function table(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => (cells[column] ?? "").length)));
  const isFigures = widths.map((_, column) => rows.slice(1).every((cells) => /^[\d,]*$/.test(cells[column] ?? "")));
  return rows.map((cells) =>
    cells
      .map((cell, column) => cell[isFigures[column] ? "padStart" : "padEnd"](widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
