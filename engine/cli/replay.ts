/**
 * `shuiwei replay`: history from CSV files through the ledger and the jobs. It checks the options, shows the progress
 * and prints a summary; `engine/replay` does the work.
 */

import { badInput } from "../kernel/errors.js";
import { defineOptions, joinOptions, type OptionTable } from "../kernel/options.js";
import type { ReplaySummary } from "../replay/replay.js";
import { stockOptions } from "../stock/options.js";
import { streamOptions } from "../stream/options.js";
import { defineCommand } from "./command.js";
import { figure } from "./text.js";

const BAR_WIDTH = 30;
/** Where the output is no terminal, a line now and then is enough. */
const LINE_EVERY_SECONDS = 5;
const ERASE_LINE = "\r\u001b[2K";

const { partitions } = streamOptions;
const { batchLimit } = stockOptions;

export const command = defineCommand({
  name: "replay",
  about: "process history from CSV files with the ledger and the jobs",
  operands: "FILE…",
  options: joinOptions(
    { partitions, batchLimit } satisfies OptionTable,
    defineOptions({
      mapping: {
        type: "string",
        required: true,
        about: "how rows are read: a built-in name (online-retail) or a file",
      },
      openingStock: {
        type: "integer",
        default: 0,
        min: 0,
        max: Number.MAX_SAFE_INTEGER,
        unit: "units",
        about: "units received of every SKU when it first appears",
      },
      zone: { type: "string", default: "Asia/Shanghai", about: "the shop's time zone: where its days begin (R8)" },
      out: { type: "string", required: true, about: "the folder for summary.json, alerts.ndjson and rejected.ndjson" },
      force: { type: "boolean", about: "overwrite an earlier result in that folder" },
    }),
  ),
  async run({ values, operands, signal }) {
    if (operands.length === 0) throw badInput("replay", "FILE", "name at least one CSV file");
    const [{ readHistory }, { loadMapping }, { replay }] = await Promise.all([
      import("../../connectors/csv/index.js"),
      import("../../connectors/mapping/mapping.js"),
      import("../replay/replay.js"),
    ]);
    const history = readHistory([...operands], await loadMapping(values.mapping), { zone: values.zone });
    const isTerminal = process.stderr.isTTY === true;
    const summary = await replay({ ...values, history, signal, onProgress: progressLine(isTerminal) });
    if (isTerminal) process.stderr.write(ERASE_LINE);
    process.stdout.write(textOf(summary, values.out));
  },
});

/** Writes the progress to stderr: redrawn on a terminal, otherwise a line every few seconds. */
function progressLine(isTerminal: boolean) {
  let writtenAtSeconds = 0;
  return ({ rows, share, seconds }: { rows: number; share: number; seconds: number }): void => {
    if (!isTerminal && seconds - writtenAtSeconds < LINE_EVERY_SECONDS) return;
    writtenAtSeconds = seconds;
    const filled = Math.round(share * BAR_WIDTH);
    const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
    const rate = figure(Math.round(rows / Math.max(seconds, 0.001)));
    const text = `${bar} ${String(Math.round(share * 100)).padStart(3)} %  ${figure(rows)} rows  ${rate}/s`;
    process.stderr.write(isTerminal ? `${ERASE_LINE}${text}` : `${text}\n`);
  };
}

function textOf(summary: ReplaySummary, out: string): string {
  const { rows, seconds, accepted, refused, rejected, kinds, events, alertsFired, alertedSkus, stateHash } = summary;
  const rowsByKind = Object.entries(kinds).map(([kind, ofKind]) => `${figure(ofKind)} ${kind}`);
  return [
    `${figure(rows)} rows in ${seconds.toFixed(1)} s: ${figure(accepted)} accepted, ${figure(refused)} refused, ${figure(rejected)} rejected`,
    `${rowsByKind.join(", ")}; ${figure(events)} events`,
    `${figure(alertsFired)} alerts fired on ${figure(alertedSkus)} SKUs`,
    `state ${stateHash}`,
    `written to ${out}: summary.json, alerts.ndjson, rejected.ndjson`,
    "",
  ].join("\n");
}
