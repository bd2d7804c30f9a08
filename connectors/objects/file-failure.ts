/**
 * Errors of the file system as errors of an object storage. A full disk or a lost mount may recover; a missing
 * permission, or a file in a folder's place, needs an operator.
 */
import { refused, unavailable } from "./object-store.js";

const NEEDS_OPERATOR = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG"]);

/** The system's code of an error, such as `ENOENT`. */
export function codeOf(thrown: unknown): string | undefined {
  const code: unknown = (thrown as NodeJS.ErrnoException | undefined)?.code;
  // An aborted signal's reason has a number.
  return typeof code === "string" ? code : undefined;
}

/** @param doing what could not be done: `put object a/b.json` */
export function fileFailure(doing: string, thrown: unknown): Error {
  const code = codeOf(thrown);
  if (code === undefined || code.startsWith("objects_")) return thrown as Error;
  const message = `could not ${doing}: ${(thrown as Error).message}`;
  return NEEDS_OPERATOR.has(code) ? refused(message, thrown) : unavailable(message, thrown);
}
