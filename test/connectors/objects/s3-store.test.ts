/**
 * The bucket behind object storage, against a sandbox that computes signatures by itself: what arrives, what is
 * refused for good, and what may be tried again.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAX_OBJECT_BYTES } from "../../../connectors/objects/object-store.js";
import type { Bucket } from "../../../connectors/objects/s3-client.js";
import { S3Store } from "../../../connectors/objects/s3-store.js";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET, xml } from "../../../connectors/objects/sandbox.js";
import { ManualClock, systemClock } from "../../../engine/kernel/clock.js";

const KEY = "orders/2026-06-17/WB0123456789.json";
const TIMEOUT_MS = 5_000;

let sandbox: S3Sandbox;
beforeEach(async () => {
  sandbox = await S3Sandbox.start();
});
afterEach(() => sandbox.stop());

function store(more: Partial<Bucket> = {}, timeoutMs = TIMEOUT_MS, clock = systemClock as { now(): number }): S3Store {
  const bucket = {
    endpoint: sandbox.endpoint,
    bucket: BUCKET,
    prefix: "",
    region: REGION,
    keyId: KEY_ID,
    secret: SECRET,
  };
  return new S3Store({ ...bucket, ...more }, { clock, timeoutMs });
}

describe("an object in a bucket", () => {
  it("is what was put, and may be put again", async () => {
    const bytes = Buffer.from('{"地址":"西湖区"}');
    await store().put(KEY, bytes, "application/json");
    await store().put(KEY, bytes, "application/json");
    expect(sandbox.objects.get(KEY)).toMatchObject({ bytes, contentType: "application/json" });
    expect(Buffer.from((await store().get(KEY)) as Uint8Array)).toEqual(bytes);
  });

  it("is deleted in the bucket, unless that refuses or is busy", async () => {
    await store().put(KEY, Buffer.from("x"), "text/plain");
    await store().put(`${KEY}.other`, Buffer.from("x"), "text/plain");
    await store().delete(KEY);
    expect([...sandbox.objects.keys()]).toEqual([`${KEY}.other`]);
    await expect(store({ secret: "another" }).delete(KEY)).rejects.toMatchObject({ code: "objects_refused" });
    sandbox.faults.push((_, response) => xml(response, 503, "SlowDown"));
    await expect(store().delete(KEY)).rejects.toMatchObject({ code: "objects_unavailable", retryable: true });
  });

  it("is stored under the prefix", async () => {
    await store({ prefix: "shop/details" }).put(KEY, Buffer.from("x"), "text/plain");
    expect([...sandbox.objects.keys()]).toEqual([`shop/details/${KEY}`]);
    expect(await store({ prefix: "shop/details" }).get(KEY)).toBeDefined();
  });

  it("is signed for its own day, over midnight, too", async () => {
    const clock = new ManualClock(Date.UTC(2026, 5, 17, 23, 59, 59));
    const late = store({}, TIMEOUT_MS, clock);
    await expect(late.put(KEY, Buffer.from("x"), "text/plain")).rejects.toThrow("RequestTimeTooSkewed");
    clock.moveTo(systemClock.now());
    await late.put(KEY, Buffer.from("x"), "text/plain");
  });
});

describe("a request that fails", () => {
  it.each<[string, Partial<Bucket>, string]>([
    ["the secret", { secret: "another" }, "SignatureDoesNotMatch"],
    ["the key id", { keyId: "AKIDNOBODY" }, "InvalidAccessKeyId"],
    ["the region", { region: "us-east-1" }, "AuthorizationHeaderMalformed"],
    ["the bucket", { bucket: "nowhere" }, "NoSuchBucket"],
  ])("is refused for good when %s is wrong, in words, without the secret", async (_, more, words) => {
    // One after the other: a call that fails while another is awaited would be an unhandled rejection.
    for (const call of [() => store(more).put(KEY, Buffer.from("x"), "text/plain"), () => store(more).get(KEY)]) {
      const thrown = await call().catch((reason) => reason);
      expect(thrown).toMatchObject({ code: "objects_refused", retryable: false });
      expect(thrown.message).toContain(words);
      expect(thrown.message).not.toContain("another");
    }
  });

  it.each([500, 502, 503, 504, 429, 408])("may be tried again after %i", async (status) => {
    sandbox.faults.push((_, response) => xml(response, status, "SlowDown"));
    await expect(store().put(KEY, Buffer.from("x"), "text/plain")).rejects.toMatchObject({
      code: "objects_unavailable",
      retryable: true,
      retryAfterMs: undefined,
    });
    expect(sandbox.requests).toBe(1);
  });

  it("reports how long to wait", async () => {
    sandbox.faults.push((_, response) => response.writeHead(503, { "retry-after": "3" }).end());
    await expect(store().get(KEY)).rejects.toMatchObject({ retryAfterMs: 3_000 });
  });

  it("may be tried again when the connection breaks", async () => {
    sandbox.faults.push((request) => request.socket.destroy());
    await expect(store().put(KEY, Buffer.from("x"), "text/plain")).rejects.toMatchObject({ retryable: true });
    sandbox.faults.push((request, response) => {
      response.writeHead(200, { "content-length": "10" }).write("12345");
      setTimeout(() => request.socket.destroy(), 10);
    });
    await expect(store().get(KEY)).rejects.toMatchObject({ retryable: true });
    await sandbox.stop();
    await expect(store().get(KEY)).rejects.toMatchObject({
      retryable: true,
      message: expect.stringContaining("reached"),
    });
    sandbox = await S3Sandbox.start();
  });

  it("ends in time, before an answer and within one", async () => {
    sandbox.faults.push(
      () => {},
      (_, response) => {
        response.writeHead(200).write("1");
      },
    );
    for (let i = 0; i < 2; i++)
      await expect(store({}, 50).get(KEY)).rejects.toMatchObject({
        retryable: true,
        message: expect.stringContaining("50 ms"),
      });
  });

  it("ends with the caller's signal", async () => {
    sandbox.faults.push(() => {});
    const stop = new AbortController();
    const put = store().put(KEY, Buffer.from("x"), "text/plain", stop.signal);
    stop.abort(new Error("stopped"));
    await expect(put).rejects.toThrow("stopped");
  });

  it("follows no redirect", async () => {
    sandbox.faults.push((_, response) => response.writeHead(301, { location: "http://127.0.0.1:1/" }).end());
    await expect(store().get(KEY)).rejects.toMatchObject({ code: "objects_refused" });
    expect(sandbox.requests).toBe(1);
  });

  it("reads no more of an answer than is allowed", async () => {
    const flood = Buffer.alloc(65_536, "x");
    const endless = (status: number) => (_: unknown, response: import("node:http").ServerResponse) => {
      response.writeHead(status);
      const pour = (): void => {
        while (!response.destroyed && response.write(flood));
      };
      response.on("drain", pour);
      pour();
    };
    sandbox.faults.push(endless(200), endless(500));
    await expect(store().get(KEY)).rejects.toThrow("larger than");
    await expect(store().get(KEY)).rejects.toMatchObject({ retryable: true });
  });

  it("is not sent when the key or the size is not allowed", async () => {
    for (const key of [
      "",
      "/a",
      "a/",
      "a//b",
      "../a",
      "a/..",
      "a/../b",
      ".a",
      "a b",
      "a?b",
      "a%2fb",
      "a\\b",
      "地址",
      "x".repeat(201),
    ]) {
      await expect(store().put(key, Buffer.from("x"), "text/plain")).rejects.toMatchObject({ code: "bad_input" });
      await expect(store().get(key)).rejects.toMatchObject({ code: "bad_input" });
    }
    await expect(store().put(KEY, new Uint8Array(MAX_OBJECT_BYTES + 1), "text/plain")).rejects.toMatchObject({
      code: "bad_input",
    });
    expect(sandbox.requests).toBe(0);
  });
});
