/**
 * Signed requests to a bucket that speaks S3 (AWS, Aliyun OSS, Tencent COS, MinIO, Ceph, …), addressed by path, every
 * request signed (SigV4) with the hash of its body. One call is one request, without retries: the caller decides about
 * them, and the error says whether a retry may succeed. Redirects are not followed, so a wrong region is reported
 * instead of costing a redirect with every request.
 */
import { createHash } from "node:crypto";
import { AwsV4Signer } from "aws4fetch";
import type { Clock } from "../../engine/kernel/clock.js";
import { type EngineError, messageOf } from "../../engine/kernel/errors.js";
import { refused, unavailable } from "./object-store.js";

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

export interface S3ClientOptions {
  readonly clock: Clock;
  /** For one request with its answer. */
  readonly timeoutMs: number;
}

/** One request. */
export interface S3Request {
  readonly method: "PUT" | "GET" | "DELETE";
  readonly key: string;
  readonly bytes?: Uint8Array;
  /** With lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** Statuses of requests that may succeed later: busy, too early, or a server error. */
const LATER = new Set([408, 425, 429, 500, 502, 503, 504]);
const ERROR_BYTES = 16_384;

export class S3Client {
  readonly #bucket: Bucket;
  readonly #options: S3ClientOptions;
  /** Signing keys by day; one is made a day. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  constructor(bucket: Bucket, options: S3ClientOptions) {
    this.#bucket = bucket;
    this.#options = options;
  }

  /** Endpoint and bucket, for messages. */
  get place(): string {
    return `${this.#bucket.endpoint}/${this.#bucket.bucket}`;
  }

  /**
   * Sends a request and reads its answer with `answer`, within the time limit.
   * @throws EngineError `objects_unavailable`; what `answer` throws; the signal's reason
   */
  async send<T>(
    { method, key, bytes, headers = {}, signal }: S3Request,
    answer: (response: Response) => Promise<T>,
  ): Promise<T> {
    const body = bytes === undefined ? undefined : Uint8Array.from(bytes);
    const signed = await this.#sign(method, key, headers, body);
    const { timeoutMs } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
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
      if (timeout.aborted) throw unavailable(`${this.place} did not answer in ${timeoutMs} ms`, thrown);
      // fetch wraps what the network says.
      if (thrown instanceof TypeError)
        throw unavailable(`${this.place} cannot be reached: ${messageOf(thrown.cause ?? thrown)}`, thrown);
      throw thrown;
    }
  }

  /** An answer that is no success as an error. @param what was to be done with the object: `put` */
  async failure(what: string, key: string, response: Response): Promise<EngineError> {
    const { status } = response;
    const text = new TextDecoder().decode((await readBody(response, ERROR_BYTES)) ?? new Uint8Array());
    // Only the code: a message may repeat the request's content, and this is logged.
    const [, code = ""] = /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(text) ?? [];
    const hint = status >= 300 && status < 400 ? "another endpoint or region has this bucket" : "";
    const message = `${this.place} did not ${what} object ${key}: ${[status, code, hint].filter(Boolean).join(" ")}`;
    if (!LATER.has(status) && code !== "RequestTimeout") return refused(message);
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    return unavailable(message, undefined, seconds >= 0 ? seconds * 1_000 : undefined);
  }

  async #sign(method: string, key: string, headers: Readonly<Record<string, string>>, body: Uint8Array | undefined) {
    const { endpoint, bucket, prefix, region, keyId, secret } = this.#bucket;
    const day = new Date(this.#options.clock.now()).toISOString();
    const signer = new AwsV4Signer({
      method,
      url: `${endpoint}/${[bucket, prefix, key].filter(Boolean).join("/")}`,
      headers: {
        "x-amz-content-sha256": createHash("sha256")
          .update(body ?? "")
          .digest("hex"),
        ...headers,
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
    return signed;
  }
}

/** An object that is not there is an answer; a bucket that is not there is a mistake in the settings. */
export const isMissing = (response: Response, failure: EngineError): boolean =>
  response.status === 404 && !failure.message.includes("NoSuchBucket");

/** The body, or undefined when it has more than `max` bytes; the rest is not waited for. */
export async function readBody(response: Response, max: number): Promise<Uint8Array | undefined> {
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
