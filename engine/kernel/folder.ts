/**
 * Folders that an option names: made with all that is missing above them, and, when they cannot be, refused in words
 * that name the option and the path. Node's own recursive mkdir never ends where a file system says of a folder in an
 * existing one that it is not there (/proc).
 */
import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { EngineError } from "./errors.js";

const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException | undefined)?.code ?? "";

/** What errno codes mean to somebody who named a path. */
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
  ENOENT: "nothing can be made there",
  ENAMETOOLONG: "the path is too long",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open",
  EIO: "the disk fails",
};

/** A failure of the file system as a fault of the option that named the path; anything else as it is. */
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
 * @throws EngineError `bad_option` that names the option, or what the system says otherwise
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
  // Once more, and no oftener: in an existing folder it is said again that something is not there.
  if (!(await isMade(path, mode))) throw Object.assign(new Error(`${path} cannot be made`), { code: "ENOENT" });
}

/** False: something above it is missing. */
async function isMade(path: string, mode: number | undefined): Promise<boolean> {
  try {
    await mkdir(path, mode);
    return true;
  } catch (thrown) {
    // Made by another at the same time, or there before.
    const isThere = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (!isThere && codeOf(thrown) !== "ENOENT") throw thrown;
    return isThere;
  }
}
