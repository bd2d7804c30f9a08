/**
 * Which addresses a check reads: the stock answer of one SKU, and addresses made from it that no cache has seen. Where
 * only a site is given, a SKU is found in its publication. It reads few objects for that and gives up with a message
 * that says what to name instead.
 */

import { badInput } from "../../../engine/kernel/errors.js";
import { secureBytes } from "../../../engine/kernel/random.js";
import type { EdgeReader } from "./reader.js";

const OP = "edge";
const STOCK_PATH = /\/v1\/stock\/([^/]+)$/;
const EXAMPLE = "such as https://shop.example/v1/stock/TEA-01";
/** Small leaves may be empty. */
const MAX_LEAVES = 8;
const RANDOM_BYTES = 9;

/** @throws EngineError `bad_input` unless the text is an http or https address without a user and a query */
export function addressOf(text: string, place: string): URL {
  if (!URL.canParse(text)) throw badInput(OP, place, `must be an address ${EXAMPLE}`);
  const url = new URL(text);
  if (!["http:", "https:"].includes(url.protocol)) throw badInput(OP, place, "must begin with https:// or http://");
  if (url.username !== "" || url.password !== "") throw badInput(OP, place, "must not have a user or a password");
  url.hash = "";
  return url;
}

/**
 * The stock answer to read.
 * @param given a stock answer, or a site with a publication
 * @throws EngineError `bad_input` when no SKU is found
 */
export async function stockAddress(given: URL, reader: EdgeReader): Promise<URL> {
  if (given.search !== "") throw badInput(OP, "URL", "must have no query: the check adds its own");
  if (STOCK_PATH.test(given.pathname)) return given;
  const base = `${given.origin}${given.pathname.replace(/\/+$/, "")}/v1`;
  const read = (name: string) => reader.read(new URL(`${base}/publication/${name}.json`));
  const objectOf = async (name: string) => (await read(name)).body ?? {};
  const manifest = await read("manifest");
  const [index] = namesIn(manifest.body?.["index"]);
  const { leaves, changes } = index === undefined ? {} : await objectOf(index);
  for (const name of namesIn(leaves).slice(0, MAX_LEAVES)) {
    const sku = soldIn(await objectOf(name));
    if (sku !== undefined) return new URL(`${base}/stock/${encodeURIComponent(sku)}`);
  }
  const changed = soldIn(changes);
  if (changed !== undefined) return new URL(`${base}/stock/${encodeURIComponent(changed)}`);
  throw badInput(
    OP,
    "URL",
    `no SKU is found in ${base}/publication/manifest.json (${manifest.fault ?? `status ${manifest.status}`}): name a stock answer, ${EXAMPLE}`,
  );
}

/** Of the same engine, the answer of an unknown SKU that no cache has: it comes from the engine. */
export function coldAddress(known: URL): URL {
  const prefix = /^(.*?)\/v1\//.exec(known.pathname)?.[1] ?? "";
  return new URL(`${prefix}/v1/stock/edge-check-${secureBytes(RANDOM_BYTES).toString("base64url")}`, known);
}

/** The answer of the same SKU as a list, at an address that no cache has. */
export function coldListAddress(stock: URL): URL {
  const url = new URL(stock);
  url.pathname = url.pathname.replace(STOCK_PATH, "/v1/stock");
  const random = secureBytes(RANDOM_BYTES).toString("base64url");
  url.search = `?sku=${STOCK_PATH.exec(stock.pathname)?.[1] ?? ""}&sku=edge-check-${random}`;
  return url;
}

/** Another address of the same SKU: the answer by location. */
export function locationsAddress(stock: URL): URL {
  const url = new URL(stock);
  url.search = "?by=location";
  return url;
}

const namesIn = (list: unknown): readonly string[] =>
  Array.isArray(list) ? list.filter((name): name is string => typeof name === "string") : [];

/** A SKU that has a figure. */
const soldIn = (levels: unknown): string | undefined =>
  typeof levels === "object" && levels !== null
    ? Object.entries(levels).find(([, display]) => typeof display === "number")?.[0]
    : undefined;
