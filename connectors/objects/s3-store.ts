/**
 * Objects in a bucket that speaks S3. One call is one signed request (s3-client.ts), without retries: the caller
 * decides about them, and the error says whether a retry may succeed.
 */
import { checkKey, checkSize, MAX_OBJECT_BYTES, type ObjectStore, refused } from "./object-store.js";
import { type Bucket, isMissing, readBody, S3Client, type S3ClientOptions } from "./s3-client.js";

export class S3Store implements ObjectStore {
  readonly #client: S3Client;

  constructor(bucket: Bucket, options: S3ClientOptions) {
    this.#client = new S3Client(bucket, options);
  }

  async put(key: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    checkSize(bytes);
    const headers = { "content-type": contentType };
    await this.#client.send({ method: "PUT", key, bytes, headers, signal }, async (response) => {
      if (!response.ok) throw await this.#client.failure("put", key, response);
      await response.body?.cancel();
    });
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkKey(key);
    return this.#client.send({ method: "GET", key, signal }, async (response) => {
      if (response.ok) {
        const bytes = await readBody(response, MAX_OBJECT_BYTES);
        if (bytes === undefined) throw refused(`object ${key} is larger than the ${MAX_OBJECT_BYTES} bytes allowed`);
        return bytes;
      }
      const failure = await this.#client.failure("get", key, response);
      if (isMissing(response, failure)) return undefined;
      throw failure;
    });
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    await this.#client.send({ method: "DELETE", key, signal }, async (response) => {
      if (response.ok) {
        await response.body?.cancel();
        return;
      }
      const failure = await this.#client.failure("delete", key, response);
      if (!isMissing(response, failure)) throw failure;
    });
  }
}
