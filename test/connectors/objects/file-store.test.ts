/**
 * Objects as files: whole or not there, readable by their owner only, and never outside of their folder.
 */
import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileStore } from "../../../connectors/objects/file-store.js";
import { MAX_OBJECT_BYTES } from "../../../connectors/objects/object-store.js";

const KEY = "orders/2026-06-17/WB0123456789.json";
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "objects-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const filesIn = async (root: string): Promise<string[]> =>
  (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

describe("an object in a folder", () => {
  it("is what was put, last of all, also for another process", async () => {
    const store = new FileStore(join(folder, "new", "objects"));
    expect(await store.get(KEY)).toBeUndefined();
    await store.put(KEY, Buffer.from("first"));
    await store.put(KEY, Buffer.from("second"));
    expect(Buffer.from((await new FileStore(join(folder, "new", "objects")).get(KEY)) as Uint8Array).toString()).toBe(
      "second",
    );
    expect(await filesIn(folder)).toHaveLength(1);
  });

  it("is for its owner only", async () => {
    await new FileStore(folder).put(KEY, Buffer.from("x"));
    const [file = ""] = await filesIn(folder);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(dirname(file))).mode & 0o777).toBe(0o700);
  });

  it("shares its folder with few others", async () => {
    const store = new FileStore(folder);
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => store.put(`orders/2026-06-17/${i}.json`, Buffer.from(`${i}`))),
    );
    const shards = await readdir(join(folder, "orders/2026-06-17"));
    expect(shards.length).toBeGreaterThan(80);
    expect(shards.every((name) => /^[0-9a-f]{2}$/.test(name))).toBe(true);
    for (let i = 0; i < 200; i += 50)
      expect(Buffer.from((await store.get(`orders/2026-06-17/${i}.json`)) as Uint8Array).toString()).toBe(`${i}`);
  });

  it("is one of those that were put, when several put at once", async () => {
    const store = new FileStore(folder);
    const bodies = Array.from({ length: 20 }, (_, i) => Buffer.alloc(10_000, i));
    await Promise.all(bodies.map((bytes) => store.put(KEY, bytes)));
    const kept = Buffer.from((await store.get(KEY)) as Uint8Array);
    expect(bodies.some((bytes) => bytes.equals(kept))).toBe(true);
    expect(await filesIn(folder)).toHaveLength(1);
  });
});

describe("what is refused", () => {
  it.each([
    "",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/./b",
    "a/.hidden",
    "a\\..\\b",
    "a\u0000b",
    "C:x",
    "x".repeat(201),
  ])("is the key %j", async (key) => {
    const store = new FileStore(join(folder, "inside"));
    await expect(store.put(key, Buffer.from("x"))).rejects.toMatchObject({ code: "bad_input" });
    await expect(store.get(key)).rejects.toMatchObject({ code: "bad_input" });
    expect(await filesIn(folder)).toEqual([]);
  });

  it("is an object that is too large, in both directions", async () => {
    const store = new FileStore(folder);
    await expect(store.put(KEY, new Uint8Array(MAX_OBJECT_BYTES + 1))).rejects.toMatchObject({ code: "bad_input" });
    await store.put(KEY, Buffer.from("x"));
    const [file = ""] = await filesIn(folder);
    await writeFile(file, Buffer.alloc(MAX_OBJECT_BYTES + 1));
    await expect(store.get(KEY)).rejects.toMatchObject({ code: "objects_refused" });
  });

  it("is a folder that is a file, for good; nothing half-written stays", async () => {
    await writeFile(join(folder, "orders"), "");
    const store = new FileStore(folder);
    await expect(store.put(KEY, Buffer.from("x"))).rejects.toMatchObject({ code: "objects_refused", retryable: false });
    expect(await filesIn(folder)).toHaveLength(1);
  });

  it("is a folder that was removed, until it can be made again", async () => {
    const store = new FileStore(join(folder, "mount"));
    await store.put(KEY, Buffer.from("x"));
    await rm(join(folder, "mount"), { recursive: true });
    await symlink(join(folder, "nowhere", "deep"), join(folder, "mount"));
    await expect(store.put(KEY, Buffer.from("x"))).rejects.toMatchObject({ retryable: true });
    await rm(join(folder, "mount"));
    await mkdir(join(folder, "mount"));
    await chmod(join(folder, "mount"), 0o700);
    await store.put(KEY, Buffer.from("y"));
    expect(Buffer.from((await store.get(KEY)) as Uint8Array).toString()).toBe("y");
  });
});
