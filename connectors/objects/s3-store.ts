/**
 * Objects in a bucket that speaks S3 (AWS, Aliyun OSS, Tencent COS, MinIO, Ceph, …), addressed by path, every request
 * signed (SigV4) with the hash of its body. One call is one request, without retries: the caller decides about them,
 * and the error says whether a retry may succeed. Redirects are not followed, so a wrong region is reported instead of
 * costing a redirect with every request.
 */
import { createHash } from "node:crypto";
import { AwsV4Signer } from "aws4fetch";
import type { Clock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import { checkKey, checkSize, MAX_OBJECT_BYTES, type ObjectStore, refused, unavailable } from "./object-store.js";

export interface Bucket {
  /** Scheme, host and port, such as `https://s3.cn-north-1.amazonaws.com.cn`. */
  endpoint: string;
  bucket: string;
  /** Before every key, without slashes at its ends; empty for none. */
  prefix: string;
  region: string;
  keyId: string;
  secret: string;
}

/** Statuses of requests that may succeed later: busy, too early, or a server error. */
const LATER = new Set([408, 425, 429, 500, 502, 503, 504]);
const ERROR_BYTES = 16_384;

export class S3Store implements ObjectStore {
  readonly #bucket: Bucket;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** Signing keys by day; one is made a day. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  /** @param timeoutMs for one request with its answer */
  constructor(bucket: Bucket, options: { clock: Clock; timeoutMs: number }) {
    this.#bucket = bucket;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
  }

  async put(key: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    checkSize(bytes);
    await this.#request("PUT", key, { bytes, contentType, signal }, async (response) => {
      if (!response.ok) throw await this.#failure("put", key, response);
      await response.body?.cancel();
    });
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkKey(key);
    return this.#request("GET", key, { signal }, async (response) => {
      if (response.ok) {
        const bytes = await read(response, MAX_OBJECT_BYTES);
        if (bytes === undefined) throw refused(`object ${key} is larger than the ${MAX_OBJECT_BYTES} bytes allowed`);
        return bytes;
      }
      const failure = await this.#failure("get", key, response);
      // A bucket that is not there is a mistake in the settings; an object that is not there is an answer.
      if (response.status === 404 && !failure.message.includes("NoSuchBucket")) return undefined;
      throw failure;
    });
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    await this.#request("DELETE", key, { signal }, async (response) => {
      if (response.ok) {
        await response.body?.cancel();
        return;
      }
      const failure = await this.#failure("delete", key, response);
      if (response.status !== 404 || failure.message.includes("NoSuchBucket")) throw failure;
    });
  }

  async #request<T>(
    method: "PUT" | "GET" | "DELETE",
    key: string,
    { bytes, contentType, signal }: { bytes?: Uint8Array; contentType?: string; signal?: AbortSignal | undefined },
    answer: (response: Response) => Promise<T>,
  ): Promise<T> {
    const { endpoint, bucket, prefix, region, keyId, secret } = this.#bucket;
    const body = bytes === undefined ? undefined : Uint8Array.from(bytes);
    const day = new Date(this.#clock.now()).toISOString();
    const signer = new AwsV4Signer({
      method,
      url: `${endpoint}/${[bucket, prefix, key].filter(Boolean).join("/")}`,
      headers: {
        "x-amz-content-sha256": createHash("sha256")
          .update(body ?? "")
          .digest("hex"),
        ...(contentType === undefined ? {} : { "content-type": contentType }),
      },
      ...(body === undefined ? {} : { body }),
      accessKeyId: keyId,
      secretAccessKey: secret,
      service: "s3",
      region,
      datetime: day.replace(/[:-]|\.\d{3}/g, ""),
      cache: this.#signingKeys,
    });
    const signed = await signer.sign();
    // The last day's key is of no use any more.
    for (const old of [...this.#signingKeys.keys()].slice(0, -1)) this.#signingKeys.delete(old);
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const cancel = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    let response: Response;
    try {
      response = await fetch(signed.url, {
        method,
        headers: signed.headers,
        ...(body === undefined ? {} : { body }),
        redirect: "manual",
        signal: cancel,
      });
      return await answer(response);
    } catch (thrown) {
      if (signal?.aborted) throw thrown;
      if (timeout.aborted) throw unavailable(`${this.#place} did not answer in ${this.#timeoutMs} ms`, thrown);
      // fetch wraps what the network says.
      if (thrown instanceof TypeError)
        throw unavailable(`${this.#place} cannot be reached: ${messageOf(thrown.cause ?? thrown)}`, thrown);
      throw thrown;
    }
  }

  async #failure(what: string, key: string, response: Response): Promise<Error> {
    const { status } = response;
    const text = new TextDecoder().decode((await read(response, ERROR_BYTES)) ?? new Uint8Array());
    // Only the code: a message may repeat the request's content, and this is logged.
    const [, code = ""] = /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(text) ?? [];
    const hint = status >= 300 && status < 400 ? "another endpoint or region has this bucket" : "";
    const message = `${this.#place} did not ${what} object ${key}: ${[status, code, hint].filter(Boolean).join(" ")}`;
    if (!LATER.has(status) && code !== "RequestTimeout") return refused(message);
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    return unavailable(message, undefined, seconds >= 0 ? seconds * 1_000 : undefined);
  }

  get #place(): string {
    return `${this.#bucket.endpoint}/${this.#bucket.bucket}`;
  }
}

/** The body, or undefined when it has more than `max` bytes; the rest is not waited for. */
async function read(response: Response, max: number): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the body.
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > max) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
