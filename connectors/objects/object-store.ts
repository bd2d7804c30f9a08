/**
 * The contract of object storage: bytes under a key, complete or not at all. Putting the same key again replaces the
 * object, so a put may be repeated; whoever reads meanwhile gets the old object or the new one. Objects are not
 * listed: they are deleted by their key. No error contains a credential. Keys are checked here for every kind of
 * storage. test/conformance/object-store.ts tests the contract.
 */
import { badInput, EngineError } from "../../engine/kernel/errors.js";

export interface ObjectStore {
  /**
   * Resolves when the storage has the object; each storage documents how durable that is. Once it has resolved, the
   * caller may change the bytes.
   * @param key parts of letters, digits, dots, dashes and underscores with slashes between; see checkKey
   * @param signal when it is aborted before, nothing is done; later, the storage may have the object or not
   * @throws EngineError `bad_input` (the key, or too many bytes), `objects_unavailable` (retryable), `objects_refused`
   *   (an operator must change something first); the signal's reason
   */
  put(key: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<void>;
  /**
   * The object, or undefined when there is none. A storage that cannot distinguish this from being unreachable
   * documents it. The caller may change the bytes.
   * @throws as put
   */
  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /**
   * Deletes the object; also resolves when there is none. A storage that keeps versions may still have older ones.
   * @throws as put
   */
  delete(key: string, signal?: AbortSignal): Promise<void>;
}

/** Larger than any order's remarks by far; both directions are held in memory. */
export const MAX_OBJECT_BYTES = 1_048_576;
/** Every part begins with a letter or digit, so that none is hidden, and none climbs. */
const KEY = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/;
const MAX_KEY_CHARACTERS = 200;

/** @throws EngineError `bad_input` for a key that a file system or a URL could read as another place */
export function checkKey(key: string): void {
  if (key.length > MAX_KEY_CHARACTERS || !KEY.test(key))
    throw badInput("objects", "key", `${JSON.stringify(key.slice(0, MAX_KEY_CHARACTERS))} is not a key`);
}

/** @throws EngineError `bad_input` */
export function checkSize(bytes: Uint8Array): void {
  if (bytes.length > MAX_OBJECT_BYTES)
    throw badInput("objects", "bytes", `${bytes.length} are too many for one object; ${MAX_OBJECT_BYTES} are allowed`);
}

/** The same call may succeed later. */
export const unavailable = (message: string, cause?: unknown, retryAfterMs?: number): EngineError =>
  new EngineError(
    message,
    {
      op: "objects",
      code: "objects_unavailable",
      retryable: true,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
    { cause },
  );

/** An operator must change a setting or a permission before the same call can succeed. */
export const refused = (message: string, cause?: unknown): EngineError =>
  new EngineError(message, { op: "objects", code: "objects_refused", retryable: false }, { cause });
