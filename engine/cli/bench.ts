/**
 * `shuiwei bench NAME`: runs one of the scenarios in `bench/` and tells what it measured, as a table or as one line
 * of JSON.
 */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import type { benchOptions } from "../app/config.js";
import { badInput } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";

/** One side by side figure; `ratio` is ours ÷ theirs of the medians. */
export interface BenchRow {
  case: string;
  unit: string;
  ours: number;
  peer: string;
  theirs: number;
  ratio: number;
}

/** How one figure went while it was watched; the slope is that of the straight line through all looks. */
export interface BenchTrend {
  case: string;
  unit: string;
  start: number;
  end: number;
  slopePerHour: number;
}

/** Rows, and what else there is to know about how they came to be. */
export interface BenchReport {
  rows: readonly (BenchRow | BenchTrend)[];
  facts: Record<string, number>;
  /** What the JSON tells beside rows and facts. */
  details?: Record<string, unknown>;
  /** Lines of text instead of the rows. */
  table?: readonly string[];
}

/** Every option of the command; a scenario takes what concerns it. */
export type BenchSettings = OptionValues<typeof benchOptions> & {
  signal: AbortSignal;
  onProgress(text: string): void;
};

/** What a file in `bench/` exports. */
export interface BenchModule {
  run(settings: BenchSettings): Promise<BenchRow[] | BenchReport>;
}

/** Found at run time: nothing in the engine depends on the benchmarks. */
const SCENARIOS = new URL("../../bench/", import.meta.url);

export async function runBench(
  names: string[],
  options: OptionValues<typeof benchOptions>,
  signal: AbortSignal,
): Promise<void> {
  const known = readdirSync(SCENARIOS)
    .filter((file) => /^[a-z0-9-]+\.js$/.test(file))
    .map((file) => file.slice(0, -".js".length));
  const [name] = names;
  if (names.length !== 1 || name === undefined || !known.includes(name)) {
    throw badInput("bench", "NAME", `name one of: ${known.join(", ")}`);
  }
  const scenario = (await import(new URL(`${name}.js`, SCENARIOS).href)) as BenchModule;
  const result = await scenario.run({
    ...options,
    signal,
    onProgress: (text) => process.stderr.write(`${text}\n`),
  });
  const report: BenchReport = Array.isArray(result) ? { rows: result, facts: { runs: options.runs } } : result;
  const { rows, facts, details, table } = report;
  const machine = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ bench: name, rows, ...facts, ...details, machine })}\n`);
    return;
  }
  const lines = table ?? rows.map((row) => ("ratio" in row ? pairLine(row) : trendLine(row)));
  for (const line of lines) process.stdout.write(`${line}\n`);
  const told = Array.isArray(result)
    ? `medians of ${options.runs} runs each, in turn`
    : Object.entries(facts)
        .map(([fact, n]) => `${fact} ${figure(n)}`)
        .join(", ");
  process.stdout.write(`${told}; ${machine.cores} × ${machine.cpu}, Node ${machine.node}\n`);
}

const pairLine = ({ case: name, unit, ours, peer, theirs, ratio }: BenchRow): string =>
  `${name.padEnd(28)} ${figure(ours).padStart(10)} ${unit}   ${peer}: ${figure(theirs)}   ratio ${ratio.toFixed(2)}`;

const trendLine = ({ case: name, unit, start, end, slopePerHour }: BenchTrend): string =>
  `${name.padEnd(32)} start ${start.toFixed(1).padStart(9)}   end ${end.toFixed(1).padStart(9)}   slope ${slopePerHour.toFixed(1).padStart(9)} an hour   ${unit}`;

const figure = (n: number): string => Math.round(n).toLocaleString("en");
