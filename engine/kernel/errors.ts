/**
 * The three kinds of failure. A business refusal is an *outcome* and is returned, never thrown. An EngineError is a
 * problem of an outside system or of input; only the runner and the connectors' loops catch it. An AssertionError is a
 * programming mistake: the process ends, the lease expires, and another process continues.
 */
export interface EngineErrorDetail {
  /** The operation, for example `ledger.apply` or `csv.read`. */
  op: string;
  /** A stable snake_case name of the error. */
  code: string;
  /** Whether the same call may succeed later. */
  retryable: boolean;
  /** Where in the input the error is, for example `orders.csv line 12` or `lines[2].units`. */
  input?: string;
  /** When retryable: how long to wait before the next try, in milliseconds. */
  retryAfterMs?: number;
}

export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly op: string;
  readonly code: string;
  readonly retryable: boolean;
  readonly input: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, detail: EngineErrorDetail, options?: { cause?: unknown }) {
    super(message, options);
    this.op = detail.op;
    this.code = detail.code;
    this.retryable = detail.retryable;
    this.input = detail.input;
    this.retryAfterMs = detail.retryAfterMs;
  }
}

/** An error of input: states what is wrong and where. Not retryable. */
export function badInput(op: string, place: string, message: string, cause?: unknown): EngineError {
  return new EngineError(`${place}: ${message}`, { op, code: "bad_input", retryable: false, input: place }, { cause });
}

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The message of anything thrown. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Why new work is rejected at the moment. */
export interface TemporaryRefusal {
  code: "overloaded" | "store_full";
  /** A sentence for the client. */
  reason: string;
  retryAfterMs: number;
}
