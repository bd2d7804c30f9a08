/**
 * A publication in a bucket that a CDN reads. Objects are stored once, as gzip with `Content-Encoding: gzip`, which
 * every browser and CDN reads: a bucket does not negotiate, and a second form would double the requests that are paid
 * for. The manifest is replaced with `If-Match` or `If-None-Match`, which the bucket must heed: that is tried before
 * the first manifest. A reader that takes no gzip is not served right by the bucket alone.
 */
import { eachAtOnce } from "../../engine/kernel/at-once.js";
import type { EngineError } from "../../engine/kernel/errors.js";
import type { PublicationStore, PublishedObject, StoredManifest } from "../../engine/publication/publication-store.js";
import { checkSize, MAX_OBJECT_BYTES, refused } from "./object-store.js";
import { type Bucket, isMissing, readBody, S3Client, type S3ClientOptions } from "./s3-client.js";

const JSON_TYPE = "application/json; charset=utf-8";
const MANIFEST = "manifest.json";
/** Written by the check whether conditions are heeded; it is left there. */
const PROBE = "condition-check.json";
/** 4,128 objects of a million SKUs at 40 ms a request are written in 5 s. */
const REQUESTS_AT_ONCE = 32;
/** As S3 answers when a condition does not hold. */
const CONDITION_FAILED = 412;
const EPOCH_HEADER = "x-amz-meta-epoch";
/** Of no object: an MD5 of all zeros. */
const OTHER_ETAG = `"${"0".repeat(32)}"`;

export class PublicationBucket implements PublicationStore {
  readonly place: string;
  readonly #client: S3Client;
  #isChecked = false;

  /** @param place the bucket as it was configured, without keys */
  constructor(place: string, bucket: Bucket, options: S3ClientOptions) {
    this.place = place;
    this.#client = new S3Client(bucket, options);
  }

  /**
   * Checks that the bucket heeds conditions; otherwise an older publication could replace a newer one.
   * @throws EngineError `objects_refused` when it does not; `objects_unavailable`
   */
  async check(signal?: AbortSignal): Promise<void> {
    if (this.#isChecked) return;
    const bytes = Buffer.from("{}");
    const headers = { "content-type": JSON_TYPE };
    await this.#put(PROBE, bytes, headers, signal);
    for (const condition of [{ "if-none-match": "*" }, { "if-match": OTHER_ETAG }])
      if ((await this.#put(PROBE, bytes, { ...headers, ...condition }, signal)) !== undefined)
        throw refused(
          `${this.place} ignores ${Object.keys(condition)[0]}: an older publication could replace a newer one; use a bucket with conditional writes, a folder or redis`,
        );
    this.#isChecked = true;
  }

  async put(objects: readonly PublishedObject[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const headers = {
      "content-type": JSON_TYPE,
      "content-encoding": "gzip",
      "cache-control": "public, max-age=31536000, immutable",
    };
    await eachAtOnce(objects, REQUESTS_AT_ONCE, signal, async ({ name, gzip }) => {
      await this.#put(`${name}.json`, gzip, headers, signal);
    });
  }

  async delete(names: readonly string[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await eachAtOnce(names, REQUESTS_AT_ONCE, signal, (name) => {
      const key = `${name}.json`;
      return this.#client.send({ method: "DELETE", key, signal }, async (response) => {
        if (response.ok) await response.body?.cancel();
        else await this.#unlessMissing("delete", key, response);
      });
    });
  }

  async read(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return (await this.#get(`${name}.json`, signal))?.bytes;
  }

  async readManifest(signal?: AbortSignal): Promise<StoredManifest | undefined> {
    const found = await this.#get(MANIFEST, signal);
    if (found === undefined) return undefined;
    const epoch = Number(found.headers.get(EPOCH_HEADER) ?? 0);
    return { json: found.bytes, version: versionOf(epoch, etagOf(found.headers, this.place)) };
  }

  async replaceManifest(
    json: Uint8Array,
    expected: string | undefined,
    { epoch, cacheSeconds }: { readonly epoch: number; readonly cacheSeconds: number },
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    signal?.throwIfAborted();
    await this.check(signal);
    const [epochOfExpected, etag] = expected === undefined ? [0, undefined] : partsOf(expected);
    if (epochOfExpected > epoch) return undefined;
    const headers = {
      "content-type": JSON_TYPE,
      "cache-control": `public, max-age=0, must-revalidate, s-maxage=${cacheSeconds}`,
      [EPOCH_HEADER]: String(epoch),
      ...(etag === undefined ? { "if-none-match": "*" } : { "if-match": etag }),
    };
    const stored = await this.#put(MANIFEST, json, headers, signal);
    return stored && versionOf(epoch, etagOf(stored, this.place));
  }

  /** The headers of the answer; undefined when a condition did not hold. */
  #put(
    key: string,
    bytes: Uint8Array,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<Headers | undefined> {
    checkSize(bytes);
    return this.#client.send({ method: "PUT", key, bytes, headers, signal }, async (response) => {
      if (response.ok || response.status === CONDITION_FAILED) {
        await response.body?.cancel();
        return response.ok ? response.headers : undefined;
      }
      const failure = await this.#client.failure("put", key, response);
      // The object that was to be replaced does not exist any more.
      if ("if-match" in headers && isMissing(response, failure)) return undefined;
      throw failure;
    });
  }

  #get(key: string, signal: AbortSignal | undefined): Promise<{ bytes: Uint8Array; headers: Headers } | undefined> {
    signal?.throwIfAborted();
    return this.#client.send({ method: "GET", key, signal }, async (response) => {
      if (!response.ok) return this.#unlessMissing("get", key, response);
      const bytes = await readBody(response, MAX_OBJECT_BYTES);
      if (bytes === undefined) throw refused(`object ${key} is larger than the ${MAX_OBJECT_BYTES} bytes allowed`);
      return { bytes, headers: response.headers };
    });
  }

  async #unlessMissing(what: string, key: string, response: Response): Promise<undefined> {
    const failure: EngineError = await this.#client.failure(what, key, response);
    if (!isMissing(response, failure)) throw failure;
  }
}

/** A manifest's version has its writer's epoch, which an ETag has not. */
const versionOf = (epoch: number, etag: string): string => `${epoch} ${etag}`;

function partsOf(version: string): [epoch: number, etag: string] {
  const space = version.indexOf(" ");
  return [Number(version.slice(0, space)), version.slice(space + 1)];
}

function etagOf(headers: Headers, place: string): string {
  const etag = headers.get("etag");
  if (etag === null) throw refused(`${place} gives objects no ETag, by which a manifest is replaced`);
  return etag;
}
