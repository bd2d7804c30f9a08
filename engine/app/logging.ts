/**
 * The operator's log on stderr: one JSON object per line (`time`, `level`, `message`, and the fields of
 * kernel/logger.ts), or readable text where stderr is a terminal. Every text passes one filter that hides
 * credentials: those of the settings, and everything that has the form of one. It cannot recognise a buyer's name:
 * every part has to keep those out of its messages.
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
    about: "the lowest level in the log on stderr, which is JSON lines unless stderr is a terminal",
  },
});

export interface Log extends Logger {
  /** For the parts of the engine: messages of one kind are written at most once in ten seconds. */
  readonly onTrouble: OnTrouble;
}

export interface LogOptions {
  level: LogLevel;
  /** Readable text instead of JSON; left out: where stderr is a terminal. */
  pretty?: boolean;
  /** Texts that are hidden in every message. */
  secrets?: readonly string[];
  /** Writes one line with its line end; left out: to stderr. */
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
    { write: pretty ? (line) => write(readableLine(line)) : write },
  );
  const writeLine: OnTrouble = (message, { level: at = "warn", ...fields } = {}) => {
    const shown = Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === "string" ? withoutSecrets(value, secrets) : value,
    ]);
    lines[at](Object.fromEntries(shown), withoutSecrets(message, secrets));
  };
  return {
    info: (message, fields) => writeLine(message, { ...fields, level: "info" }),
    warn: (message, fields) => writeLine(message, { ...fields, level: "warn" }),
    error: (message, fields) => writeLine(message, { ...fields, level: "error" }),
    onTrouble: throttledLogger(writeLine, clock),
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

/** A shorter text would be found in ordinary words. */
const SHORTEST_SECRET = 6;

/**
 * The same log without further texts: secrets of files that are read after the log was made, also as they are in a URL.
 */
export function hidingSecrets(onTrouble: OnTrouble, secrets: readonly string[]): OnTrouble {
  const hidden = secrets
    .flatMap((secret) => [secret, encodeURIComponent(secret)])
    .filter(({ length }) => length >= SHORTEST_SECRET)
    .sort((one, other) => other.length - one.length);
  if (hidden.length === 0) return onTrouble;
  return (message, fields = {}) => {
    const shown = Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === "string" ? withoutSecrets(value, hidden) : value,
    ]);
    onTrouble(withoutSecrets(message, hidden), Object.fromEntries(shown));
  };
}

/** The last part of `name:role:secret` is a secret of its own. */
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

/** Texts from outside may contain escape sequences, which a terminal would execute. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** `00:00:00.000 WARN  the message  topic=orders partition=3`. */
function readableLine(line: string): string {
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
