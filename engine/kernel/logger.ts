/**
 * The interface for log messages: a sentence, and fields that a log can be searched by. Fields are references (a
 * chain id, a partition), never contents: neither may hold a buyer's text or a secret. The logger that writes is made
 * in engine/app/logging.ts; other parts get a function.
 */

export const LOG_LEVELS = ["info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a message is about, where that is known. */
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
  /** Of stock, by its name in the configuration. */
  source?: string;
  /**
   * Address of an HTTP client. Messages are counted by address, so the caller must limit how many addresses it logs.
   */
  client?: string;
  /** Of an HTTP problem: the client got the same id. */
  instance?: string;
  /** Of an EngineError, or of a receiver's answer. */
  code?: string;
}

/** How parts of the engine report problems after which they continue. */
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
  // No word of a sentence ("no bearer token is set") is so long, and no secret of the engine is shorter.
  [/\b(Bearer|Basic)\s+[A-Za-z0-9\-._~+/]{16,}=*/gi, `$1 ${HIDDEN}`],
  [/\b(authorization\W{1,8}(?:Bearer|Basic))\s+[A-Za-z0-9\-._~+/]+=*/gi, `$1 ${HIDDEN}`],
  [/\b((?:set-)?cookie|authorization|x-api-key)(["']?\s*[:=]\s*)[^\r\n]+/gi, `$1$2${HIDDEN}`],
  [
    /\b((?:access_?|session_?)?token|password|passwd|secret|signature)(["']?\s*[:=]\s*["']?)[^\s"'&,;]+/gi,
    `$1$2${HIDDEN}`,
  ],
];

/** A text without known secrets, and without what looks like a credential. */
export function withoutSecrets(text: string, known: Iterable<string> = []): string {
  let shown = text;
  for (const secret of known) if (secret !== "") shown = shown.replaceAll(secret, HIDDEN);
  return SECRET_PLACES.reduce((left, [pattern, put]) => left.replace(pattern, put), shown);
}
