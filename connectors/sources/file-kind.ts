/**
 * The kind `file`: snapshots that an export drops into a folder, as CSV or NDJSON, plain or with gzip. Only complete
 * files are read: those that were renamed into place, or those with a `.done` file beside them. A file is moved to
 * `done/` after its snapshot is stored, or to `refused/` with a `.reason` file beside it; one that is being written is
 * left alone. One file is one snapshot, the first by name comes first. Whoever writes into the folder need not be
 * trusted with other files of this machine: links are neither read nor followed. It gives no movements.
 */
import { constants, type Stats } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { type Static, Type } from "typebox";
import { badInput, EngineError, messageOf } from "../../engine/kernel/errors.js";
import { defineSourceKind, type PullRequest, type Source, type SourcePage, type SourceParts } from "../source.js";
import { type RowFormat, rowsOf } from "./row-formats.js";

const Connection = Type.Object(
  {
    folder: Type.String({ minLength: 1, maxLength: 1_000 }),
    /** `rename`: a file is complete once it has its name. `done`: once NAME.done is beside it. */
    complete: Type.Optional(Type.Enum(["rename", "done"])),
    /** Where the snapshot's instant is: in the file's name, in a field of its rows, or when the file was written. */
    asOf: Type.Enum(["name", "field", "modified"]),
  },
  { additionalProperties: false },
);

const OP = "source.file";
const DONE = ".done";
const FORMATS: readonly (readonly [RegExp, RowFormat])[] = [
  [/\.csv(\.gz)?$/i, "csv"],
  [/\.(ndjson|jsonl)(\.gz)?$/i, "ndjson"],
];
/** Names that programs give to files that they are still writing. */
const UNFINISHED = /^\.|\.(tmp|part|partial|filepart|crdownload)$/i;
/** In a name: 20261130-1800, 2026-11-30T18-00-00, 20261130180000. */
const TIME_IN_NAME = /(\d{4})-?(\d\d)-?(\d\d)[T_-]?(\d\d)-?(\d\d)(?:-?(\d\d))?/;
/** File systems take names of 255 bytes; `.reason` has 7, and a character up to 4. */
const MAX_NAME_BYTES = 248;
const SHORT_NAME_LENGTH = 60;
/** More files wait than anybody exports; the first by name are read all the same. */
const MAX_FILES = 100_000;

export const fileKind = defineSourceKind({
  name: "file",
  about: "a folder that an export drops CSV or NDJSON files into",
  connection: Connection,
  pulls: ["snapshot"],
  gives: "whole",
  perSecond: 1_000,
  // Otherwise the instant would be that of the pull.
  needs: ({ asOf }) => (asOf === "field" ? ["time"] : []),
  async open(settings, parts) {
    return new FolderSource(settings, parts);
  },
});

class FolderSource implements Source {
  readonly #settings: Static<typeof Connection>;
  readonly #parts: SourceParts;
  readonly #folder: string;

  constructor(settings: Static<typeof Connection>, parts: SourceParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#folder = isAbsolute(settings.folder) ? settings.folder : join(parts.folder, settings.folder);
  }

