/**
 * Where a publication is stored: immutable objects, named by their content, and one manifest that names them. A reader
 * reads the manifest and then what it names, so it sees one publication or the next, never a mixture: objects are
 * stored before the manifest, and deleted only when no reader can have an older manifest. A manifest replaces the one
 * that its writer has read, or nothing: an owner that was replaced cannot overwrite a newer one. The suite in
 * test/conformance/publication-store.ts tests the contract.
 */

/** The forms of one content. */
export interface Encodings {
  /** JSON text, UTF-8. */
  readonly identity: Uint8Array;
  readonly gzip: Uint8Array;
  readonly br: Uint8Array;
}

export interface PublishedObject extends Encodings {
  /** From the hash of its content: 16 of A-Z a-z 0-9 - _. */
  readonly name: string;
}

/** A manifest in a store. */
export interface StoredManifest {
  readonly json: Uint8Array;
  /** What the store knows this one by: an ETag, a generation. */
  readonly version: string;
}

export interface PublicationStore {
  /** What operators know it by: `redis`, `file:///srv/stock`, `s3+https://…`. */
  readonly place: string;
  /**
   * Checks, before anything is stored, that the store can do what is stated here; left out: it always can.
   * @throws EngineError, retryable when the store cannot be reached now
   */
  check?(signal?: AbortSignal): Promise<void>;
  /**
   * Resolves when all are stored. One that exists is the same; it may be written again.
   * @throws EngineError; the signal's reason
   */
  put(objects: readonly PublishedObject[], signal?: AbortSignal): Promise<void>;
  /** Deletes objects; those that do not exist are no error. @throws as put */
  delete(names: readonly string[], signal?: AbortSignal): Promise<void>;
  /** An object's JSON text; undefined when there is none. @throws as put */
  read(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** The manifest; undefined before the first. @throws as put */
  readManifest(signal?: AbortSignal): Promise<StoredManifest | undefined>;
  /**
   * Replaces the manifest if it is still the expected version, in one step.
   * @param json JSON text, UTF-8; stored as it is, because compression saves nothing of names
   * @param expected the version that was read; undefined: there must be none
   * @param epoch of the writer's lease: never decreases
   * @param cacheSeconds how long shared caches may keep it, where the store serves it by itself
   * @returns the new version; undefined when another one is stored
   * @throws as put; after an error the manifest is the old one or the new one
   */
  replaceManifest(
    json: Uint8Array,
    expected: string | undefined,
    writer: { readonly epoch: number; readonly cacheSeconds: number },
    signal?: AbortSignal,
  ): Promise<string | undefined>;
}
