/**
 * The two ways to read stock. The query asks for groups of SKUs, which stay the same while a page is open, so that
 * caches know them. The publication is read from its manifest: of the index objects and leaves that the SKUs are in,
 * only those are fetched that have changed. Both give each number with the time as of which it is true.
 */
import { leafOfBytes } from "../../engine/publication/leaf-of.js";
import type { FetchJson } from "./fetch-json.js";
import type { Display } from "./known-stock.js";
import { MAX_CHARACTERS, MAX_REMEMBERED, MAX_SKUS } from "./limits.js";

const utf8 = new TextEncoder();

export type Take = (sku: string, display: Display, asOfMs: number) => void;

/**
 * Reads the SKUs that are seen.
 * @param all on the page, in a lasting order
 * @returns as of when the oldest number is true
 */
export type ReadStock = (seen: readonly string[], all: Iterable<string>, take: Take) => Promise<number>;

interface Group {
  path: string;
  size: number;
}

export function queryReader(fetchJson: FetchJson): ReadStock {
  const groupOf = new Map<string, Group>();
  let last: Group = { path: "", size: MAX_SKUS };
  return async (seen, all, take) => {
    if (groupOf.size > MAX_REMEMBERED) {
      groupOf.clear();
      last.size = MAX_SKUS;
    }
    for (const sku of all) {
      if (groupOf.has(sku)) continue;
      const parameter = `sku=${encodeURIComponent(sku)}`;
      if (last.size === MAX_SKUS || last.path.length + parameter.length > MAX_CHARACTERS)
        last = { path: "/v1/stock", size: 0 };
      last.path += (last.size++ ? "&" : "?") + parameter;
      groupOf.set(sku, last);
    }
    const groups = new Set(seen.map((sku) => groupOf.get(sku) as Group));
    const times = await Promise.all(
      [...groups].map(async ({ path }) => {
        const { asOf, skus, unknown } = await fetchJson(path);
        const asOfMs = Date.parse(asOf);
        for (const { sku, display } of skus) take(sku, display, asOfMs);
        for (const sku of unknown) take(sku, null, asOfMs);
        return asOfMs;
      }),
    );
    return Math.min(...times);
  };
}

export function publicationReader(fetchJson: FetchJson): ReadStock {
  /** What the last manifest led to. */
  let objects = new Map<string, Promise<unknown>>();
  return async (seen, _all, take) => {
    const { asOf, leaves, index } = await fetchJson("/v1/publication/manifest.json");
    const asOfMs = Date.parse(asOf);
    /** Of an index object. */
    const leavesEach = leaves / index.length;
    const used: typeof objects = new Map();
    // biome-ignore lint/suspicious/noExplicitAny: an index object or a leaf
    const object = (name: string): Promise<any> => {
      const found = used.get(name) ?? objects.get(name) ?? fetchJson(`/v1/publication/${name}.json`, true);
      used.set(name, found);
      return found;
    };
    try {
      await Promise.all(
        seen.map(async (sku) => {
          const leaf = leafOfBytes(utf8.encode(sku), leaves);
          const entry = await object(index[Math.floor(leaf / leavesEach)]);
          const stock = Object.hasOwn(entry.changes, sku)
            ? entry.changes
            : await object(entry.leaves[leaf % leavesEach]);
          take(sku, Object.hasOwn(stock, sku) ? stock[sku] : null, asOfMs);
        }),
      );
      objects = used;
    } catch (fault) {
      // One of them may have failed: they are fetched again.
      objects.clear();
      throw fault;
    }
    return asOfMs;
  };
}
