/**
 * The output folder of a replay: what would be refused at the end is refused before anything is read, and the files
 * appear together, or none of them does. An earlier result is written over only when asked for.
 */
import { copyFile, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { badInput } from "../kernel/errors.js";
import { makeFolder, pathFault } from "../kernel/folder.js";

const OUT_OPTION = "--out";
export const SUMMARY_FILE = "summary.json";

/** @throws EngineError `bad_input` when the folder holds an earlier result and `force` is not set, or is a file */
export async function checkOut(out: string, force: boolean): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found && !found.isDirectory()) throw badInput("replay", OUT_OPTION, `${out} is a file, not a folder`);
  const earlier = await stat(join(out, SUMMARY_FILE)).catch(() => undefined);
  if (earlier && !force)
    throw badInput("replay", OUT_OPTION, `${out} holds an earlier result: name another folder, or add --force`);
}

/**
 * Writes the files to a temporary folder first, so that a full disk leaves none half-written.
 * @param texts the contents of files, by their names
 * @param copies files that are copied, by their new names
 */
export async function writeTogether(
  out: string,
  texts: Record<string, string>,
  copies: Record<string, string>,
): Promise<void> {
  await makeFolder(out, OUT_OPTION);
  let staging: string | undefined;
  try {
    staging = await mkdtemp(join(out, ".writing-"));
    for (const [name, text] of Object.entries(texts)) await writeFile(join(staging, name), text);
    for (const [name, path] of Object.entries(copies)) await copyFile(path, join(staging, name));
    for (const name of Object.keys({ ...texts, ...copies })) await rename(join(staging, name), join(out, name));
  } catch (thrown) {
    throw pathFault(OUT_OPTION, out, thrown);
  } finally {
    if (staging !== undefined) await rm(staging, { recursive: true, force: true });
  }
}
