/**
 * Makes the folders that options name, with all missing parents. An error names the option and the path. Node's own
 * recursive mkdir is not used: it never returns on a file system that reports ENOENT inside an existing folder (/proc).
 */
import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { EngineError } from "./errors.js";

const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException | undefined)?.code ?? "";

/** What errno codes mean for a path that an option names. */
const MEANINGS: Readonly<Record<string, string>> = {
  EACCES: "this user has no right to write there",
  EPERM: "this user has no right to write there",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would be larger than is allowed",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "it is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  ENOENT: "no folder can be made there",
  ENAMETOOLONG: "the path is too long",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open",
  EIO: "the disk reports an error",
};

/** An error of the file system as an error of the option that named the path; any other error unchanged. */
export function pathFault(option: string, path: string, thrown: unknown): unknown {
  const meaning = MEANINGS[codeOf(thrown)];
  if (meaning === undefined) return thrown;
  const message = `${option} ${path}: ${meaning}`;
  return new EngineError(
    message,
    { op: "folder", code: "bad_option", retryable: false, input: option },
    { cause: thrown },
  );
}

/**
 * Makes a folder unless it is there; folders above it that are missing get the same mode.
 * @throws EngineError `bad_option` that names the option, or the system's error when its code is not in the table
 */
export async function makeFolder(path: string, option: string, mode?: number): Promise<void> {
  try {
    await makePath(path, mode);
  } catch (thrown) {
    throw pathFault(option, path, thrown);
  }
}

/** The same with the system's own errors. */
export const makePath = (path: string, mode?: number): Promise<void> => make(resolve(path), mode);

async function make(path: string, mode: number | undefined): Promise<void> {
  if (await isMade(path, mode)) return;
  await make(dirname(path), mode);
  // Only once more: an error that remains although the parent exists would repeat without end.
  if (!(await isMade(path, mode))) throw Object.assign(new Error(`${path} cannot be made`), { code: "ENOENT" });
}

/** False: a parent is missing. */
async function isMade(path: string, mode: number | undefined): Promise<boolean> {
  try {
    await mkdir(path, mode);
    return true;
  } catch (thrown) {
    // Another process has made it at the same time, or it existed before.
    const isThere = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (!isThere && codeOf(thrown) !== "ENOENT") throw thrown;
    return isThere;
  }
}
