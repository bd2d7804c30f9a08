/**
 * A publication in Redis, from where every process with the role api serves it. An object is one hash with its gzip and
 * Brotli forms, half of what its text takes; the hashes are spread over the slots of a Cluster. The manifest is
 * replaced by a function (publication.lua). What Redis loses when it dies (its last second, by default) may be the
 * objects on one node of a Cluster while another node kept the manifest: then readers find objects missing until they
 * are written again.
 */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { EngineError, messageOf } from "../kernel/errors.js";
import { callFunction, loadLibrary } from "../stream/functions.js";
import { type PublicationKeys, publicationKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { PublicationStore, PublishedObject, StoredManifest } from "./publication-store.js";

/** Objects of one round trip: 64 of 4 KiB are 256 KiB, about a millisecond of Redis. */
const OBJECTS_AT_ONCE = 64;

const unpack = promisify(gunzip);

export class RedisPublicationStore implements PublicationStore {
  readonly place = "redis";
  readonly #redis: RedisClient;
  readonly #keys: PublicationKeys;

  /** @param redis another connection than that of commands: objects are large beside them */
  constructor(redis: RedisClient, prefix: string) {
    this.#redis = redis;
    this.#keys = publicationKeys(prefix);
  }

  static load(redis: RedisClient): Promise<void> {
    return loadLibrary(redis, new URL("./publication.lua", import.meta.url));
  }

  put(objects: readonly PublishedObject[], signal?: AbortSignal): Promise<void> {
    return this.#inBatches("put", objects, signal, ({ name, gzip, br }) =>
      this.#redis.hset(this.#keys.object(name), { gzip: bufferOf(gzip), br: bufferOf(br) }),
    );
  }

  delete(names: readonly string[], signal?: AbortSignal): Promise<void> {
    return this.#inBatches("delete", names, signal, (name) => this.#redis.unlink(this.#keys.object(name)));
  }

  async read(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const packed = await this.readPacked(name, "gzip", signal);
    return packed && (await unpack(packed));
  }

  /** A form of an object as it is stored; undefined when there is no such object. @throws as put */
  async readPacked(name: string, encoding: "gzip" | "br", signal?: AbortSignal): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    return (await attempt("read", () => this.#redis.hgetBuffer(this.#keys.object(name), encoding))) ?? undefined;
  }

  async readManifest(signal?: AbortSignal): Promise<StoredManifest | undefined> {
    signal?.throwIfAborted();
    const [version, json] = await attempt("read the manifest", () =>
      this.#redis.hmgetBuffer(this.#keys.manifest, "version", "json"),
    );
    return version && json ? { version: version.toString(), json } : undefined;
  }

  async replaceManifest(
    json: Uint8Array,
    expected: string | undefined,
    { epoch }: { readonly epoch: number },
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    signal?.throwIfAborted();
    const args = [expected ?? "", epoch, bufferOf(json)];
    const version = await attempt("replace the manifest", () =>
      callFunction(this.#redis, "publication_replace", [this.#keys.manifest], args),
    );
    return version === "" ? undefined : String(version);
  }

  async #inBatches<Item>(
    what: string,
    items: readonly Item[],
    signal: AbortSignal | undefined,
    send: (item: Item) => Promise<unknown>,
  ): Promise<void> {
    for (let from = 0; from < items.length; from += OBJECTS_AT_ONCE) {
      signal?.throwIfAborted();
      await attempt(what, () => Promise.all(items.slice(from, from + OBJECTS_AT_ONCE).map(send)));
    }
    signal?.throwIfAborted();
  }
}

const bufferOf = ({ buffer, byteOffset, length }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, length);

async function attempt<Reply>(what: string, call: () => Promise<Reply>): Promise<Reply> {
  try {
    return await call();
  } catch (cause) {
    throw new EngineError(
      `could not ${what} in the publication in Redis: ${messageOf(cause)}`,
      { op: "publication", code: "publication_unavailable", retryable: true },
      { cause },
    );
  }
}
