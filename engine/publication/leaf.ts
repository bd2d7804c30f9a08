/**
 * The displays of one leaf of a publication: those of its published text, and the changes since, which the index object
 * states until the leaf is written again. Sorted lists take a fifth of the memory of maps. The order is that of
 * JavaScript's strings, so equal displays give equal texts.
 */
import { type Displays, leafText } from "./manifest.js";

/** A leaf with a greater share of changes is written again. */
const MAX_CHANGED_SHARE = 1 / 4;

export class Leaf {
  #skus: string[] = [];
  #units: number[] = [];
  #changes = new Map<string, number | null>();

  /** For the first displays of a new leaf: `sort` comes after the last. */
  add(sku: string, units: number): void {
    this.#skus.push(sku);
    this.#units.push(units);
  }

  /** Of a SKU that was added more than once, the last display counts. */
  sort(): void {
    const [skus, units] = [this.#skus, this.#units];
    const order = Array.from(skus, (_, i) => i);
    order.sort((a, b) => compared(skus[a] as string, skus[b] as string) || a - b);
    const last = order.filter((each, i) => skus[each] !== skus[order[i + 1] ?? -1]);
    this.#skus = last.map((i) => skus[i] as string);
    this.#units = last.map((i) => units[i] as number);
  }

  /** SKUs of the text as it was written last. */
  get rows(): number {
    return this.#skus.length;
  }

  /** SKUs that have changed since. */
  get changed(): number {
    return this.#changes.size;
  }

  get hasManyChanges(): boolean {
    return this.#changes.size > this.#skus.length * MAX_CHANGED_SHARE;
  }

  /** @returns what is now published of the SKU, before this change; undefined: it did not exist */
  set(sku: string, units: number | undefined): number | undefined {
    const i = this.#find(sku);
    const written = this.#skus[i] === sku ? this.#units[i] : undefined;
    const change = this.#changes.get(sku);
    const before = change === undefined ? written : (change ?? undefined);
    if (units === written) this.#changes.delete(sku);
    else this.#changes.set(sku, units ?? null);
    return before;
  }

  changes(): Displays {
    return this.#changes;
  }

  /** Makes the changes a part of the text. */
  merge(): void {
    if (this.#changes.size === 0) return;
    const [skus, units] = [this.#skus, this.#units];
    const merged: [string[], number[]] = [[], []];
    const push = (sku: string, value: number): void => {
      merged[0].push(sku);
      merged[1].push(value);
    };
    let i = 0;
    for (const [sku, value] of sorted(this.#changes)) {
      for (; i < skus.length && (skus[i] as string) < sku; i++) push(skus[i] as string, units[i] as number);
      if (skus[i] === sku) i++;
      if (value !== null) push(sku, value);
    }
    for (; i < skus.length; i++) push(skus[i] as string, units[i] as number);
    [this.#skus, this.#units] = merged;
    this.#changes = new Map();
  }

  text(): string {
    return leafText(this.#displays());
  }

  *#displays(): Displays {
    for (let i = 0; i < this.#skus.length; i++) yield [this.#skus[i] as string, this.#units[i] as number];
  }

  /** The index of a SKU, or of the first that comes after it. */
  #find(sku: string): number {
    let [low, high] = [0, this.#skus.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#skus[middle] as string) < sku) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Displays in the order of leaves. */
export const sorted = (displays: Displays): Displays => [...displays].sort(([a], [b]) => compared(a, b));

const compared = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
