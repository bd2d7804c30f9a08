/**
 * Unexpected faults: an exception that was not caught, a rejected promise that was not handled. The process may be in
 * a state that no test covers, so it must not go on: the fault is logged with its stack and the ordinary shutdown
 * begins. A process that has not ended after a limit is ended at once. What was answered is in Redis, and other
 * processes take over the partitions.
 */
import type { EventEmitter } from "node:events";
import type { OnTrouble } from "../kernel/logger.js";

export const UNEXPECTED_STATUS = 1;
/** The server's 10 s for requests under way, a commit, and 10 s for a private Redis, with room. */
const SHUTDOWN_LIMIT_MS = 30_000;

export interface UnexpectedOptions {
  /** Begins the ordinary shutdown. */
  stop(): void;
  report: OnTrouble;
  /** Ends the process at once. */
  exit(status: number): void;
  /** How long the shutdown may take. */
  limitMs?: number;
  /** Where faults come from; left out: this process. */
  source?: EventEmitter;
}

/**
 * Watches for faults from now on.
 * @returns a function: whether there has been one; the exit status is then UNEXPECTED_STATUS
 */
export function watchUnexpected(options: UnexpectedOptions): () => boolean {
  const { stop, report, exit, limitMs = SHUTDOWN_LIMIT_MS, source = process } = options;
  let hasFailed = false;
  // Node turns an unhandled rejection into an exception.
  source.on("uncaughtException", (thrown: unknown, origin: string) => {
    const what = origin === "unhandledRejection" ? "a rejected promise was not handled" : "an exception was not caught";
    const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    report(`${what}: ${text}`, { level: "error" });
    // Later faults, perhaps of the shutdown itself, change nothing.
    if (hasFailed) return;
    hasFailed = true;
    const overdue = setTimeout(() => {
      report(`the shutdown has not ended in ${limitMs} ms: the process ends at once`, { level: "error" });
      exit(UNEXPECTED_STATUS);
    }, limitMs);
    // Must not keep a process alive that would end.
    overdue.unref();
    stop();
  });
  return () => hasFailed;
}
