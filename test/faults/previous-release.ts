/**
 * The release before this one, built from the repository's history into a folder of its own. It uses the packages
 * that are installed here where they are those that it was locked to, else its own. Where the history is not there,
 * as in a shallow clone, there is none.
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

/** The commit that it was made of, or undefined when this clone does not have it. */
export async function previousCommit(): Promise<string | undefined> {
  const { commit } = JSON.parse(await readFile(new URL("./previous-release.json", import.meta.url), "utf8")) as {
    commit: string;
  };
  const known = await run("git", ["-C", ROOT, "cat-file", "-e", `${commit}^{commit}`]).then(
    () => true,
    () => false,
  );
  return known ? commit : undefined;
}

export async function buildRelease(commit: string): Promise<PreviousRelease> {
  const folder = await mkdtemp(join(tmpdir(), "shuiwei-previous-"));
  const archive = join(folder, "source.tar");
  await run("git", ["-C", ROOT, "archive", "--output", archive, commit]);
  await run("tar", ["-xf", archive, "-C", folder]);
  await rm(archive);
  if (await hasPackagesOf(folder)) await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  else await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder });
  // Its types were checked when it was made; another compiler or other types of packages may find something by now.
  const compiler = join(folder, "node_modules", "typescript", "bin", "tsc");
  await run(process.execPath, [compiler, "--project", "tsconfig.build.json", "--outDir", "dist", "--noCheck"], {
    cwd: folder,
  });
  for (const room of ROOMS) await copyAssets(join(folder, room), join(folder, "dist", room));
  return {
    commit,
    cli: join(folder, "dist", "engine", "cli.js"),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Whether what is installed here is what a release was locked to, of the packages that it runs with. */
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

/** Everything that a compiler leaves behind: Lua, contracts, mappings. */
async function copyAssets(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await copyAssets(source, target);
    else if (!/\.(?:m?ts|tsx)$/.test(entry.name)) await cp(source, target);
  }
}
