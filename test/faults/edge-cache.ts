/**
 * A cache in front of the engine that keeps copies as long as a CDN may: for the whole lifetime of `CDN-Cache-Control`
 * (RFC 9213), and then while it fetches the next one, as far as `stale-while-revalidate` goes. One request at a time
 * fetches a copy. Copies are deleted by address or by tag. It keeps everything in memory, and is not bounded.
 */
import { Pool } from "undici";
import { stopwatch } from "../../engine/kernel/clock.js";

export interface EdgeAnswer {
  readonly status: number;
  readonly body: string;
}

interface Copy extends EdgeAnswer {
  readonly atMs: number;
  readonly freshMs: number;
  readonly staleMs: number;
  readonly tags: readonly string[];
}

const CONNECTIONS = 8;

export class EdgeCache {
  readonly #origin: Pool;
  readonly #nowMs = stopwatch();
  readonly #copies = new Map<string, Copy>();
  readonly #fetching = new Map<string, Promise<Copy>>();
  readonly #tagged = new Map<string, Set<string>>();
  /** Requests to the engine. */
  fetched = 0;

  constructor(origin: string) {
    this.#origin = new Pool(origin, { connections: CONNECTIONS });
  }

  /** The answer at a path, from a copy or from the engine. */
  async get(path: string): Promise<EdgeAnswer> {
    const copy = this.#copies.get(path);
    const ageMs = copy === undefined ? Number.POSITIVE_INFINITY : this.#nowMs() - copy.atMs;
    if (copy !== undefined && ageMs < copy.freshMs) return copy;
    const next = this.#fetch(path);
    if (copy === undefined || ageMs >= copy.freshMs + copy.staleMs) return next;
    next.catch(() => {});
    return copy;
  }

  purgePaths(paths: readonly string[]): void {
    for (const path of paths) this.#copies.delete(path);
  }

  purgeTags(tags: readonly string[]): void {
    for (const tag of tags) this.purgePaths([...(this.#tagged.get(tag) ?? [])]);
  }

  close(): Promise<void> {
    return this.#origin.destroy();
  }

  #fetch(path: string): Promise<Copy> {
    const running = this.#fetching.get(path);
    if (running !== undefined) return running;
    // What is on its way when its path is purged is kept all the same, as in a CDN with several tiers.
    const fetching = this.#read(path)
      .then((copy) => this.#keep(path, copy))
      .finally(() => this.#fetching.delete(path));
    this.#fetching.set(path, fetching);
    return fetching;
  }

  #keep(path: string, copy: Copy): Copy {
    if (copy.freshMs <= 0) {
      this.#copies.delete(path);
      return copy;
    }
    this.#copies.set(path, copy);
    for (const tag of copy.tags) {
      const paths = this.#tagged.get(tag) ?? new Set();
      this.#tagged.set(tag, paths.add(path));
    }
    return copy;
  }

  async #read(path: string): Promise<Copy> {
    this.fetched++;
    const { statusCode, headers, body } = await this.#origin.request({ path, method: "GET" });
    const control = String(headers["cdn-cache-control"] ?? headers["cache-control"] ?? "");
    const secondsOf = (directive: string) =>
      Number(new RegExp(`(?:^|[ ,])${directive}=(\\d+)`).exec(control)?.[1] ?? 0);
    const isKept = statusCode === 200 && !/no-store/.test(control);
    return {
      status: statusCode,
      body: await body.text(),
      atMs: this.#nowMs(),
      freshMs: isKept ? secondsOf("max-age") * 1_000 : 0,
      staleMs: isKept ? secondsOf("stale-while-revalidate") * 1_000 : 0,
      tags: String(headers["cache-tag"] ?? headers["surrogate-key"] ?? "")
        .split(/[ ,]+/)
        .filter(Boolean),
    };
  }
}
