/**
 * The actions of `shuiwei sources`. `check` and a dry run need no Redis: they open the sources as a running process
 * would and read from them; nothing is stored, and no rows are acknowledged to a source. `run` without `--dry-run` and
 * `list` talk to a deployment. What a source wrote is printed without control characters.
 */
import { CONNECTORS } from "../../connectors/index.js";
import type { SourceConfiguration } from "../../connectors/sources/configuration.js";
import { SourceRegistry, type SourceReport } from "../../connectors/sources/index.js";
import type { PullResult } from "../../connectors/sources/pull.js";
import type { StockRow } from "../../connectors/sources/row-mapper.js";
import { environmentVariable, serveOptions } from "../app/config.js";
import { withDeployment } from "../app/deployment.js";
import { sourceKindsOf } from "../app/tables.js";
import { sleep, systemClock } from "../kernel/clock.js";
import { badInput, messageOf } from "../kernel/errors.js";
import { durationText, joinOptions, type OptionValues } from "../kernel/options.js";
import { deploymentOptions } from "./deployment-options.js";
import { sourcesCommandOptions } from "./source-options.js";
import { counted, escapeControls, figure, notDone, printLine } from "./text.js";

const OP = "sources";
const POLL_MS = 250;

const { zone } = serveOptions;
const allOptions = joinOptions(deploymentOptions, { zone }, sourcesCommandOptions);
type Options = OptionValues<typeof allOptions>;

export async function runSources(operands: readonly string[], options: Options, signal: AbortSignal): Promise<void> {
  const [action, file, ...more] = operands;
  if (more.length > 0) throw badInput(OP, "FILE", "name one file");
  if (action === "check") await check(needed(file), options, signal);
  else if (action === "list") await list(options);
  else if (action === "run") {
    if (!options.once) throw badInput(OP, "--once", "is missing; serve --sources pulls by the schedule");
    if (options.dryRun) await dryRun(needed(file), options, signal);
    else await request(options, signal);
  } else throw badInput(OP, "ACTION", "must be check, run or list");
}

function needed(file: string | undefined): string {
  if (file === undefined) throw badInput(OP, "FILE", "name the configuration of the sources");
  return file;
}

const say = (text: string): void => printLine(escapeControls(text));

// ---- check

async function check(file: string, options: Options, signal: AbortSignal): Promise<void> {
  const { configuration, faults, secrets } = await read(file);
  const { faultText } = await import("../../connectors/configuration/placed-faults.js");
  for (const fault of faults) say(faultText(fault));
  let found = faults.length;
  for (const source of chosen(configuration.sources, options.source, faults.length > 0)) {
    const { shown, problems } = await sampleOf(source, options, secrets, signal);
    for (const line of shown) say(line);
    for (const problem of problems) say(`${source.name}: ${problem}`);
    found += problems.length;
  }
  if (found > 0) throw notDone(OP, `${counted(found, "fault")} found`);
  printLine(`${file}: ${counted(configuration.sources.length, "source")}, no fault`);
}

/** Three mapped rows of a source, or why there are none. */
async function sampleOf(
  source: SourceConfiguration,
  { zone: shopZone, offline }: Options,
  secrets: readonly string[],
  signal: AbortSignal,
): Promise<{ shown: readonly string[]; problems: readonly string[] }> {
  const [{ openSource }, { firstRows }] = await Promise.all([
    import("../../connectors/sources/open-source.js"),
    import("../../connectors/sources/first-rows.js"),
  ]);
  const about = `${source.name}: ${source.kind.name}, ${source.measure}`;
  try {
    const { client, ...opened } = await openSource(source, { zone: shopZone, secrets });
    try {
      if (offline) return { shown: [about], problems: [] };
      const { rows, faults, ignored } = await firstRows(source, opened.source, shopZone, systemClock, signal);
      const skewMs = client.skewMs();
      const skew = skewMs ? `, its clock is ${durationText(Math.abs(skewMs))} ${skewMs > 0 ? "ahead" : "behind"}` : "";
      const left = ignored > 0 ? `, ${counted(ignored, "row")} left out by the configuration` : "";
      const none = rows.length + faults.length + ignored === 0 ? ", no rows" : "";
      return { shown: [`${about}${skew}${left}${none}`, ...rows.map((row) => `  ${rowText(row)}`)], problems: faults };
    } finally {
      await opened.close();
    }
  } catch (thrown) {
    return { shown: [], problems: [messageOf(thrown)] };
  }
}

const rowText = ({ sku, location, units, id, timeMs }: StockRow): string =>
  [
    `SKU ${sku} at ${location}: ${figure(units)} units`,
    ...(timeMs === undefined ? [] : [new Date(timeMs).toISOString()]),
    ...(id === undefined ? [] : [`id ${id}`]),
  ].join(", ");

// ---- run

async function dryRun(file: string, options: Options, signal: AbortSignal): Promise<void> {
  const [{ loadSources }, { openSource }, { pullSnapshot, pullMovements }] = await Promise.all([
    import("../../connectors/sources/configuration.js"),
    import("../../connectors/sources/open-source.js"),
    import("../../connectors/sources/pull.js"),
  ]);
  const { sources, secrets } = await loadSources(file, await lookup());
  let failed = 0;
  for (const configuration of chosen(sources, options.source, false)) {
    const { source, client, close } = await openSource(configuration, { zone: options.zone, secrets });
    const parts = { configuration, source, client, zone: options.zone, clock: systemClock };
    try {
      for (const [pulled, pull] of [
        ["snapshot", pullSnapshot],
        ["movements", pullMovements],
      ] as const) {
        if (configuration.pulls[pulled] === undefined) continue;
        const result = await pull(parts, signal);
        for (const line of resultText(configuration.name, pulled, result)) say(line);
        if (result.outcome === "refused") failed++;
      }
    } catch (thrown) {
      failed++;
      say(`${configuration.name}: ${messageOf(thrown)}`);
    } finally {
      await close();
    }
  }
  if (failed > 0) throw notDone(OP, `${counted(failed, "pull")} would not be stored`);
}

