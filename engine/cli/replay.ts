/**
 * `shuiwei replay` for a person: checks what was asked, draws the progress, tells the result in a few lines.
 */
import { readHistory } from "../../connectors/csv/index.js";
import { loadMapping } from "../../connectors/mapping/mapping.js";
import type { replayOptions } from "../app/config.js";
import { badInput } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";
import { replay } from "../replay/replay.js";

const BAR_WIDTH = 30;
/** Where the output is no terminal, a line now and then is enough. */
const LINE_EVERY_SECONDS = 5;

export async function runReplay(
  files: string[],
  options: OptionValues<typeof replayOptions>,
  signal: AbortSignal,
): Promise<void> {
  if (files.length === 0) throw badInput("replay", "FILE", "name at least one CSV file");
  const { zone } = options;
  const history = readHistory(files, await loadMapping(options.mapping), { zone });
  const terminal = process.stderr.isTTY === true;
  let toldSeconds = 0;
  const summary = await replay({
    ...options,
    history,
    signal,
    onProgress({ rows, share, seconds }) {
      if (!terminal && seconds - toldSeconds < LINE_EVERY_SECONDS) return;
      toldSeconds = seconds;
      const filled = Math.round(share * BAR_WIDTH);
      const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
      const text = `${bar} ${String(Math.round(share * 100)).padStart(3)} %  ${rows.toLocaleString("en")} rows  ${perSecond(rows, seconds)}/s`;
      process.stderr.write(terminal ? `\r\u001b[2K${text}` : `${text}\n`);
    },
  });
  if (terminal) process.stderr.write("\r\u001b[2K");
  const figure = (n: number) => n.toLocaleString("en");
  process.stdout.write(
    [
      `${figure(summary.rows)} rows in ${summary.seconds.toFixed(1)} s: ${figure(summary.accepted)} accepted, ${figure(summary.refused)} refused, ${figure(summary.rejected)} rejected`,
      `${Object.entries(summary.kinds)
        .map(([kind, rows]) => `${figure(rows)} ${kind}`)
        .join(", ")}; ${figure(summary.events)} events`,
      `${figure(summary.alertsFired)} alerts fired on ${figure(summary.alertedSkus)} SKUs`,
      `state ${summary.stateHash}`,
      `written to ${options.out}: summary.json, alerts.ndjson, rejected.ndjson`,
      "",
    ].join("\n"),
  );
}

const perSecond = (rows: number, seconds: number): string =>
  Math.round(rows / Math.max(seconds, 0.001)).toLocaleString("en");
