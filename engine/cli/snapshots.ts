/**
 * `shuiwei snapshots`: sends a file of rows to a running `serve` as a snapshot of a source, part by part with its
 * progress, and lists what is kept. A part whose answer is lost is sent again, which is safe: the same rows under the
 * same id count once. When it is stopped, sending the same file under the same id goes on with the parts that miss.
 */
import { systemClock } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { instantOf } from "../kernel/instant.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { requestServer, serverOptions } from "./server-request.js";
import { counted, escapeControls, figure, notDone, printLine } from "./text.js";

const OP = "snapshots";

const snapshotsOptions = defineOptions({
  ...serverOptions,
  source: { type: "string", about: "send: the source whose snapshot it is, for example wms" },
  asOf: { type: "string", about: "send: the instant that the rows describe, by this machine's clock" },
  measure: {
    type: "string",
    default: "on_hand",
    pattern: /on_hand|sellable|display/,
    expects: "on_hand, sellable or display",
    about: "send: what the units count",
  },
  id: { type: "string", about: "send: the snapshot's id; left out: its instant" },
  rowsAPart: {
    type: "integer",
    default: 100_000,
    min: 1,
    max: 1_000_000,
    unit: "rows",
    about: "send: rows of one request",
  },
  json: { type: "boolean", about: "one line of JSON for each snapshot instead of text" },
});
type Options = OptionValues<typeof snapshotsOptions>;

export const command = defineCommand({
  name: "snapshots",
  about: "what sources report as their stock: send a file, list what is kept",
  operands: "ACTION [FILE]",
  more: `  send FILE   rows with sku, location, units: .csv with a header, or .ndjson; also .gz. Sends parts and prints what became of the snapshot
  list        every snapshot that is kept: source, id, state, rows, instant, and why it was refused

Status 1: the snapshot was refused. Send it again under the same --id after an interruption, under a new one after a refusal.

`,
  options: snapshotsOptions,
  async run({ values, operands: [action, file, ...more], signal }) {
    if (action === "list" && file === undefined) await list(values, signal);
    else if (action === "send" && file !== undefined && more.length === 0) await send(file, values, signal);
    else throw badInput(OP, "ACTION", "must be send FILE, or list");
  },
});

async function send(path: string, options: Options, signal: AbortSignal): Promise<void> {
  const { source, asOf, measure, rowsAPart, json } = options;
  if (source === undefined) throw badInput(OP, "--source", "must be set: whose stock the file reports");
  const atMs = asOf === undefined ? undefined : instantOf(asOf);
  if (asOf === undefined || atMs === undefined)
    throw badInput(OP, "--as-of", "must be set to an instant such as 2026-06-18T18:00:00+08:00");
  const { openSnapshotFile } = await import("./snapshot-file.js");
  const file = await openSnapshotFile(path);
  const parts = Math.ceil(file.rows / rowsAPart);
  const id = options.id ?? new Date(atMs).toISOString();
  let sent = 0;
  for await (const { part, rows, body } of file.parts(rowsAPart)) {
    const query = { id, asOf, measure, part: String(part), parts: String(parts), rows: String(file.rows) };
    // Of each attempt: the time between two of them would count as the skew of this machine's clock.
    const path = () => {
      const sentAt = new Date(systemClock.now()).toISOString();
      return `/v1/snapshots/${encodeURIComponent(source)}?${new URLSearchParams({ ...query, sentAt })}`;
    };
    const headers = { "content-type": file.contentType, "content-encoding": "gzip" };
    const answer = await requestServer(options, { op: OP, path, sending: { body, headers } }, signal);
    sent += rows;
    process.stderr.write(`part ${part} of ${parts}: ${figure(sent)} of ${counted(file.rows, "row")}\n`);
    if (answer["outcome"] !== "complete") continue;
    printLine(
      json ? JSON.stringify(answer) : `complete: ${counted(file.rows, "row")} of ${source} as of ${asOf}, id ${id}`,
    );
    return;
  }
  throw notDone(OP, `all ${counted(parts, "part")} were sent, and the snapshot is not complete: see "snapshots list"`);
}

interface SnapshotLine {
  source: string;
  id: string;
  state: string;
  parts: number;
  partsReceived: number;
  rows: number;
  asOf: string;
  refusal?: { message: string };
}

async function list(options: Options, signal: AbortSignal): Promise<void> {
  const { snapshots } = (await requestServer(options, { op: OP, path: () => "/v1/snapshots" }, signal)) as unknown as {
    snapshots: SnapshotLine[];
  };
  for (const each of snapshots) printLine(options.json ? JSON.stringify(each) : lineOf(each));
  if (!options.json && snapshots.length === 0) printLine("no snapshots");
}

function lineOf({ source, id, state, parts, partsReceived, rows, asOf, refusal }: SnapshotLine): string {
  const progress = state === "receiving" ? `, ${partsReceived} of ${counted(parts, "part")}` : "";
  const reason = refusal ? `: ${refusal.message}` : "";
  return escapeControls(
    `${source.padEnd(16)} ${id.padEnd(26)} ${state.padEnd(9)} ${figure(rows).padStart(11)} rows as of ${asOf}${progress}${reason}`,
  );
}
