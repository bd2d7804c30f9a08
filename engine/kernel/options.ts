/**
 * Options: each room declares a table beside its code, and one reader turns tables, flags and variables into typed
 * values. The key `readBatch` is the flag `--read-batch` and the variable SHUIWEI_READ_BATCH; a duration's key ends in
 * Ms, its flag does not: `leaseMs` is `--lease 10s` and SHUIWEI_LEASE. A flag overrides a variable, a variable
 * overrides the default, and an empty variable counts as unset. One error lists all faults. It reads no files and no
 * environment except the one that is passed.
 */
import { assert, EngineError } from "./errors.js";

interface Described {
  /** One line for the help table. */
  readonly about: string;
  /** Must be set: no default, and a fault when it is absent. */
  readonly required?: boolean;
  /** Its value is not shown in a fault. */
  readonly secret?: boolean;
}

export interface StringOption extends Described {
  readonly type: "string";
  readonly default?: string;
  /** What the whole value must match, and its description: `expects: "a time such as 09:30"`. */
  readonly pattern?: RegExp;
  readonly expects?: string;
}

export interface NumberOption extends Described {
  readonly type: "integer" | "number";
  readonly default?: number;
  readonly min?: number;
  readonly max?: number;
  /** For example `units`. */
  readonly unit?: string;
}

/** Milliseconds in the program; a person writes `500ms`, `10s`, `30m`, `2h`, `1d`, or a bare number of milliseconds. */
export interface DurationOption extends Described {
  readonly type: "duration";
  readonly default?: number;
  readonly min?: number;
  readonly max?: number;
}

/** `--name`, `--no-name`, `--name=false`; false when it has no default. */
export interface BooleanOption extends Described {
  readonly type: "boolean";
  readonly default?: boolean;
}

export interface ChoiceOption extends Described {
  readonly type: "choice";
  readonly choices: readonly string[];
  readonly default?: string;
}

/** Separated by commas; the flag may also be repeated. Empty when it has no default. */
export interface ListOption extends Described {
  readonly type: "list";
  readonly choices?: readonly string[];
  readonly default?: readonly string[];
}

export type Option = StringOption | NumberOption | DurationOption | BooleanOption | ChoiceOption | ListOption;
export type OptionTable = Readonly<Record<string, Option>>;

type ValueOf<O extends Option> = O extends { type: "integer" | "number" | "duration" }
  ? number
  : O extends { type: "boolean" }
    ? boolean
    : O extends { type: "choice"; choices: readonly (infer C)[] }
      ? C
      : O extends { type: "list"; choices: readonly (infer C)[] }
        ? readonly C[]
        : O extends { type: "list" }
          ? readonly string[]
          : string;

type AlwaysSet = { type: "boolean" | "list" } | { required: true } | { default: unknown };

/** The values of a table: an option with neither a default nor `required` may be undefined. */
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T]: T[K] extends AlwaysSet ? ValueOf<T[K]> : ValueOf<T[K]> | undefined;
};

type Joined<T extends readonly OptionTable[]> = T extends readonly [
  infer First,
  ...infer Rest extends readonly OptionTable[],
]
  ? First & Joined<Rest>
  : unknown;

export interface OptionSources {
  env: Readonly<Record<string, string | undefined>>;
  /** Without node, the script and the command's name. */
  args: readonly string[];
  /** What the operands are, for example `FILE`; left out: an operand is a fault. */
  operands?: string;
  /** Options of other commands: their variables may be set, their flags not. */
  elsewhere?: OptionTable;
}

export interface OptionReading<T extends OptionTable> {
  values: OptionValues<T>;
  operands: string[];
}

const PREFIX = "SHUIWEI_";
const DURATION_UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;
const YES = new Set(["true", "yes", "on", "1"]);
const NO = new Set(["false", "no", "off", "0"]);

/** Declares a table. A default outside its own bounds, or two keys with one flag, is a programming mistake. */
export function defineOptions<const T extends OptionTable>(table: T): T {
  for (const [key, option] of Object.entries(table)) {
    assert(/^[a-z][a-z0-9]*([A-Z][a-z0-9]*)*$/.test(key), `option ${key} is not camelCase`);
    assert(option.type !== "duration" || key.endsWith("Ms"), `the duration ${key} does not end in Ms`);
    assert(!(option.required && option.default !== undefined), `option ${key} is required and has a default`);
    const fault = option.default === undefined ? undefined : boundFault(option, option.default);
    assert(fault === undefined, `option ${key}: its default ${fault}`);
  }
  assert(flagsOf(table).size === Object.keys(table).length, "two options have the same flag");
  return table;
}

/** Joins the tables of several rooms; two rooms that declare the same flag are a programming mistake. */
export function joinOptions<const T extends readonly OptionTable[]>(...tables: T): Joined<T> & OptionTable {
  const flags = tables.flatMap((table) => [...flagsOf(table).keys()]);
  const twice = flags.find((flag, i) => flags.indexOf(flag) !== i);
  assert(twice === undefined, `two rooms declare --${twice}`);
  return Object.assign({}, ...tables) as Joined<T> & OptionTable;
}

