/**
 * The folder of a backup: one file of each primary and a manifest, which is written last, so a folder without one is
 * no finished backup. The manifest holds size and SHA-256 of every file; a restore verifies them all before it
 * writes anything.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { badInput } from "../kernel/errors.js";

export interface BackupFile {
  name: string;
  bytes: number;
  sha256: string;
}

export interface Manifest {
  /** Version of the manifest's own form; another number is refused. */
  version: 1;
  madeAt: string;
  release: string;
  prefix: string;
  partitions: number;
  format: number;
  /** One for each primary. */
  files: BackupFile[];
}

const MANIFEST = "manifest.json";

export async function describeFile(path: string): Promise<BackupFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const part of createReadStream(path)) {
    hash.update(part as Buffer);
    bytes += (part as Buffer).length;
  }
  return { name: basename(path), bytes, sha256: hash.digest("hex") };
}

export const writeManifest = (folder: string, manifest: Manifest): Promise<void> =>
  writeFile(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });

/** @throws EngineError `bad_input` when the folder is no finished backup of a known form */
export async function readManifest(folder: string): Promise<Manifest> {
  const text = await readFile(join(folder, MANIFEST), "utf8").catch(() => undefined);
  if (text === undefined)
    throw badInput("restore", "FOLDER", `${folder} has no ${MANIFEST}: it is not a finished backup`);
  let manifest: Partial<Manifest>;
  try {
    manifest = JSON.parse(text) as Partial<Manifest>;
  } catch {
    throw badInput("restore", "FOLDER", `${join(folder, MANIFEST)} cannot be read`);
  }
  const { version, files, prefix, partitions } = manifest;
  if (version !== 1 || !files?.length || !prefix || !partitions)
    throw badInput("restore", "FOLDER", `${join(folder, MANIFEST)} is not a manifest that this release can read`);
  return manifest as Manifest;
}

/** @throws EngineError `bad_input` when a file is missing or damaged */
export async function verifyFiles(folder: string, { files }: Manifest): Promise<void> {
  for (const file of files) await verify(folder, file);
}

async function verify(folder: string, expected: BackupFile): Promise<void> {
  const path = join(folder, basename(expected.name));
  const found = await describeFile(path).catch(() => undefined);
  if (!found) throw badInput("restore", "FOLDER", `${path} is missing`);
  if (found.bytes !== expected.bytes || found.sha256 !== expected.sha256)
    throw badInput("restore", "FOLDER", `${path} is damaged: it differs from the manifest`);
}
