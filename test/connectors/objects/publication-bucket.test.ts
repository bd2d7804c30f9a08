/** What a publication in a bucket has beside the contract: headers for a CDN, and the check of conditions. */
import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PublicationBucket } from "../../../connectors/objects/publication-bucket.js";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } from "../../../connectors/objects/sandbox.js";
import { systemClock } from "../../../engine/kernel/clock.js";

const identity = Buffer.from('{"a":1}');
const object = { name: "AbCdEfGh01234_-z", identity, gzip: gzipSync(identity), br: Buffer.from("br") };
const writer = { epoch: 3, cacheSeconds: 2 };

let sandbox: S3Sandbox;
beforeEach(async () => {
  sandbox = await S3Sandbox.start();
});
afterEach(() => sandbox.stop());

const open = (secret = SECRET): PublicationBucket =>
  new PublicationBucket(
    "s3+https://oss.example.com/stock",
    { endpoint: sandbox.endpoint, bucket: BUCKET, prefix: "shop", region: REGION, keyId: KEY_ID, secret },
    { clock: systemClock, timeoutMs: 5_000 },
  );

it("has an object once, as gzip that says so, and that never expires", async () => {
  await open().put([object]);
  expect([...sandbox.objects.keys()]).toEqual(["shop/AbCdEfGh01234_-z.json"]);
  const stored = sandbox.objects.get("shop/AbCdEfGh01234_-z.json");
  expect(stored).toMatchObject({
    contentType: "application/json; charset=utf-8",
    headers: { "content-encoding": "gzip", "cache-control": "public, max-age=31536000, immutable" },
  });
  expect(gunzipSync(stored?.bytes ?? "").toString()).toBe('{"a":1}');
});

it("says how long shared caches may keep the manifest, which is plain text", async () => {
  await open().replaceManifest(Buffer.from('{"v":1}'), undefined, writer);
  const stored = sandbox.objects.get("shop/manifest.json");
  expect(stored?.bytes.toString()).toBe('{"v":1}');
  expect(stored?.headers).toEqual({
    "cache-control": "public, max-age=0, must-revalidate, s-maxage=2",
    "x-amz-meta-epoch": "3",
  });
});

it("refuses a bucket that ignores conditions, before it stores a manifest", async () => {
  sandbox.ignoresConditions = true;
  const refusal = {
    code: "objects_refused",
    retryable: false,
    message: expect.stringContaining("s3+https://oss.example.com/stock ignores if-none-match"),
  };
  await expect(open().check()).rejects.toMatchObject(refusal);
  await expect(open().replaceManifest(Buffer.from("{}"), undefined, writer)).rejects.toMatchObject(refusal);
  expect(sandbox.objects.has("shop/manifest.json")).toBe(false);
});

it("checks conditions once", async () => {
  const store = open();
  await store.check();
  const { requests } = sandbox;
  await store.check();
  await store.replaceManifest(Buffer.from("{}"), undefined, writer);
  expect(sandbox.requests - requests).toBe(1);
});

it("names no credential in an error", async () => {
  const thrown = await open("a/wrong+secret")
    .put([object])
    .catch((error: Error) => error);
  expect(thrown).toMatchObject({ code: "objects_refused", retryable: false });
  expect(String((thrown as Error).stack)).not.toContain("a/wrong+secret");
  expect(sandbox.denied).toBeGreaterThan(0);
});

it("stops after the first of many requests that fails", async () => {
  const objects = Array.from({ length: 500 }, (_, i) => ({ ...object, name: `object-${String(i).padStart(9, "0")}` }));
  await expect(open("a/wrong+secret").put(objects)).rejects.toMatchObject({ code: "objects_refused" });
  expect(sandbox.requests).toBeLessThan(100);
});