function resultText(name: string, pulled: string, result: PullResult): string[] {
  const { outcome, rows, ignored, pages, reachedMs, faults, samples } = result;
  const would = { stored: "would be stored", nothing_new: "has nothing new", refused: "would be refused" }[outcome];
  const asOf = reachedMs === undefined ? "" : `, as of ${new Date(reachedMs).toISOString()}`;
  const left = ignored === 0 ? "" : `, ${counted(ignored, "row")} left out`;
  return [
    `${name} ${pulled}: ${would}: ${counted(rows, "row")} in ${counted(pages, "page")}${left}${asOf}`,
    ...samples.map((row) => `  ${rowText(row)}`),
    ...faults.map((fault) => `  ${fault}`),
  ];
}

/** Asks the deployment's workers, and waits until every pull that was asked for has ended. */
async function request(options: Options, signal: AbortSignal): Promise<void> {
  const { source, waitMs } = options;
  await withDeployment(OP, options, async ({ redis }) => {
    const registry = new SourceRegistry(redis, options.prefix);
    const atMs = systemClock.now();
    // Before the request: the pull may have ended when this process looks again.
    const before = await registry.list();
    const asked = await registry.requestPull(
      { atMs, actor: "command line", reason: "sources run" },
      source === undefined ? undefined : [source],
    );
    if (asked.length === 0) throw badInput(OP, "--source", "no such source is configured in this deployment");
    const attemptsOf = (reports: readonly SourceReport[]) =>
      reports.flatMap(({ name, pulls, states }) =>
        asked.includes(name)
          ? Object.keys(pulls).map((pulled) => ({ name, pulled, state: states[pulled as keyof typeof states] }))
          : [],
      );
    const known = new Map(
      attemptsOf(before).map(({ name, pulled, state }) => [`${name}/${pulled}`, state?.lastAttemptMs]),
    );
    for (let waitedMs = 0; ; waitedMs += POLL_MS) {
      const attempts = attemptsOf(await registry.list());
      const open = attempts.filter(
        ({ name, pulled, state }) => state?.lastAttemptMs === known.get(`${name}/${pulled}`),
      );
      if (open.length === 0) {
        for (const { name, pulled, state } of attempts)
          say(`${name} ${pulled}: ${state?.outcome}, ${counted(state?.rows ?? 0, "row")}`);
        if (attempts.some(({ state }) => (state?.failures ?? 0) > 0))
          throw notDone(OP, "a pull failed; see sources list");
        return;
      }
      if (signal.aborted || waitedMs >= waitMs)
        throw notDone(OP, `${open.map(({ name }) => name).join(", ")}: not pulled in time; is a worker running?`);
      await sleep(POLL_MS, signal);
    }
  });
}

// ---- list

async function list(options: Options): Promise<void> {
  await withDeployment(OP, options, async ({ redis }) => {
    const reports = await new SourceRegistry(redis, options.prefix).list();
    if (options.json) printLine(JSON.stringify(reports));
    else if (reports.length === 0) printLine("no source is configured");
    else for (const report of reports) for (const line of reportText(report, systemClock.now())) say(line);
  });
}

function reportText({ name, kind, measure, pulls, states }: SourceReport, nowMs: number): string[] {
  return Object.entries(pulls).flatMap(([pulled, schedule]) => {
    const state = states[pulled as keyof typeof states];
    const head = `${name} (${kind}, ${measure}) ${pulled} ${schedule}`;
    if (state === undefined) return [`${head}: not pulled yet`];
    const { lastSuccessMs, reachedMs, rows, failures, faults, overdueMs } = state;
    const success = lastSuccessMs === undefined ? "no success yet" : `success ${agoText(nowMs - lastSuccessMs)} ago`;
    const lag = reachedMs === undefined ? "" : `, lag ${agoText(nowMs - reachedMs)}`;
    const late = nowMs > overdueMs ? ", OVERDUE" : "";
    const failed = failures === 0 ? "" : `, ${counted(failures, "failure")} since`;
    return [
      `${head}: ${success}${lag}, ${counted(rows, "row")}${failed}${late}`,
      ...(failures === 0 ? [] : faults.slice(0, 3)).map(
        ({ atMs, message }) => `  ${new Date(atMs).toISOString()} ${message}`,
      ),
    ];
  });
}

/** In whole seconds, minutes or hours. */
function agoText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

// ---- configuration

const lookup = async () => ({ kinds: await sourceKindsOf({ connectors: CONNECTORS }), env: environmentVariable });

async function read(file: string) {
  const { readSources } = await import("../../connectors/sources/configuration.js");
  return readSources(file, await lookup());
}

/** @param isPartial sources with a fault are left out of the list */
function chosen(
  sources: readonly SourceConfiguration[],
  name: string | undefined,
  isPartial: boolean,
): readonly SourceConfiguration[] {
  if (name === undefined) return sources;
  const found = sources.filter((source) => source.name === name);
  if (found.length === 0 && !isPartial) throw badInput(OP, "--source", `the file has no source "${name}"`);
  return found;
}
