/**
 * What is published, in the memory of the publication's owner: leaves and index objects, and the names under which the
 * newest manifest knows them. A change marks what has to be written again: its index object always, and a leaf only
 * when many of its SKUs have changed. An attempt to publish names what it writes in a draft, which becomes the content
 * once the manifest is stored; an attempt that failed leaves no trace. It takes 18 bytes of memory a SKU beside
 * the SKUs' names.
 */

import { Leaf, sorted } from "./leaf.js";
import { indexOfLeaf, type LeafCounts, leafOf } from "./leaf-of.js";
import { indexText, MAX_INDEXES } from "./manifest.js";
import type { Turns } from "./turns.js";

/** On average, so that a page reads a few KiB to know one SKU. */
const SKUS_A_LEAF = 256;
/** Fewer index objects while they are small. */
const LEAVES_AN_INDEX = 128;
/** An index object of 20 KiB, 8 compressed; with more, the leaves with most changes are written again. */
const MAX_CHANGES_AN_INDEX = 1_024;
/** When SKUs are that many times fewer than the leaves are for, the next publication has fewer leaves. */
const SPARSE = 8;

/** A text to be stored. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** Names of all objects of a publication that is being made; undefined: not written yet. */
export interface Draft {
  readonly leaves: (string | undefined)[];
  readonly indexes: (string | undefined)[];
}

export class Content {
  readonly counts: LeafCounts;
  readonly #leaves: Leaf[];
  #names: Draft;
  #skus = 0;

  /** @param skus about how many there are */
  constructor(skus: number) {
    this.counts = countsFor(skus);
    this.#leaves = Array.from({ length: this.counts.leaves }, () => new Leaf());
    this.#names = { leaves: nothing(this.counts.leaves), indexes: nothing(this.counts.indexes) };
  }

  /** Reads all SKUs. */
  static async of(
    rows: Iterable<readonly [sku: string, displayUnits: number]>,
    skus: number,
    turns: Turns,
  ): Promise<Content> {
    const content = new Content(skus);
    for (const [sku, units] of rows) {
      content.#leafOf(sku).add(sku, units);
      if (turns.isOver) await turns.next();
    }
    for (const leaf of content.#leaves) {
      leaf.sort();
      content.#skus += leaf.rows;
      if (turns.isOver) await turns.next();
    }
    return content;
  }

  get skus(): number {
    return this.#skus;
  }

  /** Whether the number of leaves is right for the number of SKUs; otherwise all is to be read again. */
  get isSuited(): boolean {
    const wanted = countsFor(this.#skus).leaves;
    return wanted <= this.counts.leaves && wanted * SPARSE > this.counts.leaves;
  }

  /** @param units undefined: the SKU does not exist any more */
  set(sku: string, units: number | undefined): void {
    const leaf = leafOf(sku, this.counts.leaves);
    const before = (this.#leaves[leaf] as Leaf).set(sku, units);
    if (before === units) return;
    this.#names.indexes[indexOfLeaf(leaf, this.counts)] = undefined;
    if (before === undefined) this.#skus++;
    if (units === undefined) this.#skus--;
  }

  /** Begins an attempt: decides which leaves are written again. */
  draft(): Draft {
    for (let index = 0; index < this.counts.indexes; index++) {
      if (this.#names.indexes[index] !== undefined) continue;
      for (const leaf of this.#leavesToMerge(index)) this.#names.leaves[leaf] = undefined;
    }
    return { leaves: [...this.#names.leaves], indexes: [...this.#names.indexes] };
  }

  /**
   * The texts that an attempt has to store, leaves first.
   * @param name gives a text its name, and may change it by white space
   */
  *texts(draft: Draft, name: (text: string) => NamedText): Generator<NamedText> {
    for (const [i, leaf] of this.#leaves.entries()) {
      if (draft.leaves[i] !== undefined) continue;
      leaf.merge();
      const named = name(leaf.text());
      draft.leaves[i] = named.name;
      yield named;
    }
    for (let index = 0; index < this.counts.indexes; index++) {
      if (draft.indexes[index] !== undefined) continue;
      const named = name(this.#indexText(draft, index));
      draft.indexes[index] = named.name;
      yield named;
    }
  }

  /** The manifest of this attempt is stored. @param draft complete */
  adopt(draft: Draft): void {
    this.#names = draft;
  }

  #leafOf(sku: string): Leaf {
    return this.#leaves[leafOf(sku, this.counts.leaves)] as Leaf;
  }

  #leavesOf(index: number): number[] {
    const each = this.counts.leaves / this.counts.indexes;
    return Array.from({ length: each }, (_, i) => index * each + i);
  }

  #leavesToMerge(index: number): number[] {
    const changed = (leaf: number): number => (this.#leaves[leaf] as Leaf).changed;
    const candidates = this.#leavesOf(index)
      .filter((leaf) => changed(leaf) > 0)
      .sort((a, b) => changed(b) - changed(a));
    let left = candidates.reduce((sum, leaf) => sum + changed(leaf), 0);
    return candidates.filter((leaf) => {
      const merges = left > MAX_CHANGES_AN_INDEX || (this.#leaves[leaf] as Leaf).hasManyChanges;
      if (merges) left -= changed(leaf);
      return merges;
    });
  }

  #indexText(draft: Draft, index: number): string {
    const leaves = this.#leavesOf(index);
    const changes = leaves.flatMap((leaf) => [...(this.#leaves[leaf] as Leaf).changes()]);
    return indexText(
      leaves.map((leaf) => draft.leaves[leaf] as string),
      sorted(changes),
    );
  }
}

const nothing = (length: number): undefined[] => new Array<undefined>(length).fill(undefined);

function countsFor(skus: number): LeafCounts {
  const leaves = nextPowerOfTwo(skus / SKUS_A_LEAF);
  return { leaves, indexes: Math.min(MAX_INDEXES, nextPowerOfTwo(leaves / LEAVES_AN_INDEX)) };
}

const nextPowerOfTwo = (least: number): number => 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, least))));
