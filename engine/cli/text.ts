/** Text of the commands: figures, counts, and lines of output that cannot steer a terminal. */
import { EngineError } from "../kernel/errors.js";

export const figure = (n: number): string => n.toLocaleString("en");

/** `1 cell`, `2 cells`; another plural's ending is given. */
export const counted = (n: number, name: string, plural = "s"): string =>
  `${figure(n)} ${name}${n === 1 ? "" : plural}`;

/** Shows control characters as their codes: text of a record or a file must not steer a terminal. */
export const escapeControls = (text: string): string =>
  text.replace(/\p{Cc}/gu, (control) => `\\u${(control.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);

export const printLine = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** The error of a command that could not do all that was asked: status 1. */
export const notDone = (op: string, message: string): EngineError =>
  new EngineError(message, { op, code: "not_done", retryable: false });
