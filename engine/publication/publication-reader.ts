/**
 * Reads a publication for a server: the manifest at most every MANIFEST_KEPT_MS, whatever the number of requests, and
 * each object once while it is in memory. Objects never change, so those that were asked for last are kept, up to
 * MAX_KEPT_BYTES. Requests for the same thing at the same time share one reading. That something does not exist is not
 * remembered.
 */
import { type Clock, monotonicClock } from "../kernel/clock.js";
import { parseManifest } from "./manifest.js";
import type { PublicationStore } from "./publication-store.js";

/** The form in which a client gets an object. */
export type Encoding = "identity" | "gzip" | "br";

/** A store that has the compressed forms of objects, too. */
export interface PackedObjects extends Pick<PublicationStore, "place" | "read" | "readManifest"> {
  readPacked(name: string, encoding: "gzip" | "br"): Promise<Uint8Array | undefined>;
}

export interface ReadManifest {
  readonly json: Uint8Array;
  readonly version: string;
  readonly asOfMs: number;
}

/** A share of what a reader may be late, and one round trip for all requests meanwhile. */
const MANIFEST_KEPT_MS = 200;
/** Of a million SKUs with codes of 11 characters, Brotli and gzip have 4 MB each, and the text, rarely read, 18 MB. */
const MAX_KEPT_BYTES = 32 * 2 ** 20;

export class PublicationReader {
  readonly #store: PackedObjects;
  readonly #clock: Clock;
  readonly #maxBytes: number;
  #manifest: { readonly reading: Promise<ReadManifest | undefined>; readonly untilMs: number } | undefined;
  /** In the order in which they were asked for. */
  readonly #objects = new Map<string, Uint8Array>();
  readonly #readings = new Map<string, Promise<Uint8Array | undefined>>();
  #bytes = 0;

  constructor(
    store: PackedObjects,
    { clock = monotonicClock, maxBytes = MAX_KEPT_BYTES }: { clock?: Clock; maxBytes?: number } = {},
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the objects in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The newest manifest; undefined before the first. @throws EngineError of the store, or `undecodable` */
  manifest(): Promise<ReadManifest | undefined> {
    const nowMs = this.#clock.now();
    if (this.#manifest === undefined || nowMs >= this.#manifest.untilMs) {
      const reading = this.#readManifest();
      this.#manifest = { reading, untilMs: nowMs + MANIFEST_KEPT_MS };
      // An error is not kept: the next request tries again.
      reading.catch(() => {
        if (this.#manifest?.reading === reading) this.#manifest = undefined;
      });
    }
    return this.#manifest.reading;
  }

  /** An object in one form; undefined when there is none of this name. @throws EngineError of the store */
  async object(name: string, encoding: Encoding): Promise<Uint8Array | undefined> {
    const key = `${name} ${encoding}`;
    const kept = this.#objects.get(key);
    if (kept !== undefined) {
      this.#objects.delete(key);
      this.#objects.set(key, kept);
      return kept;
    }
    let reading = this.#readings.get(key);
    if (reading === undefined) {
      reading = this.#readObject(name, encoding).finally(() => this.#readings.delete(key));
      this.#readings.set(key, reading);
    }
    return reading;
  }

  async #readManifest(): Promise<ReadManifest | undefined> {
    const stored = await this.#store.readManifest();
    return stored && { ...stored, asOfMs: parseManifest(stored.json, this.#store.place).asOfMs };
  }

  async #readObject(name: string, encoding: Encoding): Promise<Uint8Array | undefined> {
    const bytes = await (encoding === "identity" ? this.#store.read(name) : this.#store.readPacked(name, encoding));
    if (bytes) this.#keep(`${name} ${encoding}`, bytes);
    return bytes;
  }

  #keep(key: string, bytes: Uint8Array): void {
    this.#objects.set(key, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, { length }] of this.#objects) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#objects.delete(oldest);
      this.#bytes -= length;
    }
  }
}
