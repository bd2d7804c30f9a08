/**
 * A disk that is really full, under `--dir` and `--out`: a file system of a few MiB in memory. To mount one needs root;
 * without it these tests are skipped. The error names the option and the path, the status is not 0, and no
 * half-written file remains.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readdir, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const MIB = 1_048_576;
/** The command rejects variables that are not its own, such as those of the tests. */
const env = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SHUIWEI_"))),
  SHUIWEI_TOKENS: "a-token-of-this-test",
};

const disk = mkdtempSync(join(tmpdir(), "shuiwei-full-"));
const isMounted = mount();
afterAll(() => {
  if (isMounted) execFileSync("umount", [disk]);
  rmSync(disk, { recursive: true, force: true });
});

function mount(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${4 * MIB}`, "tmpfs", disk], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Fills the disk except for so many bytes. */
async function fill(exceptBytes = 0): Promise<() => Promise<void>> {
  const { bavail, bsize } = await statfs(disk);
  const path = join(disk, "fill");
  await writeFile(path, Buffer.alloc(bavail * bsize - exceptBytes));
  return () => rm(path);
}

function shuiwei(...args: string[]): Promise<{ status: number; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { encoding: "utf8", env }, (error, _out, err) =>
      resolve({ status: error ? Number(error.code) : 0, err }),
    );
  });
}

describe.skipIf(!isMounted)("a full disk", () => {
  it("under --dir is reported when the private Redis cannot start; with free space it starts", async () => {
    const dir = join(disk, "shop");
    const empty = await fill();
    const { status, err } = await shuiwei("serve", "--port", "0", "--dir", dir);
    expect(err).toBe(`shuiwei serve: --dir ${dir}: the disk is full\n`);
    expect(status).toBeGreaterThan(0);
    await empty();
    const serve = spawn(process.execPath, [CLI, "serve", "--port", "0", "--dir", dir, "--drain-delay", "0"], {
      stdio: ["ignore", "pipe", "ignore"],
      env,
    });
    const exit = once(serve, "exit");
    const firstLine = await Promise.race([once(createInterface({ input: serve.stdout }), "line"), exit]);
    serve.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    expect(firstLine[0]).toContain("serving at");
    await rm(dir, { recursive: true });
  });

  it("under --out of a replay is reported at its end, and no result or part of one remains", async () => {
    const history = `${disk}.csv`;
    // Rejected rows are written to a file; these are more than there is space for.
    const rows = Array.from({ length: 4_000 }, (_, i) => `${i},A,x,2010-12-01T08:26:00Z,2.55,7,UK`);
    writeFileSync(history, ["invoice,sku,quantity,time,unit_price,customer,country", ...rows, ""].join("\n"));
    const empty = await fill(20_000);
    try {
      const options = ["--mapping", "online-retail", "--zone", "UTC", "--opening-stock", "100"];
      const out = join(disk, "out");
      const { status, err } = await shuiwei("replay", history, ...options, "--out", out);
      expect(err).toContain(`shuiwei replay: --out ${out}: the disk is full\n`);
      expect(err).not.toMatch(/ENOSPC| at /);
      expect(status).toBeGreaterThan(0);
      expect(await readdir(out)).toEqual([]);
    } finally {
      await empty();
      rmSync(history);
    }
  });
});
