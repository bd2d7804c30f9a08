/**
 * `shuiwei bench NAME`: runs one of the scenarios in `bench/` and prints what it measured, as a table or as one line
 * of JSON. Scenarios are found at run time: nothing in the engine depends on them.
 */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { badInput } from "../kernel/errors.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { figure as exactFigure, printLine } from "./text.js";

const benchOptions = defineOptions({
  json: { type: "boolean", about: "one line of JSON at the end instead of a table" },
  runs: {
    type: "integer",
    default: 5,
    min: 1,
    max: 50,
    unit: "runs",
    about: "counted runs of each side, in turn; medians are reported",
  },
  minutes: {
    type: "number",
    default: 10,
    min: 0.1,
    max: 1_440,
    unit: "minutes",
    about: "how long soak measures, after its warm-up of about 3 minutes",
  },
  speed: {
    type: "string",
    default: "60",
    pattern: /^(real|[1-9]\d?|1\d\d|200)$/,
    expects: "real, or a whole number of times up to 200",
    about: "618: how fast the hour runs after its first half minute, which is always real",
  },
  out: { type: "string", about: "618: the folder for 618.json and 618.svg" },
  seconds: {
    type: "integer",
    default: 60,
    min: 1,
    max: 3_600,
    unit: "seconds",
    about: "http, alerts: how long is measured, after a warm-up",
  },
  rate: {
    type: "integer",
    default: 8_200,
    min: 1,
    max: 100_000,
    unit: "a second",
    about: "http, alerts: orders (http: then commands) that are asked for each second, answered or not",
  },
});

/** One figure of both sides; `ratio` is ours ÷ theirs of the medians. */
export interface BenchRow {
  case: string;
  unit: string;
  ours: number;
  peer: string;
  theirs: number;
  ratio: number;
}

/** One figure over time; the slope is that of the straight line through all readings. */
export interface BenchTrend {
  case: string;
  unit: string;
  start: number;
  end: number;
  slopePerHour: number;
}

/** Rows, and the circumstances under which they were measured. */
export interface BenchReport {
  rows: readonly (BenchRow | BenchTrend)[];
  facts: Record<string, number>;
  /** Further fields of the JSON. */
  details?: Record<string, unknown>;
  /** Printed instead of the rows. */
  table?: readonly string[];
}

/** Every option of the command; a scenario uses those that it needs. */
export type BenchSettings = OptionValues<typeof benchOptions> & {
  signal: AbortSignal;
  onProgress(text: string): void;
};

/** What a file in `bench/` exports. */
export interface BenchModule {
  run(settings: BenchSettings): Promise<BenchRow[] | BenchReport>;
}

const SCENARIOS = new URL("../../bench/", import.meta.url);

export const command = defineCommand({
  name: "bench",
  about:
    "measure speed beside the usual way in one run (ledger, http, pipeline, edge), the hour of 18 June (618), from an order to the push of its alert (alerts), memory over many days of a shop (soak)",
  operands: "NAME",
  options: benchOptions,
  async run({ values, operands, signal }) {
    const scenario = await load(operands);
    const onProgress = (text: string) => void process.stderr.write(`${text}\n`);
    const result = await scenario.run({ ...values, signal, onProgress });
    const { rows, facts, details, table }: BenchReport = Array.isArray(result)
      ? { rows: result, facts: { runs: values.runs } }
      : result;
    const machine = machineOf();
    if (values.json) return printLine(JSON.stringify({ bench: operands[0], rows, ...facts, ...details, machine }));
    for (const line of table ?? rows.map((row) => ("ratio" in row ? pairLine(row) : trendLine(row)))) printLine(line);
    const circumstances = Array.isArray(result)
      ? `medians of ${values.runs} runs each, in turn`
      : Object.entries(facts)
          .map(([fact, n]) => `${fact} ${figure(n)}`)
          .join(", ");
    printLine(`${circumstances}; ${machine.cores} × ${machine.cpu}, Node ${machine.node}`);
  },
});

async function load([name, ...more]: readonly string[]): Promise<BenchModule> {
  const known = readdirSync(SCENARIOS)
    .filter((file) => /^[a-z0-9-]+\.js$/.test(file))
    .map((file) => file.slice(0, -".js".length));
  if (name === undefined || more.length > 0 || !known.includes(name))
    throw badInput("bench", "NAME", `name one of: ${known.join(", ")}`);
  return (await import(new URL(`${name}.js`, SCENARIOS).href)) as BenchModule;
}

const machineOf = () => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
});

const pairLine = ({ case: name, unit, ours, peer, theirs, ratio }: BenchRow): string =>
  `${name.padEnd(28)} ${figure(ours).padStart(10)} ${unit}   ${peer}: ${figure(theirs)}   ratio ${ratio.toFixed(2)}`;

const trendLine = ({ case: name, unit, start, end, slopePerHour }: BenchTrend): string =>
  `${name.padEnd(32)} start ${start.toFixed(1).padStart(9)}   end ${end.toFixed(1).padStart(9)}   slope ${slopePerHour.toFixed(1).padStart(9)} an hour   ${unit}`;

const figure = (n: number): string => exactFigure(Math.round(n));
