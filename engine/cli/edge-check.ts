/** `shuiwei edge check`: runs a check of connectors/cdn and prints its report, as text or as one line of JSON. */
import { checkEdge, type EdgeReport } from "../../connectors/cdn/probe/check.js";
import type { PurgeRequest } from "../../connectors/cdn/probe/observation.js";
import { addressOf } from "../../connectors/cdn/probe/target.js";
import type { OptionValues } from "../kernel/options.js";
import type { edgeOptions } from "./edge-options.js";
import { counted, escapeControls, notDone, printLine } from "./text.js";

type Options = OptionValues<typeof edgeOptions>;

const OP = "edge";
const say = (text: string): void => printLine(escapeControls(text));

/** @throws EngineError `not_done` when there is a finding, `bad_input` for a wrong address */
export async function runCheck(address: string, options: Options, signal: AbortSignal): Promise<void> {
  const { seconds, origin, json } = options;
  const report = await checkEdge(
    {
      url: addressOf(address, "URL"),
      durationMs: seconds * 1_000,
      origin: origin === undefined ? undefined : addressOf(origin, "--origin"),
      purge: purgeOf(options),
      onStart: (url) => {
        if (!json) say(`reads ${url} for ${seconds} s`);
      },
    },
    signal,
  );
  if (json) printLine(JSON.stringify(report));
  else for (const line of linesOf(report)) say(line);
  const findings = report.checks.filter(({ state }) => state === "finding");
  if (findings.length > 0) throw notDone(OP, `${counted(findings.length, "finding")} at ${report.url}`);
}

function purgeOf({ purgeUrl, purgeMethod, purgeHeader = "" }: Options): PurgeRequest | undefined {
  if (purgeUrl === undefined) return undefined;
  const [name = "", ...value] = purgeHeader.split(":");
  const headers = purgeHeader === "" ? {} : { [name]: value.join(":").trim() };
  return { url: addressOf(purgeUrl, "--purge-url"), method: purgeMethod, headers };
}

function linesOf({ edge, reads, checks }: EdgeReport): string[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const indent = " ".repeat("untested".length + width + 4);
  const from = edge === "unknown" ? "an unknown kind of cache" : edge;
  return [
    `${counted(reads, "read")} through ${from}`,
    ...checks.flatMap(({ name, state, seen, advice }) => [
      `${state.padEnd("untested".length)}  ${name.padEnd(width)}  ${seen}`,
      ...(advice === undefined ? [] : [`${indent}likely: ${advice.rule}`, `${indent}change: ${advice.change}`]),
    ]),
  ];
}
