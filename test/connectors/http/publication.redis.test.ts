/** The publication over HTTP: caching, conditional requests, compression, and what is refused. */
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib";
import { beforeAll, expect, it } from "vitest";
import { systemClock } from "../../../engine/kernel/clock.js";
import { encodeManifest, nameOf } from "../../../engine/publication/manifest.js";
import { PublicationReader } from "../../../engine/publication/publication-reader.js";
import { RedisPublicationStore } from "../../../engine/publication/redis-store.js";
import { type Answer, httpBed, type Sending, send } from "./http-bed.js";

const bed = httpBed();
const TEXT = JSON.stringify({
  "衬衫-1": 7,
  ...Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`sku-${i}`, i])),
});
const NAME = nameOf(TEXT);
const OBJECT = `/v1/publication/${NAME}.json`;
const MANIFEST = "/v1/publication/manifest.json";
/** From the future, so that its lifetime is not over before a busy machine has sent the request. */
const FRESH_MS = -9_000;
const CORS = { "access-control-allow-origin": "*", "access-control-expose-headers": "Age, Date" };

let store: RedisPublicationStore;
let port: number;
let version: string | undefined;

const publish = async (ageMs: number): Promise<string> => {
  const asOfMs = Math.floor((systemClock.now() - ageMs) / 1_000) * 1_000;
  const json = encodeManifest({ asOfMs, positions: [1, 2, 3, 4], skus: 201, leaves: 1, index: [NAME] });
  version = await store.replaceManifest(json, version, { epoch: 1 });
  return json.toString();
};
/** A server that has read no manifest yet. */
const anotherPort = async (): Promise<number> =>
  (await bed.another({ publication: new PublicationReader(store) })).port;
const get = (path: string, headers: Sending["headers"] = {}, at = port, method = "GET"): Promise<Answer> =>
  send(at, method, path, { anonymous: true, headers: { host: "shop.example.com", ...headers } });

beforeAll(async () => {
  await RedisPublicationStore.load(bed.redis);
  store = new RedisPublicationStore(bed.redis, "published");
  const identity = Buffer.from(TEXT);
  await store.put([{ name: NAME, identity, gzip: gzipSync(identity), br: brotliCompressSync(identity) }]);
  port = await anotherPort();
});

it("says that a deployment publishes elsewhere", async () => {
  for (const path of [MANIFEST, OBJECT])
    expect(await bed.send("GET", path)).toMatchObject({
      status: 404,
      json: { code: "not_served_here" },
      headers: { "cache-control": "no-store" },
    });
});

it("has no manifest before the first publication", async () => {
  expect(await get(MANIFEST)).toMatchObject({
    status: 503,
    json: { code: "stale_view", detail: "nothing was published yet" },
    headers: { "cache-control": "no-store", ...CORS },
  });
});

it("serves the manifest under any host name, with the lifetime that is left, to pages of any site", async () => {
  const json = await publish(FRESH_MS);
  const { status, text, headers } = await get(MANIFEST, {}, await anotherPort());
  expect([status, text]).toEqual([200, json]);
  expect(headers).toMatchObject({ ...CORS, "content-type": "application/json; charset=utf-8" });
  const asOf = Date.parse(JSON.parse(json).asOf) / 1_000;
  expect(headers["x-accel-expires"]).toBe(`@${asOf + 11}`);
  expect(headers["cache-control"]).toMatch(/^public, max-age=0, must-revalidate, s-maxage=\d+$/);
  const names = Object.keys(headers);
  expect(names.indexOf("x-accel-expires")).toBeLessThan(names.indexOf("cache-control"));
});

it("answers 304 while the manifest is the same", async () => {
  await publish(FRESH_MS);
  const at = await anotherPort();
  const etag = (await get(MANIFEST, {}, at)).headers.etag as string;
  const again = await get(MANIFEST, { "if-none-match": `"other", W/${etag}` }, at);
  expect(again).toMatchObject({ status: 304, text: "", headers: { etag, ...CORS } });
  expect(again.headers["x-accel-expires"]).toMatch(/^@\d+$/);
  await publish(FRESH_MS);
  await expect.poll(async () => (await get(MANIFEST, { "if-none-match": etag }, at)).status).toBe(200);
});

it("refuses a manifest whose lifetime is over, so that no cache keeps it", async () => {
  await publish(13_000);
  const answer = await get(MANIFEST, {}, await anotherPort());
  expect(answer).toMatchObject({ status: 503, json: { code: "stale_view" } });
  expect(answer.json.detail).toMatch(/^the newest publication is \d+ s old$/);
  expect(answer.headers).toMatchObject({ "cache-control": "no-store", "retry-after": "1" });
  expect(answer.headers["x-accel-expires"]).toBeUndefined();
});

it("refuses a manifest of the future, which would be served until then", async () => {
  await publish(-120_000);
  expect(await get(MANIFEST, {}, await anotherPort())).toMatchObject({
    status: 503,
    json: { code: "stale_view", detail: "the newest publication is as of the future: a clock is wrong or was" },
  });
});

it("serves an object for ever, in the form that a client prefers", async () => {
  const plain = await get(OBJECT);
  expect(plain).toMatchObject({
    status: 200,
    text: TEXT,
    headers: { "cache-control": "public, max-age=31536000, immutable", vary: "Accept-Encoding", etag: `"${NAME}"` },
  });
  expect(plain.headers).toMatchObject(CORS);
  expect(plain.headers["content-encoding"]).toBeUndefined();
  const gzip = await get(OBJECT, { "accept-encoding": "gzip, br;q=0.5" });
  expect(gzip.headers).toMatchObject({ "content-encoding": "gzip", etag: `"${NAME}-gzip"`, vary: "Accept-Encoding" });
  expect(gunzipSync(gzip.bytes).toString()).toBe(TEXT);
  const br = await get(OBJECT, { "accept-encoding": "gzip, deflate, br" });
  expect(br.headers).toMatchObject({ "content-encoding": "br", etag: `"${NAME}-br"` });
  expect(brotliDecompressSync(br.bytes).toString()).toBe(TEXT);
});

it("answers 304 to a client that has the object in the form that it gets", async () => {
  const br = { "accept-encoding": "br" };
  expect((await get(OBJECT, { ...br, "if-none-match": `"${NAME}-br"` })).status).toBe(304);
  expect((await get(OBJECT, { ...br, "if-none-match": "*" })).status).toBe(304);
  expect((await get(OBJECT, { ...br, "if-none-match": `"${NAME}-gzip"` })).status).toBe(200);
});

it("answers HEAD like GET, without the body", async () => {
  for (const path of [OBJECT, MANIFEST]) {
    await publish(FRESH_MS);
    const at = await anotherPort();
    const [{ headers: got }, head] = [await get(path, {}, at), await get(path, {}, at, "HEAD")];
    expect([head.status, head.text]).toEqual([200, ""]);
    const same = ["etag", "content-length", "content-type", "access-control-allow-origin"];
    expect(same.map((name) => head.headers[name])).toEqual(same.map((name) => got[name]));
  }
});

it("does not let caches keep for longer than a second that there is no such object", async () => {
  for (const file of [`${nameOf("other")}.json`, `${NAME}.json.gz`, `${NAME}`, "x.json", "..%2Fmanifest.json"])
    expect(await get(`/v1/publication/${file}`)).toMatchObject({
      status: 404,
      json: { code: "not_found" },
      headers: { "cache-control": "public, max-age=0, must-revalidate, s-maxage=1", ...CORS },
    });
});
