/** Folders that an option names: made with what is missing above them, or refused in words. */
import { mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeFolder, pathFault } from "../../engine/kernel/folder.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "folder-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe("a folder", () => {
  it("is made with all that is missing above it, once, however many ask at the same time", async () => {
    const path = join(root, "a", "b", "c");
    await Promise.all(Array.from({ length: 20 }, () => makeFolder(path, "--dir", 0o700)));
    for (const each of [path, join(root, "a")]) expect((await stat(each)).mode & 0o777).toBe(0o700);
    await makeFolder(path, "--dir");
  });

  it.runIf(process.platform === "linux")("that cannot be made is rejected at once", async () => {
    for (const path of ["/proc/nothing", "/proc/nothing/below"])
      await expect(makeFolder(path, "--out")).rejects.toMatchObject({
        code: "bad_option",
        message: `--out ${path}: no folder can be made there`,
      });
  });

  it("is rejected where there is a file, or a link without a target", async () => {
    await writeFile(join(root, "file"), "");
    await symlink(join(root, "gone"), join(root, "link"));
    const words = (path: string) => makeFolder(path, "--out").catch((thrown: Error) => thrown.message);
    expect(await words(join(root, "file"))).toContain("it is a file, not a folder");
    expect(await words(join(root, "file", "x"))).toContain("a part of the path is a file, not a folder");
    expect(await words(join(root, "link"))).toContain("--out ");
  });
});

describe("a failure of the file system", () => {
  it.each([
    ["ENOSPC", "--out result: the disk is full"],
    ["EACCES", "--out result: this user has no right to write there"],
    ["EROFS", "--out result: the file system is read-only"],
  ])("of %s names the option and the path, in words", (code, message) => {
    const thrown = Object.assign(new Error(`${code}: raw, write`), { code });
    expect(pathFault("--out", "result", thrown)).toMatchObject({ code: "bad_option", message });
  });

  it("of another kind stays unchanged", () => {
    const thrown = new TypeError("oops");
    expect(pathFault("--out", "result", thrown)).toBe(thrown);
  });
});
