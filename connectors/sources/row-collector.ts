/**
 * Collects the rows of one pull in a temporary file until all have come, because a store needs their number first,
 * and because rows of a pull that fails must not be seen. Rows of several outside locations that are one of ours
 * are added up; the same outside row twice is a fault. Memory is a buffer, and a map of the cells that are added up.
 */
import { createReadStream } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../engine/kernel/errors.js";
import { MAX_ROWS } from "../../engine/reconciliation/reports/snapshot-rules.js";
import type { SourceConfiguration } from "./configuration.js";
import type { StockRow } from "./row-mapper.js";

/** What is stored of a row; id and time of movements only. */
export interface CollectedRow {
  readonly sku: string;
  readonly location: string;
  readonly units: number;
  readonly id: string;
  readonly timeMs: number;
}

interface Merged {
  units: number;
  readonly row: StockRow;
  readonly theirs: Set<string | undefined>;
}

const BUFFER_CHARACTERS = 256 * 1024;
/** 200 bytes each are 200 MB. */
const MAX_MERGED = 1_000_000;
/** Texts of rows have no control characters. */
const SEPARATOR = "\u001f";

export class RowCollector {
  readonly #folder: string;
  readonly #file: FileHandle;
  readonly #mergedLocations: ReadonlySet<string>;
  readonly #merged = new Map<string, Merged>();
  #buffer = "";
  #written = 0;

  private constructor(folder: string, file: FileHandle, mergedLocations: ReadonlySet<string>) {
    this.#folder = folder;
    this.#file = file;
    this.#mergedLocations = mergedLocations;
  }

  /** The caller closes it, whatever happens. */
  static async open(source: Pick<SourceConfiguration, "locations" | "otherLocations">): Promise<RowCollector> {
    const folder = await mkdtemp(join(tmpdir(), "shuiwei-source-"));
    return new RowCollector(folder, await open(join(folder, "rows"), "w"), mergedLocationsOf(source));
  }

  /** Rows that `rows` will give. */
  get count(): number {
    let merged = 0;
    for (const { units, row } of this.#merged.values()) if (isKept(row, units)) merged++;
    return this.#written + merged;
  }

  /**
   * @returns whether it is new: false for a row of an outside cell that came before
   * @throws EngineError `too_many_rows`
   */
  async add(row: StockRow): Promise<boolean> {
    if (this.#mergedLocations.has(row.location)) return this.#merge(row);
    this.#written++;
    if (this.#written > MAX_ROWS) throw tooMany(`more than ${MAX_ROWS} rows`);
    this.#buffer += `${lineOf(row, row.units)}\n`;
    if (this.#buffer.length > BUFFER_CHARACTERS) await this.#flush();
    return true;
  }

  /** Every collected row; nothing is added any more. */
  async *rows(): AsyncGenerator<CollectedRow> {
    await this.#flush();
    for await (const line of linesOf(createReadStream(join(this.#folder, "rows"), "utf8"))) yield rowOf(line);
    for (const { row, units } of this.#merged.values()) if (isKept(row, units)) yield rowOf(lineOf(row, units));
  }

  async close(): Promise<void> {
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #merge(row: StockRow): boolean {
    // As the store distinguishes movements: an id may come again at another time.
    const movement = row.id === undefined ? [] : [row.id, row.timeMs];
    const key = [row.sku, row.location, ...movement].join(SEPARATOR);
    const known = this.#merged.get(key);
    if (known?.theirs.has(row.theirLocation)) return false;
    if (known) {
      known.units += row.units;
      known.theirs.add(row.theirLocation);
      return true;
    }
    if (this.#merged.size >= MAX_MERGED) throw tooMany(`more than ${MAX_MERGED} cells of several outside locations`);
    this.#merged.set(key, { units: row.units, row, theirs: new Set([row.theirLocation]) });
    return true;
  }

  async #flush(): Promise<void> {
    const text = this.#buffer;
    this.#buffer = "";
    if (text !== "") await this.#file.write(text);
  }
}

const tooMany = (what: string): EngineError =>
  new EngineError(`the source gives ${what}`, { op: "source.rows", code: "too_many_rows", retryable: false });

/** A movement between two outside locations that are one of ours moves nothing. */
const isKept = ({ id }: StockRow, units: number): boolean => id === undefined || units !== 0;

/** Only a line feed ends a line: readline also takes U+2028, which a SKU may have. */
async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

const lineOf = ({ sku, location, id = "", timeMs = 0 }: StockRow, units: number): string =>
  [sku, location, units, id, timeMs].join(SEPARATOR);

function rowOf(line: string): CollectedRow {
  const [sku = "", location = "", units, id = "", timeMs] = line.split(SEPARATOR);
  return { sku, location, units: Number(units), id, timeMs: Number(timeMs) };
}

/** Locations of ours that several outside ones may be. */
function mergedLocationsOf({
  locations,
  otherLocations,
}: Pick<SourceConfiguration, "locations" | "otherLocations">): ReadonlySet<string> {
  const merged = new Set<string>();
  const seen = new Set<string>();
  for (const [theirs, ours] of locations) {
    if (ours === null) continue;
    // Under its own name, too, unless that name is mapped.
    if (seen.has(ours) || (otherLocations === "same" && theirs !== ours && !locations.has(ours))) merged.add(ours);
    seen.add(ours);
  }
  return merged;
}