/** Values of a table as they were given elsewhere; a key that is missing there has its default. */
export function valuesOf<T extends OptionTable>(table: T, given: Readonly<Record<string, unknown>>): OptionValues<T> {
  const values = Object.entries(table).map(([key, option]) => [key, given[key] ?? absentValueOf(option)]);
  return Object.freeze(Object.fromEntries(values)) as OptionValues<T>;
}

/** The value of an option that is not set. */
const absentValueOf = (option: Option) =>
  option.default ?? (option.type === "list" ? [] : option.type === "boolean" ? false : undefined);

/** The flag of a key, without its dashes. */
const flagOf = (key: string, option: Option): string =>
  (option.type === "duration" ? key.replace(/Ms$/, "") : key).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** The environment variable of a key. */
const variableOf = (key: string, option: Option): string =>
  PREFIX + flagOf(key, option).replaceAll("-", "_").toUpperCase();

/**
 * Reads a table from flags and variables.
 * @throws EngineError `bad_option`, its message naming every fault, one a line
 */
export function readOptions<T extends OptionTable>(table: T, sources: OptionSources): OptionReading<T> {
  const faults: string[] = [];
  const { given, operands } = readArguments(table, sources, faults);
  const values: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(table)) {
    const variable = variableOf(key, option);
    const flagText = given.get(key);
    const text = flagText ?? (sources.env[variable] || undefined);
    const place = flagText === undefined ? variable : `--${flagOf(key, option)}`;
    if (text === undefined) {
      if (option.required) faults.push(`--${flagOf(key, option)} (or ${variable}) must be set: ${option.about}`);
      values[key] = absentValueOf(option);
      continue;
    }
    const value = parse(option, text);
    const fault = value === undefined ? `is not ${kindOf(option)}` : boundFault(option, value);
    if (fault !== undefined) faults.push(`${place}: ${option.secret ? "its value" : JSON.stringify(text)} ${fault}`);
    values[key] = value;
  }
  faults.push(...unknownVariables(table, sources));
  if (faults.length > 0) throw badOptions(faults);
  return { values: Object.freeze(values) as OptionValues<T>, operands };
}

/** The help table: flag, default, allowed values, meaning; the last line explains variables. */
export function renderOptions(table: OptionTable): string {
  const rows = Object.entries(table).map(([key, option]) => [
    `--${flagOf(key, option)}`,
    option.required ? "(must be set)" : option.default === undefined ? "" : textOf(option, option.default),
    allowedBy(option),
    option.about,
  ]);
  const lines = [["Option", "Default", "Allowed", "Meaning"], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...lines.map((cells) => (cells[column] as string).length)));
  const body = lines.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return `${body.join("\n")}\n\nEach is also a variable: --foo-bar is ${PREFIX}FOO_BAR. A flag overrides a variable.\n`;
}

function badOptions(faults: readonly string[]): EngineError {
  const message =
    faults.length === 1 ? `bad option: ${faults[0]}` : `${faults.length} bad options:\n  ${faults.join("\n  ")}`;
  return new EngineError(message, { op: "options.read", code: "bad_option", retryable: false });
}

const flagsOf = (table: OptionTable): Map<string, string> =>
  new Map(Object.entries(table).map(([key, option]) => [flagOf(key, option), key]));

/** Splits the arguments into the text given for each key, and operands. */
function readArguments(table: OptionTable, sources: OptionSources, faults: string[]) {
  const flags = flagsOf(table);
  const given = new Map<string, string>();
  const operands: string[] = [];
  for (let i = 0; i < sources.args.length; i++) {
    const argument = sources.args[i] as string;
    if (argument === "--") {
      operands.push(...sources.args.slice(i + 1));
      break;
    }
    if (!/^--?[a-z]/i.test(argument)) {
      operands.push(argument);
      continue;
    }
    const [, name = "", inline] = /^--?([^=]+)(?:=([\s\S]*))?$/.exec(argument) ?? [];
    const negated = name.startsWith("no-") && table[flags.get(name.slice(3)) ?? ""]?.type === "boolean";
    const key = flags.get(negated ? name.slice(3) : name);
    if (key === undefined || !argument.startsWith("--")) {
      faults.push(`unknown option ${argument.split("=")[0]}${didYouMean(name, [...flags.keys()], "--")}`);
      // An argument that follows is read as its value, not as an operand: one fault, not two.
      const next = sources.args[i + 1];
      if (inline === undefined && sources.operands === undefined && next !== undefined && !next.startsWith("-")) i++;
      continue;
    }
    const option = table[key] as Option;
    let text = inline;
    if (option.type === "boolean") text = negated ? "false" : (inline ?? "true");
    else if (text === undefined && !/^--/.test(sources.args[i + 1] ?? "--")) text = sources.args[++i];
    if (negated && inline !== undefined) faults.push(`--${name} takes no value`);
    else if (text === undefined || text === "") faults.push(`--${name} needs ${kindOf(option)}`);
    else if (!given.has(key)) given.set(key, text);
    else if (option.type === "list") given.set(key, `${given.get(key)},${text}`);
    else faults.push(`--${name} is given twice`);
  }
  if (sources.operands === undefined)
    faults.push(...operands.map((operand) => `unexpected ${JSON.stringify(operand)}`));
  return { given, operands };
}

