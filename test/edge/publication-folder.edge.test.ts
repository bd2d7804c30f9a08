/** A publication in a folder, through nginx with the configuration of connectors/objects. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PublicationFolder } from "../../connectors/objects/publication-folder.js";
import { type CacheServer, HAS, startCacheServer } from "./cache-servers.js";

const CONFIGURATION = fileURLToPath(new URL("../../connectors/objects/publication-folder.conf", import.meta.url));
const TEXT = JSON.stringify(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`sku-${i}`, i])));
const NAME = "AbCdEfGh01234_-z";
const writer = { epoch: 1, cacheSeconds: 1 };
const CORS = { "access-control-allow-origin": "*", "access-control-expose-headers": "Age, Date" };

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly bytes: Buffer;
}

describe.skipIf(!HAS.nginx)("nginx in front of a folder", () => {
  let root: string;
  let store: PublicationFolder;
  let server: CacheServer;
  let version: string | undefined;

  const publish = async (number: number): Promise<void> => {
    version = await store.replaceManifest(Buffer.from(`{"v":1,"number":${number}}`), version, writer);
  };
  /** Without the decompression of fetch. */
  const get = (file: string, headers: Record<string, string> = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      request(`${server.url}/v1/publication/${file}`, { headers }, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(parts) });
        });
      })
        .on("error", reject)
        .end();
    });

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "publication-"));
    store = new PublicationFolder(join(root, "stock"));
    const identity = Buffer.from(TEXT);
    await store.put([{ name: NAME, identity, gzip: gzipSync(identity), br: Buffer.from("br") }]);
    await publish(1);
    const text = (await readFile(CONFIGURATION, "utf8")).replaceAll("FOLDER", join(root, "stock"));
    server = await startCacheServer("nginx", { role: "edge", origin: "127.0.0.1:1", files: { "edge.conf": text } });
  });
  afterAll(async () => {
    await server.stop();
    await rm(root, { recursive: true });
  });

  it("sends the compressed file to who accepts it, and the plain one to others, for ever", async () => {
    const plain = await get(`${NAME}.json`);
    expect([plain.status, plain.bytes.toString()]).toEqual([200, TEXT]);
    expect(plain.headers).toMatchObject({
      ...CORS,
      "cache-control": "public, max-age=31536000, immutable",
      "content-type": "application/json; charset=utf-8",
      vary: "Accept-Encoding",
    });
    const gzip = await get(`${NAME}.json`, { "accept-encoding": "gzip" });
    expect(gzip.headers).toMatchObject({ "content-encoding": "gzip", vary: "Accept-Encoding" });
    expect(gzip.bytes.length).toBeLessThan(plain.bytes.length);
    expect(gunzipSync(gzip.bytes).toString()).toBe(TEXT);
  });

  it("answers 304 while the manifest is the same, and never for one that was replaced within a second", async () => {
    const first = await get("manifest.json");
    expect(first.headers).toMatchObject({ ...CORS, "cache-control": "public, max-age=0, must-revalidate, s-maxage=1" });
    const known = { "if-none-match": String(first.headers["etag"]) };
    expect((await get("manifest.json", known)).status).toBe(304);
    for (const number of [2, 3]) {
      await publish(number);
      const { status, bytes } = await get("manifest.json", known);
      expect([status, bytes.toString()]).toEqual([200, `{"v":1,"number":${number}}`]);
    }
  });

  it("lets no cache keep that an object does not exist, and shows nothing of the state", async () => {
    expect(await get("AAAAAAAAAAAAAAAA.json")).toMatchObject({ status: 404, headers: { "cache-control": "no-store" } });
    for (const file of [".state", ".state/", ".state/epoch-1", "%2Estate/epoch-1"])
      expect((await get(file)).status).toBe(404);
  });
});
