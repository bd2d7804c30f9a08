/**
 * Which storage the settings name, and what is wrong with those that name none, reported before anything is sent.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ObjectsSettings, openObjectStore, openPublicationStore } from "../../../connectors/objects/index.js";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } from "../../../connectors/objects/sandbox.js";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "objects-settings-"));
});
afterAll(() => rm(dir, { recursive: true }));

const open = (more: Partial<ObjectsSettings>) =>
  openObjectStore({
    objectsUrl: undefined,
    objectsKeyId: KEY_ID,
    objectsSecret: SECRET,
    objectsTimeoutMs: 5_000,
    dir,
    ...more,
  });

describe("objects go", () => {
  it("into the deployment's folder by default", async () => {
    await open({}).put("a/b", Buffer.from("x"), "text/plain");
    expect(await readdir(join(dir, "objects"))).toEqual(["a"]);
  });

  it("into a folder", async () => {
    await open({ objectsUrl: pathToFileURL(join(dir, "else where")).href }).put("c", Buffer.from("x"), "text/plain");
    expect(await readdir(join(dir, "else where"))).toHaveLength(1);
  });

  it("into a bucket", async () => {
    const sandbox = await S3Sandbox.start();
    try {
      const store = open({ objectsUrl: `s3+${sandbox.endpoint}/${BUCKET}/shop?region=${REGION}` });
      await store.put("a/b", Buffer.from("x"), "text/plain");
      expect([...sandbox.objects.keys()]).toEqual(["shop/a/b"]);
    } finally {
      await sandbox.stop();
    }
  });
});

describe("settings at fault", () => {
  const url = `s3+https://s3.example.com/${BUCKET}`;
  it.each<[string, Partial<ObjectsSettings>, string]>([
    ["no URL", { objectsUrl: "objects" }, "--objects-url"],
    ["another kind of place", { objectsUrl: "ftp://example.com/x" }, "--objects-url"],
    ["a folder on another machine", { objectsUrl: "file://srv/objects" }, "three slashes"],
    ["no bucket", { objectsUrl: "s3+https://s3.example.com/" }, "names no bucket"],
    ["a bucket's name that is none", { objectsUrl: "s3+https://s3.example.com/B_" }, "names no bucket"],
    ["a prefix that climbs", { objectsUrl: `${url}/a%2F..` }, "prefix"],
    ["an unknown setting", { objectsUrl: `${url}?regoin=x` }, '"regoin"'],
    ["keys in the URL", { objectsUrl: url.replace("s3.ex", "id:secret@s3.ex") }, "SHUIWEI_OBJECTS_SECRET"],
    ["no key id", { objectsUrl: url, objectsKeyId: undefined }, "SHUIWEI_OBJECTS_KEY_ID"],
    ["no secret", { objectsUrl: url, objectsSecret: undefined }, "SHUIWEI_OBJECTS_SECRET"],
  ])("are reported: %s", (_, more, words) => {
    expect(() => open(more)).toThrow(
      expect.objectContaining({ code: "bad_option", message: expect.stringContaining(words) }),
    );
  });
});

describe("a publication goes", () => {
  const settings = { objectsKeyId: KEY_ID, objectsSecret: SECRET, objectsTimeoutMs: 5_000 };

  it("into a folder or a bucket, and is known by its URL without keys", () => {
    const folder = pathToFileURL(join(dir, "stock")).href;
    expect(openPublicationStore(folder, settings).place).toBe(folder);
    const bucket = `s3+https://s3.example.com/${BUCKET}/stock?region=${REGION}`;
    expect(openPublicationStore(bucket, settings).place).toBe(bucket);
  });

  it("nowhere with settings at fault, which name the option", () => {
    expect(() => openPublicationStore("ftp://example.com", settings)).toThrow("--publication: is neither");
    expect(() => openPublicationStore("s3+https://a:b@s3.example.com/stock", settings)).toThrow("--publication: keys");
    expect(() => openPublicationStore("s3+https://s3.example.com/x", settings)).toThrow("--publication: names no");
    const keyless = { ...settings, objectsKeyId: undefined };
    expect(() => openPublicationStore("s3+https://s3.example.com/stock", keyless)).toThrow("--objects-key-id");
  });
});
