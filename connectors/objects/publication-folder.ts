/**
 * A publication as plain files that nginx serves: `manifest.json` and, of each object, `<name>.json` with `.gz` and
 * `.br` beside it for `gzip_static` and `brotli_static`. Everybody may read them: a storefront is public. Files are
 * synced; one that exists is replaced by renaming. POSIX has no conditional replace, so each writer of a manifest first
 * removes the prepared manifests of all others, then compares what is stored, and then renames its own: one that was
 * overtaken finds its file gone. It promises this where all processes see a folder the same way: on local disks, not
 * on network file systems that cache directories.
 */
import { createHash } from "node:crypto";
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { eachAtOnce } from "../../engine/kernel/at-once.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { makePath } from "../../engine/kernel/folder.js";
import { secureBytes } from "../../engine/kernel/random.js";
import type { PublicationStore, PublishedObject, StoredManifest } from "../../engine/publication/publication-store.js";
import { codeOf, fileFailure } from "./file-failure.js";
import { unavailable } from "./object-store.js";

const FOLDER_MODE = 0o755;
const FILE_MODE = 0o644;
const MANIFEST = "manifest.json";
/** A folder of what is not public: unfinished files, and the highest epoch as the name of an empty file. */
const STATE = ".state";
const STATE_MODE = 0o700;
const OBJECT = "object-";
const PREPARED = "manifest-";
const EPOCH = "epoch-";
const SUFFIX_BYTES = 8;
/** At once; more than Node's four threads for files, so that none waits. */
const FILES_AT_ONCE = 16;
/** Two writers that remove each other's manifest both try again, after a random pause. */
const ATTEMPTS = 10;
const PAUSE_STEP_MS = 4;
/** An unfinished file that is older was left by a process that ended. */
const LEFT_AFTER_MS = 3_600_000;
const SECOND_MS = 1_000;

interface Prepared {
  readonly path: string;
  /** Names in the folder of the state after this manifest was prepared. */
  readonly names: readonly string[];
}

export class PublicationFolder implements PublicationStore {
  readonly place: string;
  readonly #root: string;
  readonly #state: string;
  #isMade = false;

  /** @param root the folder; made when the first object comes */
  constructor(root: string) {
    this.place = pathToFileURL(root).href;
    this.#root = root;
    this.#state = join(root, STATE);
  }

  async put(objects: readonly PublishedObject[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (objects.length === 0) return;
    await this.#change("put objects", async () => {
      await eachAtOnce(objects, FILES_AT_ONCE, signal, async ({ name, identity, gzip, br }) => {
        await this.#write(`${name}.json`, identity);
        await this.#write(`${name}.json.gz`, gzip);
        await this.#write(`${name}.json.br`, br);
      });
      await syncFolder(this.#root);
    });
  }

