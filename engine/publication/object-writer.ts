/**
 * Stores the objects of an attempt to publish that are not stored yet, with bounded memory: one batch is compressed
 * while the one before is on its way to the store. Every name is recorded before its object is stored. What an attempt
 * has stored before an error is not stored again by the next one, so attempts get further each time.
 */
import { compressed } from "./compression.js";
import type { Content, Draft, NamedText } from "./content.js";
import { nameOf } from "./manifest.js";
import type { PublicationStore, PublishedObject } from "./publication-store.js";
import { Turns } from "./turns.js";

/** About 1.5 MB in the three forms, of which two are in memory: one being made, one on its way to the store. */
const OBJECTS_AT_ONCE = 128;
/** With more, they are forgotten and stored again. */
const MAX_UNNAMED = 65_536;

export interface ObjectWriterOptions {
  readonly store: Pick<PublicationStore, "put">;
  /** Whether somebody may be deleting the object of this name. */
  isTaken(name: string): boolean;
  /** Records names whose objects will be stored. */
  record(names: readonly string[], signal: AbortSignal): Promise<void>;
}

export class ObjectWriter {
  readonly #options: ObjectWriterOptions;
  /** Stored, and named by no manifest yet. */
  readonly #unnamed = new Set<string>();

  constructor(options: ObjectWriterOptions) {
    this.#options = options;
  }

  /**
   * Completes the draft.
   * @param stored names that the manifest has now
   * @throws as the store's `put` and as `record`
   */
  async write(
    content: Content,
    draft: Draft,
    stored: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<{ objects: number; bytes: number }> {
    const written = { objects: 0, bytes: 0 };
    const turns = new Turns();
    let batch: NamedText[] = [];
    let putting = Promise.resolve();
    const put = async (): Promise<void> => {
      const objects = await compressed(batch);
      await putting;
      putting = this.#put(objects, signal);
      // It is awaited later.
      putting.catch(() => {});
      batch = [];
      written.objects += objects.length;
      written.bytes += objects.reduce(
        (sum, { identity, gzip, br }) => sum + identity.length + gzip.length + br.length,
        0,
      );
    };
    for (const named of content.texts(draft, (text) => this.#named(text, stored))) {
      if (!stored.has(named.name) && !this.#unnamed.has(named.name)) batch.push(named);
      if (batch.length >= OBJECTS_AT_ONCE) await put();
      if (turns.isOver) await turns.next();
    }
    if (batch.length > 0) await put();
    await putting;
    return written;
  }

  /** A manifest names what has been stored. */
  named(): void {
    this.#unnamed.clear();
  }

  async #put(objects: readonly PublishedObject[], signal: AbortSignal): Promise<void> {
    const { store, record } = this.#options;
    const names = objects.map(({ name }) => name);
    await record(names, signal);
    await store.put(objects, signal);
    if (this.#unnamed.size >= MAX_UNNAMED) this.#unnamed.clear();
    for (const name of names) this.#unnamed.add(name);
  }

  /** Other white space gives another name to a text whose name is not to be used. */
  #named(text: string, stored: ReadonlySet<string>): NamedText {
    const name = nameOf(text);
    if (stored.has(name) || !this.#options.isTaken(name)) return { name, text };
    return this.#named(`${text}\n`, stored);
  }
}
