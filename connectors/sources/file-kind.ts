/**
 * The kind `file`: snapshots that an export drops into a folder, as CSV or NDJSON, plain or with gzip. Only complete
 * files are read: those that were renamed into place, or those with a `.done` file beside them. A file is moved to
 * `done/` after its snapshot is stored, or to `refused/` with a `.reason` file beside it; one that is being written is
 * left alone. One file is one snapshot, the first by name comes first. It gives no movements.
 */
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
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
/** More files wait than anybody exports; the first by name are read all the same. */
const MAX_FILES = 100_000;

export const fileKind = defineSourceKind({
  name: "file",
  about: "a folder that an export drops CSV or NDJSON files into",
  connection: Connection,
  pulls: ["snapshot"],
  gives: "whole",
  perSecond: 1_000,
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
    const about = { more: others.length > 0, refuse: (reason: string) => this.#move(name, "refused", reason) };
    // Before anything can fail, so that whoever pulls can refuse the file.
    yield { rows: [], ...about };
    const instant = await this.#asOf(name, path);
    const stream = createReadStream(path, { signal });
    let before: SourcePage | undefined;
    try {
      for await (const rows of rowsOf(format, stream, name)) {
        if (before) yield before;
        before = { rows, ...about, ...instant };
      }
    } catch (thrown) {
      // It was complete: what is broken in it stays so.
      throw thrown instanceof EngineError && thrown.code === "bad_input"
        ? new EngineError(
            thrown.message,
            { op: OP, code: "bad_input", retryable: false, input: name },
            { cause: thrown },
          )
        : thrown;
    } finally {
      stream.destroy();
    }
    // Acknowledged once, with the last rows.
    yield { ...(before ?? { rows: [], ...about, ...instant }), acknowledge: () => this.#move(name, "done") };
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

  async #asOf(name: string, path: string): Promise<Pick<SourcePage, "asOfMs">> {
    const { asOf } = this.#settings;
    if (asOf === "field") return {};
    if (asOf === "modified") return { asOfMs: Math.floor((await stat(path)).mtimeMs) };
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
    // First the reason: a file in `refused` always has one.
    if (reason !== undefined) await writeFile(join(target, `${name}.reason`), `${reason}\n`);
    try {
      await rename(join(this.#folder, name), join(target, name));
    } catch (thrown) {
      // Moved before: an answer was lost, or another process has read it.
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
    }
    await rm(join(this.#folder, name + DONE), { force: true });
  }
}