  async delete(names: readonly string[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await attempt("delete objects", () =>
      eachAtOnce(names, FILES_AT_ONCE, signal, async (name) => {
        for (const end of [".json", ".json.gz", ".json.br"]) await rm(join(this.#root, name + end), { force: true });
      }),
    );
  }

  async read(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    return attempt(`read object ${name}`, () => unlessMissing(readFile(join(this.#root, `${name}.json`))));
  }

  async readManifest(signal?: AbortSignal): Promise<StoredManifest | undefined> {
    signal?.throwIfAborted();
    return attempt("read the manifest", async () => {
      const json = await unlessMissing(readFile(join(this.#root, MANIFEST)));
      return json && { json, version: versionOf(json) };
    });
  }

  async replaceManifest(
    json: Uint8Array,
    expected: string | undefined,
    { epoch }: { readonly epoch: number },
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    signal?.throwIfAborted();
    return this.#change("replace the manifest", async () => {
      for (let tries = 1; tries <= ATTEMPTS; tries++) {
        const prepared = await this.#prepare(json);
        const outcome = await this.#replace(prepared, expected, epoch).finally(() =>
          rm(prepared.path, { force: true }),
        );
        if (outcome === "replaced") return versionOf(json);
        if (outcome === "refused") return undefined;
        await sleep((1 + ((secureBytes(1)[0] as number) % tries)) * PAUSE_STEP_MS, signal);
        signal?.throwIfAborted();
      }
      throw unavailable(`${this.place}: other processes replace the manifest all the time`);
    });
  }

  /** Writes a manifest under a name of its own, then removes those that others have prepared. */
  async #prepare(json: Uint8Array): Promise<Prepared> {
    const own = PREPARED + suffix();
    const path = join(this.#state, own);
    await writeSynced(path, json);
    const names = await readdir(this.#state);
    for (const name of names)
      if (name.startsWith(PREPARED) && name !== own) await rm(join(this.#state, name), { force: true });
    return { path, names };
  }

  /** Renames a prepared manifest, unless what is stored is not what was expected, or another writer has removed it. */
  async #replace(
    { path, names }: Prepared,
    expected: string | undefined,
    epoch: number,
  ): Promise<"replaced" | "refused" | "removed"> {
    const epochs = names.flatMap((name) => (name.startsWith(EPOCH) ? [Number(name.slice(EPOCH.length))] : []));
    const stored = await this.readManifest();
    if (stored?.version !== expected || epochs.some((each) => each > epoch)) return "refused";
    // A file that exists is a lower bound of the epoch even after a crash, and no writer can lower it by writing late.
    if (!epochs.includes(epoch)) await (await open(join(this.#state, EPOCH + epoch), "a", FILE_MODE)).close();
    for (const each of epochs) if (each < epoch) await rm(join(this.#state, EPOCH + each), { force: true });
    try {
      await this.#setTime(path);
      await rename(path, join(this.#root, MANIFEST));
    } catch (thrown) {
      if (codeOf(thrown) === "ENOENT") return "removed";
      throw thrown;
    }
    await syncFolder(this.#root);
    return "replaced";
  }

  /** nginx makes an ETag of a file's size and the second of its last change: no two manifests have the same. */
  async #setTime(path: string): Promise<void> {
    const last = await unlessMissing(stat(join(this.#root, MANIFEST)));
    const lastSecond = last === undefined ? 0 : Math.floor(last.mtimeMs / SECOND_MS);
    const second = Math.max(Math.floor(systemClock.now() / SECOND_MS), lastSecond + 1);
    await utimes(path, second, second);
  }

  /** A name states its content, so a file that is new is written in its place: nothing reads it before a manifest. */
  async #write(file: string, bytes: Uint8Array): Promise<void> {
    try {
      await writeSynced(join(this.#root, file), bytes);
    } catch (thrown) {
      if (codeOf(thrown) !== "EEXIST") throw thrown;
      await this.#replaceObject(file, bytes);
    }
  }

  /** A file that exists may be read at this moment, or be what a process that ended has left of it. */
  async #replaceObject(file: string, bytes: Uint8Array): Promise<void> {
    const unfinished = join(this.#state, OBJECT + suffix());
    try {
      await writeSynced(unfinished, bytes);
      await rename(unfinished, join(this.#root, file));
    } catch (thrown) {
      await rm(unfinished, { force: true }).catch(() => {});
      throw thrown;
    }
  }

  /** After a failure the folders are made again: they may have been removed. */
  #change<Result>(doing: string, call: () => Promise<Result>): Promise<Result> {
    return attempt(doing, async () => {
      try {
        await this.#make();
        return await call();
      } catch (thrown) {
        this.#isMade = false;
        throw thrown;
      }
    });
  }

  /** Makes the folders, and removes what processes that ended have left in them. */
  async #make(): Promise<void> {
    if (this.#isMade) return;
    if ((await unlessMissing(stat(this.#root))) === undefined) {
      await makePath(this.#root, FOLDER_MODE);
      // The process's mask may take rights away from what it makes.
      await chmod(this.#root, FOLDER_MODE);
    }
    await mkdir(this.#state, { mode: STATE_MODE, recursive: true });
    for (const name of await readdir(this.#state)) {
      if (!name.startsWith(OBJECT)) continue;
      const path = join(this.#state, name);
      const found = await unlessMissing(stat(path));
      if (found && systemClock.now() - found.mtimeMs > LEFT_AFTER_MS) await rm(path, { force: true });
    }
    this.#isMade = true;
  }
}

const suffix = (): string => secureBytes(SUFFIX_BYTES).toString("hex");

const versionOf = (json: Uint8Array): string => createHash("sha256").update(json).digest("base64url");

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", FILE_MODE);
  try {
    await file.chmod(FILE_MODE);
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** After this the renames in a folder survive a power cut. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function unlessMissing<Result>(call: Promise<Result>): Promise<Result | undefined> {
  try {
    return await call;
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

async function attempt<Result>(doing: string, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (thrown) {
    throw fileFailure(`${doing} of the publication`, thrown);
  }
}
