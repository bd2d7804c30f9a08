/**
 * What no code has foreseen: an exception that was not caught, a rejected promise that was not handled. The process
 * may be in a state that no test has seen, so it must not go on, but it need not fall over either: the fault is
 * logged with its stack, the ordinary shutdown begins, and a process that has not ended after a while is ended as it
 * stands. What was answered is in Redis, and other processes take the partitions over.
 */
import type { EventEmitter } from "node:events";
import type { OnTrouble } from "../kernel/logger.js";

export const UNEXPECTED_STATUS = 1;
/** The server's 10 s for requests under way, a commit, and 10 s for a private Redis, with room. */
const SHUTDOWN_LIMIT_MS = 30_000;

export interface UnexpectedOptions {
  /** Begins the ordinary shutdown. */
  stop(): void;
  tell: OnTrouble;
  /** Ends the process as it stands. */
  exit(status: number): void;
  /** How long the shutdown may take. */
  limitMs?: number;
  /** Where faults come from; left out: this process. */
  source?: EventEmitter;
}

/**
 * Watches for faults from now on.
 * @returns tells whether there has been one: the exit status is then UNEXPECTED_STATUS
 */
export function watchUnexpected(options: UnexpectedOptions): () => boolean {
  const { stop, tell, exit, limitMs = SHUTDOWN_LIMIT_MS, source = process } = options;
  let hasBeen = false;
  // Node makes an exception of a rejection that was not handled.
  source.on("uncaughtException", (thrown: unknown, origin: string) => {
    const what = origin === "unhandledRejection" ? "a rejected promise was not handled" : "an exception was not caught";
    const words = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    tell(`${what}: ${words}`, { level: "error" });
    // Further ones, of the shutdown itself perhaps, change nothing.
    if (hasBeen) return;
    hasBeen = true;
    const overdue = setTimeout(() => {
      tell(`the shutdown has not ended in ${limitMs} ms: the process is ended as it stands`, { level: "error" });
      exit(UNEXPECTED_STATUS);
    }, limitMs);
    // It keeps no process alive that has ended otherwise.
    overdue.unref();
    stop();
  });
  return () => hasBeen;
}
