/**
 * Finds objects that a store has lost: a Cluster's node died with its last second, a rule of a bucket deletes what is
 * old, somebody has cleaned up a folder. An owner does not write again what it has stored, so it reads a few objects
 * after each publication, all of them in turn. It does not look into them: a name stands for its content.
 */
import type { PublicationStore } from "./publication-store.js";

/** Of a million SKUs there are 4,128 objects: with a publication every 5 s all are read in 43 minutes. */
const CHECKED_AT_ONCE = 8;

export class LostObjects {
  /** How many have been read in this round. */
  #checked = 0;

  /**
   * Reads the next few.
   * @param names of all objects that there should be
   * @returns those that are missing
   * @throws as the store's `read`
   */
  async find(
    names: ReadonlySet<string>,
    store: Pick<PublicationStore, "read">,
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    if (this.#checked >= names.size) this.#checked = 0;
    const next = [...names].slice(this.#checked, this.#checked + CHECKED_AT_ONCE);
    const found = await Promise.all(next.map((name) => store.read(name, signal)));
    this.#checked += next.length;
    return new Set(next.filter((_, i) => found[i] === undefined));
  }
}
