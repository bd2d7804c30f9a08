/**
 * Writes and reads the objects of an archive. What is read is compared with its hash, so an object that is missing,
 * changed or another one is an error that names it, never a wrong answer.
 */
import { EngineError } from "../kernel/errors.js";
import {
  type ArchiveHead,
  type ArchivePlace,
  bucketKey,
  type ClosedCell,
  type Closing,
  damaged,
  decodeBucket,
  decodeHead,
  decodeManifest,
  decodeSegment,
  encodeJson,
  type Generation,
  generationOf,
  headKey,
  type Manifest,
  manifestKey,
  type ObjectRef,
  partKey,
  sha256,
} from "./archive-format.js";

/** Bytes under a key, as `connectors/objects/object-store.ts` specifies. */
export interface ArchiveStore {
  put(key: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<void>;
  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  delete(key: string, signal?: AbortSignal): Promise<void>;
}

const BYTES = "application/octet-stream";
const JSON_TYPE = "application/json";

/** The object is not there. */
const missing = (key: string): EngineError =>
  new EngineError(`the archive's object ${key} is missing`, {
    op: "archive.read",
    code: "archive_missing",
    retryable: false,
    input: key,
  });

/** The objects of one partition's archive. */
export class ArchiveObjects {
  readonly place: ArchivePlace;
  readonly #store: ArchiveStore;

  constructor(store: ArchiveStore, place: ArchivePlace) {
    this.#store = store;
    this.place = place;
  }

  async putPart(ref: ObjectRef, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#store.put(partKey(this.place, ref), bytes, BYTES, signal);
  }

  async putBucket(ref: ObjectRef, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#store.put(bucketKey(this.place, ref), bytes, BYTES, signal);
  }

  /** Returns the hash of its bytes. */
  async putManifest(manifest: Manifest, signal?: AbortSignal): Promise<string> {
    const bytes = encodeJson(manifest);
    await this.#store.put(manifestKey(this.place, manifest.generation, manifest.number), bytes, JSON_TYPE, signal);
    return sha256(bytes);
  }

  async putHead(head: ArchiveHead, signal?: AbortSignal): Promise<void> {
    await this.#store.put(headKey(this.place), encodeJson(head), JSON_TYPE, signal);
  }

  /** The head as it was last written; undefined when there is none. @throws EngineError `archive_damaged` */
  async head(signal?: AbortSignal): Promise<ArchiveHead | undefined> {
    const key = headKey(this.place);
    const bytes = await this.#store.get(key, signal);
    return bytes && decodeHead(bytes, key);
  }

  /**
   * A manifest and the hash of its bytes.
   * @throws EngineError `archive_missing`, `archive_damaged`
   */
  async manifest(
    generations: readonly Generation[],
    number: number,
    signal?: AbortSignal,
  ): Promise<{ manifest: Manifest; hash: string; key: string }> {
    const key = manifestKey(this.place, generationOf(generations, number), number);
    const bytes = await this.#store.get(key, signal);
    if (!bytes) throw missing(key);
    return { manifest: decodeManifest(bytes, this.place, number, key), hash: sha256(bytes), key };
  }

  /** The entries of a segment. @throws EngineError `archive_missing`, `archive_damaged` */
  async segment(manifest: Manifest, signal?: AbortSignal) {
    const parts: Uint8Array[] = [];
    for (const ref of manifest.parts) parts.push(await this.#hashed(partKey(this.place, ref), ref, signal));
    return decodeSegment(parts, manifest, partKey(this.place, manifest.parts[0] as ObjectRef));
  }

  /** One bucket of a closing. @throws EngineError `archive_missing`, `archive_damaged` */
  async bucket({ offset, buckets }: Closing, number: number, signal?: AbortSignal): Promise<ClosedCell[]> {
    const ref = buckets[number] as ObjectRef;
    const key = bucketKey(this.place, ref);
    return decodeBucket(await this.#hashed(key, ref, signal), offset, number, key);
  }

  /** Deletes what a manifest names, then the manifest. */
  async remove(manifest: Manifest, signal?: AbortSignal): Promise<void> {
    for (const ref of manifest.parts) await this.#store.delete(partKey(this.place, ref), signal);
    for (const ref of manifest.closing?.buckets ?? []) await this.#store.delete(bucketKey(this.place, ref), signal);
    await this.#store.delete(manifestKey(this.place, manifest.generation, manifest.number), signal);
  }

  async #hashed(key: string, ref: ObjectRef, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const bytes = await this.#store.get(key, signal);
    if (!bytes) throw missing(key);
    if (bytes.length !== ref.bytes || sha256(bytes) !== ref.sha256)
      throw damaged(key, "has other bytes than were archived");
    return bytes;
  }
}
