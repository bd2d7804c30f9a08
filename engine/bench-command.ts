/**
 * `shuiwei bench NAME`: runs one of the scenarios in `bench/` and tells what it measured, as a table or as one line of JSON.
 */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import type { benchOptions } from "./config.js";
import { badInput } from "./kernel/errors.js";
import type { OptionValues } from "./kernel/options.js";

/** One side by side figure; `ratio` is ours ÷ theirs of the medians. */
export interface BenchRow {
  case: string;
  unit: string;
  ours: number;
  peer: string;
  theirs: number;
  ratio: number;
}

/** What a file in `bench/` exports. */
export interface BenchModule {
  run(settings: { runs: number; signal: AbortSignal; onProgress(text: string): void }): Promise<BenchRow[]>;
}

/** Found at run time: nothing in the engine depends on the benchmarks. */
const SCENARIOS = new URL("../bench/", import.meta.url);

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
  const rows = await scenario.run({
    runs: options.runs,
    signal,
    onProgress: (text) => process.stderr.write(`${text}\n`),
  });
  const machine = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ bench: name, rows, runs: options.runs, machine })}\n`);
    return;
  }
  for (const row of rows) {
    process.stdout.write(
      `${row.case.padEnd(28)} ${figure(row.ours).padStart(10)} ${row.unit}   ${row.peer}: ${figure(row.theirs)}   ratio ${row.ratio.toFixed(2)}\n`,
    );
  }
  process.stdout.write(
    `medians of ${options.runs} runs each, in turn; ${machine.cores} × ${machine.cpu}, Node ${machine.node}\n`,
  );
}

const figure = (n: number): string => Math.round(n).toLocaleString("en");
