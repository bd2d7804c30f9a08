/**
 * The operator's log on stderr: one JSON object a line (`time`, `level`, `message`, and the fields of
 * kernel/logger.ts), or a line for the eye where stderr is a terminal. Every text passes one filter that hides
 * credentials: those in the settings wherever they stand, and whatever looks like one. It cannot know a buyer's name;
 * that none gets here is each part's duty.
 */
import { pino } from "pino";
import { type Clock, systemClock } from "../kernel/clock.js";
import {
  LOG_LEVELS,
  type LogFields,
  type Logger,
  type LogLevel,
  type OnTrouble,
  withoutSecrets,
} from "../kernel/logger.js";
import { defineOptions } from "../kernel/options.js";
import { throttledLogger } from "./throttled-logger.js";

export const loggingOptions = defineOptions({
  logLevel: {
    type: "choice",
    choices: LOG_LEVELS,
    default: "info",
    about: "the least that the log on stderr tells; it is JSON lines unless stderr is a terminal",
  },
});

export interface Log extends Logger {
  /** What parts of the engine are handed: trouble of one kind is told at most once in ten seconds. */
  readonly onTrouble: OnTrouble;
}

export interface LogOptions {
  level: LogLevel;
  /** Lines for the eye instead of JSON; left out: where stderr is a terminal. */
  pretty?: boolean;
  /** Texts that no line may hold. */
  secrets?: readonly string[];
  /** Takes one line with its end; left out: stderr. */
  write?: (line: string) => void;
  clock?: Clock;
}

export function createLog(options: LogOptions): Log {
  const { level, secrets = [], clock = systemClock } = options;
  const { pretty = process.stderr.isTTY === true, write = (line) => void process.stderr.write(line) } = options;
  const lines = pino(
    {
      level,
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: pretty ? (line) => write(forTheEye(line)) : write },
  );
  const tell: OnTrouble = (message, { level: at = "warn", ...fields } = {}) => {
    const shown = Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === "string" ? withoutSecrets(value, secrets) : value,
    ]);
    lines[at](Object.fromEntries(shown), withoutSecrets(message, secrets));
  };
  return {
    info: (message, fields) => tell(message, { ...fields, level: "info" }),
    warn: (message, fields) => tell(message, { ...fields, level: "warn" }),
    error: (message, fields) => tell(message, { ...fields, level: "error" }),
    onTrouble: throttledLogger(tell, clock),
  };
}

/** The credentials that settings hold: tokens, keys, and the passwords in addresses. */
export function secretsOf(values: Readonly<Record<string, unknown>>): string[] {
  const secrets: string[] = [];
  for (const [name, value] of Object.entries(values)) {
    if (/tokens?$|secret$|password$/i.test(name)) secrets.push(...[value].flat().flatMap(credentialsOf));
    if (typeof value !== "string") continue;
    for (const [, password = ""] of value.matchAll(/:\/\/[^/\s@:]*:([^/\s@]+)@/g))
      secrets.push(password, decoded(password));
  }
  return [...new Set(secrets)].filter(({ length }) => length >= SHORTEST_SECRET);
}

/** A shorter text would be found in words that are none. */
const SHORTEST_SECRET = 6;

/** `name:role:secret` holds a secret, too. */
const credentialsOf = (value: unknown): string[] =>
  typeof value === "string" ? [value, value.slice(value.lastIndexOf(":") + 1)] : [];

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const COLOURS: Readonly<Record<LogLevel, string>> = { info: "\u001b[36m", warn: "\u001b[33m", error: "\u001b[31m" };
const PLAIN = "\u001b[0m";
const DIM = "\u001b[2m";
const CLOCK_FROM = "2026-06-18T".length;
const CLOCK_TO = "2026-06-18T00:00:00.000".length;
const LEVEL_WIDTH = 5;

/** Texts of others may hold escape sequences, which a terminal would obey. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** `00:00:00.000 WARN  the message  topic=orders partition=3`. */
function forTheEye(line: string): string {
  const { time, level, message, ...fields } = JSON.parse(line) as LogFields & {
    time: string;
    level: LogLevel;
    message: string;
  };
  const named = Object.entries(fields).map(([name, value]) => ` ${name}=${value}`.replace(CONTROL, "?"));
  const label = `${COLOURS[level]}${level.toUpperCase().padEnd(LEVEL_WIDTH)}${PLAIN}`;
  const rest = named.length > 0 ? ` ${DIM}${named.join("")}${PLAIN}` : "";
  return `${time.slice(CLOCK_FROM, CLOCK_TO)} ${label} ${message.replace(CONTROL, "?")}${rest}\n`;
}