  async *pull(_request: PullRequest, signal: AbortSignal): AsyncGenerator<SourcePage> {
    const [name, ...others] = await this.#waiting();
    if (name === undefined) return;
    const path = join(this.#folder, name);
    const format = FORMATS.find(([pattern]) => pattern.test(name))?.[1] as RowFormat;
    const before = await lstat(path);
    const end = async (folder: "done" | "refused", reason?: string) => {
      // Another file that came under the name meanwhile is pulled next.
      if (await this.#isSame(name, before)) await this.#move(name, folder, reason);
    };
    const about = { more: others.length > 0, refuse: (reason: string) => end("refused", reason) };
    // Before anything can fail, so that whoever pulls can refuse the file.
    yield { rows: [], ...about };
    // A pipe would never end, and a link could name any file of this machine.
    if (!before.isFile()) throw badInput(OP, name, "is a folder, a link or a device, and no file");
    const instant = this.#asOf(name, before);
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stream = file.createReadStream({ signal });
    let last: SourcePage | undefined;
    try {
      for await (const rows of rowsOf(format, stream, name)) {
        if (last) yield last;
        last = { rows, ...about, ...instant };
      }
      await this.#assertSame(name, before);
    } catch (thrown) {
      if (!(thrown instanceof EngineError) || thrown.code !== "bad_input") throw thrown;
      await this.#assertSame(name, before);
      // It was complete: what is broken in it stays so.
      const detail = { op: OP, code: "bad_input", retryable: false, input: name };
      throw new EngineError(thrown.message, detail, { cause: thrown });
    } finally {
      stream.destroy();
    }
    // Acknowledged once, with the last rows.
    yield { ...(last ?? { rows: [], ...about, ...instant }), acknowledge: () => end("done") };
  }

  /** Whether the file is the one that was read, unchanged. */
  async #isSame(name: string, before: Stats): Promise<boolean> {
    const now = await lstat(join(this.#folder, name)).catch(() => undefined);
    return now?.ino === before.ino && now.size === before.size && now.mtimeMs === before.mtimeMs;
  }

  async #assertSame(name: string, before: Stats): Promise<void> {
    if (await this.#isSame(name, before)) return;
    const detail = { op: OP, code: "changed_meanwhile", retryable: true, input: name };
    throw new EngineError(
      `${name}: has changed or gone while it was read; an export must rename it into place`,
      detail,
    );
  }

  /** Names of complete files, the first to read first. */
  async #waiting(): Promise<string[]> {
    let names: string[];
    try {
      names = await readdir(this.#folder);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      const message = `${this.#folder}: the folder cannot be read (${code ?? messageOf(cause)})`;
      throw new EngineError(message, { op: OP, code: "no_folder", retryable: true, input: this.#folder }, { cause });
    }
    if (names.length > MAX_FILES)
      throw new EngineError(`${this.#folder}: ${names.length} files are in it; ${MAX_FILES} are allowed`, {
        ...{ op: OP, code: "too_many_files", retryable: true, input: this.#folder },
      });
    const all = new Set(names);
    return names
      .filter((name) => !UNFINISHED.test(name) && FORMATS.some(([pattern]) => pattern.test(name)))
      .filter((name) => this.#settings.complete !== "done" || all.has(name + DONE))
      .sort();
  }

  #asOf(name: string, { mtimeMs }: Stats): Pick<SourcePage, "asOfMs"> {
    const { asOf } = this.#settings;
    if (asOf === "field") return {};
    if (asOf === "modified") return { asOfMs: Math.floor(mtimeMs) };
    const [, year, month, day, hour, minute, second = "00"] = TIME_IN_NAME.exec(name) ?? [];
    const local = [year, month, day, hour, minute, second].map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const localMs = Date.UTC(local[0], local[1] - 1, ...(local.slice(2) as [number, number, number, number]));
    const instantMs = year === undefined ? undefined : this.#parts.zone.instantOf(localMs);
    if (instantMs !== undefined) return { asOfMs: instantMs };
    throw badInput(OP, name, "its name has no date and time, such as 20261130-1800");
  }

  async #move(name: string, folder: "done" | "refused", reason?: string): Promise<void> {
    const target = join(this.#folder, folder);
    await mkdir(target, { recursive: true });
    if (!(await lstat(target)).isDirectory())
      throw new EngineError(`${target}: is a link and no folder`, {
        ...{ op: OP, code: "no_folder", retryable: true, input: target },
      });
    // First the reason: a file in `refused` always has one.
    if (reason !== undefined) {
      const isLong = Buffer.byteLength(name) > MAX_NAME_BYTES;
      const beside = join(target, `${isLong ? name.slice(0, SHORT_NAME_LENGTH) : name}.reason`);
      await rm(beside, { force: true });
      // Never through a link that was there before.
      await writeFile(beside, `${reason}\n`, { flag: "wx" });
    }
    try {
      await rename(join(this.#folder, name), join(target, name));
    } catch (thrown) {
      // Moved before: an answer was lost, or another process has read it.
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
    }
    if (this.#settings.complete === "done") await rm(join(this.#folder, name + DONE), { force: true });
  }
}
