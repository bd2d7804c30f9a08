/**
 * The archive's closings as anchors for balances in the past: of a SKU, what it had at the end of the day before an
 * instant, and of the day of the instant. So an instant years ago is a day's part of the log away from stored balances.
 * It reads only.
 */
import { EngineError } from "../kernel/errors.js";
import type { BalanceAnchor, BalanceAnchors } from "../stock/as-of.js";
import { CELL_SEPARATOR, emptyBalances, POOLS } from "../stock/model.js";
import type { StockKeys } from "../stream/keys.js";
import { bucketOf, type Closing, type Manifest } from "./archive-format.js";
import type { ArchivedLog, ArchiveReader } from "./archived-log.js";

/** Segments after an instant that are searched for the next closing: two days without much trade. */
const SEARCHED_SEGMENTS = 200;

/** Of one partition. */
export interface ReadArchive {
  readonly reader: ArchiveReader;
  readonly log: ArchivedLog;
}

export class ArchiveAnchors implements BalanceAnchors {
  readonly #archiveOf: (log: string) => ReadArchive | undefined;
  readonly #partitions: number;
  readonly #nearer: BalanceAnchors;

  /**
   * @param archiveOf the archive of a partition, by the key of its log
   * @param nearer further anchors, of instants that are not long ago
   */
  constructor(archiveOf: (log: string) => ReadArchive | undefined, partitions: number, nearer: BalanceAnchors) {
    this.#archiveOf = archiveOf;
    this.#partitions = partitions;
    this.#nearer = nearer;
  }

  async read(keys: StockKeys, skus: readonly string[], atMs: number): Promise<readonly (readonly BalanceAnchor[])[]> {
    const nearer = await this.#nearer.read(keys, skus, atMs);
    const archive = this.#archiveOf(keys.log);
    if (!archive || nearer.every((anchors) => anchors.length > 0)) return nearer;
    try {
      return await this.#archived(archive.reader, skus, atMs, nearer);
    } catch (thrown) {
      // Anchors only spare reading: where the log in Redis will do, no object has to be there.
      if (thrown instanceof EngineError && (thrown.retryable || archive.log.isLive(atMs))) return nearer;
      throw thrown;
    }
  }

  async #archived(
    reader: ArchiveReader,
    skus: readonly string[],
    atMs: number,
    nearer: readonly (readonly BalanceAnchor[])[],
  ): Promise<readonly (readonly BalanceAnchor[])[]> {
    const closings = await closingsAround(reader, atMs);
    return Promise.all(
      skus.map(async (sku, i) => [
        ...(nearer[i] ?? []),
        ...(await Promise.all(closings.map((closing) => this.#anchorOf(reader, closing, sku)))),
      ]),
    );
  }

  async #anchorOf(reader: ArchiveReader, closing: Closing, sku: string): Promise<BalanceAnchor> {
    const cells = await reader.bucket(closing, bucketOf(sku, this.#partitions, closing.buckets.length));
    const locations = new Map(
      cells
        .filter(([name]) => name.startsWith(sku + CELL_SEPARATOR))
        .map(([name, ...units]) => [
          name.slice(sku.length + CELL_SEPARATOR.length),
          { ...emptyBalances(), ...Object.fromEntries(POOLS.map((pool, p) => [pool, units[p] ?? 0])) },
        ]),
    );
    return { offset: closing.offset + 1, index: 0, locations };
  }
}

/** The last closing before an instant, and the next one after it. */
async function closingsAround(reader: ArchiveReader, atMs: number): Promise<Closing[]> {
  const begun = await reader.lastWith(({ beginMs }) => beginMs <= atMs);
  if (!begun) return [];
  const { first, last } = reader.range;
  const closings: Closing[] = [];
  // The one of this segment is at its end: after the instant.
  const before = begun.closing ? await previousOf(reader, begun, first) : begun.lastClosing;
  for (const number of [before, begun.closing ? begun.number : 0])
    if (number >= first) closings.push(...closingIn(await reader.manifest(number)));
  if (begun.closing) return closings;
  for (let number = begun.number + 1; number <= Math.min(last, begun.number + SEARCHED_SEGMENTS); number++) {
    const manifest = await reader.manifest(number);
    if (manifest.closing) return [...closings, ...closingIn(manifest)];
  }
  return closings;
}

const previousOf = async (reader: ArchiveReader, { number }: Manifest, first: number): Promise<number> =>
  number > first ? (await reader.manifest(number - 1)).lastClosing : 0;

const closingIn = ({ closing }: Manifest): Closing[] => (closing ? [closing] : []);
