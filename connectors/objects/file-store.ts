/**
 * Objects as files in a folder. A file is written under a temporary name and renamed when it is complete. Files are not
 * synced, because thousands of orders a second are stored here: when a machine dies, the files of its last seconds are
 * lost, while the orders stay in the order store. A bucket loses none. Files of one prefix are spread over 256 folders
 * by the hash of their key. Only the owner may read them: they contain buyers' text.
 */
import { createHash } from "node:crypto";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makePath } from "../../engine/kernel/folder.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { codeOf, fileFailure } from "./file-failure.js";
import { checkKey, checkSize, MAX_OBJECT_BYTES, type ObjectStore, refused } from "./object-store.js";

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Begins with a dot, as no key's part may. */
const UNFINISHED = ".unfinished-";
const SUFFIX_BYTES = 8;
/** Folders that are known to exist; a prefix has 256. Above this limit they are checked again. */
const MAX_KNOWN_FOLDERS = 4_096;

export class FileStore implements ObjectStore {
  readonly #root: string;
  readonly #folders = new Set<string>();

  /** @param root the folder; made when the first object comes */
  constructor(root: string) {
    this.#root = root;
  }

  async put(key: string, bytes: Uint8Array, _contentType?: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    checkSize(bytes);
    signal?.throwIfAborted();
    const path = this.#pathOf(key);
    const folder = dirname(path);
    const unfinished = join(folder, UNFINISHED + secureBytes(SUFFIX_BYTES).toString("hex"));
    try {
      await this.#makeFolder(folder);
      await writeFile(unfinished, bytes, { flag: "wx", mode: FILE_MODE });
      await rename(unfinished, path);
    } catch (thrown) {
      this.#folders.delete(folder);
      await rm(unfinished, { force: true }).catch(() => {});
      throw fileFailure(`put object ${key}`, thrown);
    }
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkKey(key);
    signal?.throwIfAborted();
    const path = this.#pathOf(key);
    try {
      const { size } = await stat(path);
      if (size > MAX_OBJECT_BYTES) throw refused(`object ${key} has ${size} bytes; ${MAX_OBJECT_BYTES} are allowed`);
      return await readFile(path);
    } catch (thrown) {
      if (codeOf(thrown) === "ENOENT") return undefined;
      throw fileFailure(`get object ${key}`, thrown);
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    try {
      await rm(this.#pathOf(key), { force: true });
    } catch (thrown) {
      throw fileFailure(`delete object ${key}`, thrown);
    }
  }

  #pathOf(key: string): string {
    const shard = createHash("sha256").update(key).digest("hex").slice(0, 2);
    const name = key.slice(key.lastIndexOf("/") + 1);
    return join(this.#root, dirname(key), shard, name);
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#folders.has(folder)) return;
    await makePath(folder, FOLDER_MODE);
    if (this.#folders.size >= MAX_KNOWN_FOLDERS) this.#folders.clear();
    this.#folders.add(folder);
  }
}
