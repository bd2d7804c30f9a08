/** The built command line as a process of its own, in a folder that is deleted after the file's tests. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll } from "vitest";

export const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));

export interface Ended {
  status: number;
  out: string;
  err: string;
}

export function withCli() {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "shuiwei-cli-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return {
    folder: () => folder,
    /** A name in the folder. */
    path: (name: string) => join(folder, name),
    /** Runs a command in the folder to its end. */
    shuiwei: (...args: string[]) =>
      new Promise<Ended>((resolve) => {
        execFile(process.execPath, [CLI, ...args], { encoding: "utf8", cwd: folder }, (error, out, err) => {
          resolve({ status: error ? Number(error.code) : 0, out, err });
        });
      }),
  };
}
