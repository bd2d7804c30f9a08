/**
 * Builds the previous release from the repository's history in a temporary folder. It uses the packages installed here
 * if they have the versions of its lock file; otherwise it installs its own. A clone without that history, such as a
 * shallow one, has no previous release.
 */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export interface PreviousRelease {
  commit: string;
  cli: string;
  remove(): Promise<void>;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ROOMS = ["engine", "connectors", "dashboards", "bench"];
const run = promisify(execFile);

/** The commit of the previous release, or undefined when this clone does not have it. */
export async function previousCommit(): Promise<string | undefined> {
  const { commit } = JSON.parse(await readFile(new URL("./previous-release.json", import.meta.url), "utf8")) as {
    commit: string;
  };
  const exists = await run("git", ["-C", ROOT, "cat-file", "-e", `${commit}^{commit}`]).then(
    () => true,
    () => false,
  );
  return exists ? commit : undefined;
}

export async function buildRelease(commit: string): Promise<PreviousRelease> {
  const folder = await mkdtemp(join(tmpdir(), "shuiwei-previous-"));
  const archive = join(folder, "source.tar");
  await run("git", ["-C", ROOT, "archive", "--output", archive, commit]);
  await run("tar", ["-xf", archive, "-C", folder]);
  await rm(archive);
  if (await hasPackagesOf(folder)) await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  else await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder });
  // Types were checked at its release; today's compiler and package types may report errors that it did not have.
  const compiler = join(folder, "node_modules", "typescript", "bin", "tsc");
  await run(process.execPath, [compiler, "--project", "tsconfig.build.json", "--outDir", "dist", "--noCheck"], {
    cwd: folder,
  });
  for (const room of ROOMS) await copyAssets(join(folder, room), join(folder, "dist", room));
  return {
    commit,
    cli: await cliOf(folder),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The built command: `cli/main.js`, or `cli.js` in a release before the commands had a folder. */
async function cliOf(folder: string): Promise<string> {
  const engine = join(folder, "dist", "engine");
  const isFolder = (await readdir(engine)).includes("cli");
  return isFolder ? join(engine, "cli", "main.js") : join(engine, "cli.js");
}

/** Whether the installed runtime packages have the versions of the release's lock file. */
async function hasPackagesOf(folder: string): Promise<boolean> {
  const { packages } = JSON.parse(await readFile(join(folder, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version?: string; dev?: boolean; optional?: boolean }>;
  };
  for (const [path, { version, dev, optional }] of Object.entries(packages)) {
    if (path === "" || dev || optional) continue;
    const installed = await readFile(join(ROOT, path, "package.json"), "utf8").catch(() => "{}");
    if ((JSON.parse(installed) as { version?: string }).version !== version) return false;
  }
  return true;
}

/** Copies the files that the compiler does not: Lua, contracts, mappings. */
async function copyAssets(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await copyAssets(source, target);
    else if (!/\.(?:m?ts|tsx)$/.test(entry.name)) await cp(source, target);
  }
}
