/**
 * What any part may tell the operator: a sentence, and fields that a log can be searched by. Fields are references (a
 * chain id, a partition), never contents: no buyer's text and no secret belongs into either. The one logger that
 * writes is made by the composition (engine/app/logging.ts); parts know only the function that they are handed.
 */

export const LOG_LEVELS = ["info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a line is about, where that is known. */
export interface LogFields {
  /** Left out: `warn`. */
  level?: LogLevel;
  /** A chain id, without a line number. */
  order?: string;
  sku?: string;
  topic?: string;
  partition?: number;
  job?: string;
  sink?: string;
  /** Address of whoever asked; each has lines of its own, so whoever tells bounds how many. */
  client?: string;
  /** Of an HTTP answer: the client was told the same. */
  instance?: string;
  /** Of an EngineError, or what a receiver answered with. */
  code?: string;
}

/** How parts of the engine tell of what they survive. */
export type OnTrouble = (message: string, fields?: LogFields) => void;

export interface Logger {
  info(message: string, fields?: Omit<LogFields, "level">): void;
  warn(message: string, fields?: Omit<LogFields, "level">): void;
  error(message: string, fields?: Omit<LogFields, "level">): void;
}

const HIDDEN = "***";
/** User and password of a URL, a header that carries a credential, a credential given as `name=value`. */
const SECRET_PLACES: readonly [pattern: RegExp, shown: string][] = [
  [/([a-z][a-z0-9+.-]*:\/\/)[^/\s@"']*@/gi, `$1${HIDDEN}@`],
  // No word of a sentence ("no bearer token is set") is so long, and no secret of ours is shorter.
  [/\b(Bearer|Basic)\s+[A-Za-z0-9\-._~+/]{16,}=*/gi, `$1 ${HIDDEN}`],
  [/\b(authorization\W{1,8}(?:Bearer|Basic))\s+[A-Za-z0-9\-._~+/]+=*/gi, `$1 ${HIDDEN}`],
  [/\b((?:set-)?cookie|authorization|x-api-key)(["']?\s*[:=]\s*)[^\r\n]+/gi, `$1$2${HIDDEN}`],
  [
    /\b((?:access_?|session_?)?token|password|passwd|secret|signature)(["']?\s*[:=]\s*["']?)[^\s"'&,;]+/gi,
    `$1$2${HIDDEN}`,
  ],
];

/** A text without what looks like a credential, and without the secrets that are known. */
export function withoutSecrets(text: string, known: Iterable<string> = []): string {
  let shown = text;
  for (const secret of known) if (secret !== "") shown = shown.replaceAll(secret, HIDDEN);
  return SECRET_PLACES.reduce((left, [pattern, put]) => left.replace(pattern, put), shown);
}
