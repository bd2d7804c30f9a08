/** What a folder of a publication has beside the contract: files that a web server serves as they are. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PublicationFolder } from "../../../connectors/objects/publication-folder.js";

const writer = { epoch: 1, cacheSeconds: 1 };
const bytes = (text: string): Buffer => Buffer.from(text);
const object = { name: "AbCdEfGh01234_-z", identity: bytes("{}"), gzip: bytes("gzip"), br: bytes("br") };

let folder: string;
let root: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "publication-"));
  root = join(folder, "srv", "stock");
});
afterEach(() => rm(folder, { recursive: true }));

const modeOf = async (...path: string[]): Promise<string> =>
  ((await stat(join(root, ...path))).mode & 0o777).toString(8);

it("has a plain file and its compressed forms side by side", async () => {
  await new PublicationFolder(root).put([object]);
  expect((await readdir(root)).sort()).toEqual([
    ".state",
    "AbCdEfGh01234_-z.json",
    "AbCdEfGh01234_-z.json.br",
    "AbCdEfGh01234_-z.json.gz",
  ]);
  expect(await readFile(join(root, "AbCdEfGh01234_-z.json.gz"), "utf8")).toBe("gzip");
  expect(await readFile(join(root, "AbCdEfGh01234_-z.json.br"), "utf8")).toBe("br");
  await new PublicationFolder(root).delete([object.name]);
  expect(await readdir(root)).toEqual([".state"]);
});

it("can be read by a web server of another user, but for its state", async () => {
  const mask = process.umask(0o077);
  try {
    const store = new PublicationFolder(root);
    await store.put([object]);
    await store.replaceManifest(bytes("{}"), undefined, writer);
  } finally {
    process.umask(mask);
  }
  expect(await modeOf()).toBe("755");
  expect(await modeOf("manifest.json")).toBe("644");
  expect(await modeOf("AbCdEfGh01234_-z.json.gz")).toBe("644");
  expect(await modeOf(".state")).toBe("700");
});

it("leaves the mode of a folder that was there", async () => {
  await mkdir(root, { recursive: true, mode: 0o750 });
  await new PublicationFolder(root).put([object]);
  expect(await modeOf()).toBe("750");
});

it("gives every manifest another second of its last change, of which nginx makes its ETag", async () => {
  const store = new PublicationFolder(root);
  const seconds: number[] = [];
  let version: string | undefined;
  for (let i = 0; i < 3; i++) {
    version = await store.replaceManifest(bytes(`{"n":${i}}`), version, writer);
    seconds.push((await stat(join(root, "manifest.json"))).mtimeMs / 1_000);
  }
  expect(seconds.every(Number.isInteger)).toBe(true);
  expect([seconds[1], seconds[2]]).toEqual([(seconds[0] as number) + 1, (seconds[0] as number) + 2]);
});

it("is made again, after a failure, when it has vanished", async () => {
  const store = new PublicationFolder(root);
  const version = await store.replaceManifest(bytes("1"), undefined, writer);
  await rm(root, { recursive: true });
  await expect(store.replaceManifest(bytes("2"), version, writer)).rejects.toMatchObject({
    code: "objects_unavailable",
  });
  expect(await store.replaceManifest(bytes("2"), version, writer)).toBeUndefined();
  await rm(root, { recursive: true });
  await expect(store.put([object])).rejects.toMatchObject({ code: "objects_unavailable" });
  await store.put([object]);
  await store.replaceManifest(bytes("3"), undefined, writer);
  expect(await readFile(join(root, "manifest.json"), "utf8")).toBe("3");
});

it("loses no change of writers that replace the manifest at the same time", async () => {
  const [writers, changes] = [4, 6];
  const add = async (): Promise<void> => {
    const store = new PublicationFolder(root);
    for (let done = 0; done < changes; ) {
      const read = await store.readManifest();
      const before = read === undefined ? 0 : Number(Buffer.from(read.json).toString());
      const version = await store
        .replaceManifest(bytes(String(before + 1)), read?.version, writer)
        .catch(() => undefined);
      if (version !== undefined) done++;
    }
  };
  await Promise.all(Array.from({ length: writers }, add));
  expect(await readFile(join(root, "manifest.json"), "utf8")).toBe(String(writers * changes));
});

it("does not let a writer rename a manifest that another writer has overtaken", async () => {
  const store = new PublicationFolder(root);
  const version = await store.replaceManifest(bytes("1"), undefined, writer);
  // What a process that was frozen before its last step has prepared.
  const prepared = join(root, ".state", "manifest-frozen");
  await writeFile(prepared, "2");
  await store.replaceManifest(bytes("3"), version, writer);
  await expect(stat(prepared)).rejects.toMatchObject({ code: "ENOENT" });
});

it("removes what a process that ended has left unfinished, after an hour", async () => {
  const store = new PublicationFolder(root);
  await store.put([object]);
  const [old, young] = [join(root, ".state", "object-old"), join(root, ".state", "object-young")];
  await writeFile(old, "");
  await writeFile(young, "");
  const { mtimeMs } = await stat(old);
  await utimes(old, mtimeMs / 1_000 - 4_000, mtimeMs / 1_000 - 4_000);
  await new PublicationFolder(root).put([object]);
  expect(await readdir(join(root, ".state"))).toEqual(["object-young"]);
});

it.skipIf(process.getuid?.() === 0)("names the folder and what an operator must change", async () => {
  await mkdir(root, { recursive: true, mode: 0o555 });
  await expect(new PublicationFolder(root).put([object])).rejects.toMatchObject({
    code: "objects_refused",
    message: expect.stringContaining(root),
  });
});