function unknownVariables(table: OptionTable, sources: OptionSources): string[] {
  const known = [table, sources.elsewhere ?? {}].flatMap((each) =>
    Object.entries(each).map(([key, option]) => variableOf(key, option)),
  );
  const unknown = Object.keys(sources.env).filter((name) => name.startsWith(PREFIX) && !known.includes(name));
  return unknown.map((name) => `unknown variable ${name}${didYouMean(name, known, "")}`);
}

/** The value of a text, or undefined when the text is not of the option's type. */
function parse(option: Option, text: string): NonNullable<Option["default"]> | undefined {
  switch (option.type) {
    case "string":
    case "choice":
      return text;
    case "integer":
      return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined;
    case "number":
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
    case "duration": {
      const [, figure, unit = "ms"] = /^(\d{1,15}(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
      const scaleMs = DURATION_UNITS.find(([name]) => name === unit)?.[1] ?? 1;
      return figure === undefined ? undefined : Math.round(Number(figure) * scaleMs);
    }
    case "boolean":
      return YES.has(text.toLowerCase()) ? true : NO.has(text.toLowerCase()) ? false : undefined;
    case "list":
      return text.split(",").map((item) => item.trim());
  }
}

/** What is wrong with a value of the right type, as the end of a sentence. */
function boundFault(option: Option, value: NonNullable<Option["default"]>): string | undefined {
  if (typeof value === "number") {
    const { min = -Infinity, max = Infinity } = option as NumberOption | DurationOption;
    if (value < min) return `is below ${textOf(option, min)}`;
    return value > max ? `is above ${textOf(option, max)}` : undefined;
  }
  if (option.type === "string") {
    const matches = option.pattern?.exec(value as string)?.[0] === value;
    return option.pattern === undefined || matches ? undefined : `is not ${kindOf(option)}`;
  }
  if (option.type !== "choice" && option.type !== "list") return undefined;
  const items = typeof value === "string" ? [value] : (value as readonly string[]);
  if (items.includes("")) return "has an empty item";
  const twice = items.find((item, i) => items.indexOf(item) !== i);
  if (twice !== undefined) return `names ${twice} twice`;
  const stray = items.find((item) => option.choices?.includes(item) === false);
  if (stray === undefined || option.choices === undefined) return undefined;
  const subject = option.type === "list" ? `has ${JSON.stringify(stray)}, which is not one` : "is not one";
  return `${subject} of ${option.choices.join(", ")}${didYouMean(stray, option.choices, "")}`;
}

function kindOf(option: Option): string {
  switch (option.type) {
    case "string":
      return option.expects ?? "a text";
    case "integer":
      return "a whole number";
    case "number":
      return "a number";
    case "duration":
      return "a duration such as 500ms, 10s, 30m, 2h or 1d";
    case "boolean":
      return "true or false";
    case "choice":
      return `one of ${option.choices.join(", ")}`;
    case "list":
      return option.choices ? `a list out of ${option.choices.join(", ")}` : "a list separated by commas";
  }
}

/** A value as a person would write it; a duration in the largest unit that leaves it whole. */
function textOf(option: Option, value: NonNullable<Option["default"]>): string {
  return option.type === "duration" ? durationText(value as number) : String(value);
}

/** A duration as a person would write it, in the largest unit that leaves it whole. */
export function durationText(ms: number): string {
  if (ms === 0) return "0s";
  const [name, scaleMs] = DURATION_UNITS.find(([, scale]) => ms % scale === 0) ?? ["ms", 1];
  return `${ms / scaleMs}${name}`;
}

function allowedBy(option: Option): string {
  switch (option.type) {
    case "string":
      return option.expects ?? "text";
    case "boolean":
      return "true, false";
    case "choice":
      return option.choices.join(", ");
    case "list":
      return (option.choices ?? ["a", "b", "…"]).join(",");
    case "duration":
      return rangeOf(option) || "a duration";
    default:
      return [rangeOf(option), option.unit].filter(Boolean).join(" ") || kindOf(option);
  }
}

function rangeOf(option: NumberOption | DurationOption): string {
  const { min, max } = option;
  if (min === undefined) return max === undefined ? "" : `up to ${textOf(option, max)}`;
  return max === undefined ? `from ${textOf(option, min)}` : `${textOf(option, min)} to ${textOf(option, max)}`;
}

function didYouMean(name: string, known: readonly string[], prefix: string): string {
  const [nearest] = known
    .map((each) => ({ each, distance: editDistance(name.toLowerCase(), each.toLowerCase()) }))
    .filter(({ each, distance }) => distance <= Math.max(2, Math.floor(each.length / 4)) && distance < name.length)
    .sort((a, b) => a.distance - b.distance);
  return nearest === undefined ? "" : `; did you mean ${prefix}${nearest.each}?`;
}

/** Insertions, deletions and substitutions between two short words (Levenshtein). */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const substituted = (row[j - 1] as number) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[to.length] as number;
}
